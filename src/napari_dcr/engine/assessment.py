"""Compare a result with its source: reports for each channel, and the residual."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.groups import Group, groups
from napari_dcr.engine.planes import read_corrected, read_plane
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.missing import missing
from napari_dcr.image.quality import Report, assess
from napari_dcr.input_warnings import InputWarnings
from napari_dcr.network.weights import Model
from napari_dcr.options import Options

WINDOW = 256
"""Side, in pixels, of the windows in which a result is compared with its source."""

SAMPLE, TRIED = 16, 128
"""Number of windows with data that are compared, and of those that are tried where most have none."""


def assess_result(
    source: Any,
    result: Any,
    layout: Layout,
    conditioning_of: Callable[[int], GroupConditioning],
    model: Model,
    exposure: float,
    warnings: InputWarnings,
    link_frames: bool,
    bits: int = 0,
    describe: Callable[[Defects], str] = Defects.describe,
) -> list[Report]:
    """Compare a result with its source, channel by channel, on a sample of windows.

    Parameters
    ----------
    source, result : array
        Arrays with the same indices.
    layout : Layout
        Layout of both arrays.
    conditioning_of : callable
        Returns the conditioning that the planes of a channel share.
    model : Model
        Model that produced the result.
    exposure : float
        Brightening of the result in stops.
    warnings : InputWarnings
        Warnings about the source; the report of a channel repeats those that concern it.
    link_frames : bool
        Whether all frames share one conditioning.
    bits : int
        Number of bits that integers were recorded with; 0 for all bits of their dtype.
    describe : callable
        Describes corrected defects in words.

    Returns
    -------
    list of Report
        One report for each channel.
    """
    reports = []
    for channel in range(layout.channels):
        shared = conditioning_of(channel)
        doubts = warnings.of_channel(channel)
        if shared.noise is None:
            reports.append(Report.of_nothing(doubts))
            continue
        place = source, result, layout, channel, shared, link_frames, exposure
        # If most of the image is padding, these windows may hold no data.
        windows = list(_compared(*place, SAMPLE, WINDOW // 2)) or list(
            itertools.islice(_compared(*place, TRIED, 0), SAMPLE)
        )
        if not windows:
            note = (
                f"none of {TRIED} windows holds data, so the result was not compared with the image"
            )
            reports.append(Report.of_nothing([*doubts, note], kept=math.nan))
            continue
        bright = [got.compressed() if np.ma.isMA(got) else got for _, got in windows]
        level = max(float(np.quantile(values, 0.99)) for values in bright)
        notes = [*doubts, *model.doubts(shared.noise, level)]
        report = assess(
            windows, shared.noise.model, shared.scale.black / shared.unit, notes, source.dtype,
            shared.noise.neighbour_correlation(), bits, shared.noise.saturated,
        ).in_unit(1 / shared.unit)  # fmt: skip
        report = replace(
            report,
            correlation=shared.noise.describe_correlation(),
            left_out=shared.noise.describe_blocks(),
        )
        if shared.defects is not None:
            report = replace(report, corrected=describe(shared.defects))
        reports.append(report)
    return reports


def _compared(
    source: Any,
    result: Any,
    layout: Layout,
    channel: int,
    shared: GroupConditioning,
    link_frames: bool,
    exposure: float,
    most: int,
    least: int,
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Read windows of a channel and of its result, without exposure, that hold data.

    Values are in the unit of the noise, because squares of very small units underflow.  ``most`` and
    ``least`` are those of `_windows`.
    """
    unit = shared.unit
    frames = list(layout.frames())
    numbers = [Group.of(f, channel, link_frames).position(f, layout) for f in frames]
    # Frames that are returned unchanged say nothing about the denoising.
    enhanced = [f for f, n in enumerate(numbers) if n not in shared.left_alone]
    enhanced = enhanced or list(range(len(frames)))
    for index, rows, columns in _windows(len(enhanced), layout.height, layout.width, most, least):
        frame = enhanced[index]
        place = frames[frame], channel, rows, columns
        number = numbers[frame]
        own = read_corrected(
            source, layout, *place, shared.defects_of(number), shared.padding_of(number)
        )[0]
        gone = missing(own)
        if gone is not None and gone.all():
            continue
        got = read_plane(result, layout, *place)[0]
        if unit != 1:
            own, got = own.astype(np.float64) / unit, got.astype(np.float64) / unit
        if gone is not None:
            got = np.ma.MaskedArray(np.ma.getdata(got), gone)
        yield own, _without_gain(got, shared.black / unit, exposure)


