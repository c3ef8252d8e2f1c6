"""Find solid areas, in which all pixels have the same value, and compare them with the pixels around them.

`padding_survey` decides from these sums whether the areas are padding or part of the scene.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
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
        return SolidAreas(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

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
        for place in _windows(runs[which == number], alike):
            total = total.merged(_edges(own, alike, gone, colour, place))
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
