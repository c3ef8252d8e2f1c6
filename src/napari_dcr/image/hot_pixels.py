"""Hot and dead pixels: isolated pixels that neither optics nor noise can explain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.isolated_pixels import NEIGHBOURS, find_isolated, values_around
from napari_dcr.image.noise_model import NoiseModel

SIGNIFICANCE = 8.5
"""Smallest distance of a hot pixel from the range of its neighbours, in standard deviations."""

REPEATED = 5.0
"""The same for a pixel that stands out in most frames of a stack."""

WEAKEST = 4.0
"""The same for candidates, whose number measures the tail of the noise."""

OPTICAL = 0.3
"""Smallest height of the second brightest neighbour of a point of light, relative to the point. For
a Gaussian with a standard deviation of 0.8 pixels it is 0.46 or more, at any subpixel position."""

STRONG = 6.0
"""The same for pixels that are ignored while noise and line offsets are estimated."""

OPTICAL_AT_BORDER = 0.12
"""The same for pixels at the border, where some neighbours are outside the image."""

RING = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2]

STRUCTURE = 0.5
"""Smallest standard deviation of the noise, relative to that of the surroundings of a pixel."""

ROUNDING = 0.3
"""Standard deviation of the noise of rounding, relative to the step between values."""

PHOTONS = 12.0
"""Smallest height of a defect in photons if the gain is known, because few counts have a long tail."""

CANDIDATE = np.dtype(
    [
        ("channel", "i4"),
        ("y", "i4"),
        ("x", "i4"),
        ("value", "f8"),
        ("gap", "f8"),
        ("level", "f8"),
        ("deviation", "f8"),
        ("excess", "f8"),
    ]
)
"""A candidate for a hot pixel, in the image's units: its ``value``; ``gap``, its distance from the
second most extreme neighbour, negative for a dark pixel; ``level`` and ``deviation``, median and
standard deviation of its surroundings; and ``excess``, its distance from the mean of its neighbours
without the two most extreme ones."""


def find_candidates(plane: NDArray[Any], gone: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Find isolated pixels outside the range of all their neighbours but one.

    One neighbour may be as bright, because defects occur in pairs.  Points of light are excluded,
    because a lens spreads them over several pixels (see `OPTICAL`).

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), optional
        Mask of missing pixels, which are not compared with their neighbours.

    Returns
    -------
    ndarray of `CANDIDATE`
        Candidates in the order of rows.  The array is empty if a side is shorter than 5 pixels, or if
        there are too many candidates for isolated defects.

    Examples
    --------
    >>> import numpy as np
    >>> dark = np.random.default_rng(0).poisson(20, (64, 64)).astype(np.uint16)
    >>> dark[30, 40] = 900
    >>> [(int(c["y"]), int(c["x"])) for c in find_candidates(dark) if c["gap"] > 100]
    [(30, 40)]
    """
    places, step = find_isolated(plane, gone)
    candidates = _measured(plane, gone, places)
    candidates["deviation"] = np.maximum(candidates["deviation"], ROUNDING * step)
    return candidates


def _measured(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, places: NDArray[np.intp]
) -> NDArray[Any]:
    """Candidates at these positions, with the statistics of their surroundings."""
    if not len(places):
        return np.empty(0, CANDIDATE)
    y, x = places.T
    own = plane[y, x].astype(np.float64)
    around = values_around(plane, gone, y, x, NEIGHBOURS + RING).T.astype(np.float64, order="C")
    near, ring = around[:, :8], around[:, 8:]
    near.sort(1)
    bright = own > near[:, 4]
    edge = np.where(bright, near[:, -2], near[:, 1])
    level = _median(ring)
    gap = own - edge
    last = plane.shape[0] - 1, plane.shape[1] - 1
    at_border = (y == 0) | (x == 0) | (y == last[0]) | (x == last[1])
    share = np.where(at_border, OPTICAL_AT_BORDER, OPTICAL)
    keep = (np.abs(edge - level) < share * np.abs(own - level)) & np.isfinite(gap)
    if plane.dtype.kind == "u":  # saturated surroundings show no noise
        keep &= level < np.iinfo(plane.dtype).max
    found = np.zeros(int(keep.sum()), CANDIDATE)
    found["y"], found["x"], found["gap"], found["level"] = y[keep], x[keep], gap[keep], level[keep]
    found["value"] = own[keep]
    found["excess"] = (own - near[:, 1:-1].mean(1))[keep]
    # Without the extremes: one defect in the surroundings must not hide another one.
    found["deviation"] = 1.15 * np.sort(around[keep], 1)[:, 1:-1].std(1)
    return found


