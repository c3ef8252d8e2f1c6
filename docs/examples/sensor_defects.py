"""
Column offsets and hot pixels
=============================

A synthetic recording whose columns have offsets of 2 electrons, with 150 hot pixels. They are not noise,
so the network would keep them. `defects="auto"`, the default, finds and corrects them first.
"""

# sphinx_gallery_thumbnail_number = 2
import numpy as np

import napari_dcr
from napari_dcr.plugin import synthetic_cells

rng = np.random.default_rng(8)
recording = synthetic_cells.recording()[0, 4].astype(float)
recording += synthetic_cells.GAIN * rng.normal(0, 2, recording.shape[1])
recording[rng.integers(0, 384, 150), rng.integers(0, 384, 150)] += 400
recording = np.rint(recording).astype(np.uint16)

kept = napari_dcr.enhance(recording, model="microscopy", defects="off")
corrected, defects = napari_dcr.enhance(recording, model="microscopy", return_defects=True)
print(defects.describe())


def shown(image, low=95, high=230):
    return (np.asarray(image, float) - low) / (high - low)


before, after = shown(kept), shown(corrected)
labels = 'defects="off"', 'defects="auto"'
