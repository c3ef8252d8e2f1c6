"""Tone functions for display images: sRGB encoding, highlight shoulder and exposure."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Display values or linear light, float32."""


def srgb_to_linear(v: Pixels) -> Pixels:
    """Decode display values in [0, 1] to linear light (IEC 61966-2-1)."""
    power = ((np.maximum(v, 0) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(v <= 0.04045, v / np.float32(12.92), power)


def linear_to_srgb(x: Pixels) -> Pixels:
    """Encode linear light in [0, 1] for display (IEC 61966-2-1)."""
    root = np.maximum(x, np.float32(1e-8)) ** np.float32(1 / 2.4)
    return np.where(
        x <= 0.0031308, np.float32(12.92) * x, np.float32(1.055) * root - np.float32(0.055)
    )


def brightest(x: Pixels, axis: int) -> Pixels:
    """Largest colour sample of each pixel; ``axis`` is kept with length 1."""
    # This is many times faster than a reduction over an axis of length 3.
    return functools.reduce(np.maximum, np.split(x, x.shape[axis], axis))


def shoulder(x: Pixels, peak: float, axis: int = -1, knee: float = 0.55) -> Pixels:
    """Compress linear light above ``knee`` so that ``peak`` becomes 1.

    All channels of a pixel are scaled by the factor that its largest channel needs, which
    preserves the hue.  The logarithmic part keeps gradation up to the peak, and continues the
    linear part with slope 1.

    Parameters
    ----------
    x : ndarray of float32
        Linear light, with the colours along ``axis``.
    peak : float
        Largest value, in units of white.
    axis : int
        Colour axis.
    knee : float
        Value at which the compression begins, in units of white.
    """
    span = max(peak - knee, 1e-3)
    if span <= 1 - knee:
        return x
    # log1p(k span) / k decreases with k; find k for which the peak becomes 1 by bisection.
    low, high = 1e-4, 1e4
    for _ in range(30):
        k = math.sqrt(low * high)
        low, high = (k, high) if math.log1p(k * span) / k > 1 - knee else (low, k)
    largest = brightest(x, axis)
    compressed = knee + np.log1p(k * np.maximum(largest - knee, 0)) / k
    scale = np.where(largest > knee, compressed / np.maximum(largest, 1e-6), 1)
    return (x * scale).astype(np.float32)


def expose(v: Pixels, ev: float, axis: int = 0) -> Pixels:
    """Change the exposure of display values by ``ev`` stops.

    Linear light is multiplied by ``2 ** ev``.  Values that would exceed white are compressed by
    `shoulder`, and white stays white.  The result increases with ``v`` and with ``ev``, and
    nothing is clipped.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.full((3, 1, 1), 0.5, np.float32)
    >>> [round(float(expose(grey, ev)[0, 0, 0]), 2) for ev in (-1, 0, 1)]
    [0.36, 0.5, 0.69]
    """
    if ev == 0:
        return v
    gain = 2.0**ev
    linear = srgb_to_linear(np.clip(v, 0, 1)) * np.float32(gain)
    return linear_to_srgb(np.clip(shoulder(linear, gain, axis), 0, 1))
