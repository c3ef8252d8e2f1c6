"""Read the windows of tiles, transfer them to the device, and run the networks on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine import devices
from napari_dcr.engine.frame_features import Contribution, FrameCache, FramePlan
from napari_dcr.engine.neighbours import Alignment
from napari_dcr.engine.networks import Networks
from napari_dcr.engine.parts import Part, TileTask
from napari_dcr.engine.tiles import Grid, Size, Spans, relative
from napari_dcr.engine.transfer import transfer_for
from napari_dcr.image.missing import missing
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.isolation import isolated

Computation = Callable[..., list[torch.Tensor]]
"""Function that computes pictures from uploaded tensors."""


def complete_strides(window: NDArray[Any], inner: tuple[slice, slice]) -> None:
    """Repeat the border of an image, which fills a part of a window (C, h, w), up to the window's border."""
    rows, columns = inner
    window[:, : rows.start, columns] = window[:, rows.start : rows.start + 1, columns]
    window[:, rows.stop :, columns] = window[:, rows.stop - 1 : rows.stop, columns]
    window[:, :, : columns.start] = window[:, :, columns.start : columns.start + 1]
    window[:, :, columns.stop :] = window[:, :, columns.stop - 1 : columns.stop]


class Loaded(NamedTuple):
    """A batch of windows in host memory and on the device.

    Attributes
    ----------
    own : list of ndarray
        Pixels of the cores in the image's own units.
    upload : object
        Handle of the transfer to the device, see `Transfer.upload`.
    """

    own: list[NDArray[Any]]
    upload: Any


def held_pixels(
    own: Sequence[NDArray[Any]], inner: Sequence[tuple[slice, slice]], size: Size
) -> torch.Tensor:
    """Mark the pixels of windows (B, 1, h, w) that have data in all colours with 1, others with 0.

    Parameters
    ----------
    own : sequence of ndarray
        Colours of the pixels that were read.
    inner : sequence
        Place of these pixels in each window.
    size : (int, int)
        Rows and columns of the windows.

    Returns
    -------
    Tensor
        Empty if all pixels have data.
    """
    gone = [missing(values) for values in own]
    if all(each is None for each in gone):
        return torch.empty(0)
    marks = torch.ones(len(gone), 1, *size)
    for mark, each, place in zip(marks, gone, inner, strict=True):
        if each is not None:
            mark[(0, *place)] = torch.from_numpy(~each.any(0)).float()
    return marks


def _read(part: Part, spans: Spans) -> NDArray[Any]:
    """Read rows and columns of a part's plane."""
    rows, columns = spans
    return part.plane.read(slice(*rows), slice(*columns))


