"""Planes that are looked at together: one survey, one black and white point, one conditioning."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.planes import ArrayPlane, native, read_plane
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import Opened, Source, is_dask
from napari_dcr.engine.survey import REMEMBERED, SURVEYS, Block, Subject, Survey, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import (
    InputRange,
    Scale,
    check_dtype,
    find_scale,
    needs_histogram,
)
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
    digest : str
        SHA-256 of the pixels of all planes.
    noise : NoiseEstimate or None
        Where the network works in counts.
    """

    scale: Scale
    conditioning: Conditioning
    digest: str
    noise: NoiseEstimate | None = None


@dataclass(frozen=True)
class Group:
    """Planes that share black and white point and conditioning.

    Attributes
    ----------
    channel : int
    frame : tuple of int or None
        Place on the stepped axes; None for all frames of the channel together.
    """

    channel: int
    frame: tuple[int, ...] | None

    @classmethod
    def of(cls, frame: tuple[int, ...], channel: int, link_frames: bool) -> Group:
        """The group that a plane belongs to."""
        return cls(channel, None if link_frames else frame)

    def number(self, layout: Layout) -> int:
        """Place of the group among all groups of an image, in the order of `groups`."""
        if self.frame is None:
            return self.channel
        frames = math.prod(layout.frame_shape)
        flat = int(np.ravel_multi_index(self.frame, layout.frame_shape)) if self.frame else 0
        return self.channel * frames + flat

    def frames(self, layout: Layout) -> list[tuple[int, ...]]:
        """Places of its planes on the stepped axes."""
        return list(layout.frames()) if self.frame is None else [self.frame]


def groups(layout: Layout, link_frames: bool) -> Iterator[Group]:
    """All groups of an image."""
    for channel in range(layout.channels):
        if link_frames:
            yield Group(channel, None)
        else:
            yield from (Group(channel, frame) for frame in layout.frames())


class ImageConditioning:
    """Surveys an image and runs the global net on it, once for each group of planes.

    Parameters
    ----------
    opened : Opened
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._fingerprint: object = None
        self._sources: dict[Layout, Source] = {}
        self._known: OrderedDict[tuple[Any, ...], Linked] = OrderedDict()

    def source(self, layout: Layout) -> Source:
        """What tiles are read from."""
        if layout not in self._sources:
            self._sources[layout] = self._opened.source(layout)
        return self._sources[layout]

    def condition(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Iterator[Linked | None]:
        """Survey a group of planes and condition the network on it.

        Parameters
        ----------
        group : Group
        layout : Layout
        setup : Setup
        input_range : str or tuple of float
            See `Options`.

        Yields
        ------
        Linked or None
            None after each block of the survey; last, what the planes share.
        """
        runner = setup.runner
        key = layout, group, setup.spec.sha256, runner.device, input_range
        if key not in self._known:
            survey = yield from self._survey(group, layout, setup, input_range)
            self._known[key] = link(
                survey,
                input_range,
                self._dtype,
                layout.band(group.channel).colours == 1,
                runner.network,
                runner.device,
            )
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        yield self._known[key]

    def plane(
        self, frame: tuple[int, ...], channel: int, layout: Layout, setup: Setup, linked: Linked,
        target: Any = None, uncertainty: Any = None,
    ) -> ArrayPlane:  # fmt: skip
        """One plane of the image, to be enhanced into ``target``."""
        return ArrayPlane(
            self.source(layout), target, layout, frame, channel,
            setup.model.network.config.channels, linked.scale, setup.rendering, uncertainty,
        )  # fmt: skip

    @property
    def _dtype(self) -> np.dtype[Any]:
        return check_dtype(np.dtype(self._opened.array.dtype))

    def _survey(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Generator[None, None, Survey]:
        """Survey a group of planes; a survey that was made before is taken from the cache."""
        if self._fingerprint is None:
            # An image whose changes cannot be noticed is surveyed once for this object.
            self._fingerprint = self._opened.fingerprint() or object()
        colours = layout.band(group.channel).colours
        request = survey_request(
            layout, colours, self._dtype, input_range, setup.model.is_quantitative
        )
        key = self._fingerprint, layout, group
        survey = SURVEYS.get(key, request)
        if survey is None:
            surveyor = Surveyor(request)
            frames = group.frames(layout)
            if is_dask(self._opened.array):
                steps = _survey_lazily(self._opened.array, layout, surveyor, frames, group.channel)
            else:
                source = self.source(layout)
                steps = surveyor.add_planes(
                    _colours(source, layout, frame, group.channel) for frame in frames
                )
            with contextlib.closing(steps):
                yield from steps
            survey = surveyor.finish()
            SURVEYS.put(key, survey)
        return survey


def survey_request(
    layout: Layout, colours: int, dtype: np.dtype[Any], input_range: InputRange, counts: bool
) -> Subject:
    """What a survey of a group of planes of so many colours has to find out."""
    grey = colours == 1
    return Subject(
        colours,
        layout.height,
        layout.width,
        dtype,
        not counts and needs_histogram(input_range, dtype, grey),
        counts,
    )


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
    return Linked(scale, conditioning, survey.digest, noise)


def _colours(
    source: Source, layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Reader of a plane without its alpha."""
    colours = layout.band(channel).colours

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(source, layout, frame, channel, rows, columns)[:colours]

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
    colours = slice(0, layout.band(channel).colours)
    work = (
        look(
            surveyor.subject,
            layout,
            image[layout.index(frame, channel, rows, columns, colours)],
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
