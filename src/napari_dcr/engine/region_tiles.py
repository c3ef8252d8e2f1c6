"""Network results of the tiles of a region, one tile at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine import devices
from napari_dcr.engine.frame_features import FeatureMemory
from napari_dcr.engine.groups import Group
from napari_dcr.engine.neighbours import Alignment, Neighbourhood
from napari_dcr.engine.networks import Features
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.runner import TileRunner
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.tiles import Tile, relative
from napari_dcr.engine.windows import complete_strides, held_pixels
from napari_dcr.network.global_net import PLAIN, Conditioning
from napari_dcr.network.isolation import isolated


@dataclass(frozen=True)
class PlaneTask:
    """A plane to enhance, with its conditioning."""

    setup: Setup
    conditioning: Conditioning
    plane: ArrayPlane
    group: Group
    neighbourhood: Neighbourhood | None = None

    @property
    def range(self) -> tuple[float, float]:
        """Black and white point."""
        return self.plane.scale.black, self.plane.scale.white

    def on_route(self, tile: Tile) -> Tile:
        """Tile with the same core, and with the window that the plane's route needs."""
        route = self.conditioning.route
        if route == PLAIN:
            return tile
        grid = self.setup.runner.grid(self.plane.layout.height, self.plane.layout.width, route)
        return grid.tile(tile.core_rows, tile.core_columns)

    @property
    def key(self) -> tuple[Any, ...]:
        """Everything that the network's results depend on, except the tile and the depth."""
        fused = self.neighbourhood is not None
        return (*self.settings, self.group, self.plane.frame, self.range, fused)

    @property
    def settings(self) -> tuple[Any, ...]:
        """Everything that the network's results depend on, except the plane, the tile and the depth."""
        spec = self.setup.spec
        return (
            spec.sha256, self.setup.runner.device, spec.precision, spec.detail,
            self.plane.layout.axes, self.setup.defects_key, self.setup.noise,
            self.conditioning.route, self.setup.link_frames,
        )  # fmt: skip


def run_tile(
    task: PlaneTask, tile: Tile, depths: Sequence[int], memory: FeatureMemory
) -> list[NDArray[np.float32]]:
    """Run the network on a tile's window.

    Returns the results of some depths for its core, each (C, h, w), 0 outside the scene.
    """
    results = _inner(task, tile, depths, memory)
    if tile.inner == tile.core:
        return results
    (top, bottom), (left, right) = tile.core
    wholes = []
    for result in results:
        whole = np.zeros((len(result), bottom - top, right - left), np.float32)
        whole[(slice(None), *tile.place)] = result
        wholes.append(whole)
    return wholes


def _inner(
    task: PlaneTask, tile: Tile, depths: Sequence[int], memory: FeatureMemory
) -> list[NDArray[np.float32]]:
    """Run the network on a tile's window; returns the results for its inner region."""
    runner = task.setup.runner
    if tile.is_empty:
        return [np.empty((1, 0, 0), np.float32) for _ in depths]
    crop = (0, slice(None), *tile.crop)
    try:
        with isolated(runner.device), torch.inference_mode():
            fused = [d for d in depths if d and task.neighbourhood is not None]
            alone = [d for d in depths if d not in fused]
            pictures = {d: _fused(task, tile, d, memory)[crop] for d in fused}
            if alone:
                window, place, _ = _window(runner, task.plane, task.conditioning, tile)
                found = runner.enhance(window, task.conditioning, place, max(alone), alone)
                pictures.update((d, each[crop]) for d, each in zip(alone, found, strict=True))
            # Only a part of a window is copied, so that it does not keep the memory of the whole.
            return [np.ascontiguousarray(pictures[d].cpu().numpy()) for d in depths]
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error):
            raise
    memory.clear()
    devices.release_memory(runner.device)
    (top, bottom), (left, right) = tile.rows, tile.columns
    raise MemoryError(
        f"device {runner.device}: out of memory for a window of {right - left} x {bottom - top}"
        " pixels; choose smaller tiles or another device"
    )


def _fused(task: PlaneTask, tile: Tile, depth: int, memory: FeatureMemory) -> torch.Tensor:
    """Compute the picture of a tile's window at a depth, using neighbouring frames."""
    runner, neighbourhood = task.setup.runner, task.neighbourhood
    assert neighbourhood is not None

    def features(number: int) -> Features:
        plane, conditioning = neighbourhood.planes[number]
        window_key = plane.channel, plane.frame, tile.rows, tile.columns
        # Features of pictures do not depend on the depth.
        key = *task.settings, conditioning.mean is None and depth, plane.scale, window_key
        known = memory.get(key)
        if known is None:
            window, place, held = _window(runner, plane, conditioning, tile)
            known = runner.features(window, conditioning, place, depth, held)
            memory.put(key, known)
        return known

    steps = runner.shift_step(task.conditioning.route)
    neighbours: list[tuple[Features, Alignment] | None] = []
    for number in neighbourhood.numbers:
        aligned = neighbourhood.alignment(number, steps)
        if number is None or aligned is None:
            neighbours.append(None)
        else:
            neighbours.append((features(number), aligned))
    centre = features(neighbourhood.number)
    (picture,), _ = runner.fuse(centre, neighbours, task.conditioning, depth, [depth])
    return picture


def _window(
    runner: TileRunner, plane: ArrayPlane, conditioning: Conditioning, tile: Tile
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor | None]:
    """Network's input for a tile of a plane, its place in the feature grid, and marks of pixels with data."""
    grid = runner.grid(plane.layout.height, plane.layout.width, conditioning.route)
    inside = grid.inside(tile)
    rows, columns = (slice(*span) for span in inside)
    (top, bottom), (left, right) = tile.window
    working = np.empty((plane.network_channels, bottom - top, right - left), np.float32)
    inner = relative(inside, tile.window)
    own = plane.read(rows, columns)
    plane.to_working(own, rows, columns, working[:, *inner])
    held = held_pixels([own[: plane.colours]], [inner], (bottom - top, right - left))
    complete_strides(working, inner)
    place = runner.network.window_weights(
        tile.rows,
        tile.columns,
        (grid.height, grid.width),
        binning=conditioning.binning,
        extent=conditioning.extent,
    )
    window = torch.from_numpy(working)[None].to(runner.device)
    places = place[0].to(runner.device), place[1].to(runner.device)
    return window, places, held.to(runner.device) if len(held) else None
