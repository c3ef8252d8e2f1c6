"""Geometry of tiles: cores, halos and how a plane is cut; no pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dcr.network.global_net import PLAIN, Route

Size = tuple[int, int]
"""Rows and columns, or start and stop."""

Spans = tuple[Size, Size]
"""Start and stop of rows and columns."""

WHOLE = slice(None), slice(None)
"""Slices of all rows and columns."""

Sizes = NDArray[np.int64]

SMALL_OVERLAP = 1.15
"""Ratio of window area to image area that counts as little overlap.

Up to it, the cut with the least overlap is chosen."""

NEARLY = 1.03
"""Allowed ratio of a cut's cost to the lowest cost, where a smaller window saves memory."""


@dataclass(frozen=True)
class Tile:
    """One tile of a plane.

    The *core* is the region that the tile writes: every pixel of the plane lies in one core.
    The *inner* region is the part of the core that lies in the scene and is enhanced.
    The *window* is the region that the network gets: the inner region and its halo, on the stride
    grid.  Both are empty for a core outside the scene.

    Attributes
    ----------
    core_rows, core_columns : tuple of int
        Start and stop in pixels of the plane.
    rows, columns : tuple of int
        Start and stop of the window; it may extend past the scene to complete the last stride.
    inner : ((int, int), (int, int))
        Start and stop of the rows and columns of the inner region.
    """

    core_rows: tuple[int, int]
    core_columns: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    inner: Spans

    @property
    def pixels(self) -> int:
        """Number of pixels in the core."""
        (top, bottom), (left, right) = self.core_rows, self.core_columns
        return (bottom - top) * (right - left)

    @property
    def crop(self) -> tuple[slice, slice]:
        """Slices that cut the inner region out of the window."""
        return relative(self.inner, self.window)

    @property
    def place(self) -> tuple[slice, slice]:
        """Slices that cut the inner region out of the core."""
        return relative(self.inner, self.core)

    @property
    def is_empty(self) -> bool:
        """Whether the core lies outside the scene."""
        return any(start == stop for start, stop in self.inner)

    @property
    def core(self) -> Spans:
        """Rows and columns of the core."""
        return self.core_rows, self.core_columns

    @property
    def window(self) -> Spans:
        """Rows and columns of the window."""
        return self.rows, self.columns


def relative(spans: Spans, to: Spans) -> tuple[slice, slice]:
    """Slices of rows and columns in an array that holds other rows and columns.

    Examples
    --------
    >>> relative(((8, 16), (0, 4)), ((5, 30), (-3, 9)))
    (slice(3, 11, None), slice(3, 7, None))
    """
    rows, columns = (
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(spans, to, strict=True)
    )
    return rows, columns


