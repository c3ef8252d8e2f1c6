"""Compare the results of a device with those of the CPU: ``python scripts/check_device.py DEVICE``."""

from __future__ import annotations

import sys

import numpy as np

import napari_dcr
from napari_dcr.engine.devices import list_devices

TOLERANCE = 1e-3
"""Largest difference that is accepted, relative to the range of the result."""


def main() -> int:
    """Enhance an image with each model and print the differences; returns the exit status."""
    (device,) = sys.argv[1:]
    available = [each.name for each in list_devices()]
    if device not in available:
        print(f"{device}: not available here; available are {', '.join(available)}")
        return 1
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :420]
    light = 20 + 15 * np.sin(x / 9) * np.cos(y / 7)
    picture = (light[..., None] * [1.0, 0.8, 0.6] + rng.normal(0, 2, (300, 420, 3))) / 255
    counts = 100 + 2 * rng.poisson(light)
    failed = False
    for model, image in (("photo", picture), ("microscopy", counts)):
        image = image.clip(0).astype(np.float32)
        ours, cpu = (
            napari_dcr.enhance(image, model=model, precision="fp32", device=name)
            for name in (device, "cpu")
        )
        changed = float(np.abs(cpu - image).max() / np.ptp(cpu))
        difference = float(np.abs(ours - cpu).max() / np.ptp(cpu))
        print(f"{model} on {device}: differs from the CPU by {difference:.1e} of the range")
        failed |= not (difference <= TOLERANCE < changed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
