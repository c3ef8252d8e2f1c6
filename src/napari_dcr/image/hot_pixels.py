"""Hot and dead pixels: single pixels that no optics and no noise explain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise import NoiseModel

SIGNIFICANCE = 9.0
"""Standard deviations of the surroundings by which a pixel must leave the range of its neighbours."""

REPEATED = 5.0
"""The same for a pixel that does so in most frames of a stack."""

WEAKEST = 4.0
"""Standard deviations from which candidates are kept: their number tells the tail of the noise."""

OPTICAL = 0.3
"""Share of a point's height that its second brightest neighbour has, at least, through a lens. Of a
Gaussian with a standard deviation of 0.8 pixels it is 0.46 or more, wherever the point lies."""

STRONG = 6.0
"""The same for pixels that are left out while the noise and the offsets of lines are estimated."""

OPTICAL_AT_BORDER = 0.12
"""The same for pixels at the border, where a part of the point's neighbours is not in the image."""

MOST = 0.02
"""Largest share of candidates; images with more consist of isolated pixels."""

BAND = 1 << 17
"""Pixels that are compared at once: intermediate results stay in the processor's cache."""

RING = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2]
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]

PHOTONS = 12.0
"""Photons by which a defect must stand out, where the gain is known: the tail of few counts is long."""

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
"""A pixel that stands out, in the image's units: its value, its distance from the second most extreme of its
neighbours (negative for a dark pixel), median and standard deviation of its surroundings, and its
distance from the mean of its neighbours."""


