"""Estimate the noise of a moving picture from pairs of frames, in whose differences the scene cancels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseEstimate

SMOOTH = 17
"""Side in pixels of the area over which the level of a pixel is averaged."""

MOVES = 4.0
"""Mean square of the difference around a pixel, relative to the median of its pair of frames, from which it
is left out, because something moves there; and that of a pair, relative to usual pairs."""


Windows = tuple[NDArray[Any], NDArray[Any]]
"""The same window of two frames, each of shape (h, w)."""


def noise_of_pairs(pairs: Iterable[Sequence[Windows]]) -> NoiseEstimate:
    """Estimate the noise of single frames from pairs of frames that show the same.

    The difference of two frames, divided by the square root of 2, has the noise of one frame. Texture
    that does not move is not in it, while an estimate from a single picture would count it as noise.
    What moves is left out, and so are pairs that differ much more or less than others.

    Parameters
    ----------
    pairs : iterable
        For each pair of frames, windows of the two, aligned with each other and of equal light. Pixels
        that are not finite are ignored.

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
    >>> round(noise_of_pairs([[(first, second)]]).model.dark)
    4
    """
    found = [[_level_and_change(*windows) for windows in pair] for pair in pairs]
    powers = [_median([power for _, _, power in pair]) for pair in found]
    known = sorted(power for power in powers if np.isfinite(power))
    # Of two pairs, the one that differs less. Films repeat frames, whose differences are not noise.
    known = [power for power in known if power > 0] or known
    usual = known[len(known) // 2 if len(known) > 2 else 0] if known else np.nan
    return estimate_noise(
        [
            level + np.where(power > MOVES * median, np.nan, change)
            for pair, median in zip(found, powers, strict=True)
            if usual / MOVES <= median <= MOVES * usual
            for level, change, power in pair
        ]
    )


Field = NDArray[np.float64]


def _level_and_change(first: NDArray[Any], second: NDArray[Any]) -> tuple[Field, Field, Field]:
    """Smooth level of two frames, the noise of one frame, and its power around each pixel."""
    first, second = (np.asarray(frame, np.float64) for frame in (first, second))
    change = (second - first) / 2**0.5
    return _mean_around((first + second) / 2), change, _mean_around(change**2)


def _median(fields: Sequence[Field]) -> float:
    """Median of all finite values; NaN if there is none."""
    values = np.concatenate([field[np.isfinite(field)] for field in fields] or [np.empty(0)])
    return float(np.median(values)) if len(values) else float("nan")


def _mean_around(x: Field) -> Field:
    """Mean of the finite pixels around each pixel."""
    known = np.isfinite(x)
    if known.all():
        return np.asarray(ndimage.uniform_filter(x, SMOOTH, mode="nearest"))
    weight = ndimage.uniform_filter(known.astype(np.float64), SMOOTH, mode="nearest")
    total = ndimage.uniform_filter(np.where(known, x, 0), SMOOTH, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / weight)
