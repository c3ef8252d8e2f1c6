"""Decide which solid areas of a plane are padding rather than part of the scene.

Deskewing, stitching, rotating and masking leave constant areas in which nothing was measured. They
are not recognised by their value but by three properties: all pixels of an area are equal, although
noise would make them differ; the area ends with a sharp edge, whereas clipped black or white ends
gradually; and the pixels beyond the edge vary, unlike those of a drawing or a page.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.padding import Colour, Padding
from napari_dcr.image.solid_areas import LINE, BlockAreas, SolidAreas

SQUARE, MOST_SQUARE = 3, 32
"""Smallest and largest side of the squares of which padding consists. The side grows with the number
of pixels of the scene that have the same value."""

MOST_LINE = 64
"""Largest length of the lines along an axis of which padding may consist if it is one pixel thin."""

CHANCE = 1e-7
"""Largest accepted probability, per pixel, that the scene forms a square or line by chance."""

SHARP = 0.7
"""Smallest difference between the area and pixels near it, relative to that of pixels farther away.
It is smaller where values approach the limit at which they are clipped."""

BOTH = 0.05
"""If larger shares than this of the pixels near an area are above its value and below it, the area is
not due to clipping."""

RARE = 0.5
"""Largest share of pixels near an area that have its value."""

COMPACT = 0.95
"""Smallest share of padding that large squares and lines cover. Areas that JPEG compression made
constant have irregular edges, so that a smaller share of them is covered."""

FLAT, NOISY, DRAWN = 0.6, 0.1, 0.9
"""Shares of pixels near an area that equal their neighbour. `FLAT` is the largest share beside padding;
drawings have more. `NOISY` is the largest share for noise; in noise, values on both sides of the
area's value show that it was not clipped. `DRAWN` is the smallest share for pure drawings."""

GAP = 0.25
"""Largest difference between the two largest values at which the largest one may be saturation,
relative to the usual difference between its areas and pixels far from them."""

NEARLY_WHITE = 0.97
"""Smallest share of full scale at which a constant colour is a blown-out lamp or sky, not padding.
Compression makes lamps and skies constant just below white, with edges as sharp as those of padding."""

LEAST_STEP = 4
"""Smallest difference of integers between an area and pixels near it."""

INSIDE = 1, 5
"""First and last row or column inside a frame in which few pixels may have the value of the frame."""

FRAMED, FRAMED_BLACK = 0.5, 0.9
"""Largest share of pixels just inside a frame that have its value, in general and for the smallest
value of the image. In a page, more pixels have the colour of its margins."""

THIN = 2
"""Largest thickness of a side of a frame, in rows or columns, that may also be clipped black."""


class PlaneAreas:
    """Solid areas of a plane, collected from its blocks.

    Parameters
    ----------
    height, width : int
        Size of the plane in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._shape = height, width
        self._found: dict[Colour, BlockAreas] = {}

    def add(self, solid: dict[Colour, BlockAreas], rows: slice, columns: slice) -> None:
        """Add the areas of a block."""
        for colour, block in solid.items():
            if colour not in self._found:
                counts = (np.zeros(n, np.int64) for n in self._shape)
                self._found[colour] = BlockAreas(SolidAreas(), *counts)
            found = self._found[colour]
            found.rows[rows] += block.rows
            found.columns[columns] += block.columns
            self._found[colour] = replace(found, areas=found.areas.merged(block.areas))

    def padding(
        self, dtype: np.dtype[Any], bits: int, least: float, largest: float, second: float
    ) -> tuple[Padding, ...]:
        """Return the kinds of padding in the plane.

        Parameters
        ----------
        dtype : dtype
        bits : int
            Number of bits that integers were recorded with; 0 for all bits of their dtype.
        least, largest, second : float
            Smallest, largest and second largest value of the plane.
        """
        whole = dtype.kind in "iu"
        limit = 2**bits - 1 if bits else None
        kinds = []
        for colour, found in sorted(self._found.items(), key=lambda item: -item[1].areas.count):
            areas, sides = found.areas, _sides(found.areas)
            if areas.count < max(self._shape) / 2:
                continue
            # There is no gap between the values of saturated pixels and of others.
            near = largest - second <= GAP * areas.usual_step and _may_be_limit(largest, dtype)
            at_top = all(value in (largest, limit) for value in colour)
            saturated = at_top and (near or colour[0] == limit)
            share = areas.count / math.prod(self._shape)
            is_blown = len(colour) > 1 and _is_nearly_white(colour, dtype, limit)
            if (
                sides
                and not is_blown
                and _are_padding(areas, LEAST_STEP if whole else 0.0, saturated)
            ):
                around = _around(found.rows, found.columns, *sides)
                kinds.append(Padding(colour, share, *sides, around=around))
                continue
            rare = FRAMED_BLACK if all(value == least for value in colour) else FRAMED
            frame = None
            if areas.near_flat < DRAWN * areas.near:
                frame = _frame(found.rows, found.columns, rare)
            if frame is not None and (not saturated or _is_no_sky(frame, self._shape)):
                kinds.append(Padding(colour, share, frame=frame, around=frame))
        return tuple(kinds)


def _sides(areas: SolidAreas) -> tuple[int, int] | None:
    """Sides of squares and lines that are too large to be formed by the scene by chance; None if none are."""
    share = (areas.near_alike + 1) / (areas.near + 2)
    pixels = math.log(CHANCE) / math.log(share)
    square, line = max(SQUARE, math.ceil(math.sqrt(pixels))), max(LINE, math.ceil(pixels))
    if square > MOST_SQUARE:
        return None
    return square, line if line <= MOST_LINE else 0


def _are_padding(areas: SolidAreas, least_step: float, is_saturated: bool) -> bool:
    """Whether the areas are padding rather than part of the scene.

    Parameters
    ----------
    areas : SolidAreas
    least_step : float
        Smallest difference between an area and the pixels around it.
    is_saturated : bool
        Whether the value may be that of saturated pixels.
    """
    if not (areas.near and areas.far) or areas.near_flat > FLAT * areas.near:
        return False
    if areas.thick < COMPACT * areas.solid:
        return False
    near, far = math.sqrt(areas.near_squares / areas.near), areas.usual_step
    if not max(near, far) >= least_step or far == 0:
        return False
    above = areas.near_above / areas.near
    below = 1 - (areas.near_above + areas.near_alike) / areas.near
    is_noisy = areas.near_flat < NOISY * areas.near
    is_sharp = near >= SHARP * far or (is_noisy and min(above, below) > BOTH)
    return not is_saturated and areas.near_alike < RARE * areas.near and is_sharp


def _is_nearly_white(colour: Colour, dtype: np.dtype[Any], limit: int | None) -> bool:
    """Whether a colour of integers is white, or just below it."""
    return dtype.kind in "iu" and min(colour) >= NEARLY_WHITE * (limit or np.iinfo(dtype).max)


def _may_be_limit(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a value may be a clipping limit: just below a power of two, or any value of floats."""
    return dtype.kind == "f" or any(0.9 * 2**n <= value < 2**n for n in (8, 10, 12, 14, 15, 16))


