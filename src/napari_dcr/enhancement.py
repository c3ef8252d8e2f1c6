"""``enhance()``: the one door for scripts, the shell and the plugin."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.image_run import Progress, Run, Setup
from napari_dcr.engine.sinks import ArraySink, Sink, ZarrSink, check_array
from napari_dcr.engine.sources import Opened, is_dask, is_zarr, open_array
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import InputRange, check_dtype
from napari_dcr.image.quality import Report
from napari_dcr.io import ome_zarr as zarr_store
from napari_dcr.io import tiff as files
from napari_dcr.options import Options

__all__ = ["Enhancement", "Options", "Progress", "Report", "enhance", "enhance_steps"]


@dataclass(frozen=True)
class Enhancement:
    """A result and how it came about.

    Attributes
    ----------
    image : array
        The enhanced image, as `enhance` returns it.
    record : dict
        Options, model, sha256 of the weights, version, device, precision,
        intensity ranges and seconds; plain values. For `microscopy` also the noise
        that was found and, where the result can be read, the reports.
    reports : list of Report
        One for each channel, where there are any.
    residual : ndarray or None
        Input minus result, without its gain, if it was asked for.
    uncertainty : ndarray or None
        Deviation of each pixel's error, if it was asked for.
    """

    image: Any
    record: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    residual: NDArray[Any] | None = None
    uncertainty: NDArray[Any] | None = None


def enhance(
    image: Any,
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
    return_report: bool = Options.return_report,
    return_residual: bool = Options.return_residual,
    return_uncertainty: bool = Options.return_uncertainty,
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
    return_report : bool
        Return a `Report` on what became of the intensities too, or a list of them, one
        for each channel. Only for `microscopy`, as the following.
    return_residual : bool
        Return what was taken away too: input minus result, without its gain.
    return_uncertainty : bool
        Return the deviation of each pixel's error too, in the image's own units: the
        true value lies within one deviation for about 68 % of the pixels.
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
        and an ndarray for all else.  A tuple, image first, if more was asked for.

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
        return_report=return_report, return_residual=return_residual,
        return_uncertainty=return_uncertainty,
    )  # fmt: skip
    done = drain(enhance_steps(image, options, out, resume), progress)
    result = [done.image]
    if return_report:
        result.append(done.reports[0] if len(done.reports) == 1 else done.reports)
    if return_residual:
        result.append(done.residual)
    if return_uncertainty:
        result.append(done.uncertainty)
    return tuple(result) if len(result) > 1 else result[0]


def drain(
    steps: Generator[Progress, None, Enhancement],
    progress: Callable[[Progress], None] | None = None,
) -> Enhancement:
    """Run the steps of `enhance_steps` to their end; ``progress`` is told of each."""
    # Whoever keeps the exception that stopped it does not keep its threads and windows.
    with contextlib.closing(steps):
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

    yield Progress(0, layout.planes * layout.height * layout.width, "loading the model")
    setup = Setup.resolve(options, out_dtype)
    _check_extras(options, setup, sink)
    uncertainty = np.empty(layout.shape, np.float32) if options.return_uncertainty else None
    run = Run(opened, layout, setup, options, uncertainty)
    if sink is None:
        result = yield from run.lazily()
    else:
        with contextlib.closing(sink):
            yield from run.into(sink)
        result = sink.result
    reports: list[Report] = []
    residual = None
    if setup.model.is_quantitative and sink is not None and hasattr(result, "shape"):
        reports = run.reports(result)
    if options.return_residual:
        residual = run.residual(result)
    seconds = round(time.perf_counter() - started, 3)
    record = {**run.record, "device": str(setup.runner.device), "seconds": seconds}
    if reports:
        record["reports"] = [report.to_dict() for report in reports]
    return Enhancement(result, record, reports, residual, uncertainty)


def _check_extras(options: Options, setup: Setup, sink: Sink | None) -> None:
    """Refuse to return what there is not."""
    for name in ("return_report", "return_residual", "return_uncertainty"):
        if not getattr(options, name):
            continue
        if not setup.model.is_quantitative:
            raise ValueError(
                f"{name}: got True with the model {setup.model.name!r}; allowed with models"
                " that keep intensities, such as 'microscopy'"
            )
        if sink is None or (name != "return_report" and not isinstance(sink, ArraySink)):
            raise ValueError(
                f"{name}: got True for a result that is not in memory; give an ndarray,"
                " or a part of the image"
            )
        if name == "return_report" and isinstance(sink, files.TiffSink):
            raise ValueError("return_report: got True with a .tif as out; allowed is a .zarr")


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
    if is_zarr(out) and hasattr(out, "shape"):
        if is_zarr(opened.array) and out.store_path == opened.array.store_path:
            raise ValueError("out: got the image itself; the input is never modified")
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
