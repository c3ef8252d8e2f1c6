"""From the survey of a group of planes to what they share: black and white point, noise, conditioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.output import Display, LeftAlone, Rendering
from napari_dcr.engine.survey import Survey
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, Scale, find_scale
from napari_dcr.image.noise import NoiseEstimate, NoiseModel, fit_noise
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.isolation import isolated

NO_LIGHT, SOME_LIGHT = 1 / 255, 2 / 255
"""Contrast, in display values, up to which a dark picture holds no light, and from which it is
enhanced in full. A covered lens and a black frame have less than one 8-bit level."""

BRIGHT, WHITE = 0.72, 0.82
"""Mean, in display values, up to which a picture is enhanced in full, and from which it is white
enough to come back as it is: a document, a slide on white ground."""


class GroupConditioning(NamedTuple):
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


def condition_group(
    survey: Survey,
    input_range: InputRange,
    dtype: np.dtype[Any],
    grey: bool,
    network: Cascade,
    device: torch.device,
    defects: Defects | None = None,
    given: NoiseModel | None = None,
) -> GroupConditioning:
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
    return GroupConditioning(
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
