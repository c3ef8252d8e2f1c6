"""The tile plan: pure geometry, no pixels."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    height: int
    width: int
    halo: int
    stride: int

    def tile(self, core_rows: tuple[int, int], core_columns: tuple[int, int]) -> Tile:
        """The tile of a core whose origin is on the stride grid.

        The halo is clipped at the plane's border, never padded there, so that
        the border looks to the network as it does in the whole plane.
        """
        return Tile(
            core_rows,
            core_columns,
            self._window(core_rows, self.height),
            self._window(core_columns, self.width),
        )

    def _window(self, core: tuple[int, int], size: int) -> tuple[int, int]:
        halo = round_up(self.halo, self.stride)
        start = max(0, core[0] - halo)
        stop = min(round_up(size, self.stride), round_up(core[1], self.stride) + halo)
        return start, stop

    def cut(self, core: int) -> list[Tile]:
        """Cut the plane into cores of ``core`` pixels a side, a multiple of the stride.

        The last tile of a row or column shrinks; it never shifts off the grid.
        """
        whole = Tile((0, self.height), (0, self.width), (0, 0), (0, 0))
        return self.split(whole, core)

    def split(self, tile: Tile, core: int) -> list[Tile]:
        """Cut a tile's core into smaller cores."""
        if core % self.stride or core < self.stride:
            raise ValueError(f"core: got {core}; allowed are positive multiples of {self.stride}")
        return [
            self.tile(
                (y, min(y + core, tile.core_rows[1])), (x, min(x + core, tile.core_columns[1]))
            )
            for y in range(tile.core_rows[0], tile.core_rows[1], core)
            for x in range(tile.core_columns[0], tile.core_columns[1], core)
        ]
