"""Planes that are looked at together: one survey, one black and white point, one conditioning."""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.output import Display, LeftAlone, Rendering
from napari_dcr.engine.planes import ArrayPlane, read_plane
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import MarkedSource, Opened, Region, Source, compute_dask, is_dask
from napari_dcr.engine.survey import REMEMBERED, SURVEYS, Block, Extreme, Subject, Survey, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.image.defect_survey import without_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import (
    InputRange,
    Scale,
    check_dtype,
    find_scale,
    needs_histogram,
)
from napari_dcr.image.noise import (
    NoiseEstimate,
    NoiseModel,
    describe_disagreement,
    fit_noise,
)
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.isolation import isolated

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
        Where the network works in counts and the noise could be estimated, in ``unit``.
    unit : float
        A power of two near the image's largest value, 1 for integers.
    left_alone : dict
        Planes that come back as they are, by their place among the planes, and why.
    is_grey : bool
        Whether colour samples are equal in every pixel.
    light : float
        Share of the enhancement that the image gets, in [0, 1]; 0 for one that is black or white.
    defects : Defects or None
        Of the sensor, those of this channel alone; None where there are none.
    padding : tuple of float
        Values of solid areas far from all others, which are taken as without data.
    """

    scale: Scale
    conditioning: Conditioning
    digest: str
    noise: NoiseEstimate | None = None
    unit: float = 1.0
    left_alone: dict[int, str] = {}  # noqa: RUF012 - a tuple's defaults are never changed
    is_grey: bool = False
    light: float = 1.0
    defects: Defects | None = None
    padding: tuple[float, ...] = ()

    @property
    def binning(self) -> tuple[int, int]:
        """Pixels along y and x that are averaged before the network sees them."""
        return self.conditioning.binning

    def defects_of(self, number: int) -> Defects | None:
        """What is to be corrected of a plane, by its place among those that are linked."""
        return None if number in self.left_alone or self.light == 0 else self.defects

    def rendering(self, rendering: Rendering, number: int) -> Rendering:
        """How a plane, by its place among those that are linked, becomes the result."""
        if number in self.left_alone:
            return LeftAlone(rendering)
        if isinstance(rendering, Display) and (self.is_grey or self.light < 1):
            return replace(
                rendering, is_grey=self.is_grey, strength=self.light * rendering.strength
            )
        return rendering

    def noise_in_own_units(self) -> NoiseEstimate | None:
        """The noise in the image's own units."""
        return self.noise and self.noise.in_unit(1 / self.unit)


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
        return self.channel * math.prod(layout.frame_shape) + layout.frame_number(self.frame)

    def position(self, frame: tuple[int, ...], layout: Layout) -> int:
        """Place of a plane among those of the group."""
        if self.frame is not None or not frame:
            return 0
        return int(np.ravel_multi_index(frame, layout.frame_shape))

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
    finest : ImageConditioning, optional
        Of the finest level of the pyramid that the image is a level of. A display model then
        takes tone and grid from there, so that all levels look the same.
    """

    def __init__(self, opened: Opened, finest: ImageConditioning | None = None) -> None:
        self._opened, self._finest = opened, finest
        self._fingerprint: object = None
        self._sources: dict[Layout, Source] = {}
        self._known: OrderedDict[tuple[Any, ...], Linked] = OrderedDict()

    def source(self, layout: Layout) -> Source:
        """What tiles are read from."""
        if layout not in self._sources:
            self._sources[layout] = self._opened.source(layout)
        return self._sources[layout]

    def is_current(self) -> bool:
        """Whether the image has the pixels that were surveyed; False where that cannot be told."""
        known = self._fingerprint
        return known is None or known == self._opened.fingerprint()

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
        if self._finest is not None and not setup.model.is_quantitative:
            yield from self._condition_on_finest(group, layout, setup, input_range)
            return
        runner = setup.runner
        key = (
            layout,
            group,
            setup.spec.sha256,
            runner.device,
            input_range,
            setup.defects_key,
            setup.noise,
        )
        if key not in self._known:
            survey = yield from self._survey(group, layout, setup, input_range)
            blank = tuple(survey.blank)
            if blank:
                seen = yield from self._survey(group, layout, setup, input_range, blank=blank)
                survey = replace(
                    seen, extremes=survey.extremes, digest=survey.digest, blank=survey.blank,
                    defects=seen.defects and seen.defects.with_frames(blank),
                )  # fmt: skip
            padding: tuple[float, ...] = ()
            if setup.model.is_quantitative:
                padding = find_padding(survey, self._opened.bits)
            if padding:
                seen = yield from self._survey(
                    group, layout, setup, input_range, padding=padding, blank=blank
                )
                survey = replace(
                    survey, thumbnail=seen.thumbnail, exact=seen.exact, is_grey=seen.is_grey,
                    unit=seen.unit, noise=seen.noise,
                    defects=seen.defects and seen.defects.with_frames(blank),
                )  # fmt: skip
            grey = layout.band(group.channel).colours == 1
            scale = find_scale(input_range, self._dtype, survey.histogram, grey)
            defects = defects_of(setup.defects, survey, group, layout)
            most = np.inf
            if survey.exact and survey.histogram.largest > 2 * scale.white - scale.black:
                clipped = yield from self._survey(
                    group, layout, setup, input_range, scale.white, blank=blank
                )
                survey = replace(survey, thumbnail=clipped.thumbnail)
                most = scale.white - scale.black
            if not np.isfinite(survey.thumbnail).all():
                least, largest = (end.value for end in survey.fills)
                raise ValueError(
                    f"image: got values from {least:.4g} to {largest:.4g}, of which sums overflow;"
                    " allowed are up to about 1e300. If the largest hold no data, give nodata="
                )
            if defects is not None:
                mean = without_defects(survey.thumbnail, defects, most)
                survey = replace(survey, thumbnail=mean)
            self._known[key] = linked = link(
                survey,
                input_range,
                self._dtype,
                grey,
                runner.network,
                runner.device,
                defects,
                setup.noise,
            )._replace(padding=padding)
            doubts = list(describe_doubts(survey, linked, self._dtype, group, layout))
            if setup.noise is not None and survey.noise is not None and len(survey.noise):
                found = fit_noise(survey.noise, self._dtype.kind in "iu")
                told = setup.noise.in_unit(survey.unit)
                doubts += filter(
                    None, [describe_disagreement(told, found, survey.noise, survey.unit)]
                )
            for message in doubts:
                self._opened.warnings.add(message, group.channel)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        yield self._known[key]

    def _condition_on_finest(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Iterator[Linked | None]:
        assert self._finest is not None
        finest = Layout(tuple(self._finest._opened.array.shape), layout.axes)
        reduced = finest.frame_shape != layout.frame_shape  # along the stepped axes, too
        if reduced:
            group = Group(group.channel, None)
        for linked in self._finest.condition(group, finest, setup, input_range):
            # What is missing is found pixel by pixel, too.
            # Coarser levels show means of the finest one's columns and pixels.
            left_alone = {} if linked is None or reduced else linked.left_alone
            yield linked and linked._replace(left_alone=left_alone, defects=None)

    def plane(
        self, frame: tuple[int, ...], channel: int, layout: Layout, setup: Setup, linked: Linked,
        target: Any = None, uncertainty: Any = None,
    ) -> ArrayPlane:  # fmt: skip
        """One plane of the image, to be enhanced into ``target``."""
        number = Group.of(frame, channel, setup.link_frames).position(frame, layout)
        return ArrayPlane(
            self.source(layout), target, layout, frame, channel,
            setup.model.network.config.channels, linked.scale,
            linked.rendering(setup.rendering, number), uncertainty, linked.defects_of(number),
            linked.padding,
        )  # fmt: skip

    @property
    def _dtype(self) -> np.dtype[Any]:
        return check_dtype(np.dtype(self._opened.array.dtype))

    def _survey(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange,
        ceiling: float = np.inf, padding: tuple[float, ...] = (), blank: tuple[int, ...] = (),
    ) -> Generator[None, None, Survey]:  # fmt: skip
        """Survey a group of planes but for ``blank`` ones; one that was made before is taken from the cache."""
        if self._fingerprint is None:
            # An image whose changes cannot be noticed is surveyed once for this object.
            self._fingerprint = self._opened.fingerprint() or object()
        colours = layout.band(group.channel).colours
        frames = [f for n, f in enumerate(group.frames(layout)) if n not in blank]
        request = survey_request(
            layout, colours, self._dtype, input_range, setup.model.is_quantitative,
            setup.defects != "off" and ceiling == np.inf, len(frames),
        )  # fmt: skip
        request = replace(request, ceiling=ceiling, padding=padding)
        # Hot pixels do not count in the noise and range of a survey that looks for them.
        key = (
            self._fingerprint, layout, group, self._opened.nodata, ceiling, padding,
            blank, request.defects,
        )  # fmt: skip
        survey = SURVEYS.get(key, request)
        if survey is None:
            surveyor = Surveyor(request)
            if is_dask(self._opened.array):
                steps = _survey_lazily(self._opened, layout, surveyor, frames, group.channel)
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
    layout: Layout,
    colours: int,
    dtype: np.dtype[Any],
    input_range: InputRange,
    counts: bool,
    defects: bool = False,
    frames: int = 1,
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
        defects=defects,
        frames=frames,
    )


def defects_of(
    given: Defects | str, survey: Survey, group: Group, layout: Layout
) -> Defects | None:
    """Defects of a group of planes, as its channel 0; None where there is nothing to correct.

    Parameters
    ----------
    given : {"auto", "off"} or Defects
    survey : Survey
        Of the group.
    group : Group
    layout : Layout

    Raises
    ------
    ValueError
        If the defects that were given are those of other images.
    """
    if isinstance(given, Defects):
        bands = layout.bands
        channels = max(b.start + b.colours for b in bands) if layout.samples else layout.channels
        frames = math.prod(layout.frame_shape)
        given.check_fits(layout.height, layout.width, channels, frames)
        band = layout.band(group.channel)
        found = given.for_channel(band.start if layout.samples else group.channel, band.colours)
        if group.frame is not None:
            found = found.for_frame(layout.frame_number(group.frame))
    elif survey.defects is None:
        return None
    else:
        found = survey.defects
    return None if found.is_empty else found


def link(
    survey: Survey,
    input_range: InputRange,
    dtype: np.dtype[Any],
    grey: bool,
    network: Cascade,
    device: torch.device,
    defects: Defects | None = None,
    given: NoiseModel | None = None,
) -> Linked:
    """Find black and white point, or the noise, and run the global net."""
    noise, unit, light = None, 1.0, 1.0
    left_alone = _without_data(survey) | survey.blank
    curvature = None
    if network.config.base == "counts":
        left_alone |= _constant(survey)
        unit = survey.unit
        try:
            assert survey.noise is not None
            noise = fit_noise(survey.noise, dtype.kind in "iu")
        except ValueError as error:
            planes = range(len(survey.extremes))
            reason = f"its noise cannot be estimated ({error})"
            left_alone = {number: left_alone.get(number, reason) for number in planes}
            model = NoiseModel(0.0, 0.0, 1.0)
        else:
            if given is not None:
                usual = float(np.median(survey.noise["mean"]))
                noise = noise.with_model(given.in_unit(unit), usual)
            model = noise.binned
        if input_range != "auto":
            model = model.at(find_scale(input_range, dtype, None, grey).black / unit)
        scale = Scale(unit * model.offset, unit * (model.offset + model.unit))
        thumbnail = scale.to_working(survey.thumbnail)
        curvature = model.curvature
    else:
        scale = find_scale(input_range, dtype, survey.histogram, grey)
        thumbnail = np.clip(scale.to_working(survey.thumbnail), 0, 1)
        light = _light(thumbnail)
    if len(left_alone) == len(survey.extremes):
        thumbnail = np.zeros_like(thumbnail)
    channels = network.config.channels
    batch = np.array(np.broadcast_to(thumbnail, (channels, *thumbnail.shape[1:])), np.float32)
    with isolated(device), torch.inference_mode():
        told = None
        if curvature is not None:
            told = torch.tensor([curvature], dtype=torch.float32, device=device)
        conditioning = network.condition(torch.from_numpy(batch)[None].to(device), told)
    if noise is not None:
        conditioning = conditioning._replace(binning=noise.binning)
    is_grey = not grey and survey.is_grey
    if light == 0 or len(left_alone) == len(survey.extremes):
        defects = None  # what comes back as it is is not corrected either
    return Linked(
        scale, conditioning, survey.digest, noise, unit, left_alone, is_grey, light, defects
    )  # fmt: skip


def _without_data(survey: Survey) -> dict[int, str]:
    """Planes that hold no data at all, and that they do."""
    empty = np.isnan(survey.extremes).any(1)
    return {int(n): "no pixel holds data" for n in np.flatnonzero(empty)}


def _constant(survey: Survey) -> dict[int, str]:
    """Planes of one value, and which."""
    least, largest = survey.extremes.T
    return {
        int(n): f"every pixel has the value {least[n]:.6g}"
        for n in np.flatnonzero(least == largest)
    }


NO_LIGHT, SOME_LIGHT = 1 / 255, 2 / 255
"""Contrast, in display values, up to which a dark picture holds no light, and from which it is
enhanced in full. A covered lens and a black frame have less than one 8-bit level."""

BRIGHT, WHITE = 0.72, 0.82
"""Mean, in display values, up to which a picture is enhanced in full, and from which it is white
enough to come back as it is: a document, a slide on white ground."""


def _light(thumbnail: NDArray[Any]) -> float:
    """Share of the enhancement that a picture gets: less than 1 if it is all but black or white."""
    mean = float(thumbnail.mean())
    regions = thumbnail.reshape(-1, 8, 8, 8, 8).mean((2, 4))
    # Cells may hold few pixels, whose noise is no light; a small lamp is far beyond it.
    contrast = max(np.ptp(regions), np.ptp(thumbnail) / 4)
    # A flat picture that is not quite black is taken for a dim one.
    found = max(contrast, mean - NO_LIGHT)
    above_black = (found - NO_LIGHT) / (SOME_LIGHT - NO_LIGHT)
    below_white = (WHITE - mean) / (WHITE - BRIGHT)
    return float(np.clip(min(above_black, below_white), 0, 1))


def _is_noisy(survey: Survey, noise: NoiseEstimate, dtype: np.dtype[Any]) -> bool:
    """Whether the noise at the median level is above that of rounding."""
    assert survey.noise is not None
    means = survey.noise["mean"]
    least = 0.3 if dtype.kind in "iu" else 2e-6 * max(np.ptp(means), abs(means[0]))
    return bool(noise.model.deviation(float(np.median(means))) > least)


LEAST_GAP = 4
"""Values of integers that lie between padding and all others."""

FILL = 0.01
"""Share of pixels of one value, far from all others, that is taken for a no-data value."""


def describe_doubts(
    survey: Survey, linked: Linked, dtype: np.dtype[Any], group: Group, layout: Layout
) -> Iterator[str]:
    """Say which planes are left alone and why, and what looks unlike a measurement.

    Yields
    ------
    str
        A message each.
    """
    frames = group.frames(layout)
    reasons: dict[str, list[str]] = {}
    for number, reason in linked.left_alone.items():
        reasons.setdefault(reason, []).append(layout.place(frames[number], group.channel))
    for reason, places in reasons.items():
        named = ", ".join(places[:3]) + f" and {len(places) - 3} more" * (len(places) > 3)
        yield f"{named or 'image'}: {reason}; left as {'they are' if places[1:] else 'it is'}"
    name = layout.place(frames[0], group.channel) if len(frames) == 1 else ""
    if not name and layout.channels > 1:
        name = f"channel {group.channel + 1}/{layout.channels}"
    name = name or "image"
    if len(linked.left_alone) == len(frames):
        return
    if linked.light == 0:
        mean = survey.thumbnail.mean()
        if mean > (linked.scale.black + linked.scale.white) / 2:
            yield f"{name}: it is bright already, with a mean of {mean:.4g}; left as it is"
        else:
            yield f"{name}: there is no light to bring out, less than two levels of 255; left as it is"
    if linked.noise is not None and not _is_noisy(survey, linked.noise, dtype):
        yield f"{name}: no noise was found, so next to nothing is taken out"
    for fill in survey.fills:
        share = f"{fill.count / survey.pixels:.2%}"
        what = f"nodata: {share} of the pixels of {name} have the value {fill.value:.9g}"
        if fill.value in linked.padding:
            yield (
                f"{what}, apart from all others and in solid areas; they are taken as pixels"
                f" without data, as if you had given nodata={fill.value:.9g}"
            )
        elif dtype != np.uint8 and not _has_two_values(survey) and _is_far(fill, survey):
            yield (
                f"{what}, far from all others; if they hold no data, give nodata={fill.value:.9g}"
            )


def _has_two_values(survey: Survey) -> bool:
    """Whether it is of a mask or a page, where each value is far from all others."""
    return sum(fill.count for fill in survey.fills) >= survey.pixels


def _is_far(fill: Extreme, survey: Survey, gap: float = 0.5) -> bool:
    """Whether many pixels have a value that is far from all others.

    Parameters
    ----------
    fill : Extreme
    survey : Survey
    gap : float
        Least distance to the next value, in units of the others' spread.
    """
    if not FILL <= fill.count / max(survey.pixels, 1) < 1 or not np.isfinite(fill.next):
        return False
    low, high = survey.histogram.quantiles_without(fill.value, (0.01, 0.99))
    return abs(fill.value - fill.next) > gap * (high - low)


def find_padding(survey: Survey, bits: int = 0) -> tuple[float, ...]:
    """Values of solid areas that lie apart from all others: padding, and not clipped or sparse counts.

    Between clipped pixels and others there is no gap, and sparse counts lie between others.
    An area at the largest value that ``bits`` allow is saturated.
    """
    largest = 2**bits - 1 if bits else None
    if _has_two_values(survey):
        return ()
    return tuple(
        fill.value
        for fill in survey.fills
        if fill.value != largest
        and fill.solid > 0.3 * fill.count
        and abs(fill.next - fill.value) >= LEAST_GAP * _resolution(survey)
        and _is_far(fill, survey, 0.1)
    )


def _resolution(survey: Survey) -> float:
    return 1.0 if survey.histogram.dtype.kind in "iu" else 0.0


def _colours(
    source: Source, layout: Layout, frame: tuple[int, ...], channel: int
) -> Callable[[slice, slice], NDArray[Any]]:
    """Reader of a plane without its alpha."""
    colours = layout.band(channel).colours

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        return read_plane(source, layout, frame, channel, rows, columns)[:colours]

    return read


def _survey_lazily(
    opened: Opened, layout: Layout, surveyor: Surveyor, frames: Any, channel: int
) -> Generator[None, None, None]:
    """Survey linked planes of a dask array, where its chunks are.

    Parameters
    ----------
    opened : Opened
        With a dask array.
    layout : Layout
    surveyor : Surveyor
    frames : iterable of tuple of int
    channel : int
    """
    from dask.delayed import delayed

    look = delayed(_look, pure=False)

    def pixels(frame: tuple[int, ...], rows: slice, columns: slice) -> Any:
        box = layout.index(frame, channel, rows, columns, slice(None))
        whole = tuple(
            slice(None) if a == "s" else slice(i, i + 1) if isinstance(i, int) else i
            for a, i in zip(layout.axes, box, strict=True)
        )
        return opened.array[whole], tuple(i.start or 0 for i in whole)

    work = (
        look(
            surveyor.subject,
            layout,
            opened.nodata,
            frame,
            channel,
            rows,
            columns,
            *pixels(frame, rows, columns),
        )
        for frame in frames
        for rows, columns in surveyor.subject.blocks
    )
    while some := list(islice(work, BLOCKS_AT_ONCE)):
        for block in compute_dask(*some):
            surveyor.add(block)
        yield


def _look(
    subject: Subject, layout: Layout, nodata: float | None, frame: tuple[int, ...], channel: int,
    rows: slice, columns: slice, pixels: NDArray[Any], origin: tuple[int, ...],
) -> Block:  # fmt: skip
    """Survey a block of a plane, of which ``pixels`` begin at ``origin``."""
    source = MarkedSource(Region(pixels, origin), layout, nodata)
    read = _colours(source, layout, frame, channel)
    return subject.look(read(rows, columns), rows.start, columns.start)
