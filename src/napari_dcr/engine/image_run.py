"""Run of one image: survey, conditioning, then tiles into a sink, or a lazy array."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

from napari_dcr.engine.assessment import assess_result, raise_hot_pixel_uncertainty, residual_of
from napari_dcr.engine.conditioning import ImageConditioning
from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.groups import Group, groups
from napari_dcr.engine.lazy import Job, lazy_array
from napari_dcr.engine.parts import Part
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.result import Progress, describe_run
from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.runner import MemoryBackOff, TileDone
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, lost_dask_threads
from napari_dcr.engine.tiles import Grid, Size, Tile
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.noise_model import NoiseEstimate
from napari_dcr.image.quality import Report
from napari_dcr.network.global_net import PLAIN, Route
from napari_dcr.options import Options
from napari_dcr.version import __version__

FORKED = (
    "image: this process was forked after dask had started its threads, which do not exist here;"
    " call compute(scheduler='synchronous') on the result, or start processes with the method"
    " 'spawn'"
)

DAMAGED = "resume: finished parts of out are missing or damaged; they are computed again"


class _GroupTiles(NamedTuple):
    """The planes of a group, and the tiles that each of them is cut into.

    Attributes
    ----------
    shared : GroupConditioning
    channel : int
    frames : list of tuple of int
        Indices of the planes on the stepped axes.
    cores : list of Tile
        Tiles of each plane.
    first : int
        Number of the first plane, counted over all groups.
    """

    shared: GroupConditioning
    channel: int
    frames: list[tuple[int, ...]]
    cores: list[Tile]
    first: int


class Run:
    """Enhancement of one image.

    Parameters
    ----------
    opened : Opened
    layout : Layout
    setup : Setup
    options : Options
    uncertainty : ndarray, optional
        Array that the standard error of each pixel is written to.
    finest : ImageConditioning, optional
        See `ImageConditioning`.

    Attributes
    ----------
    ranges : list
        Black and white point of each group of planes, in the order in which they are surveyed.
    noise : list
        Noise estimate of each group of planes, if the model works in counts.
    defects : list of Defects
        Corrected defects of each group of planes.
    """

    def __init__(
        self,
        opened: Opened,
        layout: Layout,
        setup: Setup,
        options: Options,
        uncertainty: Any = None,
        finest: ImageConditioning | None = None,
    ) -> None:
        self._uncertainty = uncertainty
        self._opened, self._layout, self._setup, self._options = opened, layout, setup, options
        self.conditioning = ImageConditioning(opened, finest)
        self._total, self._done = layout.planes * layout.height * layout.width, 0
        self.ranges: list[list[float]] = []
        self.noise: list[dict[str, Any]] = []
        self.defects: list[Defects] = []
        self._denoise_first: list[tuple[NoiseEstimate | None, ...]] = []
        self._links: dict[int, GroupConditioning] = {}
        self._defective: dict[Group, GroupConditioning] = {}
        self._grid = setup.runner.grid(layout.height, layout.width)

    @property
    def record(self) -> dict[str, Any]:
        """Record of the run, as plain values."""
        return describe_run(
            self._options, self._setup, self._layout, self.ranges, self.noise, self.defects,
            self._opened.warnings, self._denoise_first,
        )  # fmt: skip

    def lazy_result(self) -> Generator[Progress, None, Any]:
        """Survey a dask array; returns the result as a dask array."""
        shared = []
        for group in groups(self._layout, self._options.link_frames):
            shared.append((yield from self._condition(group)))
        job = Job(
            self._setup.spec_for(group.route for group in shared),
            self._layout,
            self._setup.model.network.config.channels,
            self._setup.rendering,
            self._options.link_frames,
            self._opened.nodata,
        )
        grids = (self._grid_for(group.route) for group in shared)
        widest = max(grids, key=lambda grid: (grid.halo, grid.stride))
        if lost_dask_threads():
            self._opened.warnings.add(FORKED)
        return lazy_array(self._opened.array, job, shared, widest)

    def write_to(self, sink: Sink) -> Iterator[Progress]:
        """Enhance all planes into a sink."""
        layout, runner = self._layout, self._setup.runner
        size = runner.part_size(self._grid, sink.unit, sink.part)
        cores = self._grid.cut(size)
        identity = _identity(self._options, self._setup, layout)
        target = sink.open(size, identity, layout.planes * len(cores))
        finished = sink.record
        if finished is not None and runner.device.type == "cpu":
            # A resumed run has other batches, but must write the same bytes.
            runner.batch_pixels = 0
        # If finished parts are not recorded, each route may use its own best size of parts.
        fixed = None if finished is None and sink.part is None and sink.unit == (1, 1) else size
        planes = 0
        for bundle in _bundles(
            layout, self._options.link_frames, runner.batch_pixels, sink.in_order
        ):
            work = []
            for group in bundle:
                shared = yield from self._condition(group)
                if finished is not None:
                    finished.check_source(group.number(layout), shared.digest)
                own = cores
                if shared.route != PLAIN:
                    grid = self._grid_for(shared.route)
                    own = grid.cut(runner.part_size(grid, sink.unit, fixed))
                frames = group.frames(layout)
                work.append(_GroupTiles(shared, group.channel, frames, own, planes))
                planes += len(frames)
            where = "enhancing"
            for event in self._run_groups(work, target, finished, sink, fixed):
                message = where
                if isinstance(event, TileDone):
                    self._done += event.pixels
                    plane = event.part.plane
                    assert isinstance(plane, ArrayPlane)
                    place = layout.place(plane.frame, plane.channel) or "enhancing"
                    first = ", noise removed first" if event.part.conditioning.noise else ""
                    message = where = place + first
                elif isinstance(event, MemoryBackOff):
                    less = f"tiles of {event.core} pixels" if event.core else "one frame at a time"
                    message = f"out of memory: continuing with {less}"
                yield self._progress(message)
        self._raise_hot_pixel_uncertainty()
        for message in sink.finish(self.record):
            self._done = self._total
            yield self._progress(message)

    def _progress(self, message: str) -> Progress:
        frames = math.prod(self._layout.frame_shape) if "t" in self._layout.axes else 0
        return Progress(self._done, self._total, message, frames)

    def _grid_for(self, route: Route) -> Grid:
        return self._setup.runner.grid(self._layout.height, self._layout.width, route)

    def _run_groups(
        self, work: list[_GroupTiles], target: Any, finished: RunRecord | None, sink: Sink,
        size: Size | None,
    ) -> Iterator[TileDone | MemoryBackOff | None]:  # fmt: skip
        """Run planes route by route, or frame by frame if the sink requires that order."""
        routes = list(dict.fromkeys(some.shared.route for some in work))
        steps: list[tuple[list[_GroupTiles], range]]
        frames = range(len(work[0].frames))
        if not sink.in_order:
            steps = [([w for w in work if w.shared.route == each], frames) for each in routes]
        elif len(routes) == 1:
            steps = [(work, frames)]
        else:
            steps = [([each], range(n, n + 1)) for n in frames for each in work]
        for some, places in steps:
            grid = self._grid_for(some[0].shared.route)
            self._setup.runner.part_size(grid, sink.unit, size)  # sets the largest tile, too
            order = ((w, n) for n in places for w in some)
            if not sink.in_order:
                order = ((w, n) for w in some for n in places)
            parts = (self._parts(w, n, target, finished) for w, n in order)
            yield from self._setup.runner.run(grid, itertools.chain.from_iterable(parts))

    def _raise_hot_pixel_uncertainty(self) -> None:
        """Raise the uncertainty of hot pixels."""
        if self._uncertainty is None:
            return
        source = self.conditioning.source(self._layout)
        gain = self._options.strength * 2**self._options.exposure
        for group, shared in self._defective.items():
            for frame in group.frames(self._layout):
                raise_hot_pixel_uncertainty(
                    self._uncertainty, source, self._layout, frame, group.channel, shared, gain
                )

    def _parts(
        self, work: _GroupTiles, place: int, target: Any, finished: RunRecord | None
    ) -> Iterator[Part]:
        """Parts of a plane, without those that an interrupted run has finished."""
        shared, frame, channel = work.shared, work.frames[place], work.channel
        plane = self.conditioning.plane(
            frame, channel, self._layout, self._setup, shared, target, self._uncertainty
        )
        for index, core in enumerate(work.cores, (work.first + place) * len(work.cores)):
            if finished is None:
                yield Part(plane, shared.conditioning, core)
                continue
            region = self._layout.index(
                frame, channel, slice(*core.core_rows), slice(*core.core_columns), slice(None)
            )
            if finished.is_done(index, region):
                self._done += core.pixels
                continue
            if finished.is_done(index):
                self._opened.warnings.add(DAMAGED)
            yield Part(plane, shared.conditioning, core, partial(finished.add, index, region))

    def reports(self, result: Any) -> list[Report]:
        """Compare the result with the image, channel by channel."""
        return assess_result(
            self.conditioning.source(self._layout), result, self._layout, self._links.__getitem__,
            self._setup.model, self._options.exposure, self._opened.warnings,
            self._options.link_frames, self._opened.bits,
        )  # fmt: skip

    def residual(self, result: NDArray[Any]) -> NDArray[Any]:
        """Input minus result, with the result's gain removed."""
        layout = self._layout
        return residual_of(
            self.conditioning.source(layout), result, layout, self._opened.array.dtype,
            lambda group: self.ranges[group.number(layout)][0], self._options,
        )  # fmt: skip

    def _condition(self, group: Group) -> Generator[Progress, None, GroupConditioning]:
        """Survey a group of planes and compute its conditioning."""
        for shared in self.conditioning.condition(
            group, self._layout, self._setup, self._options.input_range
        ):
            if shared is None:
                yield self._progress("Analysing the image...")
        assert shared is not None
        self.ranges.append([shared.scale.black, shared.scale.white])
        known = self._links.get(group.channel)
        if known is None or known.noise is None:  # reports use the first frame with an estimate
            self._links[group.channel] = shared
        if (noise := shared.noise_in_own_units()) is not None:
            self.noise.append(noise.to_dict())
        self._denoise_first.append(shared.denoise_first)
        self.defects.append(shared.defects or Defects(self._layout.height, self._layout.width))
        if shared.defects is not None:
            self._defective[group] = shared
        return shared


