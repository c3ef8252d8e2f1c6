"""``enhance()``: the one door for scripts, the shell and the plugin."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.planes import ArrayPlane, Rendering, read_plane
from napari_dcr.engine.runner import SmallerTiles, TileRunner
from napari_dcr.engine.survey import Survey
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
    image : ndarray
        The enhanced image.
    record : dict
        Options, model, sha256 of the weights, version, device, precision,
        intensity ranges and seconds; plain values.
    """

    image: NDArray[Any]
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
    out: NDArray[Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> NDArray[Any]:
    """Brighten and clean a low-light image.

    Parameters
    ----------
    image : ndarray
        Grey ``(..., y, x)``, colour ``(..., y, x, 3)`` or ``(..., y, x, 4)`` with
        alpha, or channels; leading axes are stepped over.  uint8, uint16, int16,
        float16, float32 or float64.  It is not modified.  The `photo` model
        takes grey images and channels one by one.
    model, depth, detail, strength, exposure, axes, channel_axis, rgb, input_range, \
link_frames, output, tile, device, precision
        See `Options`.
    out : ndarray, optional
        Written to instead of a new array; must have the result's shape and dtype.
    progress : callable, optional
        Called with a `Progress` after each step; an exception it raises stops the run.

    Returns
    -------
    ndarray
        Same shape as ``image``; dtype and range as ``output`` says.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit; the message names the argument, what was
        got and what is allowed.
    MemoryError
        If not even the smallest tile fits.

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
    return drain(enhance_steps(image, options, out), progress).image


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
    image: NDArray[Any], options: Options, out: NDArray[Any] | None = None
) -> Generator[Progress, None, Enhancement]:
    """Do what `enhance` does step by step; the generator returns an `Enhancement`.

    Closing the generator cancels the run between two tiles.  Arguments are
    checked when the first step is asked for.

    Parameters
    ----------
    image : ndarray
        See `enhance`.
    options : Options
    out : ndarray, optional
        See `enhance`.
    """
    started = time.perf_counter()
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"image: got {type(image).__name__}; allowed is a numpy.ndarray (use numpy.asarray on it)"
        )
    dtype = check_dtype(image.dtype)
    layout = Layout.resolve(image.shape, options.axes, options.channel_axis, options.rgb)
    out_dtype = dtype if options.output == "same" else np.dtype(options.output)
    target = _check_out(out, image, out_dtype)
    total = layout.planes * layout.height * layout.width

    yield Progress(0, total, "loading the model")
    model = weights.load(options.model)
    network = model.network
    depth = network.stages if options.depth is None else options.depth
    if depth > network.stages:
        raise ValueError(
            f"depth: got {depth}; the model {model.name!r} allows 0 to {network.stages}"
        )
    device = find_device(options.device)
    precision: Precision
    if options.precision == "auto":
        precision = fast_precision(device) if out_dtype == np.uint8 else "fp32"
    else:
        precision = options.precision  # type: ignore[assignment]
    tile = None if options.tile == "auto" else options.tile
    runner = TileRunner(network, device, precision, depth, options.detail, tile)
    rendering = Rendering(options.strength, options.exposure, out_dtype, options.output == "same")
    grid = runner.grid(layout.height, layout.width)

    done = 0
    ranges = []
    channels = network.config.channels
    for channel, frames in _linked(layout, options.link_frames):
        survey = Survey(
            3 if layout.is_rgb else 1,
            layout.height,
            layout.width,
            dtype,
            needs_histogram(options.input_range, dtype, not layout.is_rgb),
        )
        for frame in frames:
            for _ in survey.add_plane(_colours(image, layout, frame, channel)):
                yield Progress(done, total, "looking at the whole image")
        scale = find_scale(options.input_range, dtype, survey.histogram, not layout.is_rgb)
        ranges.append([scale.black, scale.white])
        thumbnail = np.clip(scale.to_working(survey.thumbnail), 0, 1)
        conditioning = runner.condition(
            np.broadcast_to(thumbnail, (channels, *thumbnail.shape[1:]))
        )
        for frame in frames:
            plane = ArrayPlane(image, target, layout, frame, channel, channels, scale, rendering)
            for event in runner.run_plane(grid, conditioning, plane):
                if isinstance(event, SmallerTiles):
                    message = f"memory is short: going on with tiles of {event.core} pixels"
                else:
                    done += event.pixels
                    message = _where(layout, frame, channel)
                yield Progress(done, total, message)
    record = {
        "options": options.to_dict(),
        "model": model.name,
        "sha256": model.sha256,
        "depth": depth,
        "axes": layout.axes,
        "ranges": ranges,
        "version": __version__,
        "device": str(device),
        "precision": precision,
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Enhancement(target, record)


def _linked(layout: Layout, link_frames: bool) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
    """Planes that share black and white point and conditioning: a channel and its frames."""
    frames = list(layout.frames())
    for channel in range(layout.channels):
        if link_frames:
            yield channel, frames
        else:
            yield from ((channel, [frame]) for frame in frames)


def _check_out(out: NDArray[Any] | None, image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if out is None:
        return np.empty(image.shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: got {type(out).__name__}; allowed is a numpy.ndarray")
    if out.shape != image.shape or out.dtype != dtype:
        raise ValueError(
            f"out: got shape {out.shape} and dtype {out.dtype}; needed are {image.shape} and {dtype}"
        )
    if not out.flags.writeable:
        raise ValueError("out: got a read-only array; it must be writeable")
    if np.may_share_memory(out, image):
        raise ValueError(
            "out: got an array that shares memory with image; the input is never modified"
        )
    return out


def _colours(
    image: NDArray[Any], layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Reader of a plane without its alpha."""

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(image, layout, frame, channel, rows, columns)[:3]

    return read


def _where(layout: Layout, frame: tuple[int, ...], channel: int) -> str:
    """Place of a plane in words: ``"t 3/12, channel 1/2"``."""
    names = [a for a in layout.axes if a not in "yxsc"]
    parts = [f"{a} {i + 1}/{n}" for a, i, n in zip(names, frame, layout.frame_shape, strict=True)]
    if layout.channels > 1:
        parts.append(f"channel {channel + 1}/{layout.channels}")
    return ", ".join(parts) or "enhancing"
