"""Contact sheets: input, results of other methods and ours, one row per picture.

    python benchmarks/sheet.py DATA/check/lime --compare DATA/check/lime-author-2019
    python benchmarks/sheet.py DATA/check/dicm --every 5

Do not add sheets of pictures to the repository whose licence does not allow redistribution.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.training.data import load_rgb
from napari_dcr.training.evaluation.datasets import find_cases
from napari_dcr.training.evaluation.evaluate import ready_made


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compare", type=Path, nargs="+", default=[])
    parser.add_argument("--every", type=int, default=1, help="take every N-th picture")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--model", default="auto")
    parser.add_argument("--width", type=int, default=480, help="width of a column in pixels")
    options = parser.parse_args()
    cases = find_cases(options.folder)[:: options.every]
    others = [ready_made(folder, cases) for folder in options.compare]
    rows = []
    for case in cases:
        low = load_rgb(case.low)
        pictures = [low, *(other(low, case) for other in others)]
        pictures.append(napari_dcr.enhance(low, model=options.model))
        if case.truth:
            pictures.append(load_rgb(case.truth))
        row = PILImage.fromarray(np.concatenate(pictures, 1))
        width = options.width * len(pictures)
        rows.append(np.asarray(row.resize((width, round(row.height * width / row.width)))))
        print(case.name)
    PILImage.fromarray(np.concatenate(rows)).save(options.out)
    print(f"{options.out}: input, {''.join(f'{f.name}, ' for f in options.compare)}ours")


if __name__ == "__main__":
    main()
