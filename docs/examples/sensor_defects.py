"""
Column offsets and hot pixels
=============================

The columns of this synthetic recording have offsets with a standard deviation of 2 electrons, and 150
pixels are hot. These defects are not noise, so the network would keep them. `defects="auto"`, the
default, finds and corrects them first.
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