def _around(
    rows: NDArray[np.int64], columns: NDArray[np.int64], square: int, line: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns outside which all pixels belong to squares or lines of one value.

    Parameters
    ----------
    rows, columns : ndarray of int
        Number of pixels with the value in each row and column.
    square, line : int
        See `Padding`.
    """
    shape = len(rows), len(columns)
    spans = []
    for counts, length in ((rows, shape[1]), (columns, shape[0])):
        others = np.flatnonzero(counts < length)
        ends = (int(others[0]), int(others[-1]) + 1) if len(others) else (0, 0)
        is_line = 0 < line <= length
        start, beyond = (
            depth if is_line or min(depth, length) >= square else 0
            for depth in (ends[0], len(counts) - ends[1])
        )
        spans.append((start, len(counts) - beyond))
    return spans[0], spans[1]


def _frame(
    rows: NDArray[np.int64], columns: NDArray[np.int64], rare: float
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns within a frame of one value; None if there is no frame.

    Parameters
    ----------
    rows, columns : ndarray of int
        Number of pixels with the value in each row and column.
    rare : float
        Largest share of such pixels just inside the frame.
    """
    shape = len(rows), len(columns)
    spans = []
    for counts, length in ((rows, shape[1]), (columns, shape[0])):
        others = np.flatnonzero(counts < length)
        if not len(others):
            return None
        spans.append([int(others[0]), int(others[-1]) + 1])
    for axis, counts in enumerate((rows, columns)):
        beside = spans[1 - axis]
        inner = beside[1] - beside[0]
        own = counts - (shape[1 - axis] - inner)  # without the frame's other sides
        size = shape[axis]
        start, stop = spans[axis]
        for side, depth, edge in (
            (0, start, own[start + INSIDE[0] : start + INSIDE[1]]),
            (1, size - stop, own[max(0, stop - INSIDE[1]) : stop - INSIDE[0]]),
        ):
            share = (float(edge.mean()) if len(edge) else inner) / inner
            by_chance = inner * math.log(max(share, 1 / inner)) > math.log(CHANCE)
            # A dark row at the border of a dark scene may be clipped to black by itself.
            most = rare if depth > THIN else min(rare, FRAMED)
            if depth and (share > most or by_chance):
                spans[axis][side] = (0, size)[side]
    if spans == [[0, shape[0]], [0, shape[1]]]:
        return None
    return (spans[0][0], spans[0][1]), (spans[1][0], spans[1][1])


def _is_no_sky(frame: tuple[tuple[int, int], tuple[int, int]], shape: tuple[int, int]) -> bool:
    """Whether a frame has sides other than the top alone or the bottom alone, which may be sky or ground."""
    (top, bottom), columns = frame
    return columns != (0, shape[1]) or (top > 0 and bottom < shape[0])
