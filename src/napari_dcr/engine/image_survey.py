"""Survey groups of planes of an image, without blank planes and padding, and cache the surveys."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.group_survey import (
    corrected_noise,
    reader_of,
    survey_lazily,
    survey_request,
)
from napari_dcr.engine.groups import Group
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import Opened, Source, is_dask
from napari_dcr.engine.survey import Survey, Surveyor
from napari_dcr.engine.survey_blocks import Extent
from napari_dcr.engine.survey_cache import SURVEYS
from napari_dcr.engine.survey_progress import Pass
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, check_dtype
from napari_dcr.image.padding import Padding, steady_padding

PaddingOfPlanes = dict[int, tuple[Padding, ...]]
"""Kinds of padding, by the position of the plane among the surveyed planes of a group."""


class ImageSurvey:
    """Surveys groups of planes of an image, or returns their cached surveys.

    Parameters
    ----------
    opened : Opened
        The image.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._fingerprint: object = None
        self._sources: dict[Layout, Source] = {}

    def source(self, layout: Layout) -> Source:
        """Source to read tiles from."""
        if layout not in self._sources:
            self._sources[layout] = self._opened.source(layout)
        return self._sources[layout]

    def is_current(self) -> bool:
        """Whether the image still has the pixels that were surveyed; False if unknown."""
        known = self._fingerprint
        return known is None or known == self._opened.fingerprint()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the image."""
        return check_dtype(np.dtype(self._opened.array.dtype))

    def positions(self, group: Group, layout: Layout) -> Sequence[int]:
        """Positions of the surveyed planes of a group: all, or those of the sample."""
        sample = self._opened.sample
        if sample is None or group.frame is not None or len(layout.frame_shape) != 1:
            return range(len(group.frames(layout)))
        return sample.numbers

    def _counts_steady_padding(self, group: Group) -> bool:
        """Whether only padding that all frames have counts, because the image is a recording."""
        return group.frame is None and self._opened.sample is not None

    def digest_of_all(self, digest: str) -> str:
        """Digest of a recording if only a sample of it is surveyed."""
        assert self._opened.sample is not None
        return hashlib.sha256(f"{digest} {self._opened.sample.digest}".encode()).hexdigest()

    def survey(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange
    ) -> Generator[str, None, tuple[Survey, PaddingOfPlanes]]:
        """Survey a group of planes, and again without the blank planes and the padding that it has.

        If the first or last rows or columns hold no data, the others are surveyed as if they were
        the whole image, so that padding changes nothing.  This takes a third pass only where
        padding and missing pixels, or several kinds of padding, share the outer rows or columns.

        Parameters
        ----------
        group : Group
        layout : Layout
        setup : Setup
        input_range : str or tuple of float
            See `Options`.

        Yields
        ------
        str
            After each block, how far the survey is; the return value is the survey, and the padding
            that it leaves out.
        """
        survey = yield from self._survey(group, layout, setup, input_range)
        blank = tuple(survey.blank)
        padding = {n: kinds for n, kinds in survey.padding.items() if n not in blank}
        if self._counts_steady_padding(group):
            padding = steady_padding(padding, len(self.positions(group, layout)) - len(blank))
        surveyed, extent = survey.whole, survey.extent_within(padding)
        refined = None
        for _ in range(2):
            if extent == surveyed and (refined is not None or not (blank or padding)):
                break
            refined = yield from self._survey(
                group, layout, setup, input_range, padding=padding, blank=blank,
                extent=None if extent == survey.whole else extent,
            )  # fmt: skip
            surveyed, extent = extent, refined.extent
        if refined is not None:
            # The rows and columns that were surveyed may include a few more without data.
            survey = replace(self._refined(survey, refined, blank), extents=(surveyed,))
        return survey, padding

    def thumbnail(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange, survey: Survey,
        padding: PaddingOfPlanes, ceiling: float,
    ) -> Generator[str, None, NDArray[np.float64]]:  # fmt: skip
        """Thumbnail of the rows and columns with data, without the pixels above a ceiling.

        Parameters
        ----------
        group, layout, setup, input_range
            See `survey`.
        survey, padding
            Values that `survey` returned.
        ceiling : float
            Largest value of a pixel.
        """
        refined = yield from self._survey(
            group, layout, setup, input_range, padding=padding, blank=tuple(survey.blank),
            extent=survey.extent, ceiling=ceiling,
        )  # fmt: skip
        return refined.thumbnail

    @staticmethod
    def _refined(survey: Survey, refined: Survey, blank: tuple[int, ...]) -> Survey:
        """Survey with the measurements of another one, which left out padding and blank planes."""
        ends = refined if blank else survey
        return replace(
            refined, extremes=survey.extremes, digest=survey.digest, blank=survey.blank,
            padding=survey.padding, uniform=survey.uniform, fills=ends.fills, pixels=ends.pixels,
            defects=refined.defects and refined.defects.with_frames(blank),
        )  # fmt: skip

    def corrected_noise(
        self, group: Group, layout: Layout, survey: Survey, padding: PaddingOfPlanes, defects: Defects
    ) -> Generator[str, None, NDArray[Any]]:  # fmt: skip
        """Noise of a group of planes, measured again after the correction of sensor defects.

        Parameters
        ----------
        group, layout
            See `survey`.
        survey, padding
            Values that `survey` returned.
        defects : Defects
        """
        every = group.frames(layout)
        planes = [
            (every[n], padding.get(place, ()))
            for place, n in enumerate(self.positions(group, layout))
            if place not in survey.blank
        ]
        source = self.source(layout)
        steps = corrected_noise(source, layout, survey, planes, group.channel, defects)
        return (yield from steps)

    def _survey(
        self, group: Group, layout: Layout, setup: Setup, input_range: InputRange,
        padding: Mapping[int, tuple[Padding, ...]] | None = None, blank: tuple[int, ...] = (),
        extent: Extent | None = None, ceiling: float | None = None,
    ) -> Generator[str, None, Survey]:  # fmt: skip
        """Survey a group of planes without the ``blank`` ones, or return the cached survey.

        Parameters
        ----------
        group, layout, setup, input_range
            See `survey`.
        padding : dict, optional
            Padding to ignore, by the position of the plane; None to search for it.
        blank : tuple of int
            Positions of planes to ignore.
        extent : Extent, optional
            Rows and columns to survey.
        ceiling : float, optional
            Compute only a thumbnail, of the pixels up to this value.
        """
        if self._fingerprint is None:
            # If changes of the image cannot be detected, it is surveyed once for this object.
            self._fingerprint = self._opened.fingerprint() or object()
        colours = layout.band(group.channel).colours
        every, numbers = group.frames(layout), self.positions(group, layout)
        places = [place for place, _ in enumerate(numbers) if place not in blank]
        frames = [every[numbers[place]] for place in places]
        kinds = [padding.get(place, ()) if padding else () for place in places]
        request = survey_request(
            layout, colours, self.dtype, input_range, setup.model.is_quantitative,
            setup.defects != "off", len(frames), setup.denoise_first != "off",
        )  # fmt: skip
        request = replace(
            request, solid=padding is None, steady=self._counts_steady_padding(group),
            bits=self._opened.bits, extent=extent,
        )  # fmt: skip
        if ceiling is not None:
            request = replace(
                request, histogram=False, noise=False, defects=False, solid=False, ceiling=ceiling
            )
        # Surveys that search for defects exclude hot pixels from noise and range.
        key = (
            self._fingerprint, layout, group, self._opened.nodata, tuple(kinds), request.solid,
            request.steady, extent, ceiling, blank, request.defects, request.measured,
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
            action = "Analysing the image" if padding is None else "Analysing the scene"
            if ceiling is not None:
                action = "Analysing the image without lamps"
            if layout.channels > 1:
                action += f", channel {group.channel + 1} of {layout.channels}"
            sampled = len(frames) < len(every) - len(blank)
            this = Pass(action, len(frames), len(request.blocks), sampled)
            with contextlib.closing(steps):
                for _ in steps:
                    yield this.describe(surveyor.done)
            survey = surveyor.finish()
            SURVEYS.put(key, survey)
        return survey
