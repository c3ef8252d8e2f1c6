"""Search for isolated pixels outside the range of their neighbours.

Nearly all pixels are excluded by few comparisons in the dtype of the plane. `hot_pixels` decides which of
the others are defects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 0.02
"""Largest share of candidates; images with more consist of isolated pixels."""

BAND = 1 << 17
"""Number of pixels to compare at a time, so that intermediate results fit the processor's cache."""

SPAN = 128
"""Number of columns over which the noise is assumed to be constant."""

NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
CROSS = (0, -1), (0, 1), (-1, 0), (1, 0)

LEAST_VALUES = 3
"""Smallest number of different values in a sample of a plane that shows the step between them."""

ENOUGH = 256
"""Smallest number of pixels in this sample."""


def find_isolated(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], float]:
    """Find pixels far outside the range of all their neighbours but one.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels, which are not compared with their neighbours.

    Returns
    -------
    places : ndarray of int, shape (n, 2)
        Rows and columns, in the order of rows.  There are none if a side is shorter than 5 pixels, or
        if there are too many for isolated defects.
    step : float
        Usual difference between values of the plane.
    """
    none = np.empty((0, 2), np.intp), 0.0
    height, width = plane.shape
    if min(height, width) < 5:
        return none
    rows = max(1, BAND // width)
    usual = _usual_differences(plane, gone, rows)
    tested, found, places = [], [], []
    for y, x, values in _different(plane, gone, usual, rows):
        limits = usual[y // rows, x]
        outstanding, may_leave = _outstanding(values, limits)
        tested.append(values[0, outstanding])
        found.append((values[:, may_leave], limits[may_leave]))
        places.append(np.stack([y[may_leave], x[may_leave]], 1))
    step = _step(plane, gone, np.concatenate(tested))
    far = np.concatenate([_leave_the_range(v[0], v[1:], limits, step) for v, limits in found])
    isolated = np.concatenate(places)[far]
    counts = np.bincount(isolated[:, 0] // rows, minlength=len(usual))
    allowed = MOST * width * np.minimum(rows, height - rows * np.arange(len(usual))) + 8
    return none if (counts > allowed).any() else (isolated, step)


def _different(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, usual: NDArray[np.float64], rows: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]]:
    """Find pixels that differ much from a neighbour in their row, and from one in their column.

    Few pixels do, and only these are compared with all of their neighbours.  The results of several
    bands are collected.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels.
    usual : ndarray, shape (bands, w)
        Smallest difference, for each band of rows and each column.
    rows : int
        Number of rows in a band.

    Yields
    ------
    y, x : ndarray
        Rows and columns of n pixels.
    values : ndarray, shape (9, n)
        Values of these pixels, and of their `NEIGHBOURS`.
    """
    height, width = plane.shape[0], plane.shape[1] + 2
    # Differences of half floats do not fit in their own dtype.
    dtype = plane.dtype
    if plane.dtype == np.float16 or (gone is not None and plane.dtype.kind != "f"):
        dtype = np.dtype(np.float32)
    # Memory that is allocated again for every band would be cleared by the system each time.
    space = np.empty((3, rows + 2, width), dtype)
    marks = np.empty((3, (rows + 2) * width), bool)
    limit = np.empty(width, dtype if dtype.kind == "f" else f"u{dtype.itemsize}")
    most = np.inf if dtype.kind == "f" else np.iinfo(limit.dtype).max
    limit[[0, -1]] = most
    nearer = limit.copy()
    steps = np.array([[dy * width + dx] for dy, dx in [(0, 0), *NEIGHBOURS]])
    places, values = [], []
    for number, top in enumerate(range(0, height, rows)):
        bottom = min(top + rows, height)
        band = space[0, : bottom - top + 2]
        _fill_band(band, plane, gone, top, bottom)
        limit[1:-1] = np.minimum(usual[number], most)
        np.minimum(limit[:-1], limit[1:], out=nearer[:-1])
        # Neighbours are at a fixed distance in memory, and a single long row is compared twice as
        # fast as many short ones.
        flat, size = band.ravel(), (bottom - top) * width
        across, down, both = marks[0, :size], marks[1, : size + width], marks[2, :size]
        _mark_differences(flat[width:][:size], flat[width + 1 :][:size], nearer, space[1:], across)
        _mark_differences(flat[:-width], flat[width:], limit, space[1:], down)
        np.logical_or(down[:size], down[width:], out=both)
        np.logical_or(across[1:], across[:-1], out=down[1:size])
        both[1:] &= down[1:size]
        centre = np.flatnonzero(both) + width
        places.append(centre + (top - 1) * width)
        values.append(flat.take(steps + centre))
        if bottom == height or sum(map(len, places)) > BAND:
            y, x = np.divmod(np.concatenate(places), width)
            yield y, x - 1, np.concatenate(values, 1)
            places, values = [], []


def _mark_differences(
    first: NDArray[Any],
    second: NDArray[Any],
    limit: NDArray[Any],
    space: NDArray[Any],
    out: NDArray[np.bool_],
) -> None:
    """Mark pixels that differ from others by more than the limit of their column."""
    difference, other = space.reshape(2, -1)[:, : len(first)]
    if first.dtype.kind == "f":
        np.abs(np.subtract(first, second, out=difference), out=difference)
    else:  # avoids negative numbers, and uses vector registers of 8 or 16 bits
        np.maximum(first, second, out=difference)
        np.subtract(difference, np.minimum(first, second, out=other), out=difference)
        difference = difference.view(limit.dtype)
    shape = -1, len(limit)
    np.greater(difference.reshape(shape), limit, out=out.reshape(shape))


def _fill_band(
    band: NDArray[Any], plane: NDArray[Any], gone: NDArray[np.bool_] | None, top: int, bottom: int
) -> None:
    """Write rows of a plane with one pixel around them to ``band``; missing pixels are NaN.

    Pixels beyond the border of the plane are `reflected`.
    """
    above, below = reflected(np.array([top - 1, bottom]), len(plane)).tolist()
    for inner, rows in (
        (band[1:-1, 1:-1], slice(top, bottom)),
        (band[:1, 1:-1], slice(above, above + 1)),
        (band[-1:, 1:-1], slice(below, below + 1)),
    ):
        inner[:] = plane[rows]
        if gone is not None:
            inner[gone[rows]] = np.nan
    band[:, 0], band[:, -1] = band[:, 3], band[:, -4]


def reflected(places: NDArray[Any], size: int) -> NDArray[Any]:
    """Positions with those beyond the border reflected, so that neither a pixel nor one of its neighbours occurs twice."""
    places = np.where(places < 0, 1 - places, places)
    found: NDArray[Any] = np.where(places >= size, 2 * size - 3 - places, places)
    return found


def _outstanding(
    values: NDArray[Any], limits: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of pixels far outside the range of opposite neighbours, and of those for the next test.

    Parameters
    ----------
    values : ndarray, shape (9, n)
        Values of these pixels, and of their `NEIGHBOURS`.
    limits : ndarray, shape (n,)
        Smallest distance from the range.
    """
    cross = values[[0, *(1 + NEIGHBOURS.index(step) for step in CROSS)]]
    cross = cross if cross.dtype.kind == "f" else cross.astype(np.int64)
    own, left, right, above, below = cross
    limits = limits.astype(cross.dtype)
    with np.errstate(invalid="ignore"):
        # One of two opposite neighbours may be a defect as well.
        low = np.maximum(np.minimum(left, right), np.minimum(above, below))
        high = np.minimum(np.maximum(left, right), np.maximum(above, below))
        outstanding = np.maximum(own - low, high - own) > limits
        # At edges, two of the four are alike, and `_leave_the_range` would exclude the pixel later.
        second, but_one = np.maximum(low, high), np.minimum(low, high)
        distance = 2.01 * np.maximum(own - second, but_one - own)
        may_leave = outstanding & (distance >= limits) & (distance >= 5 * (second - but_one))
    return outstanding, may_leave


def _leave_the_range(
    values: NDArray[Any], near: NDArray[Any], usual: NDArray[np.float64], step: float
) -> NDArray[np.bool_]:
    """Mask of pixels far outside the range of their neighbours, (8, n), ignoring the most extreme ones."""
    if near.dtype.kind == "f":
        near[np.isnan(near)] = np.inf  # a missing neighbour is one of the two that are ignored
    highest, second = np.maximum(near[0], near[1]), np.minimum(near[0], near[1])
    lowest, but_one = second, highest
    for one in near[2:]:
        highest, second = np.maximum(highest, one), np.maximum(second, np.minimum(highest, one))
        lowest, but_one = np.minimum(lowest, one), np.minimum(but_one, np.maximum(lowest, one))
    value, second, but_one = (a.astype(np.float64) for a in (values, second, but_one))
    with np.errstate(invalid="ignore"):
        room = np.maximum(2.5 * np.maximum(second - but_one, step), 0.5 * usual)
        far: NDArray[np.bool_] = np.maximum(value - second, but_one - value) > room
    return far


def _step(plane: NDArray[Any], gone: NDArray[np.bool_] | None, others: NDArray[Any]) -> float:
    """Usual difference between values of a plane, from a sample of it, and of others if it has too few.

    Pictures that were recorded with fewer bits than their dtype has, such as 8-bit pictures as
    floats, have steps between their values and rounding noise.
    """
    spacing = max(1, min(16, math.isqrt(plane.size // ENOUGH)))
    differences = _differences(_valid(plane, gone, spacing))
    if len(differences) >= LEAST_VALUES - 1:
        # Not the smallest one, because a few values may be off the steps.
        return float(np.quantile(differences, 0.25, method="lower"))
    more = np.append(_valid(plane, gone, min(4, spacing)), others)
    if plane.dtype.kind in "iu":
        # A few values, such as those of sparse counts, show the step only if all are multiples of it.
        own = np.unique(more).astype(np.int64)
        return float(np.gcd.reduce(np.diff(own))) if len(own) >= LEAST_VALUES else 1.0
    differences = _differences(more)
    return float(differences.min()) if len(differences) else 0.0


def _valid(plane: NDArray[Any], gone: NDArray[np.bool_] | None, spacing: int) -> NDArray[Any]:
    """Some pixels of a plane, ``spacing`` apart, that are not missing."""
    sample = plane[::spacing, ::spacing]
    return sample.ravel() if gone is None else sample[~gone[::spacing, ::spacing]]


def _differences(values: NDArray[Any]) -> NDArray[np.float64]:
    """Differences between successive values, without those due to the precision of their dtype."""
    own = np.unique(values[np.isfinite(values)]).astype(np.float64)
    found = np.diff(own)
    if values.dtype.kind == "f":
        found = found[found > 4 * float(np.finfo(values.dtype).eps) * np.abs(own).max(initial=0)]
    return found


def _usual_differences(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, rows: int
) -> NDArray[np.float64]:
    """About 3.7 standard deviations of the noise around each column of each band, from a sample.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels.
    rows : int
        Number of rows in a band.

    Returns
    -------
    ndarray, shape (bands, w)
    """
    height, width = plane.shape
    span = min(SPAN, width)
    count = width // span
    step = max(1, min(16, height // 16))
    y = np.arange(height)
    y = y[y % rows % step == 0]
    dtype = np.float32 if plane.dtype.itemsize <= 2 else np.float64
    own = np.empty((len(y), width + 1), dtype)
    own[:, :-1], own[:, -1] = plane[y], plane[y, width - 3]  # reflected as in `_fill_band`
    if gone is not None:
        own[:, :-1][gone[y]] = np.nan
        own[gone[y, width - 3], -1] = np.nan
    first, second = (
        own[:, start:][:, : count * span].reshape(len(y), count, span)[:, :, ::3]
        for start in (0, 1)
    )
    differences = np.abs(first - second)
    usual = np.empty((-(-height // rows), count))
    whole = height // rows
    split = whole * -(-rows // step)
    for bands, own in (
        (usual[:whole], differences[:split]),
        (usual[whole:], differences[split:]),
    ):
        if not len(bands):
            continue
        sample = own.reshape(len(bands), -1, *own.shape[1:]).transpose(0, 2, 1, 3)
        sample = sample.reshape(len(bands), count, -1)
        # Use the smaller half of the differences, without edges; missing pixels are sorted to the end.
        half = max(1, sample.shape[2] // 2)
        lower = np.partition(sample, half - 1, 2)[:, :, :half].mean(2, dtype=np.float64)
        bands[:] = 8 * np.nan_to_num(lower)
    # The last columns, fewer than a span, belong to the span before.
    return np.repeat(usual, [span] * (count - 1) + [width - (count - 1) * span], 1)
