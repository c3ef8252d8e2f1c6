"""Find the defects of a sensor in its images, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.defects import Defects
from napari_dcr.image.hot_pixels import (
    CANDIDATE,
    REPEATED,
    SIGNIFICANCE,
    find_candidates,
    float_dtype,
    is_strong,
    may_be_significant,
    significant,
    without_hot_pixels,
)
from napari_dcr.image.line_survey import LineSurvey, Table, patch_size, patch_sums
from napari_dcr.image.missing import missing
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.thumbnail import SIZE, bin_weights

COLOUR_SIGNIFICANCE = 20.0
"""Smallest height of a hot pixel in colour pictures, in standard deviations.

It is large, because the noise of colour pictures is only estimated from the surroundings of each pixel.
"""

SPOILED = 5e-5
"""Smallest share of hot pixels in a window at which its noise is estimated without them."""

BAND_ROWS = 64
"""Number of rows that are summed at a time, so that intermediate results fit the processor's cache."""

MOST_CANDIDATES = 1 << 20
"""Largest number of candidates to keep for all frames of a stack."""


class BlockDefects(NamedTuple):
    """Measurements of one block for the search for defects.

    Attributes
    ----------
    row, column : int
        Position of the first pixel.
    columns : ndarray, shape (c, patches, w)
        Sums of each column over the patches of rows.
    rows : ndarray, shape (c, patches, h)
        Sums of each row over the patches of columns.
    candidates : ndarray of `CANDIDATE`
        Candidates for hot pixels, in coordinates of the plane.
    strong : ndarray of `CANDIDATE`
        Strong ones among them, in coordinates of the block.
    """

    row: int
    column: int
    columns: NDArray[Any]
    rows: NDArray[Any]
    candidates: NDArray[Any]
    strong: NDArray[Any]

    def touches(self, rows: slice, columns: slice) -> bool:
        """Whether a window has enough strong candidates to affect its noise estimate."""
        y, x = self.strong["y"], self.strong["x"]
        inside = (y >= rows.start) & (y < rows.stop) & (x >= columns.start) & (x < columns.stop)
        return int(inside.sum()) > SPOILED * (rows.stop - rows.start) * (
            columns.stop - columns.start
        )


