"""``enhance()``: the one door for scripts, the shell and the plugin."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dcr import files
from napari_dcr.engine import zarr_store
from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.lazy import Job, Linked, RunnerSpec, lazy_array, survey_lazily
from napari_dcr.engine.plan import Tile
from napari_dcr.engine.planes import ArrayPlane, Rendering, read_plane
from napari_dcr.engine.record import RunRecord
from napari_dcr.engine.runner import Part, TileDone, TileRunner
from napari_dcr.engine.sinks import ArraySink, Sink, ZarrSink, check_array
from napari_dcr.engine.sources import Opened, Source, is_dask, is_zarr, open_array
from napari_dcr.engine.survey import SURVEYS, Subject, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import InputRange, check_dtype, find_scale, needs_histogram
from napari_dcr.network import weights
from napari_dcr.options import Options
from napari_dcr.version import __version__

__all__ = ["Enhancement", "Options", "Progress", "enhance", "enhance_steps"]


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
class Enhancement:
    """A result and how it came about.

    Attributes
    ----------
    image : array
        The enhanced image, as `enhance` returns it.
    record : dict
        Options, model, sha256 of the weights, version, device, precision,
        intensity ranges and seconds; plain values.
    """

    image: Any
    record: dict[str, Any]


def enhance(
    image: NDArray[Any],
    *,
    model: str | Path = Options.model,
    depth: int | None = Options.depth,
    detail: bool = Options.detail,
    strength: float = Options.strength,
    exposure: float = Options.exposure,
    axes: str | None = Options.axes,
    channel_axis: int | None = Options.channel_axis,
    rgb: bool | None = Options.rgb,
    input_range: InputRange = Options.input_range,
    link_frames: bool = Options.link_frames,
    output: str = Options.output,
    tile: int | Literal["auto"] = Options.tile,
    device: str = Options.device,
    precision: str = Options.precision,
    out: Any = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Any:
    """Brighten and clean a low-light image.

    Parameters
    ----------
    image : ndarray, dask or zarr array, OME-Zarr group, or path of a .zarr or .tif
        Grey ``(..., y, x)``, colour ``(..., y, x, 3)`` or ``(..., y, x, 4)`` with
        alpha, or channels; leading axes are stepped over.  uint8, uint16, int16,
        float16, float32 or float64.  It is not modified.  The `photo` model
        takes grey images and channels one by one.  Of a multiscale image the
        finest level is taken; give another one by its own array or path.
    model, depth, detail, strength, exposure, axes, channel_axis, rgb, input_range, \
