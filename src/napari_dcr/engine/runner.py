"""The runner: read, compute and write tiles at the same time, within bounded memory."""

from __future__ import annotations

import gc
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine import allocator, devices
from napari_dcr.engine.parts import Part, Piece, Pieces
from napari_dcr.engine.tiles import Grid, Size, round_up
from napari_dcr.engine.transfer import staging_for
from napari_dcr.network.binning import enhance_binned
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.isolation import isolated

SMALLEST_CORE = 64
"""Pixels a side below which running out of memory is final."""

AUTOMATIC_PIXELS = {"fp32": 4_400_000, "bf16": 7_300_000, "fp16": 7_300_000}
"""Most that a window chosen by itself has, 1.5 GB for `photo`: half an image of 8 megapixels, of
which then less than 10 % overlaps.  Images that two such windows do not cover take half of it:
there it would buy less."""

LARGE_BYTES = 1e9
"""Most that a window of such an image takes: with all that is read and written beside, 1.5 GB."""

BINNED_BYTES = 40
"""Bytes per pixel of a window that is binned, for itself, its means and its pictures."""

BATCH_PIXELS = {"cuda": 1 << 22, "mps": 1 << 20, "cpu": 0}
"""Windows of one shape, such as small frames of a stack, are computed together up to this
size, where a window of its own would not keep the device busy.  Not on CPUs: there it saves
little, and a frame's result would depend in its last bits on the frames beside it."""

AHEAD = 1
"""Batches read before they are needed, and batches not yet written."""

T = TypeVar("T")


@dataclass(frozen=True)
class TileDone:
    """A tile was finished.

    Attributes
    ----------
    pixels : int
        Pixels of its core.
    part : Part
        What it belongs to.
    """

    pixels: int
    part: Part


@dataclass(frozen=True)
class MemoryShort:
    """Memory ran out; the rest goes on with less at a time.

    Attributes
    ----------
    core : int or None
        New side of a core in pixels; None if it is enough not to take several
        frames at a time.
    """

    core: int | None


