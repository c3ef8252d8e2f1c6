"""Calibrate a camera's noise from dark and flat frames with the photon transfer curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_model import NoiseModel

Frames = NDArray[Any] | Sequence[NDArray[Any]]


def calibrate_noise(dark_frames: Frames, flat_frames: Frames) -> NoiseModel:
    """Measure a camera's gain, offset and read noise from frames of a still scene.

    The offset and the dark variance are the mean and the variance of the dark frames over
    time. The gain is the growth of the variance with the mean of the flat frames (the photon
    transfer curve: Janesick 2001, Scientific Charge-Coupled Devices, chapter 2). Only
    differences over time are used, so the illumination may be uneven. Saturated pixels are
    ignored.

    Parameters
    ----------
    dark_frames : ndarray, shape (n, h, w)
        At least two frames without light, at the settings and exposure time of the recording.
    flat_frames : ndarray, shape (n, h, w), or a sequence of them
        At least two frames of a still scene, in the camera's own units; several stacks at
        several light levels may be given. Best are 10 to 100 frames at half of saturation.

    Returns
    -------
    NoiseModel
        Value for ``noise=``. `napari_dcr.Defects.from_frames` measures the offset of each pixel
        from the same frames.

    Raises
    ------
    ValueError
        If there are too few frames, their sizes differ, or the flat frames are not brighter.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> dark = 100 + rng.normal(0, 3, (20, 64, 64))
    >>> flat = 100 + 2.2 * rng.poisson(400, (20, 64, 64)) + rng.normal(0, 3, (20, 64, 64))
    >>> noise = calibrate_noise(dark, flat)
    >>> round(noise.gain, 1), round(noise.offset), round(noise.dark)
    (2.2, 100, 9)
    """
    dark = _stack(dark_frames, "dark_frames")
    stacked = isinstance(flat_frames, np.ndarray) and flat_frames.ndim == 3
    stacks = [flat_frames] if stacked else list(flat_frames)
    flats = [_stack(stack, "flat_frames") for stack in stacks]
    offset_map, dark_map = dark.mean(0), dark.var(0, ddof=1)
    signal = excess = 0.0
    for flat in flats:
        if flat.shape[1:] != dark.shape[1:]:
            raise ValueError(
                f"flat_frames: got frames of {flat.shape[1:]} pixels; allowed are those of"
                f" dark_frames, {dark.shape[1:]}"
            )
        light = flat - offset_map
        # Variations shared by all pixels of a frame are flicker of the lamp, not noise.
        level = light.mean((1, 2), keepdims=True)
        if float(level.min()) <= 0:
            raise ValueError("flat_frames: got frames no brighter than dark_frames; give lit ones")
        light = light * (level.mean() / level)
        good = flat.max(0) < flat.max() if (flat == flat.max()).mean() > 1e-3 else True
        signal += float(np.sum(light.mean(0), where=good))
        excess += float(np.sum(light.var(0, ddof=1) - dark_map, where=good))
    if signal <= 0 or excess <= 0:
        raise ValueError(
            "flat_frames: got frames that vary no more than dark_frames; give the camera's own"
            " numbers, lit and not saturated"
        )
    return NoiseModel(excess / signal, float(offset_map.mean()), float(dark_map.mean()))


def _stack(frames: Frames, name: str) -> NDArray[np.float64]:
    """Validate frames of shape (n, h, w)."""
    stack = np.asarray(frames)
    if stack.ndim != 3 or len(stack) < 2 or not stack.size:
        raise ValueError(
            f"{name}: got shape {stack.shape}; allowed are at least 2 frames (n, h, w)"
        )
    if not np.isfinite(stack).all():
        raise ValueError(f"{name}: got pixels that are NaN or infinite; allowed are finite values")
    return stack.astype(np.float64)
