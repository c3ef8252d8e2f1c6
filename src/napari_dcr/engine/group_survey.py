"""Surveys of groups of planes: what they measure, and where the blocks of dask arrays are measured."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.planes import read_corrected, read_plane
from napari_dcr.engine.sources import MarkedSource, Opened, Region, Source, compute_dask
from napari_dcr.engine.survey import Survey, Surveyor
from napari_dcr.engine.survey_blocks import Block, SurveyRequest
from napari_dcr.engine.survey_progress import Pass
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, needs_histogram
from napari_dcr.image.noise_blocks import block_statistics
from napari_dcr.image.padding import Padding

BLOCKS_AT_ONCE = 32
"""Number of blocks of a dask array that are surveyed in one dask computation."""


def survey_request(
    layout: Layout,
    colours: int,
    dtype: np.dtype[Any],
    input_range: InputRange,
    counts: bool,
    defects: bool = False,
    frames: int = 1,
    noise: bool = False,
) -> SurveyRequest:
    """Request for the survey of a group of planes, with the measurements that the model needs."""
    grey = colours == 1
    return SurveyRequest(
        colours,
        layout.height,
        layout.width,
        dtype,
        not counts and needs_histogram(input_range, dtype, grey),
        counts or noise,
        defects=defects,
        frames=frames,
        # The hot pixels of a picture must be the same whether or not its noise is measured.
        measured=counts,
    )


def reader_of(
    source: Source, layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Create a function that reads windows of a plane without alpha."""
    colours = layout.band(channel).colours

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(source, layout, frame, channel, rows, columns)[:colours]

    return read


def corrected_noise(
    source: Source,
    layout: Layout,
    survey: Survey,
    planes: Sequence[tuple[tuple[int, ...], tuple[Padding, ...]]],
    channel: int,
    defects: Defects,
) -> Generator[str, None, NDArray[Any]]:
    """Measure the noise again in the windows of a survey, with sensor defects corrected.

    Offsets of lines hide which parts of an image are flat, and shift the levels at which the noise
    is measured.

    Parameters
    ----------
    source : Source
    layout : Layout
    survey : Survey
    planes : sequence
        Index on the stepped axes, and padding, of each plane that was surveyed.
    channel : int
    defects : Defects

    Yields
    ------
    str
        After each window, how far this is; the return value is the noise, as in `Survey`.
    """
    found = []
    this = Pass("Measuring the noise without defects", 1, len(survey.noise_windows))
    for number, rows, columns in survey.noise_windows:
        frame, padding = planes[number]
        pixels = read_corrected(source, layout, frame, channel, rows, columns, defects, padding)
        found.append(block_statistics(pixels[0] / survey.unit))
        yield this.describe(len(found))
    return np.concatenate(found)


def survey_lazily(
    opened: Opened, layout: Layout, surveyor: Surveyor, planes: Any, channel: int
) -> Generator[None, None, None]:
    """Survey planes of a dask array by dask tasks, on the workers that hold its chunks.

    Parameters
    ----------
    opened : Opened
        Image with a dask array.
    layout : Layout
    surveyor : Surveyor
        Accumulates the measurements.
    planes : iterable
        Index on the stepped axes, and padding, of each plane.
    channel : int
        Index of the channel.
    """
    from dask.delayed import delayed

    measure = delayed(_measure, pure=False)

    def pixels(frame: tuple[int, ...], rows: slice, columns: slice) -> Any:
        box = layout.index(frame, channel, rows, columns, slice(None))
        whole = tuple(
            slice(None) if a == "s" else slice(i, i + 1) if isinstance(i, int) else i
            for a, i in zip(layout.axes, box, strict=True)
        )
        return opened.array[whole], tuple(i.start or 0 for i in whole)

    places = (
        (frame, padding, *block) for frame, padding in planes for block in surveyor.request.blocks
    )
    work = (
        measure(
            surveyor.request,
            layout,
            opened.nodata,
            frame,
            channel,
            rows,
            columns,
            padding,
            surveyor.keeps_noise_of(number),
            *pixels(frame, rows, columns),
        )
        for number, (frame, padding, rows, columns) in enumerate(places)
    )
    while some := list(islice(work, BLOCKS_AT_ONCE)):
        for block in compute_dask(*some):
            surveyor.add(block)
        yield


def _measure(
    request: SurveyRequest, layout: Layout, nodata: float | None, frame: tuple[int, ...], channel: int,
    rows: slice, columns: slice, padding: tuple[Padding, ...], noise: bool, pixels: NDArray[Any],
    origin: tuple[int, ...],
) -> Block:  # fmt: skip
    """Measure a block of a plane; ``pixels`` is the part of the image that starts at ``origin``."""
    source = MarkedSource(Region(pixels, origin), layout, nodata)
    read = reader_of(source, layout, frame, channel)
    return request.measure(read(rows, columns), rows.start, columns.start, padding, noise)
