"""The tile plan: pure geometry, no pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Rows and columns, or start and stop."""

Sizes = NDArray[np.int64]

SMALL_OVERLAP = 1.15
"""Windows over image up to which a cut is made as good as memory allows."""

NEARLY = 1.03
"""How much worse than the best a cut may be that saves memory, beyond that."""


@dataclass(frozen=True)
class Tile:
    """One tile of a plane.

    The *core* is what it writes: every pixel of the plane lies in one core.
    The *window* is what it reads: the core and its halo, on the stride grid.

    Attributes
    ----------
    core_rows, core_columns : tuple of int
        Start and stop in pixels of the plane.
    rows, columns : tuple of int
        Window; may reach past the plane into the remainder that completes the
        last stride.
    """

    core_rows: tuple[int, int]
    core_columns: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def pixels(self) -> int:
        """Pixels of the core."""
        (top, bottom), (left, right) = self.core_rows, self.core_columns
        return (bottom - top) * (right - left)

    @property
    def crop(self) -> tuple[slice, slice]:
        """The core within the window."""
        return tuple(
            slice(core[0] - window[0], core[1] - window[0])
            for core, window in ((self.core_rows, self.rows), (self.core_columns, self.columns))
        )  # type: ignore[return-value]


def round_up(value: int, step: int) -> int:
    """Smallest multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


@dataclass(frozen=True)
class Grid:
    """How planes of one size are cut.

    Attributes
    ----------
    height, width : int
        Size of the plane in pixels.
    halo : int
        Pixels around a core that its result depends on.
    stride : int
        Window origins are multiples of it.
    binning : (int, int)
        Pixels along y and x that are averaged before the network sees them.
    """

    height: int
    width: int
    halo: int
    stride: int
    binning: tuple[int, int] = (1, 1)

    def tile(self, core_rows: Size, core_columns: Size) -> Tile:
        """The tile of a core.

        The halo is clipped at the plane's border, never padded there, so that
        the border looks to the network as it does in the whole plane.
        """
        return Tile(
            core_rows,
            core_columns,
            self._window(core_rows, self.height),
            self._window(core_columns, self.width),
        )

    def _window(self, core: Size, size: int) -> Size:
        start = (core[0] - self.halo) // self.stride * self.stride
        stop = round_up(core[1] + self.halo, self.stride)
        return max(0, start), min(round_up(size, self.stride), stop)

    def cut(self, core: Size) -> list[Tile]:
        """Cut the plane into cores of at most this size.

        The last tile of a row or column shrinks; it never shifts off the grid.
        """
        return self.split(Tile((0, self.height), (0, self.width), (0, 0), (0, 0)), core)

    def split(self, tile: Tile, core: Size) -> list[Tile]:
        """Cut a tile's core into cores of at most this size."""
        (top, bottom), (left, right) = tile.core_rows, tile.core_columns
        return [
            self.tile((y, min(y + core[0], bottom)), (x, min(x + core[1], right)))
            for y in range(top, bottom, core[0])
            for x in range(left, right, core[1])
        ]

    def largest_window(self, core: Size) -> int:
        """Pixels of the largest window that cores of this size need."""
        high, wide = (
            self._windows(np.array([c]), size)[0]
            for c, size in zip(core, (self.height, self.width), strict=True)
        )
        return int(high * wide)

    def best_core(self, pixels: int, unit: Size) -> Size:
        """The core with the least overlap whose window has at most ``pixels``.

        Overlap is computed twice, so it is what a cut costs: an image that is
        wider than high is cut into columns before it is cut into rows.  Where it
        cannot be small, as in images much larger than a window, the smallest
        window that is nearly as good is taken: memory buys little there.

        Parameters
        ----------
        pixels : int
            Largest window.
        unit : tuple of int
            A core's sides are multiples of these.

        Returns
        -------
        tuple of int
            The smallest core, one unit, if no window is small enough.

        Examples
        --------
        >>> Grid(2309, 3464, halo=101, stride=8).best_core(3_300_000, (8, 8))
        (2312, 1160)
        """
        rows, high, tall = self._choices(self.height, unit[0])
        columns, wide, long = self._choices(self.width, unit[1])
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

    def _choices(self, size: int, unit: int) -> tuple[Sizes, Sizes, Sizes]:
        """Cores along one axis, their windows, and the sum of all windows of each."""
        halo = round_up(self.halo, self.stride)
        pieces = np.geomspace(1, -(-size // unit), 256).round().astype(np.int64)
        core = np.unique(-(-size // (pieces * unit)) * unit)
        return core, self._windows(core, size), size + 2 * halo * (-(-size // core) - 1)

    def _windows(self, core: Sizes, size: int) -> Sizes:
        """The largest windows that cores need along an axis; of two, each has one neighbour."""
        sides = np.minimum(2, -(-size // core) - 1)
        halo = round_up(self.halo, self.stride)
        return np.minimum(round_up(size, self.stride), core + sides * halo)
