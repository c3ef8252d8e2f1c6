"""
A photograph five stops too dark
================================

Picture 23 of the Kodak set, made five stops too dark with the noise of a simulated camera. Below it is
compared with the picture as a good photographer would print it.
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
# The enhanced picture beside the scene in good light. Its colours are a little weaker, and the finest
# texture of the feathers is softer: five stops too dark, that information is not in the picture any more.

before, after = enhanced, truth
labels = "Enhanced", "Scene in good light"
