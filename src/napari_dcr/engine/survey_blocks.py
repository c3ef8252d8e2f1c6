"""What the survey measures in one block of a plane."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.defect_survey import BlockDefects, look_for_defects
from napari_dcr.image.intensity import Histogram
from napari_dcr.image.missing import mark, missing
from napari_dcr.image.noise_blocks import block_statistics
from napari_dcr.image.thumbnail import Thumbnail

BLOCK = 2048
"""Pixels a side that are read at once.  Always the same, and always counted in the
same order: that makes sums of floats the same to the last bit, however an image is
stored."""

NOISE_WINDOW = 512
"""Pixels a side of the middle of a block in which the noise is looked at."""

SOLID = 9
"""Side in pixels of the squares of one value that tell padding from clipped or sparse counts."""

SKETCH = 4
"""Every so manieth row and column is counted where only outliers are looked for."""


@dataclass(frozen=True)
class Extreme:
    """An end of the intensities.

    Attributes
    ----------
    value : float
    count : int
        Pixels that have it.
    next : float
        The value next to it, where there are some of these pixels.
    solid : int
        Pixels that have it in all of `SOLID` x `SOLID` pixels around.
    """

    value: float
    count: int
    next: float
    solid: int = 0

    @classmethod
    def of(cls, values: NDArray[Any], sign: int) -> Extreme:
        """Find the least (``sign`` -1) or largest (1) of some values."""
        end = values.max() if sign > 0 else values.min()
        is_end = values == end
        count = int(np.count_nonzero(is_end))
        if count < 16 or count == values.size:  # too few for a fill, or nothing else
            return cls(float(end), count, np.nan)
        others = values[~is_end]
        return cls(float(end), count, float(others.max() if sign > 0 else others.min()))

    def merged(self, other: Extreme, sign: int) -> Extreme:
        """Take in those of more pixels."""
        if other.value == self.value:
            nearest = np.fmax if sign > 0 else np.fmin
            return Extreme(
                self.value, self.count + other.count, float(nearest(self.next, other.next)),
                self.solid + other.solid,
            )  # fmt: skip
        further, nearer = sorted((self, other), key=lambda e: -sign * e.value)
        nearest = np.fmax if sign > 0 else np.fmin
        following = float(nearest(further.next, nearer.value))
        return replace(further, next=following)


@dataclass(frozen=True)
class Block:
    """What one block adds to a survey.

    Attributes
    ----------
    thumbnail : Thumbnail
    histogram : Histogram
    digest : bytes
    pixels : int
        That are not missing.
    ends : tuple of Extreme
        Least and largest; empty if all pixels are missing.
    is_grey : bool
    colour : tuple of float or None
        Of all pixels, if they have the same.
    unit : float
    noise : ndarray or None
        In that unit.
    clean_noise : ndarray or None
        The same without hot pixels.
    defects : BlockDefects or None
    """

    thumbnail: Thumbnail
    histogram: Histogram
    digest: bytes
    pixels: int
    ends: tuple[Extreme, ...]
    is_grey: bool
    colour: tuple[float, ...] | None
    unit: float
    noise: NDArray[Any] | None
    clean_noise: NDArray[Any] | None
    defects: BlockDefects | None = None


@dataclass(frozen=True)
class SurveyRequest:
    """Planes to survey.

    Attributes
    ----------
    channels, height, width : int
        Of each plane.
    dtype : dtype
    histogram, noise : bool
        Whether to count all intensities, and to look at the noise of grey planes.
    ceiling : float
        What brighter pixels count as in the thumbnail: a lamp far above white must not
        lift the mean of its surroundings.
    defects : bool
        Whether to look for defects of the sensor.
    frames : int
        Planes in all.
    padding : tuple of float
        Values of pixels that are not looked at, found by an earlier survey.
    """

    channels: int
    height: int
    width: int
    dtype: np.dtype[Any]
    histogram: bool
    noise: bool = False
    ceiling: float = np.inf
    defects: bool = False
    frames: int = 1
    padding: tuple[float, ...] = ()

    @property
    def blocks(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the blocks of a plane, in the order in which they count."""
        return [
            (slice(y, min(y + BLOCK, self.height)), slice(x, min(x + BLOCK, self.width)))
            for y in range(0, self.height, BLOCK)
            for x in range(0, self.width, BLOCK)
        ]

    @np.errstate(over="ignore", invalid="ignore")  # whoever uses the thumbnail sees it
    def measure(self, pixels: NDArray[Any], row: int, column: int) -> Block:
        """Measure a block (C, h, w) whose first pixel is at ``row``, ``column``."""
        for value in self.padding:
            pixels = mark(pixels, 0, len(pixels), value)
        thumbnail = Thumbnail(self.channels, self.height, self.width)
        finite = np.isfinite(self.ceiling)
        thumbnail.add(np.minimum(pixels, self.ceiling) if finite else pixels, row, column)
        histogram = Histogram(self.dtype)
        histogram.add(pixels if self.histogram else pixels[:, ::SKETCH, ::SKETCH])
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
        if isinstance(pixels, np.ma.MaskedArray):
            digest.update(np.ascontiguousarray(np.ma.getmaskarray(pixels)).data)
        gone, own = missing(pixels), np.ma.getdata(pixels)
        values = own if gone is None else own[~gone]
        ends: tuple[Extreme, ...] = ()
        if values.size:
            ends = Extreme.of(values, -1), Extreme.of(values, 1)
        unit, noise, clean_noise, defects = 1.0, None, None, None
        if self.defects:
            defects, clean = look_for_defects(pixels, row, column, (self.height, self.width))
        if self.noise:
            ends = tuple(replace(end, solid=_solid(pixels[0], end)) for end in ends)
            place = _fullest_window(pixels[0])
            middle = pixels[0][place]
            if self.dtype.kind == "f":
                unit = _power_of_two(ends)
                middle = middle.astype(np.float64) / unit
            noise = clean_noise = block_statistics(middle)
            if defects is not None and defects.touches(*place):
                clean_noise = block_statistics(clean[0][place] / unit)
        return Block(
            thumbnail, histogram, digest.digest(), values.size, ends, _is_grey(own),
            _one_colour(own), unit, noise, clean_noise, defects,
        )  # fmt: skip


