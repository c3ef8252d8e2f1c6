"""Run of one image: survey, conditioning, then tiles into a sink, or a lazy array."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from numpy.typing import NDArray

from napari_dcr.engine.assessment import assess_result, raise_hot_pixel_uncertainty, residual_of
from napari_dcr.engine.conditioning import ImageConditioning, last_of
from napari_dcr.engine.group_conditioning import GroupConditioning, RemovedNoise
from napari_dcr.engine.groups import Group, bundles, groups
from napari_dcr.engine.lazy import Job, lazy_array
from napari_dcr.engine.lazy_matches import find_matches_lazily
from napari_dcr.engine.parts import Part
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.result import Progress, describe_run, identify_run
from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.runner import MemoryBackOff, TileDone
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sinks import Sink, ViewedSink
from napari_dcr.engine.sources import Opened, lost_dask_threads
from napari_dcr.engine.tile_order import GroupTiles, by_frame, by_route, by_tile
from napari_dcr.engine.tiles import Grid, Size
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.quality import Report
from napari_dcr.network.global_net import PLAIN, Route
from napari_dcr.options import Options

T = TypeVar("T")

FORKED = (
    "image: this process was forked after dask had started its threads, which do not exist here;"
    " call compute(scheduler='synchronous') on the result, or start processes with the method"
    " 'spawn'"
)

DAMAGED = "resume: finished parts of out are missing or damaged; they are computed again"


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
        self._denoise_first: list[RemovedNoise | None] = []
        self._links: dict[int, GroupConditioning] = {}
        self._defective: dict[Group, GroupConditioning] = {}
        self._grid = setup.runner.grid(layout.height, layout.width)
        self._axis = setup.frame_axis(layout)
        self._ahead: OrderedDict[Group, GroupConditioning] = OrderedDict()

    @property
    def record(self) -> dict[str, Any]:
        """Record of the run, as plain values."""
        return describe_run(
            self._options, self._setup, self._layout, self.ranges, self.noise, self.defects,
            self._opened.warnings, self._denoise_first, self._axis,
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
            self._axis,
        )
        if lost_dask_threads():
            self._opened.warnings.add(FORKED)
        steps = find_matches_lazily(self._opened.array, job, shared)
        matches = yield from self._with_progress(steps)
        return lazy_array(self._opened.array, job, shared, self._grid_for, matches)

    def write_to(self, sink: Sink) -> Iterator[Progress]:
        """Enhance all planes into a sink."""
        try:
            yield from self._write_to(sink)
        finally:
            self._setup.runner.forget_frames()

    def _write_to(self, sink: Sink) -> Iterator[Progress]:
        layout, runner = self._layout, self._setup.runner
        grid = self._grid
        if sink.one_size and sink.part is None:
            # The size must suit the networks that the survey selects.
            grid = yield from self._costliest_grid()
        size = runner.part_size(grid, sink.unit, sink.part)
        identity = identify_run(self._options, self._setup, layout, self._axis)
        target = sink.open(size, identity, layout.planes * self._grid.count(size))
        cores = self._grid.cut(size)
        finished = sink.record
        if finished is not None and runner.device.type == "cpu":
            # A resumed run has other batches, but must write the same bytes.
            runner.batch_pixels = 0
        # If finished parts are not recorded, each route may use its own best size of parts.
        fixed = None if finished is None and sink.part is None and sink.unit == (1, 1) else size
        planes = 0
        for bundle in bundles(
            layout, self._options.link_frames, runner.batch_pixels, sink.in_order
        ):
            work = []
            for group in bundle:
                shared = yield from self._condition(group)
                yield from self._condition_ahead(group)
                if isinstance(sink, ViewedSink) and self._setup.rendering.keep_units:
                    sink.show(shared.shown)
                if finished is not None:
                    finished.check_source(group.number(layout), shared.digest)
                own = cores
                if shared.route != PLAIN:
                    grid = self._grid_for(shared.route)
                    own = grid.cut(runner.part_size(grid, sink.unit, fixed))
                frames = group.frames(layout)
                work.append(GroupTiles(shared, group.channel, frames, own, planes))
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
            self._forget_behind()
        self._raise_hot_pixel_uncertainty()
        for message in sink.finish(self.record):
            self._done = self._total
            yield self._progress(message)

    def _costliest_grid(self) -> Generator[Progress, None, Grid]:
        """Grid of the planes of the first frame whose route needs the most memory."""
        routes = []
        for group in groups(self._layout, self._options.link_frames):
            if group.frame is None or not any(group.frame):
                shared = yield from self._survey(group)
                routes.append(shared.route)
        return self._grid_for(max(routes, key=self._setup.runner.bytes_per_pixel))

    def _progress(self, message: str) -> Progress:
        frames = math.prod(self._layout.frame_shape) if "t" in self._layout.axes else 0
        return Progress(self._done, self._total, message, frames)

    def _grid_for(self, route: Route) -> Grid:
        return self._setup.runner.grid(self._layout.height, self._layout.width, route)

    def _run_groups(
        self, work: list[GroupTiles], target: Any, finished: RunRecord | None, sink: Sink,
        size: Size | None,
    ) -> Iterator[TileDone | MemoryBackOff | None]:  # fmt: skip
        """Run planes route by route, or frame by frame if the sink requires that order."""
        for some, places in by_route(work, sink.in_order):
            grid = self._grid_for(some[0].shared.route)
            self._setup.runner.part_size(grid, sink.unit, size)  # sets the largest tile, too
            order = by_frame(some, places) if sink.in_order else by_tile(some, places, self._axis)
            parts = (self._part(*each, target, finished) for each in order)
            yield from self._setup.runner.run(grid, (part for part in parts if part is not None))

    def _raise_hot_pixel_uncertainty(self) -> None:
        """Raise the uncertainty of hot pixels."""
        if self._uncertainty is None:
            return
        source = self.conditioning.source(self._layout)
        gain = self._options.strength * 2**self._options.exposure
        for group, shared in self._defective.items():
            for number, frame in enumerate(group.frames(self._layout)):
                raise_hot_pixel_uncertainty(
                    self._uncertainty, source, self._layout, frame, group.channel, shared, number,
                    gain,
                )  # fmt: skip

    def _part(
        self,
        work: GroupTiles,
        place: int,
        core_index: int,
        target: Any,
        finished: RunRecord | None,
    ) -> Part | None:
        """A part of a plane; None if an interrupted run has finished it."""
        shared, frame, channel = work.shared, work.frames[place], work.channel
        plane = self.conditioning.plane(
            frame, channel, self._layout, self._setup, shared, target, self._uncertainty
        )
        core = work.cores[core_index]
        written = None
        if finished is not None:
            index = (work.first + place) * len(work.cores) + core_index
            region = self._layout.index(
                frame, channel, slice(*core.core_rows), slice(*core.core_columns), slice(None)
            )
            if finished.is_done(index, region):
                self._done += core.pixels
                return None
            if finished.is_done(index):
                self._opened.warnings.add(DAMAGED)
            written = partial(finished.add, index, region)
        neighbourhood = None
        if shared.route.neighbours:
            neighbourhood = self.conditioning.neighbourhood(
                frame, channel, self._layout, self._setup, self._ahead.__getitem__
            )
        return Part(plane, shared.conditioning, core, written, neighbourhood)

    def reports(self, result: Any) -> list[Report]:
        """Compare the result with the image, channel by channel."""
        reports = assess_result(
            self.conditioning.source(self._layout), result, self._layout, self._links.__getitem__,
            self._setup.model, self._options.exposure, self._opened.warnings,
            self._options.link_frames, self._opened.bits,
            lambda defects: self._opened.as_stored(defects).describe(),
        )  # fmt: skip
        if self._axis is None:
            return reports
        tell = self._setup.runner.contribution.describe
        return [
            replace(report, neighbours=tell(channel, self._axis))
            for channel, report in enumerate(reports)
        ]

    def residual(self, result: NDArray[Any]) -> NDArray[Any]:
        """Input minus result, with the result's gain removed."""
        layout = self._layout
        return residual_of(
            self.conditioning.source(layout), result, layout, self._opened.array.dtype,
            lambda group: self.ranges[group.number(layout)][0], self._options,
        )  # fmt: skip

    def _condition(self, group: Group) -> Generator[Progress, None, GroupConditioning]:
        """Survey a group of planes, compute its conditioning and add it to the record."""
        shared = yield from self._survey(group)
        if self._opened.from_sensor and self._options.input_range == "auto":
            # Estimates would differ, so that the exposure would change colours.
            shared = shared._replace(zero=0.0, is_zero_known=True)
        self.ranges.append([shared.black, shared.scale.white])
        known = self._links.get(group.channel)
        if known is None or known.noise is None:  # reports use the first frame with an estimate
            self._links[group.channel] = shared
        if (noise := shared.noise_in_own_units()) is not None:
            self.noise.append(noise.to_dict())
        self._denoise_first.append(shared.denoise_first)
        found = shared.defects or Defects(self._layout.height, self._layout.width)
        self.defects.append(self._opened.as_stored(found))
        if shared.defects is not None:
            self._defective[group] = shared
        return shared

    def _with_progress(self, steps: Generator[str, None, T]) -> Generator[Progress, None, T]:
        """Convert messages to steps of the run; returns what ``steps`` returns."""
        while True:
            try:
                message = next(steps)
            except StopIteration as finished:
                value: T = finished.value
                return value
            yield self._progress(message)

    def _survey(self, group: Group) -> Generator[Progress, None, GroupConditioning]:
        """Survey a group of planes and compute its conditioning, or return what is known of it."""
        if group not in self._ahead:
            steps = self.conditioning.condition(
                group, self._layout, self._setup, self._options.input_range
            )
            self._ahead[group] = yield from self._with_progress(last_of(steps))
        return self._ahead[group]

    def _condition_ahead(self, group: Group) -> Generator[Progress, None, None]:
        """Survey the neighbours of a frame, if each frame has its own survey."""
        if self._axis is None or group.frame is None:
            return
        for frame in self._axis.around(group.frame):
            if frame is not None:
                yield from self._survey(replace(group, frame=frame))

    def _forget_behind(self) -> None:
        """Forget what no further frame needs, if each frame is surveyed by itself."""
        if self._options.link_frames:
            return
        most = 0
        if self._axis is not None:
            # All that lies between the first and the last neighbour, in the order of the frames.
            apart = math.prod(self._layout.frame_shape[self._axis.place + 1 :])
            most = (2 * self._axis.reach + 1) * apart * self._layout.channels
        while len(self._ahead) > most:
            self._ahead.popitem(last=False)
