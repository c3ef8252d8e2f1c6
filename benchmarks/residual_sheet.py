"""Sheets of `microscopy` results: input, result, residual and, if given, the truth.

    python benchmarks/residual_sheet.py DATA/check/w2s/noisy --truth DATA/check/w2s/clean --every 5
    python benchmarks/residual_sheet.py DATA/train/microscopy/dsb2018/fluor_dark --every 11

Input, result and truth share their display limits. The residual is shown from -3 to 3
standard deviations of the noise and should look like pure noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.training.data import image_files
from napari_dcr.training.microscopy import load_grey


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path, help="folder with files of the same names")
    parser.add_argument("--every", type=int, default=1, help="take every N-th image")
    parser.add_argument("--most", type=int, default=12, help="largest number of images")
    parser.add_argument("--side", type=int, default=256, help="side in pixels of the central crop")
    parser.add_argument("--out", type=Path, default=Path("residuals.png"))
    parser.add_argument("--model", default="microscopy")
    options = parser.parse_args()
    rows = []
    for path in image_files(options.folder)[:: options.every][: options.most]:
        image = load_grey(path)
        out, report, residual = napari_dcr.enhance(
            image, model=options.model, output="float32", return_report=True, return_residual=True
        )
        low, high = np.quantile(out, [0.002, 0.998])
        noise = napari_dcr.estimate_noise(image).model.deviation(out)
        shown = [(x.astype(float) - low) / max(high - low, 1) for x in (image, out)]
        shown.append(0.5 + residual / noise / 6)
        if options.truth:
            truth = load_grey(options.truth / path.name).astype(float)
            slope, offset = np.polyfit(truth.ravel(), out.ravel().astype(float), 1)
            shown.append((slope * truth + offset - low) / max(high - low, 1))
        top, left = (max(0, (n - options.side) // 2) for n in image.shape)
        window = np.s_[top : top + options.side, left : left + options.side]
        row = np.concatenate([np.clip(x[window], 0, 1) for x in shown], 1)
        room = options.side - row.shape[0], options.side * len(shown) - row.shape[1]
        rows.append(np.pad(row, [(0, n) for n in room]))
        print(f"{path.name}\n{report}")
    PILImage.fromarray((np.concatenate(rows) * 255).astype(np.uint8)).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
