"""Search for isolated pixels outside the range of their neighbours.

Nearly all pixels are excluded by few comparisons in the dtype of the plane. `hot_pixels` decides which of
the others are defects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_cells import cells, spread, usual_differences

MOST = 0.02
"""Largest share of candidates; images with more consist of isolated pixels."""

BAND = 1 << 17
"""Number of pixels to compare at a time, so that intermediate results fit the processor's cache."""

FEW = 32
"""If less than one pixel of this number is outstanding, these are tested without another comparison of
all pixels."""

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
    (edges, down), (_, across) = cells(height), cells(width)
    usual = usual_differences(plane, gone).take(across, 1)
    step = _step_of_sample(plane, gone)
    tested, found = [], []
    for y, x, values, others in _outstanding(plane, gone, usual, edges, step is None):
        tested.append(others)
        found.append((np.stack([y, x], 1), values, usual[down[y], x]))
    if step is None:
        step = _step_of_few(plane, gone, np.concatenate(tested))
    isolated = np.concatenate(
        [
            places[np.flatnonzero(_leave_the_range(values, limits, step))]
            for places, values, limits in found
        ]
    )
    return none if len(isolated) > MOST * plane.size + 8 else (isolated, step)


def _outstanding(
    plane: NDArray[Any],
    gone: NDArray[np.bool_] | None,
    usual: NDArray[np.float64],
    edges: NDArray[np.intp],
    with_others: bool,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any], NDArray[Any]]]:
    """Find pixels far outside the ranges of opposite neighbours.

    The results of several bands are collected.  Pixels that `_leave_the_cross` would certainly exclude are left out.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels.
    usual : ndarray, shape (cells, w)
        Smallest distance, for each row of cells and each column.
    edges : ndarray, shape (cells + 1,)
        First row of each row of cells, and the number of rows.
    with_others : bool
        Whether to return the values of the pixels that are left out as well.

    Yields
    ------
    y, x : ndarray
        Rows and columns of n pixels.
    values : ndarray, shape (9, n)
        Values of these pixels, and of their `NEIGHBOURS`.
    others : ndarray
        Different values of all outstanding pixels, if they are requested; else empty.
    """
    height, width = plane.shape[0], plane.shape[1] + 2
    rows = max(1, BAND // plane.shape[1])
    # Differences of half floats do not fit in their own dtype.
    dtype = plane.dtype
    if plane.dtype == np.float16 or (gone is not None and plane.dtype.kind != "f"):
        dtype = np.dtype(np.float32)
    # Memory that is allocated again for every band would be cleared by the system each time.
    space = np.empty((rows + 2, width), dtype)
    work = np.empty((5, rows * width), dtype)
    marks = np.empty((2, rows * width), bool)
    unsigned = dtype if dtype.kind == "f" else np.dtype(f"u{dtype.itemsize}")
    most = np.inf if dtype.kind == "f" else np.iinfo(unsigned).max
    limits = np.full((len(usual), width), most, unsigned)
    limits[:, 1:-1] = np.minimum(usual, most)
    in_cells = list(zip(edges.tolist(), edges[1:].tolist(), limits, strict=False))
    steps = np.array([[dy * width + dx] for dy, dx in [(0, 0), *NEIGHBOURS]])
    places, values, others = [], [], [np.empty(0, dtype)]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = space[: bottom - top + 2]
        _fill_band(band, plane, gone, top, bottom)
        # Neighbours are at a fixed distance in memory, and a single long row is compared twice as
        # fast as many short ones.
        flat, size = band.ravel(), (bottom - top) * width
        far, both = marks[:, :size]
        own, left, right, above, below = (
            flat[width + shift :][:size] for shift in (0, -1, 1, -width, width)
        )
        parts = [
            (slice(max(start, top) - top, min(stop, bottom) - top), limit)
            for start, stop, limit in in_cells
            if start < bottom and stop > top
        ]
        _mark_outstanding(own, (left, right), (above, below), parts, work, far, both)
        if with_others:
            others.append(np.unique(own[far]))
        centre = np.flatnonzero(both) + width
        places.append(centre + (top - 1) * width)
        values.append(flat.take(steps + centre))
        if bottom == height or sum(map(len, places)) > BAND:
            y, x = np.divmod(np.concatenate(places), width)
            yield y, x - 1, np.concatenate(values, 1), np.concatenate(others)
            places, values, others = [], [], [np.empty(0, dtype)]


def _mark_outstanding(
    own: NDArray[Any],
    across: tuple[NDArray[Any], NDArray[Any]],
    down: tuple[NDArray[Any], NDArray[Any]],
    limits: Sequence[tuple[slice, NDArray[Any]]],
    work: NDArray[Any],
    far: NDArray[np.bool_],
    both: NDArray[np.bool_],
) -> None:
    """Mark pixels that are ``far`` outside the ranges of opposite neighbours, and those to test further.

    A pixel is far outside if its distance from the ranges of both pairs exceeds its limit.  One of
    two opposite neighbours may be a defect as well.

    Parameters
    ----------
    own : ndarray, shape (n,)
        Values of pixels, row by row.
    across, down : (ndarray, ndarray)
        Their neighbours in their row, and in their column.
    limits : sequence of (slice, ndarray)
        Rows of these pixels, and their limits in each of w columns; unsigned for integers.
    work : ndarray, shape (5, n or more)
        Memory for intermediate results.
    far, both : ndarray of bool, shape (n,)
        Where to write the marks.
    """
    least, most, above, below, space = work[:, : len(own)]
    unsigned, rows = limits[0][1].dtype, (-1, len(limits[0][1]))
    np.maximum(np.minimum(*across, out=least), np.minimum(*down, out=space), out=least)
    np.minimum(np.maximum(*across, out=most), np.maximum(*down, out=space), out=most)
    # Differences of integers are never negative, and fit in the unsigned dtype.
    with np.errstate(invalid="ignore", over="ignore"):
        np.subtract(np.maximum(own, least, out=above), least, out=above)
        np.subtract(most, np.minimum(own, most, out=below), out=below)
        distance = np.maximum(above.view(unsigned), below.view(unsigned), out=above.view(unsigned))
        for part, limit in limits:
            np.greater(distance.reshape(rows)[part], limit, out=far.reshape(rows)[part])
        both[:] = far
        if np.count_nonzero(far) * FEW < len(far):
            return
        # At edges, two of the four are alike, and `_leave_the_cross` would exclude the pixel later.
        second, but_one = np.maximum(least, most, out=below), np.minimum(least, most, out=space)
        span = np.subtract(second, but_one, out=most).view(unsigned)
        np.subtract(np.maximum(own, second, out=least), second, out=least)
        np.subtract(but_one, np.minimum(own, but_one, out=above), out=above)
        distance = np.maximum(least.view(unsigned), above.view(unsigned), out=least.view(unsigned))
        # `_leave_the_cross` requires about 2.5 times the span.
        half = distance >> 1 if unsigned.kind == "u" else distance * unsigned.type(0.5)
        both &= np.greater_equal(half, span)


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


def _leave_the_range(
    values: NDArray[Any], limits: NDArray[np.float64], step: float
) -> NDArray[np.bool_]:
    """Mask of outstanding pixels far outside the range of their neighbours, ignoring the most extreme ones.

    Parameters
    ----------
    values : ndarray, shape (9, n)
        Values of these pixels, and of their `NEIGHBOURS`; missing neighbours are overwritten.
    limits : ndarray, shape (n,)
        Smallest distance from the range of opposite neighbours.
    step : float
        Usual difference between values of the plane.
    """
    far = _leave_the_cross(values, limits)
    own, near = values[0], values[1:]
    if near.dtype.kind == "f":
        near[np.isnan(near)] = np.inf  # a missing neighbour is one of the two that are ignored
    highest, second = np.maximum(near[0], near[1]), np.minimum(near[0], near[1])
    lowest, but_one = second, highest
    for one in near[2:]:
        highest, second = np.maximum(highest, one), np.maximum(second, np.minimum(highest, one))
        lowest, but_one = np.minimum(lowest, one), np.minimum(but_one, np.maximum(lowest, one))
    own, second, but_one = (a.astype(np.float64) for a in (own, second, but_one))
    with np.errstate(invalid="ignore"):
        room = np.maximum(2.5 * np.maximum(second - but_one, step), 0.5 * limits)
        far &= np.maximum(own - second, but_one - own) > room
    return far


def _leave_the_cross(values: NDArray[Any], limits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of pixels far outside the range of the neighbours in their row and column, without one of each pair."""
    cross = values[[0, *(1 + NEIGHBOURS.index(step) for step in CROSS)]]
    cross = cross if cross.dtype.kind == "f" else cross.astype(np.int64)
    own, left, right, above, below = cross
    limits = limits.astype(cross.dtype)
    with np.errstate(invalid="ignore"):
        low = np.maximum(np.minimum(left, right), np.minimum(above, below))
        high = np.minimum(np.maximum(left, right), np.maximum(above, below))
        second, but_one = np.maximum(low, high), np.minimum(low, high)
        distance = 2.01 * np.maximum(own - second, but_one - own)
        far: NDArray[np.bool_] = (distance >= limits) & (distance >= 5 * (second - but_one))
    return far


def _step_of_sample(plane: NDArray[Any], gone: NDArray[np.bool_] | None) -> float | None:
    """Usual difference between values of a plane, from a sample of it; None if it has too few.

    Pictures that were recorded with fewer bits than their dtype has, such as 8-bit pictures as
    floats, have steps between their values and rounding noise.
    """
    differences = _differences(_valid(plane, gone, _spacing(plane)))
    if len(differences) < LEAST_VALUES - 1:
        return None
    # Not the smallest one, because a few values may be off the steps.
    return float(np.quantile(differences, 0.25, method="lower"))


def _step_of_few(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, others: NDArray[Any]
) -> float:
    """Usual difference between values of a plane with few values, from a larger sample and others."""
    more = np.append(_valid(plane, gone, min(4, _spacing(plane))), others)
    if plane.dtype.kind in "iu":
        # A few values, such as those of sparse counts, show the step only if all are multiples of it.
        own = np.unique(more).astype(np.int64)
        return float(np.gcd.reduce(np.diff(own))) if len(own) >= LEAST_VALUES else 1.0
    differences = _differences(more)
    return float(differences.min()) if len(differences) else 0.0


def _spacing(plane: NDArray[Any]) -> int:
    """Distance in pixels of the sample that shows the step between the values of a plane."""
    return max(1, min(16, math.isqrt(plane.size // ENOUGH)))


def _valid(plane: NDArray[Any], gone: NDArray[np.bool_] | None, spacing: int) -> NDArray[Any]:
    """Some pixels of a plane, about ``spacing`` apart, that are not missing."""
    y, x = (spread(length, max(2, length // spacing // 2 * 2)) for length in plane.shape)
    sample = plane[y].take(x, 1)
    return sample.ravel() if gone is None else sample[~gone[y].take(x, 1)]


def _differences(values: NDArray[Any]) -> NDArray[np.float64]:
    """Differences between successive values, without those due to the precision of their dtype."""
    own = np.unique(values[np.isfinite(values)]).astype(np.float64)
    found = np.diff(own)
    if values.dtype.kind == "f":
        found = found[found > 4 * float(np.finfo(values.dtype).eps) * np.abs(own).max(initial=0)]
    return found
