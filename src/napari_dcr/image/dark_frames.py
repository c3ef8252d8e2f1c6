"""Measure the defects of a sensor from dark frames and evenly lit frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HOT_DARK = 8.0
"""Smallest offset of a hot pixel in dark frames, in robust standard deviations of all offsets."""


def measure_defects(dark: Any, flat: Any = None) -> dict[str, Any]:
    """Compute the attributes of `napari_dcr.Defects` from dark and flat frames; see `Defects.from_frames`.

    Parameters
    ----------
    dark : ndarray, shape (n, h, w) or (h, w)
    flat : ndarray, shape (n, h, w) or (h, w), optional

    Raises
    ------
    ValueError
        If the frames have different shapes, are too small or hold values that are not finite, or if
        the flat frames are not brighter than the dark ones.
    """
    darks = _frames("dark", dark)
    height, width = darks.shape[1:]
    if min(height, width) < 5:
        raise ValueError(
            f"dark: got frames of {height} x {width} pixels; allowed are sides of 5 pixels or more"
        )
    mean = darks.mean(0)
    offset = mean - np.median(mean)
    deviation = 1.4826 * float(np.median(np.abs(offset))) or float(offset.std()) or 1.0
    hot = np.abs(offset) > HOT_DARK * deviation
    # In a single frame, noise and offsets of pixels cannot be separated.
    if len(darks) > 1:
        error = float(np.median(darks.var(0, ddof=1))) / len(darks)
        signal = max(deviation**2 - error, 0.0)
        per_pixel = np.where(hot, 0, offset * (signal / (signal + error) if signal else 0.0))
    else:
        per_pixel = np.zeros_like(offset)
    lines = [_line_median(np.where(hot, np.nan, offset - per_pixel), axis) for axis in (0, 1)]
    per_pixel = per_pixel + lines[0] + (lines[1] - np.median(lines[1]))[:, None]
    gains: dict[str, Any] = {}
    if flat is not None:
        flats = _frames("flat", flat)
        if flats.shape[1:] != (height, width):
            raise ValueError(
                f"flat: got frames of {flats.shape[1:]}; allowed are those of dark,"
                f" {(height, width)}"
            )
        light = flats.mean(0) - mean
        level = float(np.median(light))
        if not level > 0:
            raise ValueError("flat: got frames that are not brighter than dark")
        dead = np.abs(light / level - 1) > 0.5
        # The lamp may be uneven, so only differences between neighbouring lines count as gains.
        logarithm = np.log(np.where(dead | hot, np.nan, np.maximum(light, 1e-6 * level)))
        for name, axis in (("column_gain", 0), ("row_gain", 1)):
            line = _line_median(logarithm, axis)
            gains[name] = np.exp(line - _smooth(line))[None]
        hot |= dead
    y, x = np.nonzero(hot)
    return {
        "height": height,
        "width": width,
        "offset": per_pixel[None],
        "hot": np.stack([np.zeros_like(y), y, x], 1),
        "excess": np.where(hot, offset - per_pixel, 0)[y, x],
        "black": float(np.median(mean)),
        **gains,
    }


def _frames(name: str, frames: Any) -> NDArray[np.float64]:
    """Convert one or several frames to (n, h, w)."""
    array = np.asarray(frames)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name}: got shape {array.shape} and dtype {array.dtype};"
            " allowed are numbers of shape (h, w) or (n, h, w)"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got values that are not finite")
    return array


def _line_median(image: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Median of each column (axis 0) or row (axis 1) without NaN; 0 for lines without values."""
    valid = np.isfinite(image).any(axis)
    lines = np.zeros(len(valid))
    lines[valid] = np.nanmedian(image[:, valid] if axis == 0 else image[valid], axis)
    return lines


def _smooth(line: NDArray[np.float64], radius: int = 7) -> NDArray[np.float64]:
    """Running median over ``2 radius + 1`` values."""
    padded = np.pad(line, radius, "reflect" if len(line) > radius else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
    medians: NDArray[np.float64] = np.median(windows, -1)
    return medians
