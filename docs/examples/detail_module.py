"""
With and without the detail module
==================================

With `detail=False`, the result is softer, and smooth where texture is uncertain.
"""

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import numpy as np

import napari_dcr
from napari_dcr.io import opening
from napari_dcr.training.forward.synthetic import dim_rendition

clean = opening.read(Path("../../scripts/data/kodak-23.png")).pixels[100:360, 60:400]
dim, _ = dim_rendition((clean / 255).astype(np.float32), ev=4, seed=23)
dim = np.round(dim * 255).astype(np.uint8)

before = napari_dcr.enhance(dim, detail=False)
after = napari_dcr.enhance(dim)
labels = "detail=False", "detail=True"
