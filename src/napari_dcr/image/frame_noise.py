"""Estimate the noise of a moving picture from pairs of frames, in whose differences the scene cancels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseEstimate

SMOOTH = 17
"""Side in pixels of the area over which the level of a pixel is averaged."""

MOVES = 4.0
"""Mean square of the difference around a pixel, relative to the median of all, from which it is left out,
because something moves there."""


def noise_of_pairs(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> NoiseEstimate:
    """Estimate the noise of single frames from pairs of frames that show the same.

    The difference of two frames, divided by the square root of 2, has the noise of one frame. Texture
    that does not move is not in it, while an estimate from a single picture would count it as noise.
    What moves is left out.

    Parameters
    ----------
    pairs : iterable of (ndarray, ndarray)
        Windows of two frames, shape (h, w), aligned with each other and of equal light. Pixels that are
        not finite are ignored.

    Returns
    -------
    NoiseEstimate
        See `napari_dcr.image.noise.estimate_noise`.

    Raises
    ------
    ValueError
        If no pixel is finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> texture = rng.normal(100, 10, (128, 128))
    >>> first, second = texture + rng.normal(0, 2, (2, 128, 128))
    >>> round(noise_of_pairs([(first, second)]).model.dark)
    4
    """
    return estimate_noise([_without_scene(*pair) for pair in pairs])


def _without_scene(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Smooth level of two frames, with the noise of one frame; NaN where something moves."""
    first, second = (np.asarray(frame, np.float64) for frame in (first, second))
    level, change = _mean_around((first + second) / 2), (second - first) / 2**0.5
    power = _mean_around(change**2)
    known = np.isfinite(power)
    if known.any():
        change[known & (power > MOVES * np.median(power[known]))] = np.nan
    return np.asarray(level + change)


def _mean_around(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the finite pixels around each pixel."""
    known = np.isfinite(x)
    weight = ndimage.uniform_filter(known.astype(np.float64), SMOOTH, mode="nearest")
    total = ndimage.uniform_filter(np.where(known, x, 0), SMOOTH, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / weight)
