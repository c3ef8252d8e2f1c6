"""Sums of a sensor's lines over blocks and frames, and the line offsets estimated from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.amplifiers import find_alternation, find_amplifiers
from napari_dcr.image.hot_pixels import float_dtype
from napari_dcr.image.line_offsets import LineOffsets, find_line_offsets, may_agree, sum_patches

PATCHES = 128
"""Largest number of patches in a line; half as many in large images."""

MANY = 4096
"""Side in pixels from which an image is large."""

SMALLEST_PATCH = 4
"""Smallest number of pixels of a line in a patch."""

FRAME_PATCHES = 32
"""Number of patches in a line of a single frame of a stack."""

ROUNDS = 3
"""Number of rounds in which columns and rows are estimated alternately if both have offsets."""


Table = NDArray[np.float64]


def patch_size(length: int, lines: int) -> int:
    """Number of pixels in a patch of a line of this length: a power of two that divides blocks."""
    most = PATCHES if lines <= MANY else PATCHES // 2
    size = SMALLEST_PATCH
    while length > most * size:
        size *= 2
    return size


def patch_sums(pixels: NDArray[Any], size: int, axis: int) -> NDArray[Any]:
    """Sums over patches of lines; an incomplete patch at the end is left out.

    Parameters
    ----------
    pixels : ndarray, shape (h, w)
        Pixels; float32 for integers, otherwise float64.
    size : int
        Number of pixels in a patch.
    axis : {0, 1}
        Axis along which a line runs: 0 for columns, 1 for rows.

    Returns
    -------
    ndarray, shape (patches, n)
        Sums in the dtype of the pixels; those of up to 256 integers of 16 bits are exact.
    """
    height, width = pixels.shape
    patches = pixels.shape[axis] // size
    if axis == 0:
        columns: NDArray[Any] = pixels[: patches * size].reshape(patches, size, width).sum(1)
        return columns
    cut = pixels[:, : patches * size].reshape(height, patches, size)
    # Both take a fifth of the time of ``cut.sum(2)``.  A product is faster still, but its order of
    # summation is not defined, so it is only used where sums are exact.
    exact = pixels.dtype == np.float32
    rows: NDArray[Any] = cut @ np.ones(size, np.float32) if exact else np.einsum("hps->hp", cut)
    return rows.T


class LineSurvey:
    """Sums of columns and rows over patches, of a plane or all frames of a stack.

    Parameters
    ----------
    channels : int
    size : (int, int)
        Height and width of each plane.
    integer : bool
        Whether the pixels are integers.
    frames : int
        Number of planes that will be added.
    """

    def __init__(self, channels: int, size: tuple[int, int], integer: bool, frames: int) -> None:
        self._channels, self._size, self._integer = channels, size, integer
        self._single = frames == 1
        height, width = size
        self._patches = patch_size(height, width), patch_size(width, height)
        self._frames = 0
        dtype = float_dtype(np.dtype(int if integer else float))
        self._frame = self._empty(dtype, np.nan)  # blocks need not cover the whole plane
        self._sums = self._frame if self._single else self._empty(np.float64, 0)
        self._of_frames: list[list[Table | None]] = []
        self._means: list[Table] = []

    def _empty(self, dtype: Any, value: float) -> list[NDArray[Any]]:
        """Sums over patches of columns, then of rows, for each channel, before any block is added."""
        sizes = self._size
        return [
            np.full(
                (self._channels, sizes[axis] // self._patches[axis], sizes[1 - axis]), value, dtype
            )
            for axis in (0, 1)
        ]

    def add(self, row: int, column: int, columns: NDArray[Any], rows: NDArray[Any]) -> None:
        """Add the sums of a block of the frame whose first pixel is at ``row``, ``column``."""
        for axis, sums in enumerate((columns, rows)):
            across, along = (row, column)[:: 1 if axis == 0 else -1]
            first = across // self._patches[axis]
            _, patches, lines = sums.shape
            self._frame[axis][:, first : first + patches, along : along + lines] = sums

    def end_frame(self) -> None:
        """Finish a frame after all of its blocks have been added."""
        self._frames += 1
        if self._single:
            return
        for sums, own in zip(self._sums, self._frame, strict=True):
            sums += own
        # The blocks of the next frame replace all sums of this one.
        self._of_frames.append([self._frame_lines(axis) for axis in (0, 1)])

    def finish(self) -> tuple[Table | None, Table | None]:
        """Offsets (f, c, p, n) of columns and of rows; None without offsets."""
        found: list[Table | None] = []
        self._means = [self._tables(axis) for axis in (0, 1)]
        alternations = [self._remove_alternation(axis) for axis in (0, 1)]
        for axis, fixed in enumerate(self._both_lines()):
            found.append(self._moving(axis, fixed) if self._frames > 1 else None)
            if found[axis] is None and fixed is not None:
                found[axis] = fixed[None]
        columns, rows = self._with_amplifiers(found)
        return _added(columns, alternations[0]), _added(rows, alternations[1])

    def _remove_alternation(self, axis: int) -> NDArray[np.float64] | None:
        """Offsets (n,) of every other line, which are subtracted from the means; None without."""
        if self._channels > 1:  # compression and demosaicing leave such patterns in colours
            return None
        table = self._means[axis][0]
        height = find_alternation(table, self._patches[axis], self._frames)
        if not height:
            return None
        offsets = np.where(np.arange(table.shape[1]) % 2, -height, height)
        table -= offsets
        return offsets

    def _with_amplifiers(self, found: list[Table | None]) -> tuple[Table | None, Table | None]:
        """Add the levels of the amplifiers of halves or quadrants to the offsets of lines."""
        means = [
            None if lines is None else self._patch_means(1 - axis, lines.mean(0))
            for axis, lines in enumerate(found)
        ]
        tables = []
        for axis, own in enumerate(found):
            table = self._without(axis, means[1 - axis])
            if own is not None:
                parts = own.mean(0)
                share = np.arange(table.shape[1]) * parts.shape[1] // table.shape[1]
                table = table - parts[:, share]
            tables.append(table)
        levels = [
            find_amplifiers(columns, rows, self._patches, self._frames)
            for columns, rows in zip(*tables, strict=True)
        ]
        if all(own is None for own in levels):
            return found[0], found[1]
        steps = np.stack([np.zeros((2, 2)) if own is None else own for own in levels])
        height, width = self._size
        columns, rows = found
        # Levels shared by both quadrants of a row belong to the rows; the rest needs two parts of columns.
        across = steps.mean(2)
        of_rows = np.repeat(across, [height - height // 2, height // 2], 1)
        if np.abs(across).max() > 0:
            rows = (0 if rows is None else rows) + of_rows[None, :, None]
        own = steps - across[:, :, None]
        if np.allclose(own[:, 0], own[:, 1]):
            own = own[:, :1]
        of_columns = np.repeat(own, [width - width // 2, width // 2], 2)
        columns = (0 if columns is None else columns) + of_columns[None]
        return columns, rows

    def _both_lines(self) -> list[NDArray[np.float64] | None]:
        """Offsets (c, p, n) of columns and of rows that all frames share."""
        found: list[NDArray[np.float64] | None] = [None, None]
        for number in range(ROUNDS):
            # Offsets of rows look like structure along the columns, and vice versa.
            crossing = found[1], found[0]
            new = [
                self._lines(axis, self._without(axis, self._patch_means(axis, lines)))
                for axis, lines in enumerate(crossing)
            ]
            if number and any(lines is None for lines in new):
                break
            found = new
            if any(lines is None for lines in found):
                break
        return found

    def _patch_means(self, axis: int, crossing: NDArray[np.float64] | None) -> Table | None:
        """Means (c, patches) of offsets (c, p, n) of crossing lines over the patches of an axis."""
        if crossing is None:
            return None
        patch = self._patches[axis]
        means = crossing.mean(1)[:, : crossing.shape[2] // patch * patch]
        return means.reshape(len(means), -1, patch).mean(2)

    def _lines(self, axis: int, tables: Table) -> NDArray[np.float64] | None:
        """Offsets (c, p, n) of columns (axis 0) or rows (axis 1); None without offsets."""
        patch = self._patches[axis]
        whole = _offsets(list(tables), patch)
        if whole is not None:
            return whole[:, None]
        middle = tables.shape[1] // 2
        if tables.shape[1] % 2:
            return None
        # With two rows of amplifiers, each half has its own offsets.
        first = _offsets(list(tables[:, :middle]), patch)
        second = None if first is None else _offsets(list(tables[:, middle:]), patch)
        return None if first is None or second is None else np.stack([first, second], 1)

    def _frame_lines(self, axis: int) -> NDArray[np.float64] | None:
        """Offsets (c, 1, n) of a single frame of a stack; None without offsets."""
        sums, patch = self._frame[axis], self._patches[axis]
        channels, patches, lines = sums.shape
        many = max(1, patches // FRAME_PATCHES)
        groups = sums[:, : patches // many * many].reshape(channels, -1, many, lines)
        tables = groups.sum(2, dtype=np.float64) / (patch * many)
        if self._integer and not sums.all():
            tables[(groups == 0).any(2)] = np.nan  # clipped to black
        found = _offsets(list(tables), patch * many)
        return None if found is None else found[:, None]

    def _tables(self, axis: int) -> Table:
        """Means (c, patches, n) of lines over patches and frames."""
        pixels = self._patches[axis] * self._frames
        tables: Table = np.divide(self._sums[axis], pixels, dtype=np.float64)
        if self._integer and not self._sums[axis].all():
            tables[tables == 0] = np.nan  # clipped to black
        return tables

    def _without(self, axis: int, crossing: Table | None) -> Table:
        """Means of lines without the mean offsets (c, patches) of crossing lines."""
        means = self._means[axis]
        return means if crossing is None else means - crossing[:, :, None]

    def _moving(self, axis: int, fixed: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """Offsets (f, c, p, n) of every frame if they change from frame to frame, otherwise None."""
        own = [frame[axis] for frame in self._of_frames]
        found = [lines for lines in own if lines is not None]
        if 2 * len(found) < self._frames:
            return None
        power = float(np.mean([np.mean(np.square(lines)) for lines in found]))
        constant = 0.0 if fixed is None else float(np.mean(np.square(fixed)))
        # The part that all frames share is estimated more precisely from all of them together.
        if power < 1.5 * constant:
            return None
        shape = found[0].shape
        return np.stack([np.zeros(shape, np.float32) if f is None else f for f in own])


def _added(lines: Table | None, offsets: NDArray[np.float64] | None) -> Table | None:
    """Offsets (f, c, p, n) with those of every other line added."""
    if offsets is None:
        return lines
    return offsets[None, None, None] if lines is None else lines + offsets


def _offsets(tables: list[Table], patch: int) -> Table | None:
    """Offsets (c, n) of the lines of one or three channels; None if there are none."""
    if len(tables) == 1:
        found = find_line_offsets(tables[0], patch)
        return None if found is None else found.values[None]
    # Most pictures have no offsets, which sums over patches show in a fraction of the time.
    sums = [sum_patches(table) for table in tables]
    if not any(may_agree(own) for own in _common_and_own(sums)):
        return None
    common, *own = (find_line_offsets(table, patch) for table in _common_and_own(tables))
    if common is None and all(line is None for line in own):
        return None

    def values(line: LineOffsets | None) -> Any:
        return 0.0 if line is None else line.values

    lines = tables[0].shape[1]
    return np.stack([np.broadcast_to(values(common) + values(line), lines) for line in own])


def _common_and_own(tables: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Mean of the tables of several channels, then the difference of each from the mean."""
    mean: NDArray[np.float64] = sum(tables[1:], tables[0]) / len(tables)
    return [mean, *(table - mean for table in tables)]
