"""Compute the conditioning of each group of planes of an image once, from its survey."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from napari_dcr.engine.doubts import describe_doubts, describe_misfit
from napari_dcr.engine.frame_mean import frame_mean, sampled_pairs, windows_of_pair
from napari_dcr.engine.group_conditioning import GroupConditioning, RemovedNoise, condition_group
from napari_dcr.engine.groups import Group
from napari_dcr.engine.image_survey import ImageSurvey
from napari_dcr.engine.neighbours import FrameMatches, Neighbourhood, find_neighbourhood
from napari_dcr.engine.noise_first import noise_stage, share_of_noise
from napari_dcr.engine.output import Quantitative
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import Opened, Source
from napari_dcr.engine.survey import Survey
from napari_dcr.engine.survey_cache import REMEMBERED
from napari_dcr.image.axes import Layout
from napari_dcr.image.defect_survey import without_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, Scale, find_scale
from napari_dcr.image.noise import fit_noise
from napari_dcr.image.noise_model import describe_disagreement


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
        self._survey = ImageSurvey(opened)
        self._matches: dict[tuple[Any, ...], FrameMatches] = {}
        self._known: OrderedDict[tuple[Any, ...], GroupConditioning] = OrderedDict()

    def source(self, layout: Layout) -> Source:
        """Source to read tiles from."""
        return self._survey.source(layout)

    def is_current(self) -> bool:
        """Whether the image still has the pixels that were surveyed; False if unknown."""
        return self._survey.is_current()

    def condition(
        self,
        group: Group,
        layout: Layout,
        setup: Setup,
        input_range: InputRange,
        quiet: bool = False,
        picture: Scale | None = None,
    ) -> Generator[GroupConditioning | str, None, None]:
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
        str or GroupConditioning
            After each block of the survey, how far it is; finally the conditioning of the group.
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
            survey, padding = yield from self._survey.survey(group, layout, setup, input_range)
            grey, dtype = layout.band(group.channel).colours == 1, self._survey.dtype
            scale = find_scale(input_range, dtype, survey.histogram, grey)
            numbers = self._survey.positions(group, layout)
            count = len(group.frames(layout))
            if survey.defects is not None and len(numbers) < count:
                survey = replace(survey, defects=survey.defects.without_moving_lines())
            defects = defects_of(self._opened, setup.defects, survey, group, layout)
            ceiling = _lamps_from(picture or scale)
            if picture is None:
                lamps = survey.exact and survey.histogram.largest > ceiling
            else:
                largest = survey.fills[1].value if survey.fills else -np.inf
                lamps = dtype.kind == "f" and largest > ceiling
            extent = survey.extent
            if lamps:
                mean = yield from self._survey.thumbnail(
                    group, layout, setup, input_range, survey, padding, ceiling
                )
                survey = replace(survey, thumbnail=mean)
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
                    noise = yield from self._survey.corrected_noise(
                        group, layout, survey, padding, defects
                    )
                    survey = replace(survey, noise=noise)
            if lamps and survey.noise is not None:
                dim = survey.noise["high"] * survey.unit <= _lamps_from(picture or scale)
                survey = replace(survey, noise=survey.noise[dim]) if dim.any() else survey
            shared = condition_group(
                survey,
                input_range,
                dtype,
                grey,
                runner.network,
                runner.device,
                defects,
                setup.noise,
            )
            shared = shared._replace(padding=padding, shown=scale).showing(
                extent, layout.height, layout.width
            )
            share = float(setup.denoise_first == "on")
            if setup.denoise_first == "auto":
                share = share_of_noise(survey, shared, dtype)
            if shared.light and len(shared.left_alone) < len(survey.extremes):
                if share:
                    shared = yield from self._with_noise_stage(shared, group, layout, setup, share)
                if axis is not None and not setup.model.is_quantitative:
                    shared = yield from self._with_frame_mean(shared, group, layout, setup)
            if len(numbers) < count:
                digest = self._survey.digest_of_all(survey.digest)
                shared = shared.of_all(len(numbers), count, digest)
            if axis is not None and (setup.model.is_quantitative or shared.conditioning.mean):
                linked = shared.conditioning._replace(neighbours=axis.reach)
                shared = shared._replace(conditioning=linked)
            self._known[key] = shared
            doubts = list(describe_doubts(survey, shared, dtype, group, layout))
            if setup.noise is not None and survey.noise is not None and len(survey.noise):
                estimate = fit_noise(survey.noise, dtype.kind in "iu")
                given = setup.noise.in_unit(survey.unit)
                doubts += filter(
                    None, [describe_disagreement(given, estimate, survey.noise, survey.unit)]
                )
            if not quiet and isinstance(setup.rendering, Quantitative):
                misfit = describe_misfit(survey, shared, setup.rendering, dtype, group, layout)
                doubts += [misfit] if misfit else []
            for message in [] if quiet else doubts:
                self._opened.warnings.add(message, group.channel)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        yield self._known[key]

    def _condition_on_finest(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Iterator[GroupConditioning | str]:
        assert self._finest is not None
        finest = Layout(tuple(self._finest._opened.array.shape), layout.axes)
        reduced = finest.frame_shape != layout.frame_shape  # along the stepped axes, too
        if reduced:
            group = Group(group.channel, None)
        for shared in self._finest.condition(group, finest, setup, input_range):
            # Missing pixels are recognised in each level.  Defects are not corrected in coarser
            # levels, because their pixels are means of several columns and rows.
            if isinstance(shared, str):
                yield shared
                continue
            left_alone, padding = shared.left_alone, shared.padding
            if reduced:
                frames = math.prod(layout.frame_shape)
                left_alone, padding = {}, dict.fromkeys(range(frames), shared.all_padding())
            shared = shared._replace(left_alone=left_alone, defects=None, padding=padding)
            sizes = (finest.height, finest.width), (layout.height, layout.width)
            shared = shared.scaled(*sizes)
            # Averaging reduces the noise, so each level has its own estimate.
            if shared.conditioning.noise is not None:
                share = float(shared.conditioning.noise.share)
                shared = yield from self._with_noise_stage(shared, group, layout, setup, share)
            if shared.conditioning.mean is not None:
                shared = yield from self._with_frame_mean(shared, group, layout, setup)
            yield shared

    def _with_noise_stage(
        self, shared: GroupConditioning, group: Group, layout: Layout, setup: Setup, share: float
    ) -> Generator[str, None, GroupConditioning]:
        """Add the noise stage, whose network processes each colour separately."""
        assert setup.noise_stage is not None
        stage = setup.noise_stage()
        apart = stage.arrange(layout)
        # All samples of a grey image that is stored as colour are equal.
        first = apart.channel_of(layout, group.channel)
        count = 1 if shared.is_grey else layout.band(group.channel).colours
        found = []
        for channel in range(first, first + count):
            steps = self.condition(
                replace(group, channel=channel), apart, stage, "auto", True, shared.scale
            )
            found.append((yield from last_of(steps)))
        noise = noise_stage(shared, found, share, stage.runner.device)
        if noise is None:
            self._opened.warnings.add(
                "the noise of the image cannot be estimated, so it is not denoised first", group.channel,
            )  # fmt: skip
        conditioning = shared.conditioning._replace(noise=noise)
        estimates = tuple(own.noise_in_own_units() for own in found)
        removed = RemovedNoise(share, estimates) if noise else None
        return shared._replace(conditioning=conditioning, denoise_first=removed)

    def _with_frame_mean(
        self, shared: GroupConditioning, group: Group, layout: Layout, setup: Setup
    ) -> Generator[str, None, GroupConditioning]:
        """Add the mean of matching frames, whose noise is estimated from pairs of them."""
        axis = setup.frame_axis(layout)
        assert axis is not None
        assert setup.noise_stage is not None
        runner = setup.noise_stage().runner

        def plane_of(frame: tuple[int, ...]) -> ArrayPlane:
            return self.plane(frame, group.channel, layout, setup, shared)

        pairs, matches = [], self._matches_of(layout, setup)
        for pair in sampled_pairs(axis, group.frames(layout)):
            pairs.append(windows_of_pair(axis, pair, group.channel, plane_of, matches))
            yield "Comparing neighbouring frames..."
        mean = frame_mean(pairs, shared, runner.network, runner.device)
        if mean is None:
            self._opened.warnings.add(
                "neighbours: no two of the frames that were tried show the same, so each frame is"
                " enhanced by itself",
                group.channel,
            )
        neighbours = shared.conditioning.neighbours if mean else 0
        conditioning = shared.conditioning._replace(mean=mean, neighbours=neighbours)
        return shared._replace(conditioning=conditioning)

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
            shared.padding_of(number), shared.conditioning.scene,
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
        if (
            axis is None
            or not shared_by(Group.of(frame, channel, setup.link_frames)).route.neighbours
        ):
            return None

        def plane_of(frame: tuple[int, ...]) -> tuple[ArrayPlane, GroupConditioning]:
            shared = shared_by(Group.of(frame, channel, setup.link_frames))
            return self.plane(frame, channel, layout, setup, shared), shared

        return find_neighbourhood(axis, frame, channel, plane_of, self._matches_of(layout, setup))

    def _matches_of(self, layout: Layout, setup: Setup) -> FrameMatches:
        """Matches between frames; corrected frames are compared, so they depend on the defects."""
        axis = setup.frame_axis(layout)
        assert axis is not None
        key = layout, setup.defects_key, setup.link_frames, axis.letter
        return self._matches.setdefault(key, FrameMatches())


def last_of(
    steps: Iterator[GroupConditioning | str],
) -> Generator[str, None, GroupConditioning]:
    """Pass on how far `ImageConditioning.condition` is; returns the conditioning."""
    for step in steps:
        if not isinstance(step, str):
            return step
        yield step
    raise AssertionError("the survey has no result")


def _lamps_from(scale: Scale) -> float:
    """Value in own units above which pixels count as lamps."""
    return 2 * scale.white - scale.black


def defects_of(
    opened: Opened, given: Defects | str, survey: Survey, group: Group, layout: Layout
) -> Defects | None:
    """Defects of a group of planes, numbered as channel 0; None if there is nothing to correct.

    Parameters
    ----------
    opened : Opened
        The image.
    given : {"auto", "off"} or Defects
        Value of the option ``defects``; the defects are those of the pixels in stored order.
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
        size = layout.height, layout.width
        if opened.orientation >= 5:
            size = size[::-1]
        given.check_fits(*size, channels, frames)
        given = opened.turned(given)
        band = layout.band(group.channel)
        defects = given.for_channel(band.start if layout.samples else group.channel, band.colours)
        if group.frame is not None:
            defects = defects.for_frame(layout.frame_number(group.frame))
    elif survey.defects is None:
        return None
    else:
        defects = survey.defects
    return None if defects.is_empty else defects
