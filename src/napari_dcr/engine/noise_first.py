"""The noise stage of a picture: whether its noise asks for one, and what its tiles need for it."""

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
"""Standard deviation of the noise, in units of the mean level above black, from which a noise
stage is taken. From about a tenth on it helps on average, but a few images with fine texture
lose; see docs/quality-and-speed.md."""

WHITE_ENOUGH = 0.85
"""Least whiteness of the noise: less is texture, or noise that cameras have blurred."""

EVEN = 0.55
"""Least ratio of the lowest tenth to the median of the noise power in blocks, relative to that of
the noise model at their level. Noise is the same everywhere and has 0.6 to 0.67; texture is not,
and is kept by leaving the noise stage out where the two cannot be told apart."""

ROUNDING = 0.5
"""Least standard deviation of the noise of integers that is more than rounding."""


def is_noisy(survey: Survey, shared: GroupConditioning, dtype: np.dtype[Any]) -> bool:
    """Whether a grey image has white noise that its own network would leave in part.

    Parameters
    ----------
    survey : Survey
        With the noise.
    shared : GroupConditioning
        Of the picture's own network.
    dtype : dtype
        Of the image.
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
    """Ratio of the lowest tenth to the median of the finest power in blocks, see `EVEN`."""
    own = blocks[(blocks["binning"] == 1).all(1) & ~blocks["beside_constant"]]
    if not len(own):
        return 0.0
    power = own["power"][:, 0] / model.deviation(own["mean"]) ** 2
    low, middle = np.quantile(power, [0.1, 0.5])
    return float(low / middle) if middle > 0 else 0.0


def noise_stage(
    shared: GroupConditioning, colours: Sequence[GroupConditioning], device: torch.device
) -> NoiseStage | None:
    """Make the noise stage of a picture; None if no colour has noise that could be estimated.

    Parameters
    ----------
    shared : GroupConditioning
        Of the picture's own network.
    colours : sequence of GroupConditioning
        Of the noise network, for each colour.
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

    told = tuple(None if colour.noise is None else colour.conditioning for colour in colours)
    return NoiseStage(tensor(factor), tensor(offset), told)
