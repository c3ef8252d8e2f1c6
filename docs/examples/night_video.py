"""
A grey frame of a dark scene
============================

In very little light, the noise of a raw frame is strong and independent from pixel to pixel.
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
# If the noise is not removed before brightening, much of it remains:

before, after = napari_dcr.enhance(frame, model="photo", denoise_first="off"), enhanced
labels = 'denoise_first="off"', 'denoise_first="auto"'
