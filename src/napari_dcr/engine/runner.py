"""Run tiles: read, compute and write at the same time, within bounded memory."""

from __future__ import annotations

import gc
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine import allocator, devices
from napari_dcr.engine.networks import FEATURE_BYTES, Networks
from napari_dcr.engine.parts import Part, TileQueue, TileTask
from napari_dcr.engine.tiles import Grid, Size, round_up
from napari_dcr.engine.windows import Computation, Loaded, Windows
from napari_dcr.network.cascade import Cascade

SMALLEST_CORE = 64
"""Smallest side of a core in pixels; if not even this fits, the run ends with an error."""

AUTOMATIC_PIXELS = {"fp32": 4_400_000, "bf16": 7_300_000, "fp16": 7_300_000}
"""Largest window in pixels when the tile size is chosen automatically.

It needs 1.5 GB with `photo`, covers half of an image of 8 megapixels, and keeps the overlap of
windows below 10 %.  Larger images, which need more than two windows, use half of it, because
larger windows would reduce their overlap little."""

LARGE_BYTES = 1e9
"""Largest memory of one window of a larger image, in bytes.

Together with the windows that are read and written meanwhile the run then needs 1.5 GB."""

BATCH_PIXELS = {"cuda": 1 << 22, "mps": 1 << 20, "cpu": 1 << 17}
"""Largest batch in pixels, by device type.

Windows of equal shape, such as small frames of a stack, are computed together where a single
window would not keep the device busy.  CPUs batch frames that are computed in one window, because
the calls of PyTorch take most of the time of a small frame.  The last bits of a frame's result depend
on the other frames of its batch: it differs by up to 1e-6 of full range from that of a frame alone."""

AHEAD = 1
"""Number of batches to read in advance, and of computed batches that may wait to be written."""

T = TypeVar("T")


@dataclass(frozen=True)
class TileDone:
    """Event: a tile has been finished and written.

    Attributes
    ----------
    pixels : int
        Pixels of its core.
    part : Part
        The part that the tile belongs to.
    """

    pixels: int
    part: Part


@dataclass(frozen=True)
class MemoryBackOff:
    """Event: memory ran out, and the run continues with smaller tiles or batches.

    Attributes
    ----------
    core : int or None
        New side of a core in pixels; None if frames are no longer batched, with unchanged cores.
    """

    core: int | None