link_frames, output, tile, device, precision
        See `Options`.
    out : ndarray, zarr array or path, optional
        Written to instead of a new array, tile by tile: an array of the result's
        shape and dtype, or a ``.zarr`` (``.ome.zarr``, or any that is made from a
        multiscale image, with all levels) or ``.tif`` that does not exist.
    resume : bool
        Go on with an earlier run that was stopped, or killed, while it wrote to the
        zarr ``out``; without one begin.  Everything else must be as it was.
    progress : callable, optional
        Called with a `Progress` after each step; an exception it raises stops the run.

    Returns
    -------
    array
        Same shape as ``image``; dtype and range as ``output`` says.  ``out`` if it was
        given: opened if it is a ``.zarr``, the path of a ``.tif``.  Otherwise a dask
        array for a dask array, of which only the image's survey has been computed,
        and an ndarray for all else.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit; the message names the argument, what was
        got and what is allowed.
    MemoryError
        If not even the smallest tile fits, or a result without ``out``.

    Notes
    -----
    Pixels that are NaN or infinite are taken as black by the network, do not
    count in statistics, and stay as they are where the result is float (they
    are black where it is not).  Alpha is never changed but for its dtype.

    Examples
    --------
    >>> import numpy as np
    >>> dim = np.full((40, 50), 100, np.uint16)
    >>> enhance(dim, depth=1).shape
    (40, 50)
    """
    options = Options(
        model=model, depth=depth, detail=detail, strength=strength, exposure=exposure,
        axes=axes, channel_axis=channel_axis, rgb=rgb, input_range=input_range,
        link_frames=link_frames, output=output, tile=tile, device=device, precision=precision,
    )  # fmt: skip
    return drain(enhance_steps(image, options, out, resume), progress).image


def drain(
    steps: Generator[Progress, None, Enhancement],
    progress: Callable[[Progress], None] | None = None,
) -> Enhancement:
    """Run the steps of `enhance_steps` to their end; ``progress`` is told of each."""
    while True:
        try:
            step = next(steps)
        except StopIteration as finished:
            result: Enhancement = finished.value
            return result
        if progress is not None:
            progress(step)


def enhance_steps(
    image: Any, options: Options, out: Any = None, resume: bool = False
) -> Generator[Progress, None, Enhancement]:
    """Do what `enhance` does step by step; the generator returns an `Enhancement`.

    Closing the generator cancels the run between two tiles.  Arguments are
    checked when the first step is asked for.

    Parameters
    ----------
    image : array, group or path
        See `enhance`.
    options : Options
    out : array or path, optional
        See `enhance`.
    resume : bool
        See `enhance`.
    """
    started = time.perf_counter()
    opened = _open(image)
    dtype = check_dtype(opened.array.dtype)
    told = options.axes, options.channel_axis, options.rgb
    axes = opened.axes if told == (None, None, None) else options.axes
    layout = Layout.resolve(tuple(opened.array.shape), axes, options.channel_axis, options.rgb)
    out_dtype = dtype if options.output == "same" else np.dtype(options.output)
    lazy = out is None and is_dask(opened.array)
    sink = None if lazy else _open_sink(out, opened, layout, out_dtype, resume)
    if lazy and resume:
        raise ValueError("resume: got True for a lazy result; give out=, a .zarr, to write to")
    total = layout.planes * layout.height * layout.width

    yield Progress(0, total, "loading the model")
    setup = Setup.resolve(options, layout, dtype, out_dtype)
    record = {
        "options": options.to_dict(),
        "model": setup.model.name,
        "sha256": setup.model.sha256,
        "depth": setup.spec.depth,
        "axes": layout.axes,
        "version": __version__,
        "precision": setup.spec.precision,
    }
    ranges: list[list[float]] = []
    run = _Run(opened, layout, setup, options, total, ranges)
    if sink is None:
        result = yield from run.lazily()
    else:
        with contextlib.closing(sink):
            yield from run.into(sink, resume)
            yield from (
                Progress(total, total, message)
                for message in sink.finish({**record, "ranges": ranges})
            )
        result = sink.result
    seconds = round(time.perf_counter() - started, 3)
    device = str(setup.runner.device)
    return Enhancement(result, {**record, "ranges": ranges, "device": device, "seconds": seconds})


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
    def resolve(
        cls, options: Options, layout: Layout, dtype: np.dtype[Any], out_dtype: np.dtype[Any]
    ) -> Setup:
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


class _Run:
    """One image on its way.

    Parameters
    ----------
    opened : Opened
    layout : Layout
    setup : Setup
    options : Options
    total : int
        Pixels.
    ranges : list
        Filled with the black and white points that are found.
    """

    def __init__(
        self,
        opened: Opened,
        layout: Layout,
        setup: Setup,
        options: Options,
        total: int,
        ranges: list[list[float]],
    ) -> None:
        self._opened, self._layout, self._setup, self._options = opened, layout, setup, options
        self._source = opened.source(layout)
        self._dtype = check_dtype(opened.array.dtype)
        self._total, self._done = total, 0
        self._ranges = ranges
        self._channels = setup.model.network.config.channels
        self._grid = setup.runner.grid(layout.height, layout.width)
        self._fingerprint = opened.fingerprint()

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

    def into(self, sink: Sink, resume: bool) -> Iterator[Progress]:
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
        self._ranges.append([scale.black, scale.white])
        thumbnail = np.clip(scale.to_working(survey.thumbnail), 0, 1)
        conditioning = setup.runner.condition(
            np.broadcast_to(thumbnail, (self._channels, *thumbnail.shape[1:]))
        )
        return Linked(scale, conditioning), survey.digest


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _open(image: Any) -> Opened:
    """An image, from wherever it is."""
    if not isinstance(image, (str, Path)):
        return open_array(image)
    path = Path(image)
    if path.suffix.lower() in files.TIFF:
        return files.open_tiff(path)
    if any(part.lower().endswith(".zarr") for part in path.parts):
        return open_array(zarr_store.open_path(path))
    raise ValueError(f"image: got the path {str(path)!r}; allowed are those of a .zarr or .tif")


def _open_sink(
    out: Any, opened: Opened, layout: Layout, dtype: np.dtype[Any], resume: bool
) -> Sink:
    """Where the result goes."""
    if is_zarr(out):
        return ZarrSink(layout, dtype, out, None, False, resume)
    if isinstance(out, (str, Path)):
        path = Path(out)
        if path.suffix.lower() == ".zarr":
            multiscale = opened.pyramid is not None or path.name.lower().endswith(".ome.zarr")
            return ZarrSink(layout, dtype, path, opened.pyramid, multiscale, resume)
        if path.suffix.lower() in files.TIFF and not resume:
            return files.TiffSink(layout, dtype, path, opened.metadata)
        allowed = ".zarr" if resume else ".zarr or .tif"
        raise ValueError(f"out: got the path {str(path)!r}; allowed are those of a {allowed}")
    if resume:
        raise ValueError("resume: got True; it takes an out that is a .zarr or a zarr array")
    if out is not None:
        _check_out(out, opened.array, layout.shape, dtype)
    return ArraySink(layout, dtype, out)


def _check_out(out: Any, image: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"out: got {type(out).__name__}; allowed are a numpy.ndarray, a zarr array,"
            " and the path of a .zarr or .tif"
        )
    check_array(out, shape, dtype)
    if not out.flags.writeable:
        raise ValueError("out: got a read-only array; it must be writeable")
    if isinstance(image, np.ndarray) and np.may_share_memory(out, image):
        raise ValueError(
            "out: got an array that shares memory with image; the input is never modified"
        )


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