class Windows(Networks):
    """Networks on a device, which enhance the windows of tiles.

    Parameters
    ----------
    network, device, precision, depth, detail, noise
        See `Networks`.
    with_base : bool
        Also return the result of depth 0, which renderings need to keep part of the noise.

    Attributes
    ----------
    contribution : Contribution
        Contribution of neighbouring frames, in all runs together.
    """

    def __init__(
        self,
        network: Cascade,
        device: torch.device,
        precision: devices.Precision,
        depth: int,
        detail: bool,
        noise: Callable[[], Networks] | None = None,
        with_base: bool = False,
    ) -> None:
        super().__init__(network, device, precision, depth, detail, noise)
        self.exits = (0, depth) if with_base else (depth,)
        self._transfer = transfer_for(device)
        self._frames = FrameCache()
        self.contribution = Contribution()

    def _start(
        self, reader: Executor, grid: Grid, batch: list[TileTask]
    ) -> Future[tuple[Loaded, Computation]]:
        """Start reading a batch; the future holds the loaded windows and the function that enhances them."""
        if batch[0].tile.is_empty:
            return reader.submit(self._load_empty, batch)
        if grid.route.neighbours and batch[0].part.neighbourhood is not None:
            plan = self._frames.plan(batch[0])
            return reader.submit(self._load_frames, grid, batch[0], plan)
        return reader.submit(lambda: (self._load(grid, batch), partial(self._run_tiles, batch)))

    def _load_empty(self, batch: list[TileTask]) -> tuple[Loaded, Computation]:
        """Read cores outside the scene, which are not enhanced."""
        cores = [_read(part, tile.core) for part, tile in batch]
        nothing = partial(torch.Tensor.new_empty, size=(len(self.exits), 0, 0))
        return self._loaded_nothing(cores), lambda windows: [nothing(windows) for _ in batch]

    def _loaded_nothing(self, cores: list[NDArray[Any]]) -> Loaded:
        """Cores without windows."""
        upload = self._transfer.upload((0, 1, 0, 0), np.dtype(np.float32), lambda _: None)
        return Loaded(cores, upload)

    def _load_frames(
        self, grid: Grid, task: TileTask, plan: FramePlan
    ) -> tuple[Loaded, Computation]:
        """Read a tile's windows in those frames whose features have not been computed yet."""
        neighbourhood, part = task.part.neighbourhood, task.part
        assert neighbourhood is not None
        tasks = [
            TileTask(Part(*neighbourhood.planes[number], part.core), task.tile)
            for number in plan.new
        ]
        if tasks:
            loaded = self._load(grid, tasks, marks=True)
        else:
            loaded = self._loaded_nothing([])
        pixels = plan.state.pixels
        pixels.update(zip(plan.new, loaded.own, strict=True))
        alignments = [
            neighbourhood.alignment(n, self.shift_step(grid.route)) for n in neighbourhood.numbers
        ]
        own = pixels[neighbourhood.number]
        for number in pixels.keys() - plan.keep:
            del pixels[number]
        return Loaded([own], loaded.upload), partial(self._run_frames, task, plan, alignments)

    def _load(self, grid: Grid, batch: list[TileTask], marks: bool = False) -> Loaded:
        """Read the windows of tiles of equal shape and start their transfer to the device.

        With ``marks``, a tensor follows that marks pixels with data; it is empty if all have.
        """
        places = [grid.inside(tile) for _, tile in batch]
        own = [_read(part, place) for (part, _), place in zip(batch, places, strict=True)]
        dtype = own[0].dtype
        as_integers = self._transfer.sends_integers and dtype.name in ("uint8", "uint16")
        # Pixels of planes with corrected defects are floats.
        as_integers = as_integers and not any(
            isinstance(o, np.ma.MaskedArray) or o.dtype != dtype for o in own
        )
        # Grey planes in a batch with colour planes are repeated in every channel.
        colours = max(part.plane.colours for part, _ in batch)
        channels = colours if as_integers else self.network.config.channels

        def fill(windows: NDArray[Any]) -> None:
            for (part, tile), place, values, window in zip(
                batch, places, own, windows, strict=True
            ):
                inner = relative(place, tile.window)
                if as_integers:
                    window[:, *inner] = values[: part.plane.colours]
                else:
                    rows, columns = place
                    part.plane.to_working(values, slice(*rows), slice(*columns), window[:, *inner])
                complete_strides(window, inner)

        with isolated():
            extra = self._grid_weights(grid, batch)
        if marks:
            colours_of = [o[: part.plane.colours] for o, (part, _) in zip(own, batch, strict=True)]
            inner = [relative(p, tile.window) for p, (_, tile) in zip(places, batch, strict=True)]
            extra.append(held_pixels(colours_of, inner, batch[0].shape))
        if as_integers:
            tables = [part.plane.working_values(dtype) for part, _ in batch]
            extra.append(torch.from_numpy(np.stack(tables)))
        shape = len(batch), channels, *batch[0].shape
        upload = self._transfer.upload(
            shape, dtype if as_integers else np.dtype(np.float32), fill, *extra
        )
        cores = [
            values[(slice(None), *relative(tile.core, place))]
            if tile.inner == tile.core
            else _read(part, tile.core)
            for values, place, (part, tile) in zip(own, places, batch, strict=True)
        ]
        return Loaded(cores, upload)

    def _grid_weights(self, grid: Grid, batch: list[TileTask]) -> list[torch.Tensor]:
        """Weights that interpolate the feature grids at the windows, computed once for equal windows."""
        known: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}
        weights = []
        for task in batch:
            place = task.tile.rows, task.tile.columns, task.part.conditioning.extent
            if place not in known:
                known[place] = task.grid_weights(self.network, grid)
            weights.append(known[place])
        return [torch.cat(axis) for axis in zip(*weights, strict=True)]

    def _compute(
        self, grid: Grid, batch: list[TileTask], loading: Future[tuple[Loaded, Computation]]
    ) -> tuple[list[NDArray[Any]], list[Any]]:
        """Return the cores' pixels in the image's own units, and the network's results for the inner regions."""
        loaded, work = loading.result()
        return loaded.own, self._transfer.compute(loaded.upload, work)

    def _run_tiles(
        self,
        batch: list[TileTask],
        windows: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        tables: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Run the network on windows of equal shape; returns their inner regions as (C, h, w)."""
        with isolated(self.device), torch.inference_mode():
            windows = self._working(windows, tables)
            conditioning = Conditioning.batch([part.conditioning for part, _ in batch])
            exits = self.enhance(windows, conditioning, (rows, columns), self.depth, self.exits)
            pictures = exits[0] if len(exits) == 1 else torch.cat(exits, 1)
            return [
                picture[(slice(None), *tile.crop)]
                for picture, (_, tile) in zip(pictures, batch, strict=True)
            ]

    def _run_frames(
        self,
        task: TileTask,
        plan: FramePlan,
        alignments: list[Alignment | None],
        windows: torch.Tensor,
        rows: torch.Tensor | None = None,
        columns: torch.Tensor | None = None,
        held: torch.Tensor | None = None,
        tables: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Compute the features of new frames, and enhance a tile with all features; returns its inner region."""
        neighbourhood, part = task.part.neighbourhood, task.part
        assert neighbourhood is not None
        features = plan.state.features
        with isolated(self.device), torch.inference_mode():
            windows = self._working(windows, tables)
            for place, number in enumerate(plan.new):
                assert rows is not None
                assert columns is not None
                assert held is not None
                one = slice(place, place + 1)
                features[number] = self.features(
                    windows[one],
                    neighbourhood.planes[number][1],
                    (rows[one], columns[one]),
                    self.depth,
                    held[one] if len(held) else None,
                )
            neighbours = [
                None if number is None or aligned is None else (features[number], aligned)
                for number, aligned in zip(neighbourhood.numbers, alignments, strict=True)
            ]
            centre = features[neighbourhood.number]
            whole = part.conditioning, self.depth, self.exits
            exits, frames = self.fuse(centre, neighbours, *whole)
            picture = exits[0] if len(exits) == 1 else torch.cat(exits, 1)
            self.contribution.count(neighbourhood, alignments)
            if part.conditioning.mean is not None:
                self.contribution.add_frames(frames)
            elif self.contribution.wants(neighbourhood):
                (alone,), _ = self.fuse(centre, [None] * len(neighbours), *whole)
                self.contribution.add(neighbourhood.series[0], alone, picture)
        for number in features.keys() - plan.keep:
            del features[number]
        return [picture[(0, slice(None), *task.tile.crop)]]

    def _working(self, windows: torch.Tensor, tables: torch.Tensor | None) -> torch.Tensor:
        """Convert uploaded integers to the network's input, by look-up tables."""
        if tables is None:
            return windows
        windows = torch.stack([t[w.int()] for t, w in zip(tables, windows, strict=True)])
        return windows.expand(-1, self.network.config.channels, -1, -1)
