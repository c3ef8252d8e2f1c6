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

BAND = 1 << 18
"""Number of bytes of pixels to compare at a time, so that intermediate results fit the processor's
cache."""

FEW = 16
"""If less than one pixel of this number is outstanding, these are tested without another comparison of
all pixels."""

NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
CROSS = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]
DIAGONAL = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
"""A pixel with its neighbours in its row and column, and its other neighbours."""

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
    if min(plane.shape) < 5:
        return none
    plane = np.ascontiguousarray(plane)
    down, across = (cells(length)[1] for length in plane.shape)
    usual = usual_differences(plane, gone).take(across, 1)
    step = _step_of_sample(plane, gone)
    # Differences of half floats do not fit in their own dtype.
    wide = plane.astype(np.float32) if plane.dtype == np.float16 else plane
    tested, found = [], []
    for outstanding in _outstanding(wide, usual):
        y, x = np.divmod(outstanding, plane.shape[1])
        limits = usual[down[y], x]
        cross = values_around(wide, gone, y, x, CROSS)
        far, isolated = _leave_the_cross(cross, limits)
        if step is None:
            tested.append(np.unique(wide[y[far], x[far]]))
        chosen = np.flatnonzero(isolated)
        y, x = y[chosen], x[chosen]
        values = np.concatenate([cross.take(chosen, 1), values_around(wide, gone, y, x, DIAGONAL)])
        found.append((np.stack([y, x], 1), values, limits[chosen]))
    if step is None:
        step = _step_of_few(plane, gone, np.concatenate(tested))
    places = np.concatenate(
        [
            some[np.flatnonzero(_leave_the_range(values, limits, step))]
            for some, values, limits in found
        ]
    )
    return none if len(places) > MOST * plane.size + 8 else (places, step)


