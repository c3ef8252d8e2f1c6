"""Measurements of the survey in one block of a plane."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.defect_survey import BlockDefects, look_for_defects
from napari_dcr.image.hot_pixels import without_hot_pixels
from napari_dcr.image.intensity import Histogram
from napari_dcr.image.missing import missing
from napari_dcr.image.noise_blocks import block_statistics
from napari_dcr.image.padding import Colour, Padding, mark_padding
from napari_dcr.image.solid_areas import BlockAreas, find_solid_areas
from napari_dcr.image.thumbnail import Thumbnail

BLOCK = 2048
"""Side of a block in pixels.

The size and the order of the blocks are fixed, so that sums of floats are identical to the last
bit however an image is stored."""

NOISE_WINDOW = 512
"""Side in pixels of the window in the middle of a block in which the noise is measured."""

Extent = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns, start and stop each."""

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
    """

    value: float
    count: int
    next: float

    @classmethod
    def of(cls, values: NDArray[Any], sign: int) -> Extreme:
        """Find the smallest (``sign`` -1) or largest (1) of some values."""
        end = values.max() if sign > 0 else values.min()
        is_end = values == end
        count = int(np.count_nonzero(is_end))
        if count < 16 or count == values.size:  # too few to be padding, or no other value
            return cls(float(end), count, np.nan)
        if values.dtype.kind in "iu":
            # Distance from the extreme, in arithmetic that wraps around at the extreme itself.
            unsigned = np.dtype(f"u{values.dtype.itemsize}")
            own, start = values.view(unsigned), end.view(unsigned)
            beyond = (start - own if sign > 0 else own - start) - unsigned.type(1)
            return cls(float(end), count, float(end) - sign * (float(beyond.min()) + 1))
        others = values[~is_end]
        return cls(float(end), count, float(others.max() if sign > 0 else others.min()))

    def merged(self, other: Extreme, sign: int) -> Extreme:
        """Combine with the extreme of further pixels."""
        if other.value == self.value:
            nearest = np.fmax if sign > 0 else np.fmin
            return Extreme(
                self.value, self.count + other.count, float(nearest(self.next, other.next))
            )  # fmt: skip
        further, nearer = sorted((self, other), key=lambda e: -sign * e.value)
        nearest = np.fmax if sign > 0 else np.fmin
        following = float(nearest(further.next, nearer.value))
        return replace(further, next=following)


def merged_ends(ends: tuple[Extreme, ...], others: tuple[Extreme, ...]) -> tuple[Extreme, ...]:
    """Combine the smallest and the largest value, if there are any, with those of further pixels."""
    if not (ends and others):
        return ends or others
    return tuple(a.merged(b, sign) for a, b, sign in zip(ends, others, (-1, 1), strict=True))


def joined_extent(extent: Extent | None, other: Extent | None) -> Extent | None:
    """Smallest extent that contains both."""
    if extent is None or other is None:
        return extent or other
    rows, columns = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(extent, other, strict=True))
    return rows, columns


def common_extent(extent: Extent | None, other: Extent) -> Extent | None:
    """Rows and columns that are in both extents; None if there are none."""
    if extent is None:
        return None
    rows, columns = ((max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(extent, other, strict=True))
    return (rows, columns) if rows[0] < rows[1] and columns[0] < columns[1] else None


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
    noise_window : (slice, slice) or None
        Rows and columns of the plane in which the noise was measured.
    defects : BlockDefects or None
    solid : dict
        Solid areas, by their value.
    extent : Extent or None
        Rows and columns of the plane that hold data; None if all pixels are missing.
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
    noise_window: tuple[slice, slice] | None = None
    defects: BlockDefects | None = None
    solid: dict[Colour, BlockAreas] = field(default_factory=dict)
    extent: Extent | None = None


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
        Largest value in the thumbnail; brighter pixels, such as lamps far above white, do not count.
    defects : bool
        Whether to search for sensor defects.
    frames : int
        Number of planes.
    solid : bool
        Whether to look for padding.
    steady : bool
        Whether only padding that all planes have counts, as in a video.
    bits : int
        Bit depth of the recorded integers; 0 for that of their dtype.
    extent : Extent, optional
        Rows and columns to survey; all if None.
    measured : bool
        Whether the search for hot pixels uses the noise that was measured.
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
    solid: bool = False
    steady: bool = False
    bits: int = 0
    extent: Extent | None = None
    measured: bool = False

    @property
    def blocks(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the blocks of a plane, in the order in which they are added."""
        (top, bottom), (left, right) = self.area
        return [
            (slice(y, min(y + BLOCK, bottom)), slice(x, min(x + BLOCK, right)))
            for y in range(top, bottom, BLOCK)
            for x in range(left, right, BLOCK)
        ]

    @property
    def area(self) -> Extent:
        """Rows and columns to survey."""
        return self.extent or ((0, self.height), (0, self.width))

    @property
    def area_size(self) -> tuple[int, int]:
        """Number of rows and columns to survey."""
        (top, bottom), (left, right) = self.area
        return bottom - top, right - left

    @np.errstate(over="ignore", invalid="ignore")  # `ImageConditioning` checks for overflow
    def measure(
        self,
        pixels: NDArray[Any],
        row: int,
        column: int,
        padding: tuple[Padding, ...] = (),
        noise: bool = True,
    ) -> Block:
        """Measure a block (C, h, w) whose first pixel is at ``row``, ``column``, without padding.

        Without ``noise``, its noise statistics are left out.
        """
        pixels = mark_padding(pixels, len(pixels), padding, row, column)
        if not isinstance(pixels, np.ma.MaskedArray):
            pixels = np.ascontiguousarray(pixels)  # colours apart, which is faster from here on
        thumbnail = self._thumbnail_of(pixels, row, column)
        histogram = Histogram(self.dtype)
        histogram.add(pixels if self.histogram else pixels[:, ::SKETCH, ::SKETCH])
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
        if isinstance(pixels, np.ma.MaskedArray):
            digest.update(np.ascontiguousarray(np.ma.getmaskarray(pixels)).data)
        gone, own = missing(pixels), np.ma.getdata(pixels)
        values = own if gone is None else own[~gone]
        solid = find_solid_areas(pixels) if self.solid else {}
        ends: tuple[Extreme, ...] = ()
        if values.size:
            ends = Extreme.of(values, -1), Extreme.of(values, 1)
        unit, own_noise, clean_noise, window, defects = 1.0, None, None, None, None
        if self.defects:
            (top, _), (left, _) = self.area
            defects = look_for_defects(pixels, row - top, column - left, self.area_size)
        is_grey = _is_grey(own)
        if self.noise and is_grey and self.dtype.kind == "f":
            unit = _power_of_two(ends)
        if self.noise and is_grey and noise:
            place = _fullest_window(pixels[0])
            middle = pixels[0][place]
            if self.dtype.kind == "f":
                middle = middle.astype(np.float64) / unit
            own_noise = clean_noise = block_statistics(middle)
            if defects is not None and defects.touches(*place):
                strong = defects.strong[defects.strong["channel"] == 0]
                first = None if gone is None else gone[0]
                clean = without_hot_pixels(own[0], first, strong, place[0])
                clean_noise = block_statistics(clean[:, place[1]] / unit)
            window = (
                slice(row + place[0].start, row + min(place[0].stop, own.shape[1])),
                slice(column + place[1].start, column + min(place[1].stop, own.shape[2])),
            )
        return Block(
            thumbnail, histogram, digest.digest(), values.size, ends, is_grey,
            _one_colour(own), unit, own_noise, clean_noise, window, defects, solid,
            _extent(own.shape[1:], gone, row, column),
        )  # fmt: skip

    def new_thumbnail(self) -> Thumbnail:
        """Create an empty thumbnail."""
        return Thumbnail(self.channels, *self.area_size)

    def _thumbnail_of(self, pixels: NDArray[Any], row: int, column: int) -> Thumbnail:
        thumbnail = self.new_thumbnail()
        if np.isfinite(self.ceiling):
            own = np.ma.getdata(pixels)
            beyond = np.broadcast_to((own > self.ceiling).any(0), own.shape)
            pixels = np.ma.MaskedArray(own, np.ma.getmaskarray(pixels) | beyond)
        (top, _), (left, _) = self.area
        thumbnail.add(pixels, row - top, column - left)
        return thumbnail


def _extent(
    shape: tuple[int, ...], gone: NDArray[np.bool_] | None, row: int, column: int
) -> Extent | None:
    """Rows and columns of a plane, in a block of a shape at ``row``, ``column``, that hold data."""
    spans = []
    for axis, start in enumerate((row, column)):
        held = np.ones(shape[axis], bool) if gone is None else ~gone.all((0, 2 - axis))
        places = np.flatnonzero(held)
        if not len(places):
            return None
        spans.append((start + int(places[0]), start + int(places[-1]) + 1))
    return spans[0], spans[1]


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
