"""``enhance()``: the one door for scripts, the shell and the plugin."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_dcr.engine.conditioning import ImageConditioning
from napari_dcr.engine.image_run import Run
from napari_dcr.engine.progress_bar import ProgressBar
from napari_dcr.engine.result import Enhancement, Progress
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_dask
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, check_dtype
from napari_dcr.image.noise import NoiseModel
from napari_dcr.image.quality import Report
from napari_dcr.io.arrays import ArraySink, masked_like
from napari_dcr.io.formats import create_sink, open_image
from napari_dcr.io.tiff import TiffSink
from napari_dcr.options import Options

__all__ = ["Enhancement", "Options", "Progress", "Report", "enhance", "enhance_steps"]


def enhance(
    image: Any,
    *,
    model: str | Path = Options.model,
    depth: int | None = Options.depth,
    detail: bool = Options.detail,
    strength: float = Options.strength,
    exposure: float = Options.exposure,
    denoise: float = Options.denoise,
    denoise_colour: float | None = Options.denoise_colour,
    saturation: float = Options.saturation,
    defects: str | Path | Defects = Options.defects,
    noise: NoiseModel | None = Options.noise,
    axes: str | None = Options.axes,
    channel_axis: int | None = Options.channel_axis,
    rgb: bool | None = Options.rgb,
    input_range: InputRange = Options.input_range,
    nodata: float | None = Options.nodata,
    link_frames: bool = Options.link_frames,
    output: str = Options.output,
    tile: int | Literal["auto"] = Options.tile,
    device: str = Options.device,
    precision: str = Options.precision,
    return_report: bool = Options.return_report,
    return_residual: bool = Options.return_residual,
    return_uncertainty: bool = Options.return_uncertainty,
    return_defects: bool = Options.return_defects,
    out: Any = None,
    resume: bool = False,
    scene: int | str | None = None,
    progress: Callable[[Progress], None] | bool | None = None,
) -> Any:
    """Brighten and clean a low-light image.

    Parameters
    ----------
    image : ndarray, dask or zarr array, OME-Zarr group, path of an image file or .zarr, or list of paths
        Grey ``(..., y, x)``, colour ``(..., y, x, 3)`` or ``(..., y, x, 4)`` with
        alpha, or channels; leading axes are stepped over.  uint8, uint16, int16,
        float16, float32 or float64.  It is not modified.  The `photo` model
        takes grey images and channels one by one.  Of a multiscale image the
        finest level is taken; give another one by its own array or path.  Files are TIFF,
        PNG, JPEG, BMP, WebP, HEIC, AVIF, JPEG XL, EXR, FITS, SER and those of microscopes;
        pixels of a file stay as they are stored where it has an Orientation, by which viewers
        turn them.
        Several paths are one recording, joined along time: noise, defects of the sensor and
        tone are estimated once for all of them. ``axes`` are those of each file. For another
        axis, give ``napari_dcr.open_image(paths, as_one="z")``.
    {options}
    return_report : bool
        Return a `Report` on what became of the intensities too, or a list of them, one
        for each channel. Only for `microscopy`, as the following.
    return_residual : bool
        Return what was taken away too: input minus result, without its gain.
    return_uncertainty : bool
        Return the deviation of each pixel's error too, in the image's own units: the
        true value lies within one deviation for about 68 % of the pixels.
    return_defects : bool
        Return the `Defects` of the sensor that were corrected too, or a list of them, one
        for each channel (and frame, where ``link_frames`` is off). They can be saved, and
        given as ``defects`` for other images of the same camera.
    out : ndarray, zarr array or path, optional
        Written to instead of a new array, tile by tile: an array of the result's
        shape and dtype, or a ``.zarr`` (``.ome.zarr``, or any that is made from a
        multiscale image, with all levels) or ``.tif`` that does not exist. For a list of
        files, one of these, or a list of as many paths.
    resume : bool
        Go on with an earlier run that was stopped, or killed, while it wrote to the
        zarr ``out``; without one begin.  Everything else must be as it was.
    scene : int or str, optional
        Which image of a file that holds several, by its number from 0 or by its name.
    progress : callable or bool, optional
        Called with a `Progress` after each step; an exception it raises stops the run.
        True shows a bar, in a terminal or a notebook.

    Returns
    -------
    array
        Same shape as ``image``; dtype and range as ``output`` says.  ``out`` if it was
        given: opened if it is a ``.zarr``, the path of a ``.tif``, a list for a list.  Otherwise a dask
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
    Pixels without data are those that are NaN or infinite, masked (of a masked array), have the
    value ``nodata``, or an alpha of 0.  The network takes them as black, they do not
    count in statistics, and they come back as they were where the result's dtype has their
    value (they are black where it has not).  A masked array gives a masked array.
    Alpha is never changed but for its dtype.

    Planes that cannot be enhanced, such as a saturated channel or a frame of NaN, come back
    as they were with an `InputWarning` that names them.

    Examples
    --------
    >>> import numpy as np
    >>> dim = np.full((40, 50), 100, np.uint16)
    >>> enhance(dim, depth=1).shape
    (40, 50)
    """
    options = Options(
        model=model, depth=depth, detail=detail, strength=strength, exposure=exposure,
        denoise=denoise, denoise_colour=denoise_colour, saturation=saturation,
        defects=defects, noise=noise,
        axes=axes, channel_axis=channel_axis, rgb=rgb, input_range=input_range,
        nodata=nodata, link_frames=link_frames, output=output, tile=tile, device=device, precision=precision,
        return_report=return_report, return_residual=return_residual,
        return_uncertainty=return_uncertainty, return_defects=return_defects,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if isinstance(progress, (bool, np.bool_)):
            progress = stack.enter_context(ProgressBar()) if progress else None
        done = run_to_completion(enhance_steps(image, options, out, resume, scene), progress)
    result = [done.image]
    if return_report:
        result.append(done.reports[0] if len(done.reports) == 1 else done.reports)
    if return_residual:
        result.append(done.residual)
    if return_uncertainty:
        result.append(done.uncertainty)
    if return_defects:
        result.append(done.defects[0] if len(done.defects) == 1 else done.defects)
    return tuple(result) if len(result) > 1 else result[0]


def _described_options() -> str:
    """The parameters that are options, as `Options` describes them."""
    text = inspect.cleandoc(Options.__doc__ or "")
    attributes = text.partition("Attributes\n----------\n")[2]
    return attributes.partition("return_report")[0].rstrip()


# One description: that of `Options`. Python may have been told to leave docstrings out.
if enhance.__doc__ is not None:
    enhance.__doc__ = inspect.cleandoc(enhance.__doc__).replace("{options}", _described_options())


def run_to_completion(
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
    image: Any,
    options: Options,
    out: Any = None,
    resume: bool = False,
    scene: int | str | None = None,
) -> Generator[Progress, None, Enhancement]:
    """Do what `enhance` does step by step; the generator returns an `Enhancement`.

    Closing the generator cancels the run between two tiles.  Arguments are
    checked when the first step is asked for.

    Parameters
    ----------
    image : array, group, path or list of paths
        See `enhance`.
    options : Options
    out : array, path or list of paths, optional
        See `enhance`.
    resume : bool
        See `enhance`.
    scene : int or str, optional
        See `enhance`.
    """
    opened = open_image(image, out, scene, axes=options.axes)
    if isinstance(image, (list, tuple)) and options.axes is not None:
        options = dataclasses.replace(options, axes=None)  # those of each file
    return (yield from _steps(opened, options, out, resume, None))


def enhance_pyramid_steps(
    levels: Sequence[Any], options: Options
) -> Generator[Progress, None, Enhancement]:
    """Enhance the levels of a pyramid so that all of them look the same.

    For models that make pictures to look at, one survey, that of the finest level, gives the
    tone of all levels. A model that keeps intensities surveys each level: noise averages out.

    Parameters
    ----------
    levels : sequence of array
        From the finest to the coarsest.
    options : Options

    Returns
    -------
    Enhancement
        Its image is a list of the levels; all else is that of the finest.
    """
    first = open_image(levels[0])
    finest = ImageConditioning(first.with_nodata(options.nodata))
    done = []
    for level in levels:
        opened = dataclasses.replace(open_image(level), warnings=first.warnings)
        done.append((yield from _steps(opened, options, None, False, finest)))
    return dataclasses.replace(done[0], image=[level.image for level in done])


def _steps(
    opened: Opened, options: Options, out: Any, resume: bool, finest: ImageConditioning | None
) -> Generator[Progress, None, Enhancement]:
    started = time.perf_counter()
    opened = opened.with_nodata(options.nodata)
    if opened.measured and options.model == "auto":
        options = dataclasses.replace(options, model="microscopy")
    dtype = check_dtype(opened.array.dtype)
    told = options.axes, options.channel_axis, options.rgb
    axes = opened.axes if told == (None, None, None) else options.axes
    layout = Layout.resolve(
        tuple(opened.array.shape), axes, options.channel_axis, options.rgb, opened.samples
    )
    if opened.doubt and told == (None, None, None):
        opened.warnings.add(opened.doubt)
    out_dtype = dtype if options.output == "same" else np.dtype(options.output)
    lazy = out is None and is_dask(opened.array)
    sink = None if lazy else create_sink(out, opened, layout, out_dtype, resume)
    if lazy and resume:
        raise ValueError("resume: got True for a lazy result; give out=, a .zarr, to write to")

    total = layout.planes * layout.height * layout.width
    yield Progress(0, total, f"{layout.describe()}: loading the model")
    setup = Setup.resolve(options, out_dtype)
    layout = setup.arrange(layout)
    _check_extras(options, setup, sink)
    uncertainty = np.empty(layout.shape, np.float32) if options.return_uncertainty else None
    if isinstance(opened.array, np.ma.MaskedArray) and not isinstance(sink, ArraySink):
        opened.warnings.add(
            "out: got a masked image, but a file holds no mask; masked pixels are written with"
            " the values under the mask"
        )
    run = Run(opened, layout, setup, options, uncertainty, finest)
    if sink is None:
        result = yield from run.lazy_result()
    else:
        with contextlib.closing(sink):
            yield from run.write_to(sink)
        result = masked_like(opened.array, sink.result)
    reports: list[Report] = []
    residual = None
    if setup.model.is_quantitative and sink is not None and hasattr(result, "shape"):
        reports = run.reports(result)
    if options.return_residual:
        residual = masked_like(opened.array, run.residual(result))
    seconds = round(time.perf_counter() - started, 3)
    record = {**run.record, "device": str(setup.runner.device), "seconds": seconds}
    if reports:
        record["reports"] = [report.to_dict() for report in reports]
    uncertainty = masked_like(opened.array, uncertainty)
    return Enhancement(result, record, reports, residual, uncertainty, run.defects)


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
        if name == "return_report" and isinstance(sink, TiffSink):
            raise ValueError("return_report: got True with a .tif as out; allowed is a .zarr")
    if options.return_uncertainty and options.denoise < 1:
        raise ValueError(
            f"return_uncertainty: got True with denoise {options.denoise:g}; allowed with denoise"
            " 1, for the network knows the error of its own estimate alone"
        )