def _solid(plane: NDArray[Any], end: Extreme) -> int:
    """Pixels of a plane (h, w) that have a value in all of the square around."""
    if end.count < SOLID**2 or min(plane.shape) < SOLID:
        return 0
    alike = np.ma.getdata(plane) == end.value
    for axis in (0, 1):
        total = np.cumsum(alike, axis, dtype=np.int32)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis)
        first, last = (total.take(range(*span), axis) for span in (
            (0, total.shape[axis] - SOLID), (SOLID, total.shape[axis])))  # fmt: skip
        alike = last - first == SOLID
    return int(np.count_nonzero(alike))


def _is_grey(pixels: NDArray[Any]) -> bool:
    """Whether the samples of (C, h, w) are equal everywhere."""
    return all(
        np.array_equal(pixels[0, 0], other[0]) and np.array_equal(pixels[0], other)
        for other in pixels[1:]
    )


def _one_colour(pixels: NDArray[Any]) -> tuple[float, ...] | None:
    """The colour of (C, h, w) if it is the same everywhere."""
    for plane in pixels:
        # The first row tells for most images.
        if not ((plane[0] == plane[0, 0]).all() and (plane == plane[0, 0]).all()):
            return None
    return tuple(map(float, pixels[:, 0, 0]))


def _power_of_two(ends: tuple[Extreme, ...]) -> float:
    """A power of two near the largest value."""
    largest = max((abs(end.value) for end in ends), default=0.0)
    return float(2.0 ** np.clip(np.frexp(largest)[1], -1000, 1000)) if largest else 1.0


def _fullest_window(plane: NDArray[Any], side: int = NOISE_WINDOW) -> tuple[slice, slice]:
    """Place of the middle of a block (h, w); another part of it where that lacks more than half its pixels."""

    def start(size: int, part: int) -> int:
        return max(0, (size - side) // 2) if part == 0 else (0, max(0, size - side))[part - 1]

    def lost(window: NDArray[Any]) -> float:
        gone = missing(window)
        return 0.0 if gone is None else float(gone.mean())

    best = None
    for row, column in itertools.product(range(3), range(3)):
        top, left = start(plane.shape[0], row), start(plane.shape[1], column)
        place = slice(top, top + side), slice(left, left + side)
        if (share := lost(plane[place])) <= 0.5:
            return place
        if best is None or share < best[0]:
            best = share, place
    assert best is not None
    return best[1]
