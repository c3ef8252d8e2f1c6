"""
A grey frame of a dark scene
============================

Frames of cameras in very little light have noise that is independent from pixel to pixel.
`denoise_first` removes it with `microscopy` before `photo` brightens the frame.
"""

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import numpy as np

import napari_dcr
from napari_dcr.io import opening

clean = opening.read(Path("../../scripts/data/kodak-23.png")).pixels[..., 1]
light = (clean / 255.0) ** 2.2 / 8
rng = np.random.default_rng(4)
photons = rng.poisson(light * 400) + rng.normal(0, 2, light.shape)
frame = np.clip(np.rint(photons / 400 * 255), 0, 255).astype(np.uint8)

enhanced = napari_dcr.enhance(frame, model="photo")
before, after = frame, enhanced

# %%
# Without the removal of noise before brightening, much of it stays:

before, after = napari_dcr.enhance(frame, model="photo", denoise_first="off"), enhanced
labels = 'denoise_first="off"', 'denoise_first="auto"'
