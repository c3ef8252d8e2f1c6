"""Hot and dead pixels: single pixels that neither optics nor noise can explain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

MOST = 0.02
"""Largest share of candidates; images with more consist of isolated pixels."""

BAND = 1 << 17
"""Number of pixels to compare at a time, so that intermediate results fit the processor's cache."""

SPAN = 128
"""Number of columns over which the noise is assumed to be constant."""

RING = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2]
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]

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


def find_candidates(plane: NDArray[Any]) -> NDArray[Any]:
    """Find isolated pixels outside the range of all their neighbours but one.

    One neighbour may be as bright, because defects occur in pairs.  Points of light are excluded,
    because a lens spreads them over several pixels (see `OPTICAL`).

    Parameters
    ----------
    plane : ndarray, shape (h, w)

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
    height, width = plane.shape
    if min(height, width) < 5:
        return np.empty(0, CANDIDATE)
    if plane.dtype.kind == "i" or plane.dtype == np.float16:  # differences must not overflow
        plane = plane.astype(np.int32 if plane.dtype.kind == "i" else np.float32)
    # Reflect two pixels beyond the border, so that neither a pixel nor a neighbour occurs twice.
    padded = np.pad(plane, 1, "edge")
    padded[0], padded[-1] = padded[3], padded[-4]
    padded[:, 0], padded[:, -1] = padded[:, 3], padded[:, -4]
    rows = max(1, BAND // width)
    places, limits = [], []
    for top in range(0, height, rows):
        band = padded[top : top + rows + 2]
        usual = _usual_difference(band[1:-1, 1:-1], band[1:-1, 2:])
        place = _outstanding(band, usual)
        limits.append(usual[place[:, 1]])
        places.append(place + np.array([top, 0]))
    found = np.concatenate(places)
    if not len(found):
        return np.empty(0, CANDIDATE)
    found = found[_leave_the_range(padded, found, np.concatenate(limits))]
    counts = np.bincount(found[:, 0] // rows, minlength=len(places))
    allowed = MOST * width * np.minimum(rows, height - rows * np.arange(len(places))) + 8
    return np.empty(0, CANDIDATE) if (counts > allowed).any() else _measured(plane, found)


def _outstanding(padded: NDArray[Any], usual: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows and columns of pixels far outside the range of opposite neighbours: a quick first test."""
    kind, width = padded.dtype.kind, padded.shape[1] - 2
    most = np.inf if kind == "f" else np.iinfo(padded.dtype).max
    limit = np.minimum(usual, most).astype(padded.dtype)
    own, left, right = padded[1:-1, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    above, below = padded[:-2, 1:-1], padded[2:, 1:-1]
    other = np.empty_like(own)
    # One of two opposite neighbours may be a defect as well.
    low = np.minimum(left, right)
    np.maximum(low, np.minimum(above, below, out=other), out=low)
    high = np.maximum(left, right)
    np.minimum(high, np.maximum(above, below, out=other), out=high)
    if kind == "u":  # avoids negative numbers, and uses vector registers of 8 or 16 bits
        np.minimum(own, low, out=low)
        np.subtract(high, np.minimum(own, high, out=other), out=high)
    else:
        np.subtract(high, own, out=high)
    np.maximum(np.subtract(own, low, out=low), high, out=low)
    y, x = np.divmod(np.flatnonzero(low > limit), width)
    return np.stack([y, x], 1)


def _leave_the_range(
    padded: NDArray[Any], places: NDArray[np.intp], usual: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mask of pixels far outside the range of their neighbours, ignoring the most extreme ones."""
    y, x = places.T
    width = padded.shape[1]
    flat, centre = padded.ravel(), (y + 1) * width + x + 1
    near = flat[np.add.outer([dy * width + dx for dy, dx in NEIGHBOURS], centre)]
    near, value = near.astype(np.float64), flat[centre].astype(np.float64)
    near[np.isnan(near)] = np.inf  # a missing neighbour is one of the two that are ignored
    highest, second = np.maximum(near[0], near[1]), np.minimum(near[0], near[1])
    lowest, but_one = second, highest
    for one in near[2:]:
        highest, second = np.maximum(highest, one), np.maximum(second, np.minimum(highest, one))
        lowest, but_one = np.minimum(lowest, one), np.minimum(but_one, np.maximum(lowest, one))
    step = 1.0 if padded.dtype.kind in "iu" else 0.0
    with np.errstate(invalid="ignore"):
        room = np.maximum(2.5 * np.maximum(second - but_one, step), 0.5 * usual)
        far: NDArray[np.bool_] = np.maximum(value - second, but_one - value) > room
    return far


def _usual_difference(own: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """About 3.7 standard deviations of the noise around each column of a band, from a sample."""
    width = own.shape[1]
    span = min(SPAN, width)
    count = width // span
    first, second = (
        a[::8, : count * span].reshape(-1, count, span)[:, :, ::3].astype(np.float64)
        for a in (own, right)
    )
    sample = np.abs(first - second).transpose(1, 0, 2).reshape(count, -1)
    # Use the smaller half of the differences, without edges; missing pixels are sorted to the end.
    half = max(1, sample.shape[1] // 2)
    lower = np.partition(sample, half - 1, 1)[:, :half].mean(1)
    usual = 8 * np.nan_to_num(lower)
    # The last columns, fewer than a span, belong to the span before.
    return np.repeat(usual, [span] * (count - 1) + [width - (count - 1) * span])


def _measured(plane: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """Candidates at these positions, with the statistics of their surroundings."""
    if not len(places):
        return np.empty(0, CANDIDATE)
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
    if plane.dtype.kind == "u":  # saturated surroundings show no noise
        keep &= level < np.iinfo(plane.dtype).max
    found = np.zeros(int(keep.sum()), CANDIDATE)
    found["y"], found["x"], found["gap"], found["level"] = y[keep], x[keep], gap[keep], level[keep]
    found["value"] = own[keep]
    found["deviation"] = 1.15 * around.std(1)[keep]
    found["excess"] = (own - near[:, 1:-1].mean(1))[keep]
    return found


def _around(
    plane: NDArray[Any], y: NDArray[Any], x: NDArray[Any], offsets: list[tuple[int, int]]
) -> NDArray[np.float64]:
    """Values at these offsets from n positions, (n, offsets), reflected as in `find_candidates`."""
    height, width = plane.shape
    dy, dx = np.array(offsets).T
    rows, columns = y[:, None] + dy, x[:, None] + dx
    rows = np.where(rows < 0, 1 - rows, rows)
    rows = np.where(rows >= height, 2 * height - 3 - rows, rows)
    columns = np.where(columns < 0, 1 - columns, columns)
    columns = np.where(columns >= width, 2 * width - 3 - columns, columns)
    return plane[rows, columns].astype(np.float64)


def fill_candidates(plane: NDArray[Any], candidates: NDArray[Any]) -> None:
    """Replace strong candidates in a float plane (h, w) by the mean of their neighbours, in place."""
    strong = candidates[is_strong(candidates)]
    plane[strong["y"], strong["x"]] -= strong["excess"]


def is_strong(candidates: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of candidates that noise alone would hardly produce."""
    strong: NDArray[np.bool_] = np.abs(candidates["gap"]) > STRONG * candidates["deviation"]
    return strong


def significant(
    candidates: NDArray[Any],
    noise: NoiseModel | None,
    least: float,
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
    least : float
        Smallest standard deviation, which is that of rounding.
    needed : float
        Smallest height of a defect in standard deviations.
    """
    deviation = np.maximum(candidates["deviation"], least)
    enough = np.ones(len(candidates), bool)
    if noise is not None:
        # Structure in the surroundings overestimates the noise, a few counts underestimate it.
        deviation = np.maximum(noise.deviation(candidates["level"]), 0.5 * deviation)
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
