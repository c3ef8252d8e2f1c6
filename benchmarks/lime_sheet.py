"""Sheets of the LIME images: input, the author's 2019 result, ours.

    python benchmarks/lime_sheet.py --data DATA [--out lime-sheet.png]

DATA holds ``check/lime`` and ``check/lime-author-2019``.  Also printed: the
share of pixels with a channel at 250 or above.  The images may be looked at,
not passed on: the sheet is not for the repository.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.training.data import load_rgb
from napari_dcr.training.metrics import blown_share

WIDTH = 480


def main() -> None:
    """Write the sheet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("NAPARI_DCR_DATA", "data"))
    parser.add_argument("--out", type=Path, default=Path("lime-sheet.png"))
    parser.add_argument("--model", default="auto")
    options = parser.parse_args()
    rows = []
    print("| image | mean in | mean author | mean ours | blown in % | author | ours | growth |")
    print("|---" * 8 + "|")
    for path in sorted((options.data / "check/lime").glob("*.bmp"), key=lambda p: int(p.stem)):
        low = load_rgb(path)
        author = load_rgb(
            options.data / "check/lime-author-2019" / f"LIME{int(path.stem):02d}_Ours.png"
        )
        ours = napari_dcr.enhance(low, model=options.model)
        pictures = low, author, ours
        means = " | ".join(f"{p.mean() / 255:.3f}" for p in pictures)
        blown = [blown_share(p) for p in pictures]
        shares = " | ".join(f"{b:.2f}" for b in blown)
        print(f"| {path.stem} | {means} | {shares} | {blown[2] - blown[0]:+.2f} |")
        size = WIDTH, round(WIDTH * low.shape[0] / low.shape[1])
        scaled = [PILImage.fromarray(p).resize(size, PILImage.Resampling.LANCZOS) for p in pictures]
        rows.append(np.concatenate([np.asarray(p) for p in scaled], 1))
    PILImage.fromarray(np.concatenate(rows)).save(options.out)
    print(f"\n{options.out.resolve()}: input, author 2019, ours")


if __name__ == "__main__":
    main()
