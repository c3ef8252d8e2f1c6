"""Measurements of the survey in one block of a plane."""

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
"""Side of a block in pixels.

The size and the order of the blocks are fixed, so that sums of floats are identical to the last
bit however an image is stored."""

NOISE_WINDOW = 512
"""Side in pixels of the window in the middle of a block in which the noise is measured."""

SOLID = 9
"""Side in pixels of squares of one value; only padding, not clipped or sparse counts, fills them."""

SKETCH = 4
"""Step in pixels at which rows and columns are sampled when only outliers are searched for."""


@dataclass(frozen=True)
class Extreme:
    """The smallest or the largest value of some pixels.

    Attributes
    ----------
    value : float
    count : int
        Number of pixels with this value.
    next : float
        Nearest other value, or NaN if too few or all pixels have the extreme value.
    solid : int
        Number of these pixels whose surrounding `SOLID` x `SOLID` pixels all have the value.
    """

    value: float
    count: int
    next: float
    solid: int = 0

    @classmethod
    def of(cls, values: NDArray[Any], sign: int) -> Extreme:
        """Find the smallest (``sign`` -1) or largest (1) of some values."""
        end = values.max() if sign > 0 else values.min()
        is_end = values == end
        count = int(np.count_nonzero(is_end))
        if count < 16 or count == values.size:  # too few to be padding, or no other value
            return cls(float(end), count, np.nan)
        others = values[~is_end]
        return cls(float(end), count, float(others.max() if sign > 0 else others.min()))

    def merged(self, other: Extreme, sign: int) -> Extreme:
        """Combine with the extreme of further pixels."""
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
    """Measurements of one block.

    Attributes
    ----------
    thumbnail : Thumbnail
    histogram : Histogram
    digest : bytes
        SHA-256 of the pixels.
    pixels : int
        Number of pixels that are not missing.
    ends : tuple of Extreme
        Smallest and largest value; empty if all pixels are missing.
    is_grey : bool
        Whether all samples of a pixel are equal everywhere.
    colour : tuple of float or None
        Colour of the block, if all pixels have the same.
    unit : float
        A power of two near the largest value; 1 for integers.
    noise : ndarray or None
        Local noise statistics in ``unit``, see `napari_dcr.image.noise_blocks`.
    clean_noise : ndarray or None
        The same statistics with hot pixels removed.
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
    """Planes to survey, and what to measure in them.

    Attributes
    ----------
    channels, height, width : int
        Number of samples per pixel, and size of each plane in pixels.
    dtype : dtype
        Dtype of the pixels.
    histogram, noise : bool
        Whether to count all intensities, and whether to measure the noise of grey planes.
    ceiling : float
        Largest value in the thumbnail; brighter pixels count with this value, so that a lamp far
        above white does not raise the mean of its surroundings.
    defects : bool
        Whether to search for sensor defects.
    frames : int
        Number of planes.
    padding : tuple of float
        Values of pixels to ignore, found by an earlier survey.
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
        """Rows and columns of the blocks of a plane, in the order in which they are added."""
        return [
            (slice(y, min(y + BLOCK, self.height)), slice(x, min(x + BLOCK, self.width)))
            for y in range(0, self.height, BLOCK)
            for x in range(0, self.width, BLOCK)
        ]

    @np.errstate(over="ignore", invalid="ignore")  # `ImageConditioning` checks for overflow
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
        is_grey = _is_grey(own)
        if self.noise and is_grey:
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
            thumbnail, histogram, digest.digest(), values.size, ends, is_grey,
            _one_colour(own), unit, noise, clean_noise, defects,
        )  # fmt: skip


def _solid(plane: NDArray[Any], end: Extreme) -> int:
    """Count pixels of a plane (h, w) whose surrounding square has one value throughout."""
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
    """Colour of (C, h, w) if it is the same everywhere, else None."""
    for plane in pixels:
        # For most images the first row is enough to decide.
        if not ((plane[0] == plane[0, 0]).all() and (plane == plane[0, 0]).all()):
            return None
    return tuple(map(float, pixels[:, 0, 0]))


def _power_of_two(ends: tuple[Extreme, ...]) -> float:
    """A power of two near the largest value."""
    largest = max((abs(end.value) for end in ends), default=0.0)
    return float(2.0 ** np.clip(np.frexp(largest)[1], -1000, 1000)) if largest else 1.0


def _fullest_window(plane: NDArray[Any], side: int = NOISE_WINDOW) -> tuple[slice, slice]:
    """Window in the middle of a block (h, w), or elsewhere if half of its pixels are missing there."""

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