def find_candidates(plane: NDArray[Any]) -> NDArray[Any]:
    """Find isolated pixels outside the range of all their neighbours but one.

    One neighbour may be as bright: defects come in pairs.  A point of light is left alone,
    because a lens spreads it over its neighbours (see `OPTICAL`).

    Parameters
    ----------
    plane : ndarray, shape (h, w)

    Returns
    -------
    ndarray of `CANDIDATE`
        In the order of rows; none if a side is shorter than 5 pixels or if there are
        more than isolated defects can be.

    Examples
    --------
    >>> import numpy as np
    >>> dark = np.random.default_rng(0).poisson(20, (64, 64)).astype(np.uint16)
    >>> dark[30, 40] = 900
    >>> [(int(c["y"]), int(c["x"])) for c in find_candidates(dark) if c["gap"] > 100]
    [(30, 40)]
    """
    height, width = plane.shape
    if min(height, width) < 5:
        return np.empty(0, CANDIDATE)
    rows = max(1, BAND // width)
    places = []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # Reflected at the border: a pixel's own copy must not be among its neighbours.
        index = np.arange(top - 1, bottom + 1)
        index = np.where(index < 0, 1, np.where(index >= height, height - 2, index))
        place = _outstanding(np.pad(plane[index], ((0, 0), (1, 1)), "reflect"))
        if len(place) > MOST * (bottom - top) * width + 8:
            return np.empty(0, CANDIDATE)
        places.append(place + np.array([top, 0]))
    return _measured(plane, np.concatenate(places))


def _outstanding(padded: NDArray[Any]) -> NDArray[np.intp]:
    """Rows and columns of pixels far outside the range of their neighbours, without its extremes."""
    left, centre, right = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    high, low = np.maximum(left, right), np.minimum(left, right)
    # The two largest and the two smallest of three in a row are the largest, middle and smallest.
    most, least = np.maximum(high, centre), np.minimum(low, centre)
    middle = np.maximum(low, np.minimum(high, centre))
    above, below = slice(None, -2), slice(2, None)
    first = np.maximum(most[above], most[below])
    second = np.maximum(
        np.minimum(most[above], most[below]), np.maximum(middle[above], middle[below])
    )
    last = np.minimum(least[above], least[below])
    but_one = np.minimum(
        np.maximum(least[above], least[below]), np.minimum(middle[above], middle[below])
    )
    high, low, own = high[1:-1], low[1:-1], centre[1:-1]
    second = np.maximum(np.minimum(first, high), np.maximum(second, low))
    but_one = np.minimum(np.maximum(last, low), np.minimum(but_one, high))
    spread = second - but_one
    if padded.dtype.kind == "u":  # without negative numbers, and in registers of 8 or 16 bits
        above_, below_ = own - np.minimum(own, second), but_one - np.minimum(own, but_one)
        gap = np.maximum(above_, below_) >> 1
    else:
        gap = np.maximum(own - second, but_one - own) / 2
    # Where the neighbours happen to be alike, the usual distance between neighbours counts.
    sample = spread[::4, ::4]
    sample = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    usual = np.quantile(sample, 0.25) if sample.size else 0
    suspicious = gap > np.maximum(spread, spread.dtype.type(usual * 1.2))
    y, x = np.divmod(np.flatnonzero(suspicious), own.shape[1])
    step = 1.0 if padded.dtype.kind in "iu" else 0.0
    gap = np.maximum(
        *(
            np.subtract(a[y, x], b[y, x], dtype=np.float64)
            for a, b in ((own, second), (but_one, own))
        )
    )
    keep = gap > 2.5 * np.maximum(spread[y, x], step)
    return np.stack([y[keep], x[keep]], 1)


def _measured(plane: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """Candidates at these places, measured against what surrounds them."""
    y, x = places.T
    own = plane[y, x].astype(np.float64)
    near = _around(plane, y, x, NEIGHBOURS)
    ring = _around(plane, y, x, RING)
    near.sort(1)
    bright = own > near[:, 4]
    edge = np.where(bright, near[:, -2], near[:, 1])
    level = np.median(ring, 1)
    # Without the extremes: one defect in the surroundings must not hide another one.
    around = np.sort(np.concatenate([near, ring], 1), 1)[:, 1:-1]
    gap = own - edge
    last = plane.shape[0] - 1, plane.shape[1] - 1
    at_border = (y == 0) | (x == 0) | (y == last[0]) | (x == last[1])
    share = np.where(at_border, OPTICAL_AT_BORDER, OPTICAL)
    keep = (np.abs(edge - level) < share * np.abs(own - level)) & np.isfinite(gap)
    found = np.zeros(int(keep.sum()), CANDIDATE)
    found["y"], found["x"], found["gap"], found["level"] = y[keep], x[keep], gap[keep], level[keep]
    found["value"] = own[keep]
    found["deviation"] = 1.15 * around.std(1)[keep]
    found["excess"] = (own - near.mean(1))[keep]
    return found


def _around(
    plane: NDArray[Any], y: NDArray[Any], x: NDArray[Any], offsets: list[tuple[int, int]]
) -> NDArray[np.float64]:
    """Values at these offsets from places, (n, len(offsets)), reflected at the border."""
    height, width = plane.shape
    dy, dx = np.array(offsets).T
    rows, columns = np.abs(y[:, None] + dy), np.abs(x[:, None] + dx)
    rows = np.where(rows >= height, 2 * height - 2 - rows, rows)
    columns = np.where(columns >= width, 2 * width - 2 - columns, columns)
    return plane[rows, columns].astype(np.float64)


def fill_candidates(plane: NDArray[Any], candidates: NDArray[Any]) -> None:
    """Replace the strong candidates by the mean of their neighbours, in place: a float plane (h, w)."""
    strong = candidates[is_strong(candidates)]
    plane[strong["y"], strong["x"]] -= strong["excess"]


def is_strong(candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Which candidates noise alone would hardly make."""
    strong: NDArray[np.bool_] = np.abs(candidates["gap"]) > STRONG * candidates["deviation"]
    return strong


def significant(
    candidates: NDArray[Any],
    noise: NoiseModel | None,
    least: float,
    needed: float = SIGNIFICANCE,
) -> NDArray[np.bool_]:
    """Which candidates are defects rather than the tail of the noise.

    Electron multiplication and clipping make noise with a long tail.  Between `WEAKEST`
    standard deviations and 3 more it falls about exponentially; the height beyond which
    less than half a pixel of that tail is expected is needed as well.

    Parameters
    ----------
    candidates : ndarray of `CANDIDATE`
        All of an image.
    noise : NoiseModel, optional
        The image's noise; without it every pixel's surroundings alone tell the noise.
    least : float
        Least standard deviation, that of rounding.
    needed : float
        Least height in standard deviations in any case.
    """
    deviation = np.maximum(candidates["deviation"], least)
    enough = np.ones(len(candidates), bool)
    if noise is not None:
        # Surroundings with structure say too much, a few counts too little.
        deviation = np.maximum(noise.deviation(candidates["level"]), 0.5 * deviation)
        enough = np.abs(candidates["excess"]) > PHOTONS * noise.gain
    height = candidates["gap"] / deviation
    accepted = np.zeros(len(height), bool)
    for own in (height, -height):
        near, far = (
            float(np.sum((own >= low) & (own < low + 1.5))) for low in (WEAKEST, WEAKEST + 1.5)
        )
        decay = math.log(max((near + 1) / (far + 1), 1.25)) / 1.5
        tail = far / (1 - math.exp(-1.5 * decay))
        limit = WEAKEST + 1.5 + math.log(max(2 * tail, 1.0)) / decay
        accepted |= own > max(needed, limit)
    return accepted & enough
