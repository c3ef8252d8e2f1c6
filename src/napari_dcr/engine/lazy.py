"""Lazy dask arrays: one task per block, each with its halo, on threads or on a cluster."""

from __future__ import annotations

import functools
import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine import devices
from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.groups import Group
from napari_dcr.engine.neighbours import FrameAxis, FrameMatches, Matches, find_neighbourhood
from napari_dcr.engine.output import Rendering
from napari_dcr.engine.parts import Part
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.runner import TileRunner
from napari_dcr.engine.setup import RunnerSpec
from napari_dcr.engine.sources import MarkedSource, Region
from napari_dcr.engine.tiles import Grid, Tile
from napari_dcr.image.axes import Layout
from napari_dcr.image.missing import REACH
from napari_dcr.network import weights
from napari_dcr.network.global_net import Route
from napari_dcr.network.isolation import isolated

SMALLEST_BLOCK = 1024
"""Smallest side of a block in y and x; smaller chunks are merged, as their halo would cost more."""


@dataclass(frozen=True)
class Job:
    """Settings that all blocks of an image share.

    Attributes
    ----------
    spec : RunnerSpec
    layout : Layout
        Layout of the whole image.
    network_channels : int
    rendering : Rendering
    link_frames : bool
    nodata : float, optional
        Value of pixels without data.
    axis : FrameAxis, optional
        Axis along which neighbouring frames are used; None if they are not used.
    """

    spec: RunnerSpec
    layout: Layout
    network_channels: int
    rendering: Rendering
    link_frames: bool
    nodata: float | None = None
    axis: FrameAxis | None = None

    def around(self, frame: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Yield the other frames on which the result of a frame depends."""
        if self.axis is not None:
            yield from (other for other in self.axis.around(frame) if other is not None)

    def group(self, frame: tuple[int, ...], channel: int) -> int:
        """Number of the group of planes that a plane belongs to."""
        return Group.of(frame, channel, self.link_frames).number(self.layout)

    def plane(
        self,
        frame: tuple[int, ...],
        channel: int,
        shared: GroupConditioning,
        source: Any,
        target: Any,
    ) -> ArrayPlane:
        """Access to one plane of the image, whose result is written to ``target``."""
        number = Group.of(frame, channel, self.link_frames).position(frame, self.layout)
        return ArrayPlane(
            source, target, self.layout, frame, channel, self.network_channels, shared.scale,
            shared.rendering(self.rendering, number), defects=shared.defects_of(number),
            padding=shared.padding_of(number), scene=shared.conditioning.scene,
        )  # fmt: skip


@functools.lru_cache(maxsize=4)
def _runner(spec: RunnerSpec) -> TileRunner:
    """Load weights once per process."""
    with isolated():
        return _new_runner(spec)


def _new_runner(spec: RunnerSpec) -> TileRunner:
    model = weights.load(spec.model)
    if model.sha256 != spec.sha256:
        raise ValueError(
            f"model: the weights {spec.model!r} on this worker differ from those that the lazy"
            f" array was created with: got sha256 {model.sha256[:12]}, expected {spec.sha256[:12]}"
        )
    device = devices.find_device(spec.device)
    return TileRunner(
        model.network, device, spec.precision, spec.depth, spec.detail, spec.tile, spec.with_base,
        functools.partial(_runner, spec.noise_stage) if spec.noise_stage else None,
    )  # fmt: skip


_ONE_AT_A_TIME = threading.Lock()
"""One block occupies the whole device; blocks in parallel would only need more memory."""


Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis."""


def _assemble(box: Box, chunks: list[Any], places: list[Box], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Assemble the pixels of a box from the chunks that overlap it."""
    window = np.ma.empty([stop - start for start, stop in box], dtype)
    for chunk, place in zip(chunks, places, strict=True):
        ours, theirs = [], []
        for (start, stop), (low, high) in zip(box, place, strict=True):
            first, last = max(start, low), min(stop, high)
            ours.append(slice(first - start, last - start))
            theirs.append(slice(first - low, last - low))
        window[tuple(ours)] = np.asanyarray(chunk)[tuple(theirs)]
    return window if np.ma.is_masked(window) else np.ma.getdata(window)


def enhance_block(
    job: Job,
    shared: dict[int, GroupConditioning],
    core: Box,
    box: Box,
    places: list[Box],
    chunks: list[Any],
    matches: Matches,
) -> NDArray[Any]:
    """Enhance one block; runs as a dask task.

    Parameters
    ----------
    job : Job
    shared : dict
        Conditioning of the planes in this block and of their neighbours, by the number of the group.
    core : Box
        Position of the block.
    box : Box
        Position of the block with its halo, also along the axis of neighbouring frames.
    places : list of Box
        Positions of the source's chunks that overlap ``box``.
    chunks : list of ndarray
        Pixels of these chunks.
    matches : dict
        Matches between the frames of the box.
    """
    layout = job.layout
    axes = dict(zip(layout.axes, core, strict=True))
    with _ONE_AT_A_TIME:
        runner = _runner(job.spec)
        window = _assemble(box, chunks, places, chunks[0].dtype)
        region = Region(window, tuple(b[0] for b in box))
        source = MarkedSource(region, layout, job.nodata)
        result = np.empty([stop - start for start, stop in core], job.rendering.dtype)
        target = Region(result, tuple(c[0] for c in core))
        shared = {
            number: group._replace(conditioning=group.conditioning.to(runner.device))
            for number, group in shared.items()
        }
        found = FrameMatches(matches)

        def plane_of(channel: int, frame: tuple[int, ...]) -> tuple[ArrayPlane, GroupConditioning]:
            group = shared[job.group(frame, channel)]
            return job.plane(frame, channel, group, source, target), group

        def part_of(frame: tuple[int, ...], channel: int, tile: Tile) -> Part:
            plane, group = plane_of(channel, frame)
            neighbourhood = None
            if job.axis is not None and group.route.neighbours:
                of_channel = functools.partial(plane_of, channel)
                neighbourhood = find_neighbourhood(job.axis, frame, channel, of_channel, found)
            return Part(plane, group.conditioning, tile, neighbourhood=neighbourhood)

        planes = list(_planes(layout, core))
        if job.axis is not None:
            planes = [
                (frames[number], channel)
                for channel, frames in _by_channel(planes)
                for numbers in job.axis.by_series(frames)
                for number in numbers
            ]
        routes = [shared[job.group(*plane)].route for plane in planes]
        try:
            for route in dict.fromkeys(routes):
                grid = runner.grid(layout.height, layout.width, route)
                tiles = grid.split(grid.tile(axes["y"], axes["x"]), runner.part_size(grid))
                own = [plane for plane, its in zip(planes, routes, strict=True) if its == route]
                order = [(plane, tile) for plane in own for tile in tiles]
                if route.neighbours:  # a tile in all frames, so that features are computed once
                    order = [(plane, tile) for tile in tiles for plane in own]
                for _ in runner.run(grid, (part_of(*plane, tile) for plane, tile in order)):
                    pass
        finally:
            runner.forget_frames()
    if any(isinstance(chunk, np.ma.MaskedArray) for chunk in chunks):
        place = tuple(slice(*span) for span in core)
        return np.ma.MaskedArray(result, np.ma.getmaskarray(region[place]).copy())
    return result


def _by_channel(
    planes: list[tuple[tuple[int, ...], int]],
) -> list[tuple[int, list[tuple[int, ...]]]]:
    """Frames of each channel."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for frame, channel in planes:
        found.setdefault(channel, []).append(frame)
    return list(found.items())


def _planes(layout: Layout, core: Box) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the frame and channel of each plane of a block."""
    spans = dict(zip(layout.axes, core, strict=True))
    frames = [range(*spans[a]) for a in layout.axes if a not in "yxsc"]
    for channel in range(*spans.get("c", (0, layout.channels))):
        for frame in itertools.product(*frames):
            yield frame, channel


def _spans(sizes: Iterable[int]) -> list[tuple[int, int]]:
    """Start and stop of consecutive chunks."""
    edges = [0, *itertools.accumulate(sizes)]
    return list(itertools.pairwise(edges))


def _merged(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Merge consecutive chunks until each has at least `SMALLEST_BLOCK` pixels a side."""
    merged = [sizes[0]]
    for size in sizes[1:]:
        if merged[-1] < SMALLEST_BLOCK:
            merged[-1] += size
        else:
            merged.append(size)
    return tuple(merged)


def _touched(box: Box, spans: list[list[tuple[int, int]]]) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Indices and positions of the chunks that overlap a box."""
    per_axis = [
        [(i, s) for i, s in enumerate(axis) if s[0] < stop and s[1] > start]
        for (start, stop), axis in zip(box, spans, strict=True)
    ]
    for chosen in itertools.product(*per_axis):
        yield tuple(i for i, _ in chosen), tuple(s for _, s in chosen)


def lazy_array(
    image: Any,
    job: Job,
    shared: list[GroupConditioning],
    grid_of: Callable[[Route], Grid],
    matches: Matches,
) -> Any:
    """Create the enhanced image as a dask array without computing any of its blocks.

    Each block is one task that depends directly on the source's chunks overlapping its window.
    Each chunk is therefore computed once, and dask neither slices nor rechunks in between.  Blocks
    have the shape of the source's chunks; small chunks are merged.

    Parameters
    ----------
    image : dask.array.Array
    job : Job
    shared : list of GroupConditioning
        Conditioning of each group, by number.
    grid_of : callable
        Returns the tile grid of planes with a route.
    matches : dict
        Matches between neighbouring frames.
    """
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    layout = job.layout
    chunks = tuple(
        (size,) if axis == "s" else _merged(sizes) if axis in "yx" else sizes
        for size, axis, sizes in zip(layout.shape, layout.axes, image.chunks, strict=True)
    )
    # Unique for every run: caches that identify chunks by name, such as napari's, must not return
    # chunks of an earlier result from before the source's pixels changed.
    name = f"enhance-{uuid.uuid4().hex}"
    spans = [_spans(sizes) for sizes in image.chunks]
    margin = REACH + max(group.margin for group in shared)
    grids = {group.route: grid_of(group.route) for group in shared}
    graph: dict[Any, Any] = {f"{name}-job": _Constant(job)}
    for number, group in enumerate(shared):
        graph[f"{name}-shared", number] = _Constant(group)
    for block in itertools.product(*(enumerate(_spans(sizes)) for sizes in chunks)):
        core: Box = tuple(span for _, span in block)
        by_axis = dict(zip(layout.axes, core, strict=True))
        planes = list(_planes(layout, core))
        groups = sorted(
            {job.group(f, c) for frame, c in planes for f in (frame, *job.around(frame))}
        )
        own = by_axis["y"], by_axis["x"]
        routes = dict.fromkeys(shared[number].route for number in groups)
        read = [own, *(grids[route].inside(grids[route].tile(*own)) for route in routes)]
        window = {
            axis: (
                max(0, min(start for start, _ in of_axis) - margin),
                min(size, max(stop for _, stop in of_axis) + margin),
            )
            for axis, size, of_axis in zip(
                "yx", (layout.height, layout.width), zip(*read, strict=True), strict=True
            )
        }
        if job.axis is not None:
            start, stop = by_axis[job.axis.letter]
            reach = job.axis.reach
            window[job.axis.letter] = max(0, start - reach), min(stop + reach, job.axis.length)
        box: Box = tuple(window.get(a, span) for a, span in zip(layout.axes, core, strict=True))
        overlapping = list(_touched(box, spans))
        graph[(name, *(i for i, _ in block))] = (
            _block_task,
            f"{name}-job",
            groups,
            [(f"{name}-shared", number) for number in groups],
            _Constant(
                (core, box, [place for _, place in overlapping], matches_of(job, planes, matches))
            ),
            [(image.name, *numbers) for numbers, _ in overlapping],
        )
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[image])
    kind = np.ma.empty if isinstance(image._meta, np.ma.MaskedArray) else np.empty
    meta = kind((0,) * len(chunks), job.rendering.dtype)
    return da.Array(layers, name, chunks=chunks, meta=meta)


def matches_of(job: Job, planes: list[tuple[tuple[int, ...], int]], matches: Matches) -> Matches:
    """The matches that some planes need."""
    wanted: Matches = {}
    for frame, channel in planes:
        for other in job.around(frame):
            assert job.axis is not None
            numbers = sorted((frame[job.axis.place], other[job.axis.place]))
            key = (channel, job.axis.series(frame)), *numbers
            if key in matches:
                wanted[key] = matches[key]
    return wanted


@dataclass(frozen=True)
class _Constant:
    """Wrapper that keeps dask from searching a value for tasks."""

    value: Any


def _block_task(
    job: _Constant,
    groups: list[int],
    conditionings: list[_Constant],
    geometry: _Constant,
    chunks: list[Any],
) -> NDArray[Any]:
    core, box, places, matches = geometry.value
    shared = {number: group.value for number, group in zip(groups, conditionings, strict=True)}
    return enhance_block(job.value, shared, core, box, places, chunks, matches)