class SameThread(Executor):
    """Executor that runs every call at once in the calling thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call; the future holds its result or its error."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class TileRunner(Windows):
    """Networks on a device, ready to enhance planes.

    Parameters
    ----------
    network, device, precision, depth, detail, noise
        See `Networks`.
    tile : int, optional
        Side of a core in pixels; chosen from free memory if None.
    with_base : bool
        Also return the result of depth 0, which renderings need to keep part of the noise.
    """

    def __init__(
        self,
        network: Cascade,
        device: torch.device,
        precision: devices.Precision,
        depth: int,
        detail: bool,
        tile: int | None = None,
        with_base: bool = False,
        noise: Callable[[], Networks] | None = None,
    ) -> None:
        super().__init__(network, device, precision, depth, detail, noise, with_base)
        self._fixed_tile = tile
        self._limit = self._found = sys.maxsize
        self.batch_pixels = BATCH_PIXELS.get(device.type, 0)
        self._window_bytes = 0.0
        self._batches = True

    @property
    def _batch_pixels(self) -> int:
        """Largest batch of the current grid, in pixels."""
        return self.batch_pixels if self._batches else 0

    def part_size(self, grid: Grid, unit: Size = (1, 1), part: Size | None = None) -> Size:
        """Rows and columns of the parts that are written at once.

        Parameters
        ----------
        grid : Grid
            Tile grid of the planes.
        unit : tuple of int
            Rows and columns that the sink must write at once; the result is a multiple of it.
        part : tuple of int, optional
            Size of the parts if it is already fixed, as when a run is resumed.

        Returns
        -------
        tuple of int
            The size of one tile, which is the user's or the best one for the free memory.
            If ``unit`` or ``part`` is larger, a part consists of several tiles.
        """
        step = grid.stride
        # Half of what is free is left to the rest of the process and to the system.
        most = math.prod(grid.route.binning) * AUTOMATIC_PIXELS[self.precision]
        needed = self.bytes_per_pixel(grid.route)
        fitting = int(devices.free_memory(self.device) // 2 / needed)
        pixels = min(most, fitting)
        if grid.height * grid.width > 2 * pixels:
            pixels = min(most // 2, fitting, int(LARGE_BYTES / needed))
        if self._fixed_tile is not None:
            core = round_up(self._fixed_tile, step)
            part = part or (round_up(core, unit[0]), round_up(core, unit[1]))
            limit = core
        else:
            part = part or self._best_part(grid, pixels, unit)
            limit = max(part)
            if grid.largest_window(part) > pixels:
                side = int(pixels**0.5) - 2 * round_up(grid.halo, step)
                limit = max(SMALLEST_CORE, side // step * step)
        # A limit that a back-off has set remains valid.
        self._limit = min(limit, self._found)
        largest = grid.largest_window((min(part[0], self._limit), min(part[1], self._limit)))
        whole = part[0] >= grid.height and part[1] >= grid.width
        self._batches = not grid.route.neighbours and (self.device.type != "cpu" or whole)
        most_at_once = max(largest, self._batch_pixels)
        self._transfer.reserve(most_at_once)
        self._window_bytes = needed * most_at_once
        if grid.route.neighbours:
            self._frames.limit = int(devices.free_memory(self.device) // 4 // FEATURE_BYTES)
        return part

    @staticmethod
    def _best_part(grid: Grid, pixels: int, unit: Size) -> Size:
        """Rows and columns of parts for windows of up to this many pixels; no tiny parts if memory is scarce."""
        if unit != (1, 1):
            return grid.best_core(pixels, unit)
        step = grid.stride
        best = grid.best_core(pixels, (step, step))
        high, wide = (
            max(side, round_up(min(SMALLEST_CORE, size), step))
            for side, size in zip(best, (grid.height, grid.width), strict=True)
        )
        return high, wide

    def forget_frames(self) -> None:
        """Release what is kept of frames for the frames after them; call it after the last run."""
        self._frames.clear()

    def run(
        self, grid: Grid, parts: Iterable[Part], *, threads: bool = True
    ) -> Iterator[TileDone | MemoryBackOff | None]:
        """Enhance parts of planes of one size; closing the generator stops between tiles.

        The generator also yields None when a tile has been computed but not yet written, so
        that the caller can stop before every tile.

        One thread reads and one thread writes, a bounded number of tiles each, while the calling
        thread computes.  The first error stops all of them and is raised.  When memory runs out
        in any of them, the remaining work continues in smaller tiles; finished tiles are kept.

        Parameters
        ----------
        grid : Grid
        parts : iterable of Part
        threads : bool
            Whether to read and write in other threads.  For a single small tile the calling thread
            is faster, because it need not wait for them.

        Raises
        ------
        MemoryError
            If the smallest core does not fit, or the tile size that the user has fixed does not.
        """
        if self.device.type == "cpu":
            with allocator.keep_mapped():
                bound = allocator.Bound(self._window_bytes)
                yield from self._run(TileQueue(parts, grid), grid, bound, threads)
        else:
            yield from self._run(TileQueue(parts, grid), grid, None, threads)

    def _run(
        self, tasks: TileQueue, grid: Grid, mapped: allocator.Bound | None, threads: bool
    ) -> Iterator[TileDone | MemoryBackOff | None]:
        reading: deque[tuple[list[TileTask], Future[tuple[Loaded, Computation]]]] = deque()
        writing: deque[tuple[TileTask, Future[bool]]] = deque()
        reader = ThreadPoolExecutor(1, "read") if threads else SameThread()
        writer = ThreadPoolExecutor(1, "write") if threads else SameThread()
        room = next_room = 0  # reports the first tile before the second one is computed
        try:
            while True:
                while len(reading) <= AHEAD:
                    if not (batch := tasks.take(self._limit, self._batch_pixels)):
                        break
                    reading.append((batch, self._start(reader, grid, batch)))
                failed: list[TileTask] = []
                if writing and (len(writing) > room or not reading or writing[0][1].done()):
                    task, stored = writing.popleft()
                    if self._attempt(stored.result):
                        yield TileDone(task.tile.pixels, task.part)
                    else:
                        failed = [task]
                    del stored
                elif reading:
                    if mapped is not None:
                        mapped.keep()
                    batch, loading = reading.popleft()
                    done = self._attempt(self._compute, grid, batch, loading)
                    if done is None:
                        failed = batch
                    else:
                        room, next_room = next_room, AHEAD * len(batch)
                        for task, own, picture in zip(batch, *done, strict=True):
                            stored = writer.submit(self._store, task, own, picture)
                            writing.append((task, stored))
                        del own, picture, stored
                    del loading, done  # releases the windows, also those that an error refers to
                    if not failed:
                        yield None
                else:
                    return
                if failed:
                    # Windows that were read in advance are dropped too, to free their memory.
                    tasks.put_back([*failed, *(task for batch, _ in reading for task in batch)])
                    for _, job in reading:
                        job.cancel()
                    reading.clear()
                    yield self._back_off(grid, failed, reader, writer)
        finally:
            reader.shutdown(wait=True, cancel_futures=True)
            writer.shutdown(wait=True, cancel_futures=True)

    def _back_off(
        self, grid: Grid, failed: list[TileTask], reader: Executor, writer: Executor
    ) -> MemoryBackOff:
        """Choose a smaller batch or tile size after an out-of-memory error.

        A tile size that the user has fixed is never changed.  The error then names the largest
        size that does fit.
        """
        self._frames.clear()
        gc.collect()
        devices.release_memory(self.device)
        if len(failed) > 1:
            self.batch_pixels = 0
            return MemoryBackOff(None)
        ((part, tile),) = failed
        while True:
            # The core may be larger than the plane, so halve the size that was really used.
            tried = max(stop - start for start, stop in (tile.core_rows, tile.core_columns))
            smaller = round_up(tried // 2, grid.stride)
            if smaller < SMALLEST_CORE:
                raise MemoryError(
                    f"device {self.device}: out of memory even with tiles of {tried} pixels a side;"
                    " free some memory or choose another device"
                )
            if self._fixed_tile is None:
                self._limit = self._found = smaller
                return MemoryBackOff(smaller)
            tile = grid.split(tile, (smaller, smaller))[0]
            if self._attempt(self._try, grid, TileTask(part, tile), reader, writer):
                raise MemoryError(
                    f"tile: got {self._fixed_tile}, which does not fit into the memory of"
                    f" {self.device}; {smaller} does"
                )

    def _try(self, grid: Grid, task: TileTask, reader: Executor, writer: Executor) -> bool:
        """Compute a tile without writing it."""
        loading = self._start(reader, grid, [task])
        (own,), (picture,) = self._compute(grid, [task], loading)
        writer.submit(self._render, task, own, picture).result()
        return True

    def _attempt(self, call: Callable[..., T], *arguments: Any) -> T | None:
        """Return the result of a call, or None if memory ran out."""
        try:
            return call(*arguments)
        except (MemoryError, RuntimeError) as error:
            if not devices.is_out_of_memory(error):
                raise
        # Retry only after the except block, whose traceback keeps the tensors alive.
        return None

    def _render(self, task: TileTask, own: NDArray[Any], picture: Any) -> NDArray[Any]:
        """Convert a finished tile to the units and dtype of the result."""
        *base, last = np.split(self._transfer.download(picture), len(self.exits))
        plane = task.part.plane
        return plane.render(own, last, base[0] if base else None, task.tile.place)

    def _store(self, task: TileTask, own: NDArray[Any], picture: Any) -> bool:
        """Convert a finished tile and add it to its part."""
        task.part.put(task.tile, self._render(task, own, picture))
        return True
