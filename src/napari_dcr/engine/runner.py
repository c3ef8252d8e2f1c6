"""The runner: tiles of a plane through the network, one progress event each."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine import devices
from napari_dcr.engine.plan import Grid, Tile, round_up
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning

SMALLEST_CORE = 64
"""Pixels a side below which running out of memory is final."""

AUTOMATIC_CORE = 1024
"""Largest core that is chosen by itself: beyond it, larger windows save little
halo and cost page faults."""


class Plane(Protocol):
    """One plane of an image on its way through the network; windows are (C, h, w)."""

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a window in the image's own units."""

    def to_working(self, own: NDArray[Any]) -> NDArray[np.float32]:
        """Turn it into what the network takes."""

    def finish(self, own: NDArray[Any], enhanced: NDArray[np.float32]) -> NDArray[Any]:
        """Turn own values and what the network made of them into the result."""

    def write(self, rows: slice, columns: slice, values: NDArray[Any]) -> None:
        """Write a finished window."""


@dataclass(frozen=True)
class TileDone:
    """A tile was written.

    Attributes
    ----------
    pixels : int
        Pixels of its core.
    """

    pixels: int


@dataclass(frozen=True)
class SmallerTiles:
    """Memory ran out; the rest goes on in smaller tiles.

    Attributes
    ----------
    core : int
        New side of a core in pixels.
    """

    core: int


class TileRunner:
    """A network on a device, ready to enhance planes.

    Parameters
    ----------
    network : Cascade
        In evaluation mode; it is moved and converted once.
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
        Of the convolutions.  Curve and final combination are always fp32.
    depth : int
        Sub-U-Nets to run.
    detail : bool
        Regional part of the detail modules.
    tile : int, optional
        Side of a core in pixels; chosen from free memory if None.
    """

    def __init__(
        self,
        network: Cascade,
        device: torch.device,
        precision: devices.Precision,
        depth: int,
        detail: bool,
        tile: int | None = None,
    ) -> None:
        self.device, self.precision = device, precision
        self.depth, self.detail = depth, detail
        self._network = network.placed_on(device)
        self._local = self._network.with_precision(devices.torch_dtype(precision))
        self._fixed_tile = tile
        self._core = tile

    def condition(self, thumbnail: NDArray[np.floating]) -> Conditioning:
        """Run the global net on a (C, 64, 64) thumbnail in working units."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.array(thumbnail, np.float32))[None]
            return self._network.condition(batch.to(self.device))

    def grid(self, height: int, width: int) -> Grid:
        """How planes of this size are cut."""
        network = self._network
        return Grid(height, width, network.receptive_field(self.depth), network.stride)

    def core(self, grid: Grid) -> int:
        """Side of a core: fixed by the user, remembered from the last back-off, or from free memory."""
        if self._core is None:
            stride = grid.stride
            # Half of what is free is left to the rest of the process and to the system.
            window = (
                0.5 * devices.free_memory(self.device) / devices.BYTES_PER_PIXEL[self.precision]
            ) ** 0.5
            fitting = int(window - 2 * grid.halo) // stride * stride
            self._core = max(SMALLEST_CORE, min(AUTOMATIC_CORE, fitting))
        return round_up(self._core, grid.stride)

    def run_plane(
        self, grid: Grid, conditioning: Conditioning, plane: Plane
    ) -> Iterator[TileDone | SmallerTiles]:
        """Enhance one plane, tile by tile; closing the generator stops between tiles.

        When memory runs out the core is halved and the tiles not yet done are
        cut anew; finished ones are kept.

        Raises
        ------
        MemoryError
            If not even the smallest core fits, or if the one that the user fixed does not.
        """
        queue = deque(grid.cut(self.core(grid)))
        while queue:
            tile = queue[0]
            values = self._try_tile(tile, grid, conditioning, plane)
            if values is None:
                core = self._back_off(tile, grid, conditioning, plane)
                queue = deque(part for old in queue for part in grid.split(old, core))
                yield SmallerTiles(core)
                continue
            queue.popleft()
            plane.write(slice(*tile.core_rows), slice(*tile.core_columns), values)
            yield TileDone(values.shape[1] * values.shape[2])

    def _back_off(self, tile: Tile, grid: Grid, conditioning: Conditioning, plane: Plane) -> int:
        """Side of a core to go on with after a tile did not fit.

        A size that the user fixed is not changed behind their back: the largest
        that does fit is found and named.
        """
        while True:
            # The core may be larger than the plane: halve what was really tried.
            tried = max(stop - start for start, stop in (tile.core_rows, tile.core_columns))
            smaller = round_up(tried // 2, grid.stride)
            if smaller < SMALLEST_CORE:
                raise MemoryError(
                    f"device {self.device}: out of memory even with tiles of {tried} pixels a side;"
                    " free some memory or choose another device"
                )
            if self._fixed_tile is None:
                self._core = smaller
                return smaller
            tile = grid.split(tile, smaller)[0]
            if self._try_tile(tile, grid, conditioning, plane) is not None:
                raise MemoryError(
                    f"tile: got {self._fixed_tile}, which does not fit into the memory of"
                    f" {self.device}; {smaller} does"
                )

    def _try_tile(
        self, tile: Tile, grid: Grid, conditioning: Conditioning, plane: Plane
    ) -> NDArray[Any] | None:
        """Result of a tile's core, or None if memory ran out."""
        try:
            return self._run_tile(tile, grid, conditioning, plane)
        except (MemoryError, RuntimeError) as error:
            if not devices.is_out_of_memory(error):
                raise
        # Past the except block: its traceback would keep the tensors alive.
        gc.collect()
        devices.release_memory(self.device)
        return None

    def _run_tile(
        self, tile: Tile, grid: Grid, conditioning: Conditioning, plane: Plane
    ) -> NDArray[Any]:
        (top, bottom), (left, right) = tile.rows, tile.columns
        own = plane.read(slice(top, min(bottom, grid.height)), slice(left, min(right, grid.width)))
        # The plane's own remainder up to the stride: the one place where pixels are made up.
        missing = (0, bottom - top - own.shape[1]), (0, right - left - own.shape[2])
        working = np.pad(plane.to_working(own), ((0, 0), *missing), mode="edge")
        weights = self._network.window_weights(tile.rows, tile.columns, (grid.height, grid.width))
        with torch.inference_mode():
            window = torch.from_numpy(working)[None].to(self.device)
            place = weights[0].to(self.device), weights[1].to(self.device)
            out = self._local(window, conditioning, place, self.depth, self.detail)
            enhanced = out[(0, slice(None), *tile.crop)].cpu().numpy()
        return plane.finish(own[(slice(None), *tile.crop)], enhanced)
