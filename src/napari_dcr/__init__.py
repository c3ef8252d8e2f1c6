"""Brighten and denoise low-light images with the Deep Cascade Residual CNN.

Examples
--------
>>> import numpy as np
>>> import napari_dcr
>>> dim = np.random.default_rng(0).integers(4, 20, (64, 64, 3), np.uint8)
>>> bright = napari_dcr.enhance(dim)
>>> bright.shape, bright.dtype, bool(bright.mean() > dim.mean())
((64, 64, 3), dtype('uint8'), True)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dcr.engine.live import LiveEnhancer
    from napari_dcr.enhancement import (
        Enhancement,
        Options,
        Progress,
        Report,
        enhance,
        enhance_steps,
    )  # fmt: skip
    from napari_dcr.image.defects import Defects
    from napari_dcr.image.noise import estimate_noise
    from napari_dcr.image.noise_model import NoiseEstimate, NoiseModel
    from napari_dcr.image.photon_transfer import calibrate_noise
    from napari_dcr.input_warnings import InputWarning
    from napari_dcr.io.opening import open_image
    from napari_dcr.version import __version__

_HOMES = {
    "Defects": "napari_dcr.image.defects",
    "Enhancement": "napari_dcr.enhancement",
    "Options": "napari_dcr.enhancement",
    "Progress": "napari_dcr.enhancement",
    "Report": "napari_dcr.enhancement",
    "LiveEnhancer": "napari_dcr.engine.live",
    "InputWarning": "napari_dcr.input_warnings",
    "NoiseEstimate": "napari_dcr.image.noise_model",
    "NoiseModel": "napari_dcr.image.noise_model",
    "calibrate_noise": "napari_dcr.image.photon_transfer",
    "estimate_noise": "napari_dcr.image.noise",
    "enhance": "napari_dcr.enhancement",
    "enhance_steps": "napari_dcr.enhancement",
    "open_image": "napari_dcr.io.opening",
    "__version__": "napari_dcr.version",
}

__all__ = [
    "Defects",
    "Enhancement",
    "InputWarning",
    "LiveEnhancer",
    "NoiseEstimate",
    "NoiseModel",
    "Options",
    "Progress",
    "Report",
    "__version__",
    "calibrate_noise",
    "enhance",
    "enhance_steps",
    "estimate_noise",
    "open_image",
]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds, and napari imports this module when it starts.
    if name not in _HOMES:
        raise AttributeError(f"module 'napari_dcr' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
