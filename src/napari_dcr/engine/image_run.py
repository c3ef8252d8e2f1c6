"""One image on its way: survey, conditioning, then tiles into a sink, or a lazy array."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.conditioning import Linked, link, subject_of, survey_planes
from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.lazy import Job, RunnerSpec, lazy_array
from napari_dcr.engine.output import Display, Quantitative, Rendering
from napari_dcr.engine.planes import ArrayPlane, read_plane
from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.runner import MemoryShort, Part, TileDone, TileRunner
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened
from napari_dcr.engine.tiles import Tile
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import check_dtype
from napari_dcr.image.quality import Report, assess
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
        depth = depth_of(options, model)
        device = find_device(options.device)
        precision = precision_of(options, device, out_dtype)
        tile = None if options.tile == "auto" else options.tile
        spec = RunnerSpec(
            str(options.model), model.sha256, options.device, precision, depth, options.detail, tile
        )
        return cls(
            model,
            spec,
            TileRunner(model.network, device, precision, depth, options.detail, tile),
            rendering_of(options, model, out_dtype, options.return_uncertainty),
        )


def depth_of(options: Options, model: weights.Model) -> int:
    """How many sub-U-Nets of a model run."""
    stages = model.network.stages
    depth = stages if options.depth is None else options.depth
    if depth > stages:
        raise ValueError(f"depth: got {depth}; the model {model.name!r} allows 0 to {stages}")
    return depth


def precision_of(options: Options, device: torch.device, dtype: np.dtype[Any]) -> Precision:
    """Precision of the convolutions for a result of ``dtype``."""
    if options.precision == "auto":
        return fast_precision(device) if dtype == np.uint8 else "fp32"
    return options.precision  # type: ignore[return-value]


def rendering_of(
    options: Options, model: weights.Model, dtype: np.dtype[Any], uncertainty: bool = False
) -> Rendering:
    """How a model's pictures become the result."""
    if model.is_quantitative:
        return Quantitative(options.strength, options.exposure, dtype, uncertainty)
    return Display(options.strength, options.exposure, dtype, options.output == "same")


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
    uncertainty : ndarray, optional
        Where the deviation of each pixel's error is written to.

    Attributes
    ----------
    ranges : list
        Black and white points, as they are found.
    noise : list
        Estimates of the noise of each group of planes, where the model works in counts.
    """

    def __init__(
        self,
        opened: Opened,
        layout: Layout,
        setup: Setup,
        options: Options,
        uncertainty: Any = None,
    ) -> None:
        self._uncertainty = uncertainty
        self._opened, self._layout, self._setup, self._options = opened, layout, setup, options
        self._source = opened.source(layout)
        self._dtype = check_dtype(opened.array.dtype)
        self._total, self._done = layout.planes * layout.height * layout.width, 0
        self.ranges: list[list[float]] = []
        self.noise: list[dict[str, Any]] = []
        self._links: dict[int, Linked] = {}
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
            **({"noise": self.noise} if self.noise else {}),
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
            where = "enhancing"
            for event in runner.run(self._grid, itertools.chain.from_iterable(parts)):
                message = where
                if isinstance(event, TileDone):
                    self._done += event.pixels
                    plane = event.part.plane
                    assert isinstance(plane, ArrayPlane)
                    message = where = _where(layout, plane.frame, plane.channel)
                elif isinstance(event, MemoryShort):
                    less = f"tiles of {event.core} pixels" if event.core else "one frame at a time"
                    message = f"memory is short: going on with {less}"
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
            self._setup.rendering, self._uncertainty,
        )  # fmt: skip
        for index, core in enumerate(cores, number * len(cores)):
            if finished is None:
                yield Part(plane, found.conditioning, core)
            elif finished.is_done(index):
                self._done += core.pixels
            else:
                yield Part(plane, found.conditioning, core, partial(finished.add, index))

    def reports(self, result: Any) -> list[Report]:
        """Compare the result with the image, channel by channel, on some windows of it."""
        layout = self._layout
        frames = list(layout.frames())
        places = _windows(len(frames), layout.height, layout.width)
        reports = []
        for channel in range(layout.channels):
            linked = self._links[channel]
            assert linked.noise is not None
            black = linked.scale.black
            windows = []
            for frame, rows, columns in places:
                own, got = (
                    read_plane(source, layout, frames[frame], channel, rows, columns)[0]
                    for source in (self._source, result)
                )
                windows.append((own, self._without_gain(got, black)))
            level = max(float(np.nanquantile(got, 0.99)) for _, got in windows)
            notes = self._setup.model.doubts(linked.noise, level)
            reports.append(assess(windows, linked.noise.model, black, notes))
        return reports

    def residual(self, result: NDArray[Any]) -> NDArray[Any]:
        """Input minus result, without the result's gain."""
        layout = self._layout
        wide: Any = np.float64 if self._dtype == np.float64 else np.float32
        residual = np.empty(layout.shape, wide)
        everything = slice(0, layout.height), slice(0, layout.width)
        for group in self._groups():
            black = wide(self.ranges[group.number][0])
            for frame in group.frames:
                own, got = (
                    read_plane(source, layout, frame, group.channel, *everything).astype(wide)
                    for source in (self._source, result)
                )
                index = layout.index(frame, group.channel, *everything, slice(None))
                residual[index] = layout.from_planar(own - self._without_gain(got, black))
        return residual

    def _without_gain(self, result: NDArray[Any], black: float) -> NDArray[Any]:
        """Result as it would be without exposure; itself where it has none."""
        if not self._options.exposure:
            return result
        return black + (result - black) / 2.0**self._options.exposure

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
        layout, runner = self._layout, self._setup.runner
        subject = subject_of(
            layout, self._dtype, self._options.input_range, self._setup.model.is_quantitative
        )
        for survey in survey_planes(
            self._opened, self._source, layout, subject, group.channel, group.frames,
            self._fingerprint,
        ):  # fmt: skip
            if survey is None:
                yield Progress(self._done, self._total, "looking at the whole image")
        assert survey is not None
        linked = link(
            survey, self._options.input_range, self._dtype, not layout.is_rgb,
            runner.network, runner.device,
        )  # fmt: skip
        self.ranges.append([linked.scale.black, linked.scale.white])
        self._links.setdefault(group.channel, linked)
        if linked.noise is not None:
            self.noise.append(linked.noise.to_dict())
        return linked, survey.digest


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _windows(
    frames: int, height: int, width: int, side: int = 256, most: int = 16
) -> list[tuple[int, slice, slice]]:
    """Windows to look at, evenly from all frames: frame, rows, columns."""
    cells = [
        (frame, slice(y, y + side), slice(x, x + side))
        for frame in range(0, frames, -(-frames // most))
        for y in range(0, max(1, height - side // 2), side)
        for x in range(0, max(1, width - side // 2), side)
    ]
    chosen = np.linspace(0, len(cells) - 1, min(most, len(cells))).round().astype(int)
    return [
        (f, slice(r.start, min(r.stop, height)), slice(c.start, min(c.stop, width)))
        for f, r, c in (cells[i] for i in chosen)
    ]


def _where(layout: Layout, frame: tuple[int, ...], channel: int) -> str:
    """Place of a plane in words: ``"t 3/12, channel 1/2"``."""
    names = [a for a in layout.axes if a not in "yxsc"]
    parts = [f"{a} {i + 1}/{n}" for a, i, n in zip(names, frame, layout.frame_shape, strict=True)]
    if layout.channels > 1:
        parts.append(f"channel {channel + 1}/{layout.channels}")
    return ", ".join(parts) or "enhancing"