def raise_hot_pixel_uncertainty(
    uncertainty: NDArray[Any],
    source: Any,
    layout: Layout,
    frame: tuple[int, ...],
    channel: int,
    shared: GroupConditioning,
    number: int,
    gain: float,
) -> None:
    """Raise the uncertainty of hot pixels, whose values were interpolated from their neighbours.

    Parameters
    ----------
    uncertainty : ndarray
        Standard error of each pixel of the image; changed in place.
    source : array
        The image.
    layout : Layout
        Layout of both arrays.
    frame : tuple of int
        Index of the plane on the stepped axes.
    channel : int
        Index of the plane's channel.
    shared : GroupConditioning
        Conditioning of the plane's group.
    number : int
        Position of the plane in the group.
    gain : float
        Factor between the units of the source and of the result.
    """
    noise = shared.noise_in_own_units()
    if shared.defects is None or noise is None:
        return
    padding = shared.padding_of(number)
    for _, y, x in shared.defects.hot.tolist():
        rows = slice(max(0, y - 2), min(layout.height, y + 3))
        columns = slice(max(0, x - 2), min(layout.width, x + 3))
        near = read_corrected(
            source, layout, frame, channel, rows, columns, shared.defects, padding
        )[0]
        gone = missing(near)
        near = np.ma.getdata(near if gone is None else near[~gone]).astype(np.float64)
        if not near.size:
            continue
        index = layout.index(frame, channel, slice(y, y + 1), slice(x, x + 1), slice(0, 1))
        # Standard deviation of a single measurement, and of the scene around the pixel.
        alone = float(noise.model.deviation(float(near.mean())))
        least = 2 * gain * float(np.hypot(alone, near.std()))
        uncertainty[index] = np.maximum(uncertainty[index], least)


def residual_of(
    source: Any,
    result: Any,
    layout: Layout,
    dtype: np.dtype[Any],
    black: Callable[[Group], float],
    options: Options,
) -> NDArray[Any]:
    """Source minus result, with the result's gain removed.

    Parameters
    ----------
    source, result : array
        Arrays with the same indices.
    layout : Layout
        Layout of both arrays.
    dtype : dtype
        Dtype of the source.
    black : callable
        Returns the black point of a group of planes.
    options : Options
        Options of the run that produced the result.

    Returns
    -------
    ndarray
        Residual in the source's units, as float32, or float64 for a float64 source.
    """
    wide: Any = np.float64 if dtype == np.float64 else np.float32
    residual = np.zeros(layout.shape, wide)  # stays 0 for alpha, which is not changed
    everything = slice(0, layout.height), slice(0, layout.width)
    for group in groups(layout, options.link_frames):
        zero = wide(black(group))
        for frame in group.frames(layout):
            own, got = (
                read_plane(array, layout, frame, group.channel, *everything).astype(wide)
                for array in (source, result)
            )
            colours = slice(0, layout.band(group.channel).colours)
            index = layout.index(frame, group.channel, *everything, colours)
            own, got = own[colours], got[colours]
            with np.errstate(invalid="ignore"):  # infinite pixels are missing, see below
                taken = np.ma.getdata(own - _without_gain(got, zero, options.exposure))
            if (gone := missing(own)) is not None:
                taken = np.where(gone, 0, taken)
            residual[index] = layout.from_planar(taken)
    return residual


def _without_gain(result: NDArray[Any], black: float, exposure: float) -> NDArray[Any]:
    """Undo the exposure of a result."""
    return black + (result - black) / 2.0**exposure if exposure else result


def _windows(
    frames: int, height: int, width: int, most: int, least: int
) -> list[tuple[int, slice, slice]]:
    """Choose windows evenly from all frames; returns frame, rows and columns of each.

    Windows at the end that would be shorter than ``least`` pixels are left out.
    """
    cells = [
        (frame, slice(y, min(y + WINDOW, height)), slice(x, min(x + WINDOW, width)))
        for frame in range(0, frames, -(-frames // most))
        for y in range(0, max(1, height - least), WINDOW)
        for x in range(0, max(1, width - least), WINDOW)
    ]
    chosen = np.linspace(0, len(cells) - 1, min(most, len(cells))).round().astype(int)
    return [cells[i] for i in chosen]
