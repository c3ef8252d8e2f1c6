"""Planes that are looked at together: one survey, one black and white point, one conditioning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.planes import native, read_plane
from napari_dcr.engine.sources import Opened, Source, is_dask
from napari_dcr.engine.survey import SURVEYS, Block, Subject, Survey, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import InputRange, Scale, find_scale, needs_histogram
from napari_dcr.image.noise import NoiseEstimate, fit_noise
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning

BLOCKS_AT_ONCE = 32
"""Blocks of a dask array whose surveys are asked for together."""


class Linked(NamedTuple):
    """What planes that were surveyed together share.

    Attributes
    ----------
    scale : Scale
        Own units of 0 and 1 of the working range.
    conditioning : Conditioning
    noise : NoiseEstimate or None
        Where the network works in counts.
    """

    scale: Scale
    conditioning: Conditioning
    noise: NoiseEstimate | None = None


def subject_of(
    layout: Layout, dtype: np.dtype[Any], input_range: InputRange, counts: bool
) -> Subject:
    """What has to be known of a group of planes."""
    grey = not layout.is_rgb
    return Subject(
        1 if grey else 3,
        layout.height,
        layout.width,
        dtype,
        not counts and needs_histogram(input_range, dtype, grey),
        counts,
    )


def survey_planes(
    opened: Opened,
    source: Source,
    layout: Layout,
    subject: Subject,
    channel: int,
    frames: list[tuple[int, ...]],
    fingerprint: str | None,
) -> Iterator[Survey | None]:
    """None after each block, then the survey; one that is known is taken.

    Parameters
    ----------
    opened : Opened
    source : Source
        Of ``opened``, for ``layout``.
    layout : Layout
    subject : Subject
    channel : int
    frames : list of tuple of int
    fingerprint : str or None
        Of the image's pixels; without one nothing is remembered.
    """
    key = fingerprint, layout, channel, tuple(frames)
    survey = SURVEYS.get(key, subject) if fingerprint else None
    if survey is None:
        surveyor = Surveyor(subject)
        if is_dask(opened.array):
            steps = _survey_lazily(opened.array, layout, surveyor, frames, channel)
        else:
            steps = surveyor.add_planes(
                _colours(source, layout, frame, channel) for frame in frames
            )
        with contextlib.closing(steps):
            for _ in steps:
                yield None
        survey = surveyor.finish()
        if fingerprint:
            SURVEYS.put(key, survey)
    yield survey


def link(
    survey: Survey,
    input_range: InputRange,
    dtype: np.dtype[Any],
    grey: bool,
    network: Cascade,
    device: torch.device,
) -> Linked:
    """Find black and white point, or the noise, and run the global net."""
    noise = None
    if network.config.base == "counts":
        assert survey.noise is not None
        noise = fit_noise(survey.noise, dtype.kind in "iu")
        model = noise.model
        if input_range != "auto":
            model = model.at(find_scale(input_range, dtype, None, grey).black)
        scale = Scale(model.offset, model.offset + model.unit)
        thumbnail = scale.to_working(survey.thumbnail)
        curvature = torch.tensor([model.curvature], device=device)
    else:
        scale = find_scale(input_range, dtype, survey.histogram, grey)
        thumbnail = np.clip(scale.to_working(survey.thumbnail), 0, 1)
        curvature = None
    channels = network.config.channels
    batch = np.array(np.broadcast_to(thumbnail, (channels, *thumbnail.shape[1:])), np.float32)
    with torch.inference_mode():
        conditioning = network.condition(torch.from_numpy(batch)[None].to(device), curvature)
    return Linked(scale, conditioning, noise)


def _colours(
    source: Source, layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Reader of a plane without its alpha."""

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(source, layout, frame, channel, rows, columns)[:3]

    return read


def _survey_lazily(
    image: Any, layout: Layout, surveyor: Surveyor, frames: Any, channel: int
) -> Generator[None, None, None]:
    """Survey linked planes of a dask array, where its chunks are.

    Parameters
    ----------
    image : dask.array.Array
    layout : Layout
    surveyor : Surveyor
    frames : iterable of tuple of int
    channel : int
    """
    from dask.base import compute
    from dask.delayed import delayed

    look = delayed(_look, pure=False)
    work = (
        look(
            surveyor.subject,
            layout,
            image[layout.index(frame, channel, rows, columns, slice(0, 3))],
            rows.start,
            columns.start,
        )
        for frame in frames
        for rows, columns in surveyor.subject.blocks
    )
    while some := list(islice(work, BLOCKS_AT_ONCE)):
        for block in compute(*some):
            surveyor.add(block)
        yield


def _look(subject: Subject, layout: Layout, pixels: NDArray[Any], row: int, column: int) -> Block:
    return subject.look(native(layout.to_planar(pixels)), row, column)
