"""The noise stage of a picture: decide whether it is needed, and prepare its conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.survey import Survey
from napari_dcr.image.noise import fit_noise
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.network.global_net import NoiseStage

NOISY = 0.2
"""Smallest standard deviation of the noise, relative to the mean level above black, for which the
noise stage is used. It helps on average from about a tenth on, but makes a few images with fine
texture worse; see docs/quality-and-speed.md."""

WHITE_ENOUGH = 0.85
"""Smallest whiteness of the noise; lower values mean texture, or noise that a camera has blurred."""

EVEN = 0.55
"""Smallest ratio of the 10th percentile to the median of the noise power of blocks, each divided by
that of the noise model at its level. Noise is the same everywhere and has a ratio of 0.6 to 0.67.
Texture is not, and has less; the noise stage is omitted if the two cannot be distinguished."""

ROUNDING = 0.5
"""Standard deviation of the noise of integers up to which rounding may be its cause."""


def is_noisy(survey: Survey, shared: GroupConditioning, dtype: np.dtype[Any]) -> bool:
    """Whether a grey image has white noise that the network for pictures removes only in part.

    Parameters
    ----------
    survey : Survey
        Survey of the image, including its noise.
    shared : GroupConditioning
        Conditioning for the network for pictures.
    dtype : dtype
        Dtype of the image.
    """
    if survey.noise is None or not survey.is_grey:
        return False
    try:
        found = fit_noise(survey.noise, dtype.kind in "iu")
    except ValueError:
        return False
    if found.whiteness < WHITE_ENOUGH or found.binning != (1, 1):
        return False
    if _evenness(survey.noise, found.model) < EVEN:
        return False
    mean = float(survey.thumbnail.mean())
    deviation = float(found.model.deviation(mean / survey.unit)) * survey.unit
    least = ROUNDING if dtype.kind in "iu" else 0.0
    return deviation > max(least, NOISY * (mean - shared.scale.black))


def _evenness(blocks: NDArray[Any], model: NoiseModel) -> float:
    """Ratio of the 10th percentile to the median of the noise power of blocks; see `EVEN`."""
    own = blocks[(blocks["binning"] == 1).all(1) & ~blocks["beside_constant"]]
    if not len(own):
        return 0.0
    variance = model.deviation(own["mean"]) ** 2
    if not (variance > 0).all():  # values whose squares no float64 can hold
        return 0.0
    power = own["power"][:, 0] / variance
    low, middle = np.quantile(power, [0.1, 0.5])
    return float(low / middle) if middle > 0 else 0.0


def noise_stage(
    shared: GroupConditioning, colours: Sequence[GroupConditioning], device: torch.device
) -> NoiseStage | None:
    """Create the noise stage of a picture; None if the noise of no colour can be estimated.

    Parameters
    ----------
    shared : GroupConditioning
        Conditioning for the network for pictures.
    colours : sequence of GroupConditioning
        Conditioning for the noise network, one for each colour.
    device : torch.device
    """
    if all(colour.noise is None for colour in colours):
        return None
    black, white = shared.scale.black, shared.scale.white
    units = [colour.scale.white - colour.scale.black for colour in colours]
    factor = [(white - black) / unit for unit in units]
    offset = [(black - c.scale.black) / unit for c, unit in zip(colours, units, strict=True)]

    def tensor(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[None, :, None, None]

    conditionings = tuple(
        None if colour.noise is None else colour.conditioning for colour in colours
    )
    return NoiseStage(tensor(factor), tensor(offset), conditionings)