def _bundles(
    layout: Layout, link_frames: bool, batch_pixels: int, in_order: bool
) -> Iterator[list[Group]]:
    """Groups that are enhanced together: several if they are small, so that they fill a batch.

    If frames must be finished ``in_order``, all channels of a frame are in one bundle.
    """
    found = groups(layout, link_frames)
    if in_order and layout.channels > 1:
        every = list(found)
        if link_frames:
            yield every
            return
        count = len(every) // layout.channels
        for number in range(count):
            yield every[number::count]
        return
    bundle: list[Group] = []
    pixels = 0
    for group in found:
        bundle.append(group)
        frames = layout.frame_shape if group.frame is None else ()
        pixels += math.prod(frames) * layout.height * layout.width
        if pixels >= batch_pixels:
            yield bundle
            bundle, pixels = [], 0
    if bundle:
        yield bundle


def _identity(options: Options, setup: Setup, layout: Layout) -> dict[str, Any]:
    """Everything that a result depends on, except the pixels of the image."""
    values = options.to_dict()
    names = (
        "strength", "exposure", "denoise", "denoise_colour", "saturation", "input_range",
        "link_frames", "output", "tile", "nodata", "noise",
    )  # fmt: skip
    spec = setup.spec
    return {
        **{name: values[name] for name in names},
        "input_range": _plain(values["input_range"]),
        "axes": layout.axes,
        "sha256": spec.sha256,
        "defects": setup.defects_key,
        "denoise_first": setup.denoise_first_key,
        "depth": spec.depth,
        "detail": spec.detail,
        "precision": spec.precision,
        "version": __version__,
    }


def _plain(value: Any) -> Any:
    """Convert a value to what JSON returns for it."""
    return list(value) if isinstance(value, tuple) else value
