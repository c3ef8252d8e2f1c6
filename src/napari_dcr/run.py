"""One image on its way: survey, conditioning, then tiles into a sink, or a lazy array."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.lazy import Job, Linked, RunnerSpec, lazy_array, survey_lazily
from napari_dcr.engine.plan import Tile
from napari_dcr.engine.planes import ArrayPlane, Rendering, read_plane
from napari_dcr.engine.record import RunRecord
from napari_dcr.engine.runner import Part, TileDone, TileRunner
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, Source, is_dask
from napari_dcr.engine.survey import SURVEYS, Subject, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import check_dtype, find_scale, needs_histogram
from napari_dcr.network import weights
from napari_dcr.options import Options
from napari_dcr.version import __version__


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Pixels enhanced so far, and in all.
    message : str
        What is going on, for people.
    """

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Setup:
    """What options mean for an image.

    Attributes
    ----------
    model : Model
    spec : RunnerSpec
    runner : TileRunner
    rendering : Rendering
    """

    model: weights.Model
    spec: RunnerSpec
    runner: TileRunner
    rendering: Rendering

    @classmethod
    def resolve(cls, options: Options, out_dtype: np.dtype[Any]) -> Setup:
        """Load the model, find the device, choose the precision."""
        model = weights.load(options.model)
        stages = model.network.stages
        depth = stages if options.depth is None else options.depth
        if depth > stages:
            raise ValueError(f"depth: got {depth}; the model {model.name!r} allows 0 to {stages}")
        device = find_device(options.device)
        precision: Precision
        if options.precision == "auto":
            precision = fast_precision(device) if out_dtype == np.uint8 else "fp32"
        else:
            precision = options.precision  # type: ignore[assignment]
        tile = None if options.tile == "auto" else options.tile
        spec = RunnerSpec(
            str(options.model), model.sha256, options.device, precision, depth, options.detail, tile
        )
        return cls(
            model,
            spec,
            TileRunner(model.network, device, precision, depth, options.detail, tile),
            Rendering(options.strength, options.exposure, out_dtype, options.output == "same"),
        )


@dataclass(frozen=True)
class _Group:
    """Planes that share black and white point and conditioning: a channel and its frames."""

    number: int
    channel: int
    frames: list[tuple[int, ...]]


