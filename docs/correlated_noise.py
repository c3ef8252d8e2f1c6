"""Create the documentation's figure of noise that is correlated between pixels.

    python docs/correlated_noise.py

The noise of a synthetic wide-field recording is filtered with (1 2 1) along both axes, as it happens
when a camera interpolates colours or smooths the image. Its variance is unchanged. The panels show the recording, the Gaussian blur with the
smallest error for this image, `microscopy`, and the expected image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

import napari_dcr
from napari_dcr.training.evaluation.microscopy_checks import psnr
from napari_dcr.training.evaluation.noise_checks import best_gaussian
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos

rng = np.random.default_rng(12)
camera = Scmos(tail=0.2)
photons = 12 * (0.95 * cultured_scene(320, np.random.default_rng(7)).astype(np.float64) + 0.05)
expected = camera.noise.offset + camera.noise.gain * photons
noise = camera.expose(photons, rng) - expected
for axis in (0, 1):
    noise = ndimage.convolve1d(noise, np.array([1, 2, 1]) / 6**0.5, axis, mode="wrap")
recording = np.rint(expected + noise).clip(0, 65535).astype(np.uint16)
restored, report = napari_dcr.enhance(
    recording, model="microscopy", output="float32", return_report=True
)
print(report)
panels = [recording, best_gaussian(recording, expected), restored, expected]
for name, panel in zip(("recording", "best Gaussian", "microscopy"), panels, strict=False):
    print(f"{name}: {psnr(panel, expected, float(np.ptp(expected))):.2f} dB")
low, high = np.quantile(expected, [0.001, 0.999])
shown = [np.clip((panel - low) / (high - low), 0, 1) ** 0.7 for panel in panels]
picture = Image.fromarray((255 * np.concatenate(shown, 1)).astype(np.uint8))
picture.quantize(64).save(Path(__file__).parent / "images" / "correlated-noise.png", optimize=True)
