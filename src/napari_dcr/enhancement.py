"""`enhance`: the entry point that scripts, the shell command and the plugin share.

The file is long because the docstring of `enhance` describes each of its arguments.
"""

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
from napari_dcr.engine.setup import Setup, load_defects
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_dask
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import DTYPES, InputRange, check_dtype
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.quality import Report
from napari_dcr.io.arrays import ArraySink, masked_like
from napari_dcr.io.formats import only_for_viewing
from napari_dcr.io.frame_sinks import FrameSink
from napari_dcr.io.ome_zarr import ZarrSink
from napari_dcr.io.opening import open_image
from napari_dcr.io.writing import create_sink
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
    denoise_first: str = Options.denoise_first,
    defects: str | Path | Defects = Options.defects,
    noise: NoiseModel | None = Options.noise,
    neighbours: str | int = Options.neighbours,
    neighbour_axis: str | None = Options.neighbour_axis,
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
    overwrite: bool = False,
    scene: int | str | None = None,
    quality: int | None = None,
    progress: Callable[[Progress], None] | bool | None = None,
) -> Any:
    """Brighten and denoise a low-light image.

    Parameters
    ----------
    image : array, OME-Zarr group, path of an image file or .zarr, or list of paths
        An array of NumPy, dask or zarr, an `xarray.DataArray`, a tensor of PyTorch on the CPU, or
        anything else that `numpy.asarray` converts to an array of numbers, such as nested lists.
        Grey ``(..., y, x)``, colour ``(..., y, x, 3)`` or ``(..., y, x, 4)`` with
        alpha, or channels; each plane of the leading axes is enhanced by itself.  Allowed dtypes
        are uint8, uint16, int16, float16, float32 and float64.  Models that keep intensities also
        take counts of int32, uint32, int64 and uint64, and return floats.  The dimensions of a
        DataArray are its axes if they are named by one letter each or by common names such as
        ``time`` and ``channel``.  The image is not modified.  The
        `photo` model processes grey images and channels one by one.  For a multiscale image the
        finest level is used; pass the array or path of another level to enhance that one.
        docs/file-formats.md lists the file formats.  Pixels of a file keep their stored
        order, even if the file has an Orientation tag by which viewers rotate it.
        Several paths form one recording, joined along time: noise, sensor defects and tone are
        estimated once for all of them, and ``axes`` are the axes of each file.  To join them along
        another axis, pass ``napari_dcr.open_image(paths, as_one="z")``.
    {options}
    return_report : bool
        Also return a `Report` that compares the intensities of input and result, or a list
        with one report for each channel.  Only for `microscopy`, like the next two options.
    return_residual : bool
        Also return what was removed: input minus result, with the result's gain removed.
    return_uncertainty : bool
        Also return the standard error of each pixel in the image's own units.  For about 68 % of
        the pixels the true value lies within one standard error.
    return_defects : bool
        Also return the `Defects` of the sensor that were corrected, or a list of them with one
        entry for each channel, and for each frame if ``link_frames`` is False.  You can save
        them, and pass them as ``defects`` for other images of the same camera.  They belong to
        the pixels in stored order, even where a result is rotated.
    out : ndarray, zarr array or path, optional
        Write the result here, tile by tile, instead of to a new array.  Either an array with
        the shape and dtype of the result, or the path of a ``.zarr`` that does not exist yet, or
        of a ``.tif``, which is replaced if it exists.  An ``.ome.zarr``, and any ``.zarr`` made from a multiscale image, is written
        with all levels.
        For a list of files, one of these or a list of as many paths.
    resume : bool
        Resume an interrupted run from the partial zarr at ``out``.  If there is none, start from
        the beginning.  All other arguments must match those of the interrupted run.
    overwrite : bool
        Replace an earlier result of this function in a ``.zarr`` at ``out``, with everything that is
        stored in it, once the new result is complete.  With ``resume``, it is continued instead.
    scene : int or str, optional
        Image to read from a file that holds several, by its number from 0 or by its name.
    quality : int, optional
        Quality of a result in .mp4 or .mov (default: 70), or of numbered images in .jpg, .heic or
        .avif (default: 95), from 0 to 100.  Other formats are lossless.
    progress : callable or bool, optional
        Function that is called with a `Progress` after each step; if it raises an exception, the
        run stops.  True shows a progress bar in a terminal or notebook.

    Returns
    -------
    array
        Result with the shape of ``image``; ``output`` determines its dtype and range.  If ``out``
        is given, the result is that array, the opened ``.zarr``, or the path of the ``.tif``;
        for a list of paths, a list of these.
        Otherwise a dask array gives a lazy dask array, for which only the image's survey has been
        computed, a DataArray gives a DataArray with its coordinates, a tensor gives a tensor, and
        every other image gives an ndarray.  If further results are requested, a
        tuple that starts with the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed; the message names the argument, the given value and the
        allowed values.
    MemoryError
        If the smallest tile does not fit into memory, or the result does not and ``out`` is None.

    Notes
    -----
    Missing pixels are pixels that are NaN or infinite, masked in a masked array, equal to
    ``nodata``, or have an alpha of 0 or less, or of NaN.  In the network's input they are replaced by means of nearby
    pixels, or by black if there are none; statistics ignore them.  In the result they keep their
    values if its dtype can represent them, and are 0 otherwise.  A masked array gives a masked array.  Alpha changes only its dtype.

    Planes that cannot be enhanced, such as a saturated channel or a frame of NaN, are returned
    unchanged with an `InputWarning` that names them.

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
        denoise_first=denoise_first, defects=defects, noise=noise,
        neighbours=neighbours, neighbour_axis=neighbour_axis,
        axes=axes, channel_axis=channel_axis, rgb=rgb, input_range=input_range,
        nodata=nodata, link_frames=link_frames, output=output, tile=tile, device=device, precision=precision,
        return_report=return_report, return_residual=return_residual,
        return_uncertainty=return_uncertainty, return_defects=return_defects,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if isinstance(progress, (bool, np.bool_)):
            progress = stack.enter_context(ProgressBar()) if progress else None
        done = run_to_completion(
            enhance_steps(image, options, out, resume, scene, quality, overwrite=overwrite),
            progress,
        )
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
    """Descriptions of the parameters that are options, taken from `Options`."""
    text = inspect.cleandoc(Options.__doc__ or "")
    attributes = text.partition("Attributes\n----------\n")[2]
    return attributes.partition("return_report")[0].rstrip()


# `Options` holds the only description. There are no docstrings when Python runs with -OO.
if enhance.__doc__ is not None:
    enhance.__doc__ = inspect.cleandoc(enhance.__doc__).replace("{options}", _described_options())


def run_to_completion(
    steps: Generator[Progress, None, Enhancement],
    progress: Callable[[Progress], None] | None = None,
) -> Enhancement:
    """Run `enhance_steps` to completion, calling ``progress`` with each step."""
    # Close the generator so that a stored exception does not keep threads and windows alive.
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
    quality: int | None = None,
    numbered: bool = True,
    overwrite: bool = False,
) -> Generator[Progress, None, Enhancement]:
    """Run `enhance` step by step, as a generator that returns an `Enhancement`.

    Closing the generator cancels the run between two tiles.  The arguments are checked when the
    first step is requested.

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
    quality : int, optional
        See `enhance`.
    numbered : bool
        Whether ``%d`` or ``%04d`` in the name of ``out`` stands for the number of a frame.
    overwrite : bool
        See `enhance`.
    """
    opened = open_image(image, out, scene, axes=options.axes)
    if isinstance(image, (list, tuple)) and options.axes is not None:
        options = dataclasses.replace(options, axes=None)  # those of each file
    return (yield from _steps(opened, options, out, resume, None, quality, numbered, overwrite))


def enhance_pyramid_steps(
    levels: Sequence[Any], options: Options
) -> Generator[Progress, None, Enhancement]:
    """Enhance all levels of a pyramid consistently.

    Display models use the survey of the finest level for all levels, so that they have the same
    tone.  Models that keep intensities survey every level, because coarser levels have less noise.

    Parameters
    ----------
    levels : sequence of array
        Levels from the finest to the coarsest.
    options : Options

    Returns
    -------
    Enhancement
        Result whose image is a list of the levels; all other attributes belong to the finest.
    """
    first = open_image(levels[0])
    finest = ImageConditioning(first.with_nodata(options.nodata))
    done = []
    for level in levels:
        opened = dataclasses.replace(open_image(level), warnings=first.warnings)
        done.append((yield from _steps(opened, options, None, False, finest)))
    return dataclasses.replace(done[0], image=[level.image for level in done])


def _steps(
    opened: Opened,
    options: Options,
    out: Any,
    resume: bool,
    finest: ImageConditioning | None,
    quality: int | None = None,
    numbered: bool = True,
    overwrite: bool = False,
) -> Generator[Progress, None, Enhancement]:
    started = time.perf_counter()
    opened = opened.with_nodata(options.nodata)
    dtype = check_dtype(opened.array.dtype)
    explicit_axes = options.axes, options.channel_axis, options.rgb
    axes = opened.axes if explicit_axes == (None, None, None) else options.axes
    layout = Layout.resolve(
        tuple(opened.array.shape), axes, options.channel_axis, options.rgb, opened.samples
    )
    if opened.doubt and explicit_axes == (None, None, None):
        opened.warnings.add(opened.doubt)
    choice = opened.choose_model(options.model, layout)
    out_dtype = dtype if options.output == "same" else np.dtype(options.output)
    lazy = out is None and is_dask(opened.array)
    sink = None
    if not lazy:
        sink = create_sink(out, opened, layout, out_dtype, resume, quality, numbered, overwrite)
    if lazy and resume:
        raise ValueError("resume: got True for a lazy result; allowed with a .zarr as out")

    total = layout.planes * layout.height * layout.width
    yield Progress(0, total, f"{layout.describe()}: loading the model")
    found: list[Defects] = []
    develop = opened.develop
    if develop is not None:
        yield Progress(0, total, f"{layout.describe()}: developing the raw picture")
        opened, found = develop(load_defects(options.defects))
    # What was corrected in the sensor's own pixels is not looked for a second time.
    setup = Setup.resolve(
        options if develop is None else dataclasses.replace(options, defects="off"), out_dtype,
        sink.bits if isinstance(sink, FrameSink) else None, choice,
    )  # fmt: skip
    if opened.from_sensor and not setup.model.is_quantitative:
        raise ValueError(
            f"model: got the {setup.choice} for the colour planes of a camera raw file, which it would"
            " hardly denoise; allowed are 'auto' and models that keep intensities, such as"
            " 'microscopy'"
        )
    layout = setup.arrange(layout)
    if setup.model.is_quantitative and setup.spec.depth == 0:
        opened.warnings.add(
            f"depth: got 0, which removes no noise; allowed up to {setup.model.network.stages}."
            f" This is the {setup.choice}"
        )
    _check_extras(options, setup, sink)
    for message in only_for_viewing(out) if setup.model.is_quantitative else ():
        opened.warnings.add(message)
    if opened.counts:
        _check_counts(opened, setup, dtype)
    uncertainty = np.empty(layout.shape, np.float32) if options.return_uncertainty else None
    if isinstance(opened.array, np.ma.MaskedArray) and not isinstance(sink, ArraySink):
        opened.warnings.add(
            "out: the image is masked, but files cannot store a mask; masked pixels are written"
            " with the values under the mask"
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
    if any(not each.is_empty for each in found):
        record["defects"] = [each.to_dict() for each in found if not each.is_empty]
    if "neighbours" in record and sink is not None and not setup.model.is_quantitative:
        record["neighbours"]["averaged"] = setup.runner.contribution.averaged()
    if reports:
        record["reports"] = [report.to_dict() for report in reports]
    uncertainty = masked_like(opened.array, uncertainty)
    if out is None:
        result, residual, uncertainty = (
            each if each is None else opened.restore(each)
            for each in (result, residual, uncertainty)
        )
    return Enhancement(result, record, reports, residual, uncertainty, found or run.defects)


def _check_counts(opened: Opened, setup: Setup, dtype: np.dtype[Any]) -> None:
    """Say that counts of 32 or 64 bits become floats; raise a TypeError if a model makes pictures."""
    if not setup.model.is_quantitative:
        raise TypeError(
            f"image: got dtype {opened.counts} with the {setup.choice}; allowed are {', '.join(DTYPES)},"
            " or model='microscopy', which keeps counts"
        )
    opened.warnings.add(
        f"image: the {opened.counts} counts are enhanced as {dtype.name}, which represents them"
        f" exactly, and the result is {dtype.name} in the same units"
    )


def _check_extras(options: Options, setup: Setup, sink: Sink | None) -> None:
    """Raise a ValueError for requested results that the model or the sink cannot provide."""
    for name in ("return_report", "return_residual", "return_uncertainty"):
        if not getattr(options, name):
            continue
        if not setup.model.is_quantitative:
            raise ValueError(
                f"{name}: got True with the {setup.choice}; allowed with models"
                " that keep intensities, such as 'microscopy'"
            )
        if sink is None or (name != "return_report" and not isinstance(sink, ArraySink)):
            raise ValueError(
                f"{name}: got True for a result that is not in memory; pass an ndarray as image,"
                " or a part of the image"
            )
        if name == "return_report" and not isinstance(sink, (ArraySink, ZarrSink)):
            raise ValueError(
                "return_report: got True with a file as out, which is not read back; allowed is a .zarr"
            )
    if options.return_uncertainty and options.denoise < 1:
        raise ValueError(
            f"return_uncertainty: got True with denoise {options.denoise:g}; allowed with denoise"
            " 1, because the network only knows the error of its full estimate"
        )