class Run:
    """One image on its way.

    Parameters
    ----------
    opened : Opened
    layout : Layout
    setup : Setup
    options : Options

    Attributes
    ----------
    ranges : list
        Black and white points, as they are found.
    """

    def __init__(self, opened: Opened, layout: Layout, setup: Setup, options: Options) -> None:
        self._opened, self._layout, self._setup, self._options = opened, layout, setup, options
        self._source = opened.source(layout)
        self._dtype = check_dtype(opened.array.dtype)
        self._total, self._done = layout.planes * layout.height * layout.width, 0
        self.ranges: list[list[float]] = []
        self._channels = setup.model.network.config.channels
        self._grid = setup.runner.grid(layout.height, layout.width)
        self._fingerprint = opened.fingerprint()

    @property
    def record(self) -> dict[str, Any]:
        """What is done, and with what; plain values."""
        spec = self._setup.spec
        return {
            "options": self._options.to_dict(),
            "model": self._setup.model.name,
            "sha256": spec.sha256,
            "depth": spec.depth,
            "axes": self._layout.axes,
            "ranges": self.ranges,
            "version": __version__,
            "precision": spec.precision,
        }

    def lazily(self) -> Generator[Progress, None, Any]:
        """Survey a dask array; returns the result as a dask array."""
        job = Job(
            self._setup.spec,
            self._layout,
            self._channels,
            self._setup.rendering,
            self._options.link_frames,
        )
        linked = []
        for group in self._groups():
            found, _ = yield from self._survey(group)
            linked.append(found)
        return lazy_array(self._opened.array, job, linked, self._grid)

    def into(self, sink: Sink) -> Iterator[Progress]:
        """Enhance all planes into a sink."""
        layout, runner = self._layout, self._setup.runner
        size = runner.part_size(self._grid, sink.unit, sink.part)
        cores = self._grid.cut(size)
        target = sink.open(size, self._identity(), layout.planes * len(cores))
        finished = sink.record
        planes = itertools.count()
        for bundle in self._bundles():
            parts: list[Iterator[Part]] = []
            for group in bundle:
                found, digest = yield from self._survey(group)
                if finished is not None:
                    finished.check_source(group.number, digest)
                parts += [
                    self._parts(found, frame, group.channel, target, cores, next(planes), finished)
                    for frame in group.frames
                ]
            for event in runner.run(self._grid, itertools.chain.from_iterable(parts)):
                if isinstance(event, TileDone):
                    self._done += event.pixels
                    plane = event.part.plane
                    assert isinstance(plane, ArrayPlane)
                    message = _where(layout, plane.frame, plane.channel)
                elif event.core is None:
                    message = "memory is short: going on with one frame at a time"
                else:
                    message = f"memory is short: going on with tiles of {event.core} pixels"
                yield Progress(self._done, self._total, message)
        for message in sink.finish(self.record):
            yield Progress(self._total, self._total, message)

    def _parts(
        self,
        found: Linked,
        frame: tuple[int, ...],
        channel: int,
        target: Any,
        cores: list[Tile],
        number: int,
        finished: RunRecord | None,
    ) -> Iterator[Part]:
        """Parts of a plane that an earlier run has not finished."""
        plane = ArrayPlane(
            self._source, target, self._layout, frame, channel, self._channels, found.scale,
            self._setup.rendering,
        )  # fmt: skip
        for index, core in enumerate(cores, number * len(cores)):
            if finished is None:
                yield Part(plane, found.conditioning, core)
            elif finished.is_done(index):
                self._done += core.pixels
            else:
                yield Part(plane, found.conditioning, core, partial(finished.add, index))

    def _identity(self) -> dict[str, Any]:
        """All that the result's pixels depend on but the image's own."""
        options = self._options.to_dict()
        names = ("strength", "exposure", "input_range", "link_frames", "output", "tile")
        spec = self._setup.spec
        return {
            **{name: options[name] for name in names},
            "input_range": _plain(options["input_range"]),
            "axes": self._layout.axes,
            "sha256": spec.sha256,
            "depth": spec.depth,
            "detail": spec.detail,
            "precision": spec.precision,
            "version": __version__,
        }

    def _groups(self) -> Iterator[_Group]:
        frames = list(self._layout.frames())
        apart = [frames] if self._options.link_frames else [[frame] for frame in frames]
        pairs = itertools.product(range(self._layout.channels), apart)
        return (_Group(number, *pair) for number, pair in enumerate(pairs))

    def _bundles(self) -> Iterator[list[_Group]]:
        """Groups that are enhanced together: several if they are small, so that they fill a batch."""
        bundle: list[_Group] = []
        pixels = 0
        for group in self._groups():
            bundle.append(group)
            pixels += len(group.frames) * self._layout.height * self._layout.width
            if pixels >= self._setup.runner.batch_pixels:
                yield bundle
                bundle, pixels = [], 0
        if bundle:
            yield bundle

    def _survey(self, group: _Group) -> Generator[Progress, None, tuple[Linked, str]]:
        """Black and white point and conditioning of linked planes, and a digest of their pixels."""
        layout, dtype, setup = self._layout, self._dtype, self._setup
        grey = not layout.is_rgb
        subject = Subject(
            1 if grey else 3, layout.height, layout.width, dtype,
            needs_histogram(self._options.input_range, dtype, grey),
        )  # fmt: skip
        key = self._fingerprint, layout, group.channel, tuple(group.frames)
        survey = SURVEYS.get(key, subject.histogram) if self._fingerprint else None
        if survey is None:
            surveyor = Surveyor(subject)
            if is_dask(self._opened.array):
                steps = survey_lazily(
                    self._opened.array, layout, surveyor, group.frames, group.channel
                )
            else:
                steps = surveyor.add_planes(
                    _colours(self._source, layout, frame, group.channel) for frame in group.frames
                )
            with contextlib.closing(steps):
                for _ in steps:
                    yield Progress(self._done, self._total, "looking at the whole image")
            survey = surveyor.finish()
            if self._fingerprint:
                SURVEYS.put(key, survey)
        scale = find_scale(self._options.input_range, dtype, survey.histogram, grey)
        self.ranges.append([scale.black, scale.white])
        thumbnail = np.clip(scale.to_working(survey.thumbnail), 0, 1)
        conditioning = setup.runner.condition(
            np.broadcast_to(thumbnail, (self._channels, *thumbnail.shape[1:]))
        )
        return Linked(scale, conditioning), survey.digest


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _colours(
    source: Source, layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Reader of a plane without its alpha."""

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(source, layout, frame, channel, rows, columns)[:3]

    return read


def _where(layout: Layout, frame: tuple[int, ...], channel: int) -> str:
    """Place of a plane in words: ``"t 3/12, channel 1/2"``."""
    names = [a for a in layout.axes if a not in "yxsc"]
    parts = [f"{a} {i + 1}/{n}" for a, i, n in zip(names, frame, layout.frame_shape, strict=True)]
    if layout.channels > 1:
        parts.append(f"channel {channel + 1}/{layout.channels}")
    return ", ".join(parts) or "enhancing"