def _median(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of (n, 16) along the second axis, in a third of the time of `numpy.median`."""
    ring = np.sort(ring, 1)
    level: NDArray[np.float64] = ring[:, 7:9].mean(1)
    level[np.isnan(ring[:, -1])] = np.nan
    return level


def without_hot_pixels(
    plane: NDArray[Any],
    gone: NDArray[np.bool_] | None,
    candidates: NDArray[Any],
    rows: slice,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Rows of a plane as floats, in which strong candidates are the mean of their neighbours.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels.
    candidates : ndarray of `CANDIDATE`
        Strong candidates of the plane, in the order of rows.
    rows : slice
    out : ndarray, optional
        Memory for the result, with at least as many rows.

    Returns
    -------
    ndarray, shape (rows, w)
        NaN for missing pixels and saturated integers, which hide the differences between lines.
    """
    own = plane[rows]
    if out is None:
        out = np.empty(own.shape, float_dtype(plane.dtype))
    found = out[: len(own)]
    found[:] = own
    first, last = np.searchsorted(candidates["y"], [rows.start, rows.stop])
    inside = candidates[first:last]
    found[inside["y"] - rows.start, inside["x"]] -= inside["excess"]
    if gone is not None:
        found[gone[rows]] = np.nan
    if own.dtype.kind in "iu" and own.max() == np.iinfo(own.dtype).max:
        found[own == np.iinfo(own.dtype).max] = np.nan
    return found


def float_dtype(dtype: np.dtype[Any]) -> Any:
    """Dtype in which sums of pixels are exact for integers, and precise for floats."""
    return np.float64 if dtype.kind == "f" else np.float32


def is_strong(candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of candidates that noise alone would hardly produce."""
    strong: NDArray[np.bool_] = np.abs(candidates["gap"]) > STRONG * candidates["deviation"]
    return strong


def may_be_significant(candidates: NDArray[Any], needed: float) -> NDArray[np.bool_]:
    """Mask of candidates that `significant` may accept, for any noise of the image."""
    deviation = STRUCTURE * candidates["deviation"]
    may_be: NDArray[np.bool_] = np.abs(candidates["gap"]) > needed * deviation
    return may_be


def significant(
    candidates: NDArray[Any],
    noise: NoiseModel | None,
    needed: float = SIGNIFICANCE,
) -> NDArray[np.bool_]:
    """Mask of candidates that are defects and not the tail of the noise.

    Electron multiplication and clipping produce noise with a long tail, which falls about
    exponentially between `WEAKEST` and `WEAKEST` + 3 standard deviations.  A defect must therefore
    also exceed the height above which less than half a pixel of that tail is expected.

    Parameters
    ----------
    candidates : ndarray of `CANDIDATE`
        All candidates of an image.
    noise : NoiseModel, optional
        Noise of the image; without it the noise is estimated from the surroundings of each pixel.
    needed : float
        Smallest height of a defect in standard deviations.
    """
    deviation = candidates["deviation"]
    enough = np.ones(len(candidates), bool)
    if noise is not None:
        # Structure in the surroundings overestimates the noise, a few counts underestimate it.
        deviation = np.maximum(noise.deviation(candidates["level"]), STRUCTURE * deviation)
        enough = np.abs(candidates["excess"]) > PHOTONS * noise.gain
    height = candidates["gap"] / deviation
    accepted = np.zeros(len(height), bool)
    for own in (height, -height):
        near, far = (
            float(np.sum((own >= low) & (own < low + 1.5))) for low in (WEAKEST, WEAKEST + 1.5)
        )
        # Few candidates do not determine the tail, which is then assumed to be short.
        decay = math.log(max((near + 20) / (far + 1), 1.25)) / 1.5
        tail = far / (1 - math.exp(-1.5 * decay))
        limit = WEAKEST + 1.5 + math.log(max(2 * tail, 1.0)) / decay
        accepted |= own > max(needed, limit)
    return accepted & enough
