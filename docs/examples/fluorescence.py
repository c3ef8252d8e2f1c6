"""
Fluorescence at few photons
===========================

One plane of the synthetic recording that comes with the package. Its camera has a gain of 2.2 counts per
photon and an offset of 100 counts. Both sides have the same contrast limits, because `microscopy` does
not brighten.
"""

# sphinx_gallery_thumbnail_number = 2
import numpy as np

import napari_dcr
from napari_dcr.plugin import synthetic_cells

recording = synthetic_cells.recording()[1, 4]
restored, residual, uncertainty = napari_dcr.enhance(
    recording, model="microscopy", output="float32", return_residual=True, return_uncertainty=True
)


def shown(image, low=95, high=190):
    return (np.asarray(image, float) - low) / (high - low)


before, after = shown(recording), shown(restored)
labels = "Recorded", "Restored"

# %%
# The truth is known, because the recording is synthetic.

truth = synthetic_cells.OFFSET + synthetic_cells.GAIN * synthetic_cells.photons()[1, 4]
before, after = shown(restored), shown(truth)
labels = "Restored", "Truth"

# %%
# The residual is what was removed, and the uncertainty is the standard error of each pixel. The residual
# looks like noise. Like the noise of photons, it is stronger in brighter areas.

before, after = shown(residual, -40, 40), shown(uncertainty, 0, 12)
labels = "Residual", "Uncertainty"

error = np.sqrt(np.mean((np.stack([recording, restored]) - truth) ** 2, (1, 2)))
print("root mean square error, in counts: {:.1f} before, {:.1f} after".format(*error))
