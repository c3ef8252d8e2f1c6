"""Find solid areas of one value, and decide whether they are padding or part of the scene.

Deskewing, stitching, rotating and masking leave constant areas in which nothing was measured. They
are not recognised by their value but by three properties: all pixels of an area are equal, although
noise would make them differ; the area ends with a sharp edge, whereas clipped black or white ends
gradually; and the pixels beyond the edge vary, unlike those of a drawing or a page.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing
from napari_dcr.image.padding import Colour, Padding, opened, pixels_of, widened

RUN = 9
"""Smallest number of equal pixels in a row (a run) that may belong to padding. The first, the middle
and the last pixel are compared before all others."""

MOST_RUNS = 4096
"""Largest number of runs along an axis of a block that are examined."""

LEAST_RUNS = 3
"""Smallest number of runs of one value in a block with padding."""

VALUES = 5
"""Number of values of a plane that are examined: those with the longest runs."""

SIDE, WINDOWS = 96, 8
"""Side of the windows in which edges are examined, and their number per block and value."""

SQUARE, MOST_SQUARE = 3, 32
"""Smallest and largest side of the squares of which padding consists. The side grows with the number
of pixels of the scene that have the same value."""

LINE, MOST_LINE = 16, 64
"""Smallest and largest length of the lines along an axis of which padding may consist if it is one
pixel thin."""

CHANCE = 1e-7
"""Largest accepted probability, per pixel, that the scene forms a square or line by chance."""

NEAR, FAR = (2, 4), (6, 10)
"""Distances from an area, in pixels, at which pixels are compared with it. Interpolation may have
mixed nearer pixels with the area."""

SHARP = 0.7
"""Smallest difference between the area and pixels near it, relative to that of pixels farther away.
It is smaller where values approach the limit at which they are clipped."""

BOTH = 0.05
"""If larger shares than this of the pixels near an area are above its value and below it, the area is
not due to clipping."""

RARE = 0.5
"""Largest share of pixels near an area that have its value."""

THICK, LONG, COMPACT = 17, 48, 0.95
"""Sides of large squares and lines, and the smallest share of padding that they cover. Areas that JPEG
compression made constant have irregular edges, so that a smaller share of them is covered."""

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


@dataclass(frozen=True)
class SolidAreas:
    """Sums over part of a plane from which the kind of the solid areas of one value is determined.

    Attributes
    ----------
    runs : int
        Number of runs of at least `RUN` equal pixels.
    count : int
        Number of pixels that have the value.
    near, near_alike, near_flat, near_above : int
        Number of pixels at the distances `NEAR` from solid areas, and how many of them have the
        value, equal their neighbour, and are above the value.
    far, far_alike : int
        Number of pixels at the distances `FAR`, and how many of them have the value.
    solid, thick : int
        Number of pixels in solid areas, and in the large squares or lines among them.
    near_squares, far_squares : float
        Sums of squared differences from the value at the distances `NEAR` and `FAR`.
    """

    runs: int = 0
    count: int = 0
    near: int = 0
    near_alike: int = 0
    near_flat: int = 0
    near_above: int = 0
    far: int = 0
    far_alike: int = 0
    solid: int = 0
    thick: int = 0
    near_squares: float = 0.0
    far_squares: float = 0.0

    def merged(self, other: SolidAreas) -> SolidAreas:
        """Add the sums of another part."""
        return SolidAreas(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def sides(self) -> tuple[int, int] | None:
        """Sides of squares and lines that are too large to be formed by the scene by chance; None if none are."""
        share = (self.near_alike + 1) / (self.near + 2)
        pixels = math.log(CHANCE) / math.log(share)
        square, line = max(SQUARE, math.ceil(math.sqrt(pixels))), max(LINE, math.ceil(pixels))
        if square > MOST_SQUARE:
            return None
        return square, line if line <= MOST_LINE else 0

    @property
    def usual_step(self) -> float:
        """Difference between the areas and pixels at the distances `FAR`."""
        return math.sqrt(self.far_squares / self.far) if self.far else 0.0

    def are_padding(self, least_step: float, is_saturated: bool) -> bool:
        """Whether the areas are padding rather than part of the scene.

        Parameters
        ----------
        least_step : float
            Smallest difference between an area and the pixels around it.
        is_saturated : bool
            Whether the value may be that of saturated pixels.
        """
        if not (self.near and self.far) or self.near_flat > FLAT * self.near:
            return False
        if self.thick < COMPACT * self.solid:
            return False
        near, far = math.sqrt(self.near_squares / self.near), self.usual_step
        if not max(near, far) >= least_step or far == 0:
            return False
        above = self.near_above / self.near
        below = 1 - (self.near_above + self.near_alike) / self.near
        is_noisy = self.near_flat < NOISY * self.near
        is_sharp = near >= SHARP * far or (is_noisy and min(above, below) > BOTH)
        return not is_saturated and self.near_alike < RARE * self.near and is_sharp


@dataclass(frozen=True)
class BlockAreas:
    """Solid areas of one value in a block of a plane.

    Attributes
    ----------
    areas : SolidAreas
    rows, columns : ndarray of int
        Number of pixels with the value in each row and column.
    """

    areas: SolidAreas
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


def find_solid_areas(pixels: NDArray[Any]) -> dict[Colour, BlockAreas]:
    """Find solid areas in a block (C, h, w); the result is empty for most images."""
    own, gone = np.ma.getdata(pixels), missing(pixels)
    runs = _runs(own)
    if not len(runs):
        return {}
    if gone is not None:
        runs = runs[~gone[0, runs[:, 0], runs[:, 1]]]
    colours = own[:, runs[:, 0], runs[:, 1]].T
    found, which, counts = np.unique(colours, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    areas: dict[Colour, BlockAreas] = {}
    for number in np.argsort(-counts, kind="stable")[:VALUES]:
        if counts[number] < LEAST_RUNS:
            break
        colour = tuple(map(float, found[number]))
        alike = pixels_of(own, colour)
        total = SolidAreas(int(counts[number]), int(np.count_nonzero(alike)))
        for place in _windows(runs[which == number], alike):
            total = total.merged(_edges(own, alike, gone, colour, place))
        areas[colour] = BlockAreas(total, np.sum(alike, 1), np.sum(alike, 0))
    return areas


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
            areas, sides = found.areas, found.areas.sides()
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
                and areas.are_padding(LEAST_STEP if whole else 0.0, saturated)
            ):
                kinds.append(Padding(colour, share, *sides))
                continue
            rare = FRAMED_BLACK if all(value == least for value in colour) else FRAMED
            frame = None
            if areas.near_flat < DRAWN * areas.near:
                frame = _frame(found.rows, found.columns, rare)
            if frame is not None and (not saturated or _is_no_sky(frame, self._shape)):
                kinds.append(Padding(colour, share, frame=frame))
        return tuple(kinds)


def _is_nearly_white(colour: Colour, dtype: np.dtype[Any], limit: int | None) -> bool:
    """Whether a colour of integers is white, or just below it."""
    return dtype.kind in "iu" and min(colour) >= NEARLY_WHITE * (limit or np.iinfo(dtype).max)


def _may_be_limit(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a value may be a clipping limit: just below a power of two, or any value of floats."""
    return dtype.kind == "f" or any(0.9 * 2**n <= value < 2**n for n in (8, 10, 12, 14, 15, 16))


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


