"""Enhance a real and a synthetic dim picture; write them with a before/after sheet."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import napari_dcr
from napari_dcr.io import opening, writing
from napari_dcr.io.files import Picture
from napari_dcr.plugin.samples import earth_at_night
from napari_dcr.training.evaluation.metrics import match_mean, psnr, ssim
from napari_dcr.training.forward.synthetic import dim_rendition


def main() -> None:
    """Write to the folder given, or to ``demo-output``."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").resolve()
    out.mkdir(parents=True, exist_ok=True)
    ((earth, _, _),) = earth_at_night()
    clean = opening.read(Path(__file__).parent / "data" / "kodak-23.png").pixels
    dim, truth = (
        np.round(picture * 255).astype(np.uint8)
        for picture in dim_rendition((clean / 255).astype(np.float32), ev=5, seed=23)
    )
    for name, before in (("earth-at-night", earth), ("kodak-23-minus-5-ev", dim)):
        after = napari_dcr.enhance(before)
        sheet = np.concatenate([before, after], axis=1)
        for suffix, pixels in (("before", before), ("after", after), ("sheet", sheet)):
            path = out / f"{name}-{suffix}.png"
            writing.write(path, Picture(pixels, "yxs"))
            print(path)
    print(
        f"kodak-23 at -5 EV, compared with a good exposure: PSNR {psnr(dim, truth):.1f} dB before,"
        f" {psnr(after, truth):.1f} dB after ({psnr(match_mean(after, truth), truth):.1f} dB with"
        f" the mean of the good exposure), SSIM {ssim(dim, truth):.2f} before, {ssim(after, truth):.2f} after"
    )


if __name__ == "__main__":
    main()
