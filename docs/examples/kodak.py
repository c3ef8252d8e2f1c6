"""
A photograph five stops too dark
================================

Picture 23 of the Kodak set was darkened by five stops, with the noise of a simulated camera. The first
slider compares it with the result, the second one compares the result with the well-exposed picture.
"""

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import numpy as np

import napari_dcr
from napari_dcr.io import opening
from napari_dcr.training.forward.synthetic import dim_rendition

clean = opening.read(Path("../../scripts/data/kodak-23.png")).pixels
dim, truth = (
    np.round(picture * 255).astype(np.uint8)
    for picture in dim_rendition((clean / 255).astype(np.float32), ev=5, seed=23)
)
enhanced = napari_dcr.enhance(dim)
before, after = dim, enhanced

# %%
# Compared with the scene in good light, the colours of the enhanced picture are a little weaker, and the
# finest texture of the feathers is softer. The dark picture no longer contains this information.

before, after = enhanced, truth
labels = "Enhanced", "Scene in good light"