def _runs(pixels: NDArray[Any]) -> NDArray[np.intp]:
    """Positions (n, 2) at which runs of equal pixels begin, along rows and along columns."""
    first, found = pixels[0], []
    for along in ((RUN // 2, 1), (1, RUN // 2)):
        some = np.ascontiguousarray(first[:: along[0], :: along[1]])
        a, b, c = (
            some[i : i - 2 or None] if along[1] == 1 else some[:, i : i - 2 or None]
            for i in range(3)
        )
        numbers = np.flatnonzero((a == b) & (b == c))
        numbers = numbers[:: 1 + len(numbers) // MOST_RUNS]
        places = np.stack(np.divmod(numbers, max(a.shape[1], 1)), 1) * along
        y, x = places.T
        alike = np.ones(len(places), bool)
        for step in range(1, RUN):
            # Only positions that are still equal are compared further, which are few after some steps.
            left = np.flatnonzero(alike)
            if not len(left):
                break
            far = (y[left] + step, x[left]) if along[1] == 1 else (y[left], x[left] + step)
            same = (pixels[:, far[0], far[1]] == pixels[:, y[left], x[left]]).all(0)
            alike[left] = same
        found.append(places[alike])
    return np.concatenate(found)


def _windows(runs: NDArray[np.intp], alike: NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    """Windows around some of the runs, starting with runs that end within the window."""
    height, width = alike.shape
    reach = SIDE // 2 - FAR[1] - 2
    inside = np.ones(len(runs), bool)
    for down, across in ((-reach, 0), (reach, 0), (0, -reach), (0, reach)):
        y, x = runs[:, 0] + down, runs[:, 1] + across
        beyond = (y < 0) | (y >= height) | (x < 0) | (x >= width)
        inside &= beyond | alike[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    ends = runs[~inside]
    chosen = (
        ends[np.unique(np.linspace(0, len(ends) - 1, WINDOWS).round().astype(int))]
        if len(ends)
        else ends
    )
    return [
        (slice(max(0, y - SIDE // 2), y + SIDE // 2), slice(max(0, x - SIDE // 2), x + SIDE // 2))
        for y, x in chosen.tolist()
    ]


def _edges(
    own: NDArray[Any],
    alike: NDArray[np.bool_],
    gone: NDArray[np.bool_] | None,
    colour: Colour,
    place: tuple[slice, slice],
) -> SolidAreas:
    """Compare pixels near solid areas in a window, and farther away, with the value of the areas."""
    alike, own = alike[place], own[(slice(None), *place)]
    solid = opened(alike, (5, 5)) | opened(alike, (1, LINE)) | opened(alike, (LINE, 1))
    solid = alike & widened(solid, 2)
    around = np.pad(alike, THICK, "edge")
    thick = opened(around, (THICK, THICK)) | opened(around, (1, LONG)) | opened(around, (LONG, 1))
    thick = solid & widened(thick, 3)[THICK:-THICK, THICK:-THICK]
    rings = {n: widened(solid, n) for n in {NEAR[0] - 1, NEAR[1], FAR[0] - 1, FAR[1]}}
    near = rings[NEAR[1]] & ~rings[NEAR[0] - 1]
    far = rings[FAR[1]] & ~rings[FAR[0] - 1]
    if gone is not None:
        near, far = (ring & ~gone[(0, *place)] for ring in (near, far))
    flat = max(
        int((near[:, 1:] & (own[:, :, 1:] == own[:, :, :-1]).all(0)).sum()),
        int((near[1:] & (own[:, 1:] == own[:, :-1]).all(0)).sum()),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        steps = [p.astype(np.float64) - v for p, v in zip(own, colour, strict=True)]
        above = np.mean(steps, 0) > 0
        squares = np.mean([step**2 for step in steps], 0)
        near_squares, far_squares = float(squares[near].sum()), float(squares[far].sum())
    return SolidAreas(
        near=int(near.sum()), near_alike=int((near & alike).sum()),
        near_flat=flat, near_above=int((near & above).sum()),
        far=int(far.sum()), far_alike=int((far & alike).sum()),
        solid=int(solid.sum()), thick=int(thick.sum()), near_squares=near_squares, far_squares=far_squares,
    )  # fmt: skip