def look_for_defects(
    pixels: NDArray[Any], row: int, column: int, size: tuple[int, int]
) -> BlockDefects:
    """Measure a block.

    Parameters
    ----------
    pixels : ndarray, shape (c, h, w)
    row, column : int
        Position of the first pixel: multiples of the regular block side, which is a power of two.
    size : (int, int)
        Height and width of the plane.
    """
    gone, pixels = missing(pixels), np.ma.getdata(pixels)
    height, width = size
    patches = patch_size(height, width), patch_size(width, height)
    high, wide = pixels.shape[1:]
    dtype = float_dtype(pixels.dtype)
    columns = np.empty((len(pixels), high // patches[0], wide), dtype)
    rows = np.empty((len(pixels), wide // patches[1], high), dtype)
    found: list[NDArray[Any]] = []
    for channel, plane in enumerate(pixels):
        own = None if gone is None else gone[channel]
        if (
            channel
            and _are_equal(plane, pixels[0])
            and (gone is None or _are_equal(gone[channel], gone[0]))
        ):
            # A grey image stored as colours is searched once.
            found.append(found[0].copy())
            found[-1]["channel"] = channel
            columns[channel], rows[channel] = columns[0], rows[0]
            continue
        candidates = find_candidates(plane, own)
        candidates["channel"] = channel
        found.append(candidates)
        strong = candidates[is_strong(candidates)]
        _sum_lines(plane, own, strong, patches, columns[channel], rows[channel])
    candidates = np.concatenate(found)
    strong = candidates[is_strong(candidates)]
    candidates["y"] += row
    candidates["x"] += column
    return BlockDefects(row, column, columns, rows, candidates, strong)


def _are_equal(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether two planes are equal; most that differ do so in the first row."""
    return np.array_equal(first[0], second[0]) and np.array_equal(first, second)


def _sum_lines(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, strong: NDArray[Any],
    patches: tuple[int, int], columns: NDArray[Any], rows: NDArray[Any],
) -> None:  # fmt: skip
    """Write the sums of a plane's columns (patches, w) and rows (patches, h) over patches."""
    height, width = plane.shape
    step = max(BAND_ROWS, patches[0])
    space = np.empty((min(step, height), width), columns.dtype)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        band = without_hot_pixels(plane, gone, strong, slice(top, bottom), space)
        columns[top // patches[0] : bottom // patches[0]] = patch_sums(band, patches[0], 0)
        rows[:, top:bottom] = patch_sums(band, patches[1], 1)


class DefectSurvey:
    """Accumulates the measurements of blocks, and finds the defects of a plane or stack.

    Parameters
    ----------
    channels, height, width : int
        Number of samples and size in pixels of each plane.
    integer : bool
        Whether the pixels are integers.
    frames : int
        Number of planes.

    Attributes
    ----------
    hot_values : ndarray
        Values of hot pixels in all frames; available after `finish`.
    """

    def __init__(
        self, channels: int, height: int, width: int, integer: bool, frames: int = 1
    ) -> None:
        self._channels, self._size = channels, (height, width)
        self._frames = 0
        self._lines = LineSurvey(channels, self._size, integer, frames)
        self._candidates: list[NDArray[Any]] = []
        self.hot_values: NDArray[np.float64] = np.empty(0)

    def add(self, block: BlockDefects) -> None:
        """Add the measurements of the next block of the frame."""
        self._lines.add(block.row, block.column, block.columns, block.rows)
        self._candidates.append(block.candidates)

    def end_frame(self) -> None:
        """Finish a frame after all of its blocks have been added."""
        self._frames += 1
        self._lines.end_frame()
        if sum(map(len, self._candidates)) > MOST_CANDIDATES:
            self._candidates = [self._repeated(np.concatenate(self._candidates))[0]]

    def _repeated(self, candidates: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Candidates at positions that occur in at least half of the frames, with position numbers."""
        key = (
            candidates["channel"].astype(np.int64) * self._size[0] + candidates["y"]
        ) * self._size[1] + candidates["x"]
        _, number, count = np.unique(key, return_inverse=True, return_counts=True)
        often = count[number] * 2 >= self._frames
        return candidates[often], number[often]

    def finish(self, noise: Callable[[], NoiseModel | None], unit: float = 1.0) -> Defects:
        """Return the defects that were found.

        Parameters
        ----------
        noise : callable
            Function that estimates the noise of the image, or returns None if it is unknown.  It is
            only called if there may be hot pixels.
        unit : float
            Number of image units in one unit of the noise.
        """
        if not self._frames:
            return Defects(*self._size, self._channels)
        columns, rows = self._lines.finish()
        hot, excess = self._hot(noise, unit)
        return Defects(
            *self._size, self._channels, columns=columns, rows=rows, hot=hot, excess=excess
        )

    def _hot(
        self, noise: Callable[[], NoiseModel | None], unit: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Channel, row and column of hot and dead pixels, and their height."""
        empty = np.empty((0, 3), np.int32), np.empty(0)
        candidates = np.concatenate([np.empty(0, CANDIDATE), *self._candidates])
        if not len(candidates):
            return empty
        several = self._frames > 1
        if several:
            candidates, _ = self._repeated(candidates)
        needed = SIGNIFICANCE if self._channels == 1 else COLOUR_SIGNIFICANCE
        if several and self._frames > 3:
            needed = REPEATED
        for name in ("gap", "level", "deviation", "excess"):
            candidates[name] /= unit
        if not may_be_significant(candidates, needed).any():
            return empty
        candidates = candidates[significant(candidates, noise(), needed)]
        if several:
            candidates, number = self._repeated(candidates)
        if not len(candidates):
            return empty
        self.hot_values = candidates["value"]
        places = np.stack([candidates[name] for name in ("channel", "y", "x")], 1)
        excess = unit * candidates["excess"]
        if several:
            _, first, number = np.unique(number, return_index=True, return_inverse=True)
            # Frames in which the pixel does not stand out count as 0.
            excess = np.bincount(number, excess) / self._frames
            places = places[first]
        return places.astype(np.int32), excess


def find_defects(image: NDArray[Any], noise: NoiseModel | None = None) -> Defects:
    """Find the defects of a sensor in an image or a stack of frames.

    Parameters
    ----------
    image : ndarray, shape (h, w) or (frames, h, w)
    noise : NoiseModel, optional
        Noise of the image, if known.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> image = 100 + rng.normal(0, 4, 256) + rng.normal(0, 5, (256, 256))
    >>> find_defects(image).columns.shape
    (1, 1, 1, 256)
    """
    frames = image[None] if image.ndim == 2 else image
    height, width = frames.shape[1:]
    survey = DefectSurvey(1, height, width, image.dtype.kind in "iu", len(frames))
    for frame in frames:
        survey.add(look_for_defects(frame[None], 0, 0, (height, width)))
        survey.end_frame()
    return survey.finish(lambda: noise)


def without_defects(
    thumbnail: Table,
    defects: Defects,
    ceiling: float = np.inf,
    extent: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Table:
    """Derive the thumbnail (c, 64, 64) of the corrected image from that of the recorded image.

    Parameters
    ----------
    thumbnail : ndarray
    defects : Defects
    ceiling : float
        Largest value that entered the thumbnail; brighter pixels were ignored.
    extent : ((int, int), (int, int)), optional
        Start and stop of the rows and columns that the thumbnail covers; all if None.
    """
    sizes = defects.height, defects.width
    spans = extent or ((0, sizes[0]), (0, sizes[1]))
    rows, columns = (np.zeros((SIZE, size)) for size in sizes)
    for weights, (start, stop) in zip((rows, columns), spans, strict=True):
        weights[:, start:stop] = bin_weights(0, stop - start, stop - start)
    result = thumbnail.copy()
    for channel in range(len(thumbnail)):
        of_columns, of_rows = defects.line_means(channel)
        if defects.offset is not None:
            own = defects.offset[min(channel, len(defects.offset) - 1)]
            result[channel] -= rows @ own @ columns.T
        if of_columns.any():
            result[channel] -= _parts(rows, of_columns) @ columns.T
        if of_rows.any():
            result[channel] -= (_parts(columns, of_rows) @ rows.T).T
    # A pixel lies in one bin along each axis, or in a few.
    down, across = rows[:, defects.hot[:, 1]], columns[:, defects.hot[:, 2]]
    bins = [_first_and_last(down), _first_and_last(across)]
    for number, (channel, excess) in enumerate(zip(defects.hot[:, 0], defects.excess, strict=True)):
        own = slice(channel, channel + 1) if defects.channels > 1 else slice(None)
        y, x = (slice(own_bins[0, number], own_bins[1, number] + 1) for own_bins in bins)
        inside, of_rows, of_columns = result[own, y, x], down[y, number], across[x, number]
        without = inside - excess * np.outer(of_rows, of_columns)
        around = without[:, of_rows.argmax(), of_columns.argmax()]
        if excess + float(around.mean()) <= ceiling:
            inside[:] = without
    return result


def _first_and_last(weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """First and last bins (2, n) in which n pixels have weights (bins, n); all bins without any."""
    held = weights != 0
    return np.stack([held.argmax(0), len(held) - 1 - held[::-1].argmax(0)])


def _parts(across: Table, lines: NDArray[np.float64]) -> Table:
    """Convert the offsets of p parts, (p, n), to offsets at each bin along the lines, (bins, n)."""
    length, parts = across.shape[1], len(lines)
    if parts == 1:
        return across.sum(1)[:, None] @ lines
    number = np.arange(length) * parts // length
    share = np.stack([across[:, number == part].sum(1) for part in range(parts)], 1)
    return share @ lines
