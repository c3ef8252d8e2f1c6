"""Survey each group of planes of an image once, and compute its conditioning."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_dcr.engine.doubts import describe_doubts
from napari_dcr.engine.group_conditioning import GroupConditioning, condition_group
from napari_dcr.engine.group_survey import (
    corrected_noise,
    reader_of,
    survey_lazily,
    survey_request,
)
from napari_dcr.engine.groups import Group
from napari_dcr.engine.neighbours import FrameShifts, Neighbourhood, find_neighbourhood
from napari_dcr.engine.noise_first import is_noisy, noise_stage
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import Opened, Source, is_dask
from napari_dcr.engine.survey import REMEMBERED, SURVEYS, Survey, Surveyor
from napari_dcr.engine.survey_blocks import Extent
from napari_dcr.image.axes import Layout
from napari_dcr.image.defect_survey import without_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, Scale, check_dtype, find_scale
from napari_dcr.image.noise import fit_noise
from napari_dcr.image.noise_model import describe_disagreement
from napari_dcr.image.padding import Padding, steady_padding


class ImageConditioning:
    """Surveys an image and runs the global net on it, once for each group of planes.

    Parameters
    ----------
    opened : Opened
        The image.
    finest : ImageConditioning, optional
        Conditioning of the finest level, if the image is a coarser level of a pyramid.  Display
        models then use its tone curve and grid, so that all levels look the same.
    """

    def __init__(self, opened: Opened, finest: ImageConditioning | None = None) -> None:
        self._opened, self._finest = opened, finest
        self._fingerprint: object = None
        self._sources: dict[Layout, Source] = {}
        self._shifts: dict[tuple[Any, ...], FrameShifts] = {}
        self._known: OrderedDict[tuple[Any, ...], GroupConditioning] = OrderedDict()

    def source(self, layout: Layout) -> Source:
        """Source to read tiles from."""
        if layout not in self._sources:
            self._sources[layout] = self._opened.source(layout)
        return self._sources[layout]

    def is_current(self) -> bool:
        """Whether the image still has the pixels that were surveyed; False if unknown."""
        known = self._fingerprint
        return known is None or known == self._opened.fingerprint()

    def condition(
        self,
        group: Group,
        layout: Layout,
        setup: Setup,
        input_range: InputRange,
        quiet: bool = False,
        picture: Scale | None = None,
    ) -> Generator[GroupConditioning | None, None, None]:
        """Survey a group of planes and compute its conditioning.

        Parameters
        ----------
        group : Group
        layout : Layout
        setup : Setup
        input_range : str or tuple of float
            See `Options`.
        quiet : bool
            Issue no warnings.
        picture : Scale, optional
            Scale of the picture, if the planes belong to its noise stage.  Lamps beyond it do not
            count in the noise.

        Yields
        ------
        GroupConditioning or None
            None after each block of the survey; finally the conditioning of the group.
        """
        if self._finest is not None and not setup.model.is_quantitative:
            yield from self._condition_on_finest(group, layout, setup, input_range)
            return
        runner = setup.runner
        axis = setup.frame_axis(layout)
        key = (
            axis,
            layout,
            group,
            setup.spec.sha256,
            runner.device,
            input_range,
            setup.defects_key,
            setup.noise,
            setup.denoise_first,
            quiet,
            picture,
        )
        if key not in self._known:
            survey = yield from self._survey(group, layout, setup, input_range)
            blank = tuple(survey.blank)
            if blank:
                refined = yield from self._survey(group, layout, setup, input_range, blank=blank)
                survey = replace(
                    refined, extremes=survey.extremes, digest=survey.digest, blank=survey.blank,
                    padding=survey.padding, uniform=survey.uniform,
                    defects=refined.defects and refined.defects.with_frames(blank),
                )  # fmt: skip
            padding = {n: kinds for n, kinds in survey.padding.items() if n not in blank}
            if group.frame is None and self._opened.sample is not None:
                padding = steady_padding(padding, len(self._surveyed(group, layout)) - len(blank))
            if padding:
                refined = yield from self._survey(
                    group, layout, setup, input_range, padding=padding, blank=blank
                )
                survey = replace(
                    survey, thumbnail=refined.thumbnail, histogram=refined.histogram, exact=refined.exact,
                    is_grey=refined.is_grey, unit=refined.unit, noise=refined.noise, extent=refined.extent,
                    noise_windows=refined.noise_windows,
                    defects=refined.defects and refined.defects.with_frames(blank),
                )  # fmt: skip
            grey = layout.band(group.channel).colours == 1
            scale = find_scale(input_range, self._dtype, survey.histogram, grey)
            numbers = self._surveyed(group, layout)
            count = len(group.frames(layout))
            if survey.defects is not None and len(numbers) < count:
                survey = replace(survey, defects=survey.defects.without_moving_lines())
            defects = defects_of(setup.defects, survey, group, layout)
            ceiling = _lamps_from(picture or scale)
            if picture is None:
                lamps = survey.exact and survey.histogram.largest > ceiling
            else:
                largest = survey.fills[1].value if survey.fills else -np.inf
                lamps = self._dtype.kind == "f" and largest > ceiling
            extent = survey.extent
            if lamps or extent != ((0, layout.height), (0, layout.width)):
                # The thumbnail covers the rows and columns with data, without lamps.
                ceiling = ceiling if lamps else np.inf
                refined = yield from self._survey(
                    group, layout, setup, input_range, padding=padding, blank=blank,
                    thumbnail_of=(extent, ceiling),
                )  # fmt: skip
                survey = replace(survey, thumbnail=refined.thumbnail)
            if not np.isfinite(survey.thumbnail).all():
                least, largest = (end.value for end in survey.fills)
                raise ValueError(
                    f"image: got values from {least:.4g} to {largest:.4g}, whose sums overflow; allowed"
                    " are values up to about 1e300. If the largest mark pixels without data, pass"
                    " nodata="
                )
            if defects is not None:
                mean = without_defects(
                    survey.thumbnail, defects, ceiling if lamps else np.inf, extent
                )
                survey = replace(survey, thumbnail=mean)
                if survey.noise_windows and not defects.has_only_hot_pixels:
                    every, source = group.frames(layout), self.source(layout)
                    planes = [
                        (every[n], padding.get(place, ()))
                        for place, n in enumerate(numbers)
                        if place not in blank
                    ]
                    noise = yield from corrected_noise(
                        source, layout, survey, planes, group.channel, defects
                    )
                    survey = replace(survey, noise=noise)
            if lamps and survey.noise is not None:
                dim = survey.noise["high"] * survey.unit <= _lamps_from(picture or scale)
                survey = replace(survey, noise=survey.noise[dim]) if dim.any() else survey
            shared = condition_group(
                survey,
                input_range,
                self._dtype,
                grey,
                runner.network,
                runner.device,
                defects,
                setup.noise,
            )
            shared = shared._replace(padding=padding).showing(extent, layout.height, layout.width)
            wanted = setup.denoise_first == "on" or (
                setup.denoise_first == "auto" and is_noisy(survey, shared, self._dtype)
            )
            if wanted and shared.light and len(shared.left_alone) < len(survey.extremes):
                shared = yield from self._with_noise_stage(shared, group, layout, setup)
            if len(numbers) < count:
                digest = self._digest_of_all(survey.digest)
                shared = shared.of_all(len(numbers), count, digest)
            if axis is not None:
                linked = shared.conditioning._replace(neighbours=axis.reach)
                shared = shared._replace(conditioning=linked)
            self._known[key] = shared
            doubts = list(describe_doubts(survey, shared, self._dtype, group, layout))
            if setup.noise is not None and survey.noise is not None and len(survey.noise):
                estimate = fit_noise(survey.noise, self._dtype.kind in "iu")
                given = setup.noise.in_unit(survey.unit)
                doubts += filter(
                    None, [describe_disagreement(given, estimate, survey.noise, survey.unit)]
                )
            for message in [] if quiet else doubts:
                self._opened.warnings.add(message, group.channel)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        yield self._known[key]

    def _condition_on_finest(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Iterator[GroupConditioning | None]:
        assert self._finest is not None
        finest = Layout(tuple(self._finest._opened.array.shape), layout.axes)
        reduced = finest.frame_shape != layout.frame_shape  # along the stepped axes, too
        if reduced:
            group = Group(group.channel, None)
        for shared in self._finest.condition(group, finest, setup, input_range):
            # Missing pixels are recognised in each level.  Defects are not corrected in coarser
            # levels, because their pixels are means of several columns and rows.
            if shared is None:
                yield None
                continue
            left_alone, padding = shared.left_alone, shared.padding
            if reduced:
                frames = math.prod(layout.frame_shape)
                left_alone, padding = {}, dict.fromkeys(range(frames), shared.all_padding())
            sizes = (finest.height, finest.width), (layout.height, layout.width)
            padding = {
                n: tuple(kind.scaled(*sizes) for kind in kinds) for n, kinds in padding.items()
            }
            shared = shared._replace(left_alone=left_alone, defects=None, padding=padding)
            if shared.conditioning.noise is not None:
                # Averaging reduces the noise, so each level has its own estimate.
                shared = yield from self._with_noise_stage(shared, group, layout, setup)
            yield shared

    def _with_noise_stage(
        self, shared: GroupConditioning, group: Group, layout: Layout, setup: Setup
    ) -> Generator[None, None, GroupConditioning]:
        """Add the noise stage, whose network processes each colour separately."""
        assert setup.noise_stage is not None
        stage = setup.noise_stage()
        apart = stage.arrange(layout)
        # All samples of a grey image that is stored as colour are equal.
        first = apart.channel_of(layout, group.channel)
        count = 1 if shared.is_grey else layout.band(group.channel).colours
        found = []
        for channel in range(first, first + count):
            own = None
            steps = self.condition(
                replace(group, channel=channel), apart, stage, "auto", True, shared.scale
            )
            for own in steps:
                if own is None:
                    yield
            assert own is not None
            found.append(own)
        noise = noise_stage(shared, found, stage.runner.device)
        if noise is None:
            self._opened.warnings.add(
                "the noise of the image cannot be estimated, so it is not denoised first", group.channel,
            )  # fmt: skip
        conditioning = shared.conditioning._replace(noise=noise)
        estimates = tuple(own.noise_in_own_units() for own in found) if noise else ()
        return shared._replace(conditioning=conditioning, denoise_first=estimates)

    def plane(
        self, frame: tuple[int, ...], channel: int, layout: Layout, setup: Setup, shared: GroupConditioning,
        target: Any = None, uncertainty: Any = None,
    ) -> ArrayPlane:  # fmt: skip
        """Access to one plane of the image, whose result is written to ``target``."""
        number = Group.of(frame, channel, setup.link_frames).position(frame, layout)
        return ArrayPlane(
            self.source(layout), target, layout, frame, channel,
            setup.model.network.config.channels, shared.scale,
            shared.rendering(setup.rendering, number), uncertainty, shared.defects_of(number),
            shared.padding_of(number),
        )  # fmt: skip

    def neighbourhood(
        self, frame: tuple[int, ...], channel: int, layout: Layout, setup: Setup,
        shared_by: Callable[[Group], GroupConditioning],
    ) -> Neighbourhood | None:  # fmt: skip
        """Find the neighbouring frames that are used to enhance a plane; None if neighbours are not used.

        Parameters
        ----------
        frame, channel, layout, setup
            See `plane`.
        shared_by : callable
            Returns the conditioning of the group of the plane, or of the group of a neighbour.
        """
        axis = setup.frame_axis(layout)
        if axis is None:
            return None

        def plane_of(frame: tuple[int, ...]) -> tuple[ArrayPlane, GroupConditioning]:
            shared = shared_by(Group.of(frame, channel, setup.link_frames))
            return self.plane(frame, channel, layout, setup, shared), shared

        # Shifts are estimated on corrected frames, so they depend on how defects are corrected.
        key = layout, setup.defects_key, setup.link_frames, axis.letter
        shifts = self._shifts.setdefault(key, FrameShifts())
        return find_neighbourhood(axis, frame, channel, plane_of, shifts)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return check_dtype(np.dtype(self._opened.array.dtype))

    def _surveyed(self, group: Group, layout: Layout) -> Sequence[int]:
        """Positions of the surveyed planes of a group: all, or those of the sample."""
        sample = self._opened.sample
        if sample is None or group.frame is not None or len(layout.frame_shape) != 1:
            return range(len(group.frames(layout)))
        return sample.numbers

    def _digest_of_all(self, digest: str) -> str:
        """Digest of a recording if only a sample of it is surveyed."""
        assert self._opened.sample is not None
        return hashlib.sha256(f"{digest} {self._opened.sample.digest}".encode()).hexdigest()

    def _survey(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange,
        padding: dict[int, tuple[Padding, ...]] | None = None, blank: tuple[int, ...] = (),
        thumbnail_of: tuple[Extent, float] | None = None,
    ) -> Generator[None, None, Survey]:  # fmt: skip
        """Survey a group of planes without the ``blank`` ones, or return the cached survey.

        Parameters
        ----------
        group, layout, setup, input_range
            See `condition`.
        padding : dict, optional
            Padding to ignore, by the position of the plane; None to search for it.
        blank : tuple of int
            Positions of planes to ignore.
        thumbnail_of : (Extent, float), optional
            Compute only a thumbnail, of these rows and columns, with values limited to a ceiling.
        """
        if self._fingerprint is None:
            # If changes of the image cannot be detected, it is surveyed once for this object.
            self._fingerprint = self._opened.fingerprint() or object()
        colours = layout.band(group.channel).colours
        every, numbers = group.frames(layout), self._surveyed(group, layout)
        places = [place for place, _ in enumerate(numbers) if place not in blank]
        frames = [every[numbers[place]] for place in places]
        kinds = [padding.get(place, ()) if padding else () for place in places]
        request = survey_request(
            layout, colours, self._dtype, input_range, setup.model.is_quantitative,
            setup.defects != "off", len(frames), setup.denoise_first != "off",
        )  # fmt: skip
        request = replace(request, solid=padding is None, bits=self._opened.bits)
        if thumbnail_of is not None:
            extent, ceiling = thumbnail_of
            request = replace(
                request, histogram=False, noise=False, defects=False, solid=False, ceiling=ceiling,
                extent=extent,
            )  # fmt: skip
        # Surveys that search for defects exclude hot pixels from noise and range.
        key = (
            self._fingerprint, layout, group, self._opened.nodata, tuple(kinds), request.solid,
            thumbnail_of, blank, request.defects, request.measured,
        )  # fmt: skip
        survey = SURVEYS.get(key, request)
        if survey is None:
            surveyor = Surveyor(request)
            if is_dask(self._opened.array):
                planes = zip(frames, kinds, strict=True)
                steps = survey_lazily(self._opened, layout, surveyor, planes, group.channel)
            else:
                source = self.source(layout)
                readers = (reader_of(source, layout, frame, group.channel) for frame in frames)
                steps = surveyor.add_planes(readers, kinds)
            with contextlib.closing(steps):
                yield from steps
            survey = surveyor.finish()
            SURVEYS.put(key, survey)
        return survey


def _lamps_from(scale: Scale) -> float:
    """Value in own units above which pixels count as lamps."""
    return 2 * scale.white - scale.black


def defects_of(
    given: Defects | str, survey: Survey, group: Group, layout: Layout
) -> Defects | None:
    """Defects of a group of planes, numbered as channel 0; None if there is nothing to correct.

    Parameters
    ----------
    given : {"auto", "off"} or Defects
        Value of the option ``defects``.
    survey : Survey
        Survey of the group.
    group : Group
    layout : Layout

    Raises
    ------
    ValueError
        If the given defects do not fit the size of the image.
    """
    if isinstance(given, Defects):
        bands = layout.bands
        channels = max(b.start + b.colours for b in bands) if layout.samples else layout.channels
        frames = math.prod(layout.frame_shape)
        given.check_fits(layout.height, layout.width, channels, frames)
        band = layout.band(group.channel)
        defects = given.for_channel(band.start if layout.samples else group.channel, band.colours)
        if group.frame is not None:
            defects = defects.for_frame(layout.frame_number(group.frame))
    elif survey.defects is None:
        return None
    else:
        defects = survey.defects
    return None if defects.is_empty else defects