def round_up(value: int, step: int) -> int:
    """Smallest multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


@dataclass(frozen=True)
class Grid:
    """Rules by which planes of one size are cut into tiles.

    Attributes
    ----------
    height, width : int
        Size of the plane in pixels.
    halo : int
        Width in pixels of the border around a core that its result depends on.
    stride : int
        Windows start at multiples of this number of pixels from the scene's first row and column.
    route : Route
        Networks and binnings that the windows go through.
    """

    height: int
    width: int
    halo: int
    stride: int
    route: Route = PLAIN

    @property
    def scene(self) -> Spans:
        """Rows and columns that hold data, which are enhanced as if they were the whole plane.

        The network is not invariant to shifts within a stride, and it recognises the border of an
        image.  Windows therefore begin at the scene's first row and column and end at its last
        ones, so that padding changes nothing.
        """
        return self.route.scene or ((0, self.height), (0, self.width))

    def tile(self, core_rows: Size, core_columns: Size) -> Tile:
        """Tile with the given core.

        The halo is clipped at the border of the scene, so that the border is the same as that of
        the whole scene.
        """
        own, spans = (core_rows, core_columns), self.scene
        rows, columns = (
            (max(start, first), min(stop, last))
            for (start, stop), (first, last) in zip(own, spans, strict=True)
        )
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            nothing = (core_rows[0],) * 2, (core_columns[0],) * 2
            return Tile(*own, *nothing, nothing)
        return Tile(*own, self._window(rows, 0), self._window(columns, 1), (rows, columns))

    def inside(self, tile: Tile) -> Spans:
        """Rows and columns of a tile's window that lie inside the scene."""
        rows, columns = (
            (start, min(stop, last))
            for (start, stop), (_, last) in zip(tile.window, self.scene, strict=True)
        )
        return rows, columns

    def _window(self, inner: Size, axis: int) -> Size:
        (first, last), step = self.scene[axis], self.stride
        start = first + max(0, inner[0] - self.halo - first) // step * step
        stop = first + round_up(min(last, inner[1] + self.halo) - first, step)
        return start, stop

    @property
    def _size(self) -> Size:
        return self.height, self.width

    def cut(self, core: Size) -> list[Tile]:
        """Cut the plane into cores of at most this size.

        The last tile of a row or column is smaller; its origin stays on the grid.
        """
        return self.split(self.tile((0, self.height), (0, self.width)), core)

    def count(self, core: Size) -> int:
        """Number of tiles of `cut`, which takes seconds for the largest images."""
        return len(range(0, self.height, core[0])) * len(range(0, self.width, core[1]))

    def split(self, tile: Tile, core: Size) -> list[Tile]:
        """Cut a tile's core into cores of at most this size."""
        (top, bottom), (left, right) = tile.core_rows, tile.core_columns
        return [
            self.tile((y, min(y + core[0], bottom)), (x, min(x + core[1], right)))
            for y in range(top, bottom, core[0])
            for x in range(left, right, core[1])
        ]

    def largest_window(self, core: Size) -> int:
        """Number of pixels that the largest window of cores of this size may have.

        It does not depend on the extent of the scene, because cores without a scene are read, too.
        """
        high, wide = (self._windows(np.array([c]), axis)[0] for axis, c in enumerate(core))
        return int(high * wide)

    def best_core(self, pixels: int, unit: Size) -> Size:
        """Core size with the least overlap whose window has at most ``pixels`` pixels.

        Overlapping pixels are computed more than once, so the overlap is the cost of a cut.  An
        image that is wider than high is therefore cut into columns before it is cut into rows.
        In images much larger than a window the overlap cannot be small; there, the smallest
        window with nearly the lowest cost is chosen, because more memory would gain little.

        Parameters
        ----------
        pixels : int
            Largest allowed window in pixels.
        unit : tuple of int
            Rows and columns; the sides of the core are multiples of these.

        Returns
        -------
        tuple of int
            Rows and columns of the core; one unit if no window is small enough.

        Examples
        --------
        >>> Grid(2309, 3464, halo=101, stride=8).best_core(3_300_000, (8, 8))
        (2312, 1160)
        """
        rows, high, tall = self._choices(0, unit[0])
        columns, wide, long = self._choices(1, unit[1])
        window = np.outer(high, wide)
        cost = np.where(window <= pixels, np.outer(tall, long), np.inf)
        if not np.isfinite(cost).any():
            return unit
        least = cost.min()
        if least <= SMALL_OVERLAP * self.height * self.width:
            candidates = np.where(cost == least, -window, 0)  # the fewest tiles
        else:
            candidates = np.where(cost <= NEARLY * least, window, pixels + 1)
        row, column = np.unravel_index(candidates.argmin(), cost.shape)
        return int(rows[row]), int(columns[column])

    def _choices(self, axis: int, unit: int) -> tuple[Sizes, Sizes, Sizes]:
        """Candidate core sizes along one axis, their windows, and the sum of all their windows."""
        size, halo = self._size[axis], round_up(self.halo, self.stride)
        pieces = np.geomspace(1, -(-size // unit), 256).round().astype(np.int64)
        core = np.unique(-(-size // (pieces * unit)) * unit)
        return core, self._windows(core, axis), size + 2 * halo * (-(-size // core) - 1)

    def _windows(self, core: Sizes, axis: int) -> Sizes:
        """Largest windows that cores need along an axis; with two tiles, each has one neighbour."""
        size, halo = self._size[axis], round_up(self.halo, self.stride)
        sides = np.minimum(2, -(-size // core) - 1)
        # Cores that are not aligned with the windows need up to a stride more.
        more = self.stride if self.scene[axis][0] % self.stride else 0
        return np.minimum(round_up(size, self.stride), core + sides * halo + more)
