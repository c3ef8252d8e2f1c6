"""Find solid areas, in which all pixels have the same value, and compare them with the pixels around them.

`padding_survey` decides from these sums whether the areas are padding or part of the scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing
from napari_dcr.image.padding import Colour, opened, pixels_of, widened

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

LINE = 16
"""Smallest length of the lines along an axis of which solid areas may consist if they are one pixel
thin."""

NEAR, FAR = (2, 4), (6, 10)
"""Distances from an area, in pixels, at which pixels are compared with it. Interpolation may have
mixed nearer pixels with the area."""

THICK, LONG = 17, 48
"""Sides of large squares and lines."""


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
        return SolidAreas(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(SolidAreas))
        )

    @property
    def usual_step(self) -> float:
        """Difference between the areas and pixels at the distances `FAR`."""
        return math.sqrt(self.far_squares / self.far) if self.far else 0.0


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
        for areas_of_window in _edges(
            own, alike, gone, colour, _windows(runs[which == number], alike)
        ):
            total = total.merged(areas_of_window)
        areas[colour] = BlockAreas(total, np.sum(alike, 1), np.sum(alike, 0))
    return areas


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
    places: list[tuple[slice, slice]],
) -> list[SolidAreas]:
    """Compare pixels near solid areas in windows, and farther away, with the value of the areas."""
    found = [SolidAreas()] * len(places)
    shapes = [alike[place].shape for place in places]
    for shape in set(shapes):
        # Windows of equal shape are examined together, because calls for small arrays take long.
        numbers = [number for number, own_shape in enumerate(shapes) if own_shape == shape]
        some = [places[number] for number in numbers]
        lost = None if gone is None else np.stack([gone[(0, *place)] for place in some])
        pixels = np.stack([own[(slice(None), *place)] for place in some], 1)
        areas = _edges_of_equal(pixels, np.stack([alike[place] for place in some]), lost, colour)
        for number, own_areas in zip(numbers, areas, strict=True):
            found[number] = own_areas
    return found


def _edges_of_equal(
    own: NDArray[Any], alike: NDArray[np.bool_], gone: NDArray[np.bool_] | None, colour: Colour
) -> list[SolidAreas]:
    """Compare the pixels in windows (C, n, h, w) of equal shape with the value of their areas."""
    solid = opened(alike, (5, 5)) | opened(alike, (1, LINE)) | opened(alike, (LINE, 1))
    solid = alike & widened(solid, 2)
    around = np.pad(alike, [(0, 0), (THICK, THICK), (THICK, THICK)], "edge")
    thick = opened(around, (THICK, THICK)) | opened(around, (1, LONG)) | opened(around, (LONG, 1))
    thick = solid & widened(thick, 3)[:, THICK:-THICK, THICK:-THICK]
    near, far = (widened(solid, last) & ~widened(solid, first - 1) for first, last in (NEAR, FAR))
    if gone is not None:
        near, far = near & ~gone, far & ~gone
    flat = np.maximum(
        _count(near[..., 1:] & (own[..., 1:] == own[..., :-1]).all(0)),
        _count(near[:, 1:] & (own[:, :, 1:] == own[:, :, :-1]).all(0)),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        steps = [p.astype(np.float64) - v for p, v in zip(own, colour, strict=True)]
        above = np.mean(steps, 0) > 0
        squares = np.mean([step**2 for step in steps], 0)
        sums = [
            [float(values[ring].sum()) for values, ring in zip(squares, rings, strict=True)]
            for rings in (near, far)
        ]
    counts = (
        near, near & alike, near & above, far, far & alike, solid, thick,
    )  # fmt: skip
    return [
        SolidAreas(
            near=n, near_alike=n_alike, near_flat=n_flat, near_above=n_above, far=f,
            far_alike=f_alike, solid=all_solid, thick=all_thick, near_squares=n_squares,
            far_squares=f_squares,
        )
        for n, n_alike, n_above, f, f_alike, all_solid, all_thick, n_flat, n_squares, f_squares in zip(
            *(_count(masks).tolist() for masks in counts), flat.tolist(), *sums, strict=True
        )
    ]  # fmt: skip


def _count(masks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Number of pixels in each of n masks (n, h, w)."""
    return np.count_nonzero(masks, (1, 2))