class Loaded(NamedTuple):
    """A batch of windows that was read: the cores' own values, and what was sent to the device."""

    own: list[NDArray[Any]]
    sent: Any


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
    with_base : bool
        Hand planes the picture of depth 0 too, which leaves part of the noise in.

    Attributes
    ----------
    network : Cascade
        On its device, in float32.
    local : Cascade
        The same, with the convolutions over pixels in ``precision``.
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
    ) -> None:
        self.device, self.precision = device, precision
        self.depth, self.detail = depth, detail
        self.exits = (0, depth) if with_base else (depth,)
        self.network = network.placed_on(device)
        self.local = self.network.with_precision(devices.torch_dtype(precision))
        self._fixed_tile = tile
        self._limit = self._found = sys.maxsize
        self.batch_pixels = BATCH_PIXELS.get(device.type, 0)
        self._staging = staging_for(device)
        self._window_bytes = 0.0

    def grid(self, height: int, width: int, binning: tuple[int, int] = (1, 1)) -> Grid:
        """How planes of this size are cut, at a binning."""
        most = max(binning)
        halo = self.network.receptive_field(self.depth)
        halo = most * halo + most // 2 if halo else 0
        return Grid(height, width, halo, most * self.network.stride, binning)

    def part_size(self, grid: Grid, unit: Size = (1, 1), part: Size | None = None) -> Size:
        """Rows and columns to write at once: multiples of ``unit``, what must be.

        One tile, of the size that the user fixed or that is best for the free
        memory; several if the unit, or a ``part`` that is given, is larger.
        """
        step = grid.stride
        # Half of what is free is left to the rest of the process and to the system.
        phases = math.prod(grid.binning)
        most = phases * AUTOMATIC_PIXELS[self.precision]
        needed = devices.bytes_per_pixel(self.network, self.precision) / phases
        if phases > 1:
            needed += BINNED_BYTES
        fitting = int(devices.free_memory(self.device) // 2 / needed)
        pixels = min(most, fitting)
        if grid.height * grid.width > 2 * pixels:
            pixels = min(most // 2, fitting, int(LARGE_BYTES / needed))
        if self._fixed_tile is not None:
            core = round_up(self._fixed_tile, step)
            part = part or (round_up(core, unit[0]), round_up(core, unit[1]))
            limit = core
        else:
            part = part or grid.best_core(pixels, (step, step) if unit == (1, 1) else unit)
            limit = max(part)
            if grid.largest_window(part) > pixels:
                side = int(pixels**0.5) - 2 * round_up(grid.halo, step)
                limit = max(SMALLEST_CORE, side // step * step)
        # What a back-off has found out stays true.
        self._limit = min(limit, self._found)
        largest = grid.largest_window((min(part[0], self._limit), min(part[1], self._limit)))
        self._staging.reserve(max(largest, self.batch_pixels))
        self._window_bytes = needed * largest
        return part

    def run(self, grid: Grid, parts: Iterable[Part]) -> Iterator[TileDone | MemoryShort | None]:
        """Enhance parts of planes of one size; closing the generator stops between tiles.

        It gives None where a tile was computed but is still being written, so
        that it can be closed before every tile.

        Threads read ahead and write behind while this one computes, a bounded
        number of tiles each.  The first error closes everything and is raised.
        When memory runs out, wherever that is, the rest is done in smaller
        tiles; finished ones are kept.

        Raises
        ------
        MemoryError
            If not even the smallest core fits, or if the one that the user fixed does not.
        """
        if self.device.type == "cpu":
            with allocator.kept():
                yield from self._run(Pieces(parts, grid), grid, allocator.Bound(self._window_bytes))
        else:
            yield from self._run(Pieces(parts, grid), grid, None)

    def _run(
        self, pieces: Pieces, grid: Grid, mapped: allocator.Bound | None
    ) -> Iterator[TileDone | MemoryShort | None]:
        reading: deque[tuple[list[Piece], Future[Loaded]]] = deque()
        writing: deque[tuple[Piece, Future[bool]]] = deque()
        reader = ThreadPoolExecutor(1, "read")
        writer = ThreadPoolExecutor(1, "write")
        room = next_room = 0  # the first tile is told of before the second one is computed
        try:
            while True:
                while len(reading) <= AHEAD:
                    if not (batch := pieces.take(self._limit, self.batch_pixels)):
                        break
                    reading.append((batch, reader.submit(self._load, grid, batch)))
                failed: list[Piece] = []
                if writing and (len(writing) > room or not reading or writing[0][1].done()):
                    piece, stored = writing.popleft()
                    if self._attempt(stored.result):
                        yield TileDone(piece.tile.pixels, piece.part)
                    else:
                        failed = [piece]
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
                        for piece, own, picture in zip(batch, *done, strict=True):
                            stored = writer.submit(self._store, piece, own, picture)
                            writing.append((piece, stored))
                        del own, picture, stored
                    del loading, done  # and with them windows, or what an error holds on to
                    if not failed:
                        yield None
                else:
                    return
                if failed:
                    # What was read ahead is given up as well: it takes memory.
                    pieces.put_back([*failed, *(piece for batch, _ in reading for piece in batch)])
                    for _, job in reading:
                        job.cancel()
                    reading.clear()
                    yield self._back_off(grid, failed, reader, writer)
        finally:
            reader.shutdown(wait=True, cancel_futures=True)
            writer.shutdown(wait=True, cancel_futures=True)

    def _back_off(
        self, grid: Grid, failed: list[Piece], reader: Executor, writer: Executor
    ) -> MemoryShort:
        """How to go on after some tiles did not fit together.

        A size that the user fixed is not changed behind their back: the largest
        that does fit is found and named.
        """
        gc.collect()
        devices.release_memory(self.device)
        if len(failed) > 1:
            self.batch_pixels = 0
            return MemoryShort(None)
        ((part, tile),) = failed
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
                self._limit = self._found = smaller
                return MemoryShort(smaller)
            tile = grid.split(tile, (smaller, smaller))[0]
            if self._attempt(self._try, grid, Piece(part, tile), reader, writer):
                raise MemoryError(
                    f"tile: got {self._fixed_tile}, which does not fit into the memory of"
                    f" {self.device}; {smaller} does"
                )

    def _try(self, grid: Grid, piece: Piece, reader: Executor, writer: Executor) -> bool:
        """Do a tile, but do not hand it in."""
        loading = reader.submit(self._load, grid, [piece])
        (own,), (picture,) = self._compute(grid, [piece], loading)
        writer.submit(self._finish, piece, own, picture).result()
        return True

    def _attempt(self, call: Callable[..., T], *arguments: Any) -> T | None:
        """Result of a call, or None if memory ran out."""
        try:
            return call(*arguments)
        except (MemoryError, RuntimeError) as error:
            if not devices.is_out_of_memory(error):
                raise
        # Nothing is tried anew within the except block: its traceback keeps the tensors alive.
        return None

    def _load(self, grid: Grid, batch: list[Piece]) -> Loaded:
        """Read the windows of tiles of one shape and send them to the device."""
        own = [
            part.plane.read(
                slice(tile.rows[0], min(tile.rows[1], grid.height)),
                slice(tile.columns[0], min(tile.columns[1], grid.width)),
            )
            for part, tile in batch
        ]
        dtype = own[0].dtype
        as_it_is = self._staging.sends_integers and dtype.name in ("uint8", "uint16")
        # Planes whose defects were corrected are no integers any more.
        as_it_is = as_it_is and not any(
            isinstance(o, np.ma.MaskedArray) or o.dtype != dtype for o in own
        )
        # Grey is given to each channel where it is batched with colour.
        colours = max(part.plane.colours for part, _ in batch)
        channels = colours if as_it_is else self.network.config.channels

        def fill(windows: NDArray[Any]) -> None:
            for (part, _), values, window in zip(batch, own, windows, strict=True):
                h, w = values.shape[1:]
                if as_it_is:
                    window[:, :h, :w] = values[: part.plane.colours]
                else:
                    part.plane.to_working(values, window[:, :h, :w])
                # The plane's own remainder up to the stride: the one place where pixels are made up.
                window[:, h:, :w] = window[:, h - 1 : h, :w]
                window[:, :, w:] = window[:, :, w - 1 : w]

        size = grid.height, grid.width
        with isolated():
            weights = [
                self.network.window_weights(tile.rows, tile.columns, size, binning=grid.binning)
                for _, tile in batch
            ]
        beside = [torch.cat(axis) for axis in zip(*weights, strict=True)]
        if as_it_is:
            tables = [part.plane.working_values(dtype) for part, _ in batch]
            beside.append(torch.from_numpy(np.stack(tables)))
        shape = len(batch), channels, *batch[0].shape
        sent = self._staging.send(shape, dtype if as_it_is else np.dtype(np.float32), fill, *beside)
        return Loaded(
            [o[(slice(None), *p.tile.crop)] for o, p in zip(own, batch, strict=True)], sent
        )

    def _compute(
        self, grid: Grid, batch: list[Piece], loading: Future[Loaded]
    ) -> tuple[list[NDArray[Any]], list[Any]]:
        """Own values and the network's pictures of the cores of tiles."""
        loaded = loading.result()
        return loaded.own, self._staging.compute(loaded.sent, partial(self._run_tiles, batch))

    def _run_tiles(
        self,
        batch: list[Piece],
        windows: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        tables: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Send windows of one shape through the network; returns the cores (C, h, w)."""
        with isolated(self.device), torch.inference_mode():
            if tables is not None:
                windows = torch.stack([t[w.int()] for t, w in zip(tables, windows, strict=True)])
                windows = windows.expand(-1, self.network.config.channels, -1, -1)
            conditioning = _together([part.conditioning for part, _ in batch])
            exits = enhance_binned(
                self.local, windows, conditioning, (rows, columns), self.depth, self.detail,
                self.exits,
            )  # fmt: skip
            pictures = exits[0] if len(exits) == 1 else torch.cat(list(exits), 1)
            return [
                picture[(slice(None), *tile.crop)]
                for picture, (_, tile) in zip(pictures, batch, strict=True)
            ]

    def _finish(self, piece: Piece, own: NDArray[Any], picture: Any) -> NDArray[Any]:
        """Convert a finished tile."""
        *base, last = np.split(self._staging.fetch(picture), len(self.exits))
        return piece.part.plane.finish(own, last, *base)

    def _store(self, piece: Piece, own: NDArray[Any], picture: Any) -> bool:
        """Convert a finished tile and hand it in."""
        piece.part.put(piece.tile, self._finish(piece, own, picture))
        return True


def _together(conditionings: list[Conditioning]) -> Conditioning:
    """Conditioning of a batch."""
    if len(conditionings) == 1:
        return conditionings[0]
    tones = zip(*(c.tone for c in conditionings), strict=True)
    return Conditioning(
        type(conditionings[0].tone)(*(torch.cat(field) for field in tones)),
        torch.cat([c.grid for c in conditionings]),
        conditionings[0].binning,
    )