def _outstanding(plane: NDArray[Any], usual: NDArray[np.float64]) -> Iterator[NDArray[np.intp]]:
    """Find pixels that differ by more than their limit from a neighbour in their row and one in their column.

    These are all pixels that `_leave_the_cross` may accept, and others.  Pixels at the border are
    compared with fewer neighbours.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
    usual : ndarray, shape (cells, w)
        Limit for each row of cells and each column.

    Yields
    ------
    ndarray of int
        Positions in the flattened plane, in the order of rows; those of several bands are collected.
    """
    height, width = plane.shape
    flat, edges = plane.ravel(), cells(height)[0].tolist()
    unsigned = plane.dtype if plane.dtype.kind == "f" else np.dtype(f"u{plane.dtype.itemsize}")
    most = np.inf if plane.dtype.kind == "f" else np.iinfo(unsigned).max
    # A pixel and its left neighbour may belong to different cells.
    limits = np.minimum(np.minimum(usual, np.roll(usual, 1, 1)), most).astype(unsigned)
    rows = min(max(1, BAND // (width * plane.dtype.itemsize)), int(np.diff(edges).max()))
    # Memory that is allocated again for every band would be cleared by the system each time.
    work = np.empty((5, (rows + 1) * width), plane.dtype)
    of_pixels = np.empty((rows + 1) * width, unsigned)
    marks = np.empty((2, (rows + 1) * width), bool)
    places: list[NDArray[np.intp]] = []
    for start, stop, limit in zip(edges, edges[1:], limits, strict=False):
        of_pixels.reshape(rows + 1, width)[:] = limit
        for top in range(start, stop, rows):
            bottom = min(top + rows, stop)
            first, last, size = top * width, bottom * width, (bottom - top) * width
            # Neighbours are at a fixed distance in memory, and a single long row is compared twice as
            # fast as many short ones.
            across, down = marks
            _mark_pairs(flat[:last], first, 1, of_pixels, work, across)
            _mark_pairs(flat[: last + width], first, width, of_pixels, work, down)
            across[: size + 1 : width] = True  # the left neighbour is beyond the border
            if top == 0:
                down[:width] = True
            if bottom == height:
                down[size : size + width] = True
            both = across[:size] | across[1 : size + 1]
            both &= down[:size] | down[width : size + width]
            found = np.flatnonzero(both)
            if len(found) * FEW >= size:
                inside = slice(max(top, 1), min(bottom, height - 1))
                _exclude_edges(flat, inside, width, work, both[(inside.start - top) * width :])
                found = found[both[found]]
            places.append(found + first)
            if bottom == height or sum(map(len, places)) > BAND:
                yield np.concatenate(places)
                places = []


@np.errstate(invalid="ignore", over="ignore")
def _mark_pairs(
    flat: NDArray[Any], first: int, shift: int, limits: NDArray[Any], work: NDArray[Any],
    marks: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Mark pixels that differ from the one ``shift`` places before by more than their limit.

    Parameters
    ----------
    flat : ndarray
        Pixels.
    first : int
        First pixel to mark; marks of pixels without one ``shift`` places before are not defined.
    shift : int
    limits : ndarray
        Limits of all pixels from ``first`` on; unsigned for integers.
    work : ndarray
        Memory for intermediate results.
    marks : ndarray of bool
        Where to write the marks of these pixels.
    """
    begin, size = max(first, shift), len(flat) - first
    pixels, others = flat[begin:], flat[begin - shift : len(flat) - shift]
    distance, smaller = (space[begin - first : size] for space in work[:2])
    if flat.dtype.kind == "f":
        np.abs(np.subtract(pixels, others, out=distance), out=distance)
    else:  # differences are never negative, and fit in the unsigned dtype
        np.maximum(pixels, others, out=distance)
        np.subtract(distance, np.minimum(pixels, others, out=smaller), out=distance)
    np.greater(work[0, :size].view(limits.dtype), limits[:size], out=marks[:size])


@np.errstate(invalid="ignore", over="ignore")
def _exclude_edges(
    flat: NDArray[Any], rows: slice, width: int, work: NDArray[Any], marks: NDArray[np.bool_]
) -> None:
    """Remove the marks of pixels that `_leave_the_cross` excludes because their neighbours differ, as at edges.

    Parameters
    ----------
    flat : ndarray
        Rows of ``width`` pixels.
    rows : slice
        Rows to test, without those at the border.
    width : int
    work : ndarray
        Memory for intermediate results.
    marks : ndarray of bool
        Marks of these rows.
    """
    first, last = rows.start * width, rows.stop * width
    own, left, right, above, below = (
        flat[first + shift : last + shift] for shift in (0, -1, 1, -width, width)
    )
    low, high, space, second, but_one = work[:, : last - first]
    np.maximum(np.minimum(left, right, out=low), np.minimum(above, below, out=space), out=low)
    np.minimum(np.maximum(left, right, out=high), np.maximum(above, below, out=space), out=high)
    np.maximum(low, high, out=second)
    np.minimum(low, high, out=but_one)
    unsigned = flat.dtype if flat.dtype.kind == "f" else np.dtype(f"u{flat.dtype.itemsize}")
    # Differences of integers are never negative, and fit in the unsigned dtype.
    span = np.subtract(second, but_one, out=space).view(unsigned)
    np.subtract(np.maximum(own, second, out=high), second, out=high)
    np.subtract(but_one, np.minimum(own, but_one, out=low), out=low)
    distance = np.maximum(low.view(unsigned), high.view(unsigned), out=low.view(unsigned))
    # `_leave_the_cross` requires about 2.5 times the span.
    half = distance >> 1 if unsigned.kind == "u" else distance * unsigned.type(0.5)
    differ = half < span
    differ[::width] = differ[width - 1 :: width] = False  # neighbours beyond the border are others
    marks[: last - first] &= ~differ


def values_around(
    plane: NDArray[Any],
    gone: NDArray[np.bool_] | None,
    y: NDArray[np.intp],
    x: NDArray[np.intp],
    steps: Sequence[tuple[int, int]],
) -> NDArray[Any]:
    """Values of pixels at up to 2 pixels from n others, (len(steps), n); missing ones are NaN."""
    height, width = plane.shape
    down, across = np.array(steps).T[:, :, None]
    places = down * width + across + (y * width + x)
    border = np.flatnonzero((y < 2) | (y >= height - 2) | (x < 2) | (x >= width - 2))
    if len(border):
        rows, columns = reflected(y[border] + down, height), reflected(x[border] + across, width)
        places[:, border] = rows * width + columns
    values: NDArray[Any] = plane.ravel().take(places)
    if gone is not None:
        values = values.astype(np.promote_types(values.dtype, np.float32), copy=False)
        values[gone.ravel().take(places)] = np.nan
    return values


def reflected(places: NDArray[Any], size: int) -> NDArray[Any]:
    """Positions with those beyond the border reflected, so that neither a pixel nor one of its neighbours occurs twice."""
    places = np.where(places < 0, 1 - places, places)
    found: NDArray[Any] = np.where(places >= size, 2 * size - 3 - places, places)
    return found


def _leave_the_cross(
    cross: NDArray[Any], limits: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Compare pixels with their neighbours in their row and column.

    Parameters
    ----------
    cross : ndarray, shape (5, n)
        Values at `CROSS`.
    limits : ndarray, shape (n,)
        Smallest distance from the range of opposite neighbours.

    Returns
    -------
    far : ndarray of bool, shape (n,)
        Whether the distances from the ranges of both pairs exceed the limit.  One of two opposite
        neighbours may be a defect as well.
    isolated : ndarray of bool, shape (n,)
        Whether they are also far outside the range of all four without one of each pair.
    """
    cross = cross if cross.dtype.kind == "f" else cross.astype(np.int64)
    own, left, right, above, below = cross
    limits = limits.astype(cross.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        low = np.maximum(np.minimum(left, right), np.minimum(above, below))
        high = np.minimum(np.maximum(left, right), np.maximum(above, below))
        distance = np.maximum(np.maximum(own, low) - low, high - np.minimum(own, high))
        far: NDArray[np.bool_] = distance > limits
        second, but_one = np.maximum(low, high), np.minimum(low, high)
        distance = 2.01 * np.maximum(own - second, but_one - own)
        isolated = far & (distance >= limits) & (distance >= 5 * (second - but_one))
    return far, isolated


def _leave_the_range(
    values: NDArray[Any], limits: NDArray[np.float64], step: float
) -> NDArray[np.bool_]:
    """Mask of isolated pixels far outside the range of their neighbours, ignoring the most extreme ones.

    Parameters
    ----------
    values : ndarray, shape (9, n)
        Values of these pixels, and of their neighbours; missing neighbours are overwritten.
    limits : ndarray, shape (n,)
        Smallest distance from the range of opposite neighbours.
    step : float
        Usual difference between values of the plane.
    """
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
        far: NDArray[np.bool_] = np.maximum(own - second, but_one - own) > room
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
