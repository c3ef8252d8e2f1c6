"""Compute what a group of planes shares from its survey: black and white point, noise, conditioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.output import Display, LeftAlone, Quantitative, Rendering
from napari_dcr.engine.planes import margin_of
from napari_dcr.engine.survey import Survey
from napari_dcr.engine.survey_blocks import Extent
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import InputRange, Scale, find_scale
from napari_dcr.image.noise import fit_noise
from napari_dcr.image.noise_model import NoiseEstimate, NoiseModel
from napari_dcr.image.padding import Padding
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import Conditioning, Route
from napari_dcr.network.isolation import isolated

NO_LIGHT, SOME_LIGHT = 1 / 255, 2 / 255
"""Contrast limits for dark pictures, in display values.

Pictures below the first limit are returned unchanged, pictures above the second one are fully
enhanced.  A covered lens or a black frame has a contrast of less than one 8-bit level."""

BRIGHT, WHITE = 0.72, 0.82
"""Limits of the mean for bright pictures, in display values.

Pictures below the first limit are fully enhanced, pictures above the second one, such as documents
and slides on a white background, are returned unchanged."""


class RemovedNoise(NamedTuple):
    """Noise that the noise stage removes.

    Attributes
    ----------
    share : float
        Share of it that is removed.
    colours : tuple of NoiseEstimate or None
        Noise of each colour, in the image's units; None where it could not be estimated.
    """

    share: float
    colours: tuple[NoiseEstimate | None, ...]


class GroupConditioning(NamedTuple):
    """Conditioning, scale, noise and defects that the planes of a group share.

    Attributes
    ----------
    scale : Scale
        Values in own units of the black and the white point.
    conditioning : Conditioning
        Output of the global net.
    digest : str
        SHA-256 of the pixels of all planes.
    noise : NoiseEstimate or None
        Estimated noise in ``unit``; None for models that do not work in counts, and if the noise
        could not be estimated.
    unit : float
        A power of two near the image's largest value; 1 for integers.
    left_alone : dict
        Reason why a plane is returned unchanged, by the position of the plane in the group.
    is_grey : bool
        Whether all colour samples are equal in every pixel.
    light : float
        Weight of the enhancement between 0 and 1; 0 for images that are black or white.
    defects : Defects or None
        Sensor defects of this channel; None if there are none.
    padding : dict
        Padding of planes, by their place; these pixels are treated as missing.
    denoise_first : RemovedNoise, optional
        Noise that the noise stage removes, if there is one.
    zero : float, optional
        Black point of models that work in counts, in the image's units: the offset of the noise
        model, of which ``scale`` is independent. None for other models.
    is_zero_known : bool
        Whether the file defines ``zero``, so that the exposure is a gain above it in all planes.
    thumbnail : ndarray, shape (C, 64, 64), optional
        Thumbnail in the image's units; None for models that work in counts.
    shown : Scale
        Values that a viewer shows as black and white, for models that work in counts, too.
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
    padding: dict[int, tuple[Padding, ...]] = {}  # noqa: RUF012
    denoise_first: RemovedNoise | None = None
    zero: float | None = None
    is_zero_known: bool = False
    thumbnail: NDArray[Any] | None = None
    shown: Scale = Scale(0.0, 1.0)

    @property
    def black(self) -> float:
        """Black point in the image's units."""
        return self.scale.black if self.zero is None else self.zero

    @property
    def route(self) -> Route:
        """Networks and binnings that windows go through."""
        return self.conditioning.route

    def defects_of(self, number: int) -> Defects | None:
        """Defects to correct in the plane at a position in the group, or None."""
        return None if number in self.left_alone or self.light == 0 else self.defects

    def padding_of(self, number: int) -> tuple[Padding, ...]:
        """Padding of the plane at a position in the group."""
        return () if number in self.left_alone else self.padding.get(number, ())

    @property
    def margin(self) -> int:
        """Pixels around a window of any of the planes that are needed to read it."""
        return max(margin_of(self.defects, kinds) for kinds in ((), *self.padding.values()))

    def rendering(self, rendering: Rendering, number: int) -> Rendering:
        """Rendering of the plane at a position in the group, derived from the image's rendering."""
        if number in self.left_alone:
            return LeftAlone(rendering, self.zero if self.is_zero_known else None)
        if isinstance(rendering, Display):
            return replace(
                rendering, is_grey=self.is_grey, strength=self.light * rendering.strength,
                clips=self.conditioning.noise is None and self.conditioning.mean is None,
            )  # fmt: skip
        if isinstance(rendering, Quantitative):
            return replace(rendering, zero=self.black)
        return rendering

    def of_all(self, sampled: int, count: int, digest: str) -> GroupConditioning:
        """Extend the conditioning of ``sampled`` frames to all ``count`` frames with this digest.

        Frames are returned unchanged, or have padding, only if this holds for all sampled
        frames.  Otherwise a frame that was sampled would be treated differently from its
        neighbours, which were not, and the result would flicker.
        """
        whole, padding = {}, {}
        if len(self.left_alone) == sampled:
            whole = dict.fromkeys(range(count), next(iter(self.left_alone.values())))
        if len(self.padding) == sampled:
            padding = dict.fromkeys(range(count), self.all_padding())
        # The other frames may hold data everywhere.
        conditioning = self.conditioning._replace(scene=None)
        return self._replace(
            conditioning=conditioning, left_alone=whole, digest=digest, padding=padding
        )

    def all_padding(self) -> tuple[Padding, ...]:
        """All different kinds of padding in the planes of the group."""
        return tuple(dict.fromkeys(kind for kinds in self.padding.values() for kind in kinds))

    def showing(self, extent: Extent, height: int, width: int) -> GroupConditioning:
        """Copy for a survey of some rows and columns of an image of this size, the only ones with data."""
        whole = (0, height), (0, width)
        rows, columns = (
            (start / size, stop / size)
            for (start, stop), (_, size) in zip(extent, whole, strict=True)
        )
        scene = None if extent == whole else extent
        conditioning = self.conditioning._replace(extent=(rows, columns), scene=scene)
        return self._replace(conditioning=conditioning)

    def scaled(self, size: tuple[int, int], new: tuple[int, int]) -> GroupConditioning:
        """Copy for a level of another size of the image, whose padding is scaled, too."""
        padding = {
            n: tuple(kind.scaled(size, new) for kind in kinds) for n, kinds in self.padding.items()
        }
        scene = self.conditioning.scene
        if scene is not None:
            # Levels are not all reduced in the same way, so the scene may begin a pixel earlier.
            rows, columns = (
                (max(0, start * n // old - 1), min(n, -(-stop * n // old) + 1))
                for (start, stop), old, n in zip(scene, size, new, strict=True)
            )
            scene = rows, columns
        return self._replace(conditioning=self.conditioning._replace(scene=scene), padding=padding)

    def noise_in_own_units(self) -> NoiseEstimate | None:
        """Noise estimate in the image's own units, or None."""
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
    """Determine the scale or the noise of a group of planes, and run the global net.

    Parameters
    ----------
    survey : Survey
        Survey of the group.
    input_range : str or tuple of float
        Black and white point, see `Options`.
    dtype : dtype
        Dtype of the image.
    grey : bool
        Whether the planes have a single sample per pixel.
    network : Cascade
    device : torch.device
    defects : Defects, optional
        Sensor defects of the group.
    given : NoiseModel, optional
        Noise model of the camera that replaces the estimate.
    """
    noise, unit, light, zero = None, 1.0, 1.0, None
    left_alone = _without_data(survey) | survey.uniform | survey.blank
    curvature = None
    if network.config.base == "counts":
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
            darkest = noise.model.offset
            if given is not None:
                usual = float(np.median(survey.noise["mean"]))
                noise = noise.with_model(given.in_unit(unit), usual)
            model = noise.binned
            if input_range != "auto":
                model = model.at(find_scale(input_range, dtype, None, grey).black / unit)
            zero = unit * model.offset
            # The same noise can be described from any level below the image. The network was
            # trained with noise that is described from the darkest level.
            model = model.at(max(model.offset, darkest))
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
        curvatures = None
        if curvature is not None:
            curvatures = torch.tensor([curvature], dtype=torch.float32, device=device)
        conditioning = network.condition(torch.from_numpy(batch)[None].to(device), curvatures)
    if noise is not None:
        conditioning = conditioning._replace(binning=noise.binning)
    is_grey = not grey and survey.is_grey
    if light == 0 or len(left_alone) == len(survey.extremes):
        defects = None  # planes that are returned unchanged keep their defects
    return GroupConditioning(
        scale, conditioning, survey.digest, noise, unit, left_alone, is_grey, light, defects,
        zero=zero, thumbnail=survey.thumbnail if curvature is None else None,
    )  # fmt: skip


def _without_data(survey: Survey) -> dict[int, str]:
    """Planes without any data, with the reason."""
    empty = np.isnan(survey.extremes).any(1)
    return {int(n): "no pixel holds data" for n in np.flatnonzero(empty)}


def _light(thumbnail: NDArray[Any]) -> float:
    """Weight of the enhancement: below 1 for pictures that are nearly black or nearly white."""
    mean = float(thumbnail.mean())
    regions = thumbnail.reshape(-1, 8, 8, 8, 8).mean((2, 4))
    # Thumbnail pixels of small images average few pixels, so their noise must not count as light;
    # a small lamp is far brighter than that.
    contrast = max(np.ptp(regions), np.ptp(thumbnail) / 4)
    # A flat picture that is not quite black counts as a dim one.
    signal = max(contrast, mean - NO_LIGHT)
    above_black = (signal - NO_LIGHT) / (SOME_LIGHT - NO_LIGHT)
    below_white = (WHITE - mean) / (WHITE - BRIGHT)
    return float(np.clip(min(above_black, below_white), 0, 1))
