"""Units of work: planes, the parts of them that are written at once, and the queue of tiles."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_dcr.engine.neighbours import Neighbourhood
from napari_dcr.engine.tiles import WHOLE, Grid, Size, Tile, relative
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning


class Plane(Protocol):
    """Access to one plane of an image; windows have the shape (C, h, w)."""

    @property
    def colours(self) -> int:
        """Number of leading samples that are given to the network; alpha is not."""

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a window in the image's own units."""

    def to_working(
        self, own: NDArray[Any], rows: slice, columns: slice, out: NDArray[np.float32]
    ) -> None:
        """Convert a window that was read to the network's input."""

    def working_values(self, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        """Table of `to_working` for every value of an unsigned dtype."""

    def render(
        self,
        own: NDArray[Any],
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
        place: tuple[slice, slice] = WHOLE,
    ) -> NDArray[Any]:
        """Combine a window with the network's output, and that of depth 0, for a place in it."""

    def write(self, rows: slice, columns: slice, values: NDArray[Any]) -> None:
        """Write a finished window."""


class Part:
    """A region of a plane that is written at once, computed in one tile or several.

    It consists of whole chunks, so that no chunk of a store is written twice.

    Parameters
    ----------
    plane : Plane
    conditioning : Conditioning
        Conditioning of the plane's image.
    core : Tile
        The region, as one tile.
    written : callable, optional
        Called in the writing thread once the part has been written.
    neighbourhood : Neighbourhood, optional
        The plane's frame with its neighbours, if neighbours are used.
    """

    def __init__(
        self,
        plane: Plane,
        conditioning: Conditioning,
        core: Tile,
        written: Callable[[], None] | None = None,
        neighbourhood: Neighbourhood | None = None,
    ) -> None:
        self.plane, self.conditioning, self.core = plane, conditioning, core
        self.neighbourhood = neighbourhood
        self._written = written
        self._missing = 1
        self._lock = threading.Lock()
        self._buffer: NDArray[Any] | None = None

    def split(self, tiles: int) -> None:
        """Record that one of its tiles was split into this many."""
        with self._lock:
            self._missing += tiles - 1

    def put(self, tile: Tile, values: NDArray[Any]) -> None:
        """Add a finished tile; the last one triggers writing the region."""
        (top, bottom), (left, right) = self.core.core_rows, self.core.core_columns
        if tile.core_rows == (top, bottom) and tile.core_columns == (left, right):
            region = values
        else:
            if self._buffer is None:
                self._buffer = np.empty((len(values), bottom - top, right - left), values.dtype)
            self._buffer[(slice(None), *relative(tile.core, self.core.core))] = values
            region = self._buffer
        with self._lock:
            last = self._missing == 1
        if last:
            self.plane.write(slice(top, bottom), slice(left, right), region)
            self._buffer = None
            if self._written is not None:
                self._written()
        # Count the tile last, when nothing can fail any more; failed tiles are computed again.
        with self._lock:
            self._missing -= 1


class TileTask(NamedTuple):
    """A tile of a part."""

    part: Part
    tile: Tile

    @property
    def shape(self) -> Size:
        """Rows and columns of the window."""
        (top, bottom), (left, right) = self.tile.rows, self.tile.columns
        return bottom - top, right - left

    def grid_weights(self, network: Cascade, grid: Grid) -> tuple[Tensor, Tensor]:
        """Interpolation weights of the image's feature grid for the window."""
        return network.window_weights(
            self.tile.rows, self.tile.columns, (grid.height, grid.width), binning=grid.route.binning,
            extent=self.part.conditioning.extent,
        )  # fmt: skip


class TileQueue:
    """Queue of remaining tiles; tiles whose core exceeds the size limit are split.

    Parameters
    ----------
    parts : iterable of Part
        Consumed one by one.
    grid : Grid
    """

    def __init__(self, parts: Iterable[Part], grid: Grid) -> None:
        self._parts = (TileTask(part, part.core) for part in parts)
        self._grid = grid
        self._returned: deque[TileTask] = deque()

    def put_back(self, tasks: Iterable[TileTask]) -> None:
        """Return tasks that could not be computed to the front of the queue, in this order."""
        self._returned.extendleft(reversed(list(tasks)))

    def take(self, limit: int, pixels: int) -> list[TileTask]:
        """Take the next task, and further ones of the same shape, up to ``pixels`` in total."""
        batch: list[TileTask] = []
        while (task := self._next(limit)) is not None:
            height, width = task.shape
            most = max(height * width, task.tile.pixels)
            if batch and (task.shape != batch[0].shape or (len(batch) + 1) * most > pixels):
                self.put_back([task])
                break
            batch.append(task)
        return batch

    def _next(self, limit: int) -> TileTask | None:
        task = self._returned.popleft() if self._returned else next(self._parts, None)
        if task is None:
            return None
        (top, bottom), (left, right) = task.tile.core_rows, task.tile.core_columns
        if max(bottom - top, right - left) <= limit:
            return task
        tiles = self._grid.split(task.tile, (limit, limit))
        task.part.split(len(tiles))
        self.put_back(TileTask(task.part, tile) for tile in tiles)
        return self._returned.popleft()
