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

# The noise stage is used beyond the first value of each range, and all of it is applied beyond the
# second one. A small change of an image, such as a lamp, could otherwise change the whole result.

NOISY = 0.2, 0.25
"""Range of the standard deviation of the noise, relative to the mean level above black. The noise
stage helps on average from about a tenth on, but makes a few images with fine texture worse; see
docs/quality-and-speed.md."""

WHITE_ENOUGH = 0.85, 0.9
"""Range of the whiteness of the noise; lower values mean texture, or noise that a camera has blurred."""

EVEN = 0.55, 0.6
"""Range of the ratio of the 10th percentile to the median of the noise power of blocks, each divided
by that of the noise model at its level. Noise is the same everywhere and has a ratio of 0.6 to 0.67.
Texture is not, and has less; the noise stage is omitted if the two cannot be distinguished."""

ROUNDING = 0.5
"""Standard deviation of the noise of integers up to which rounding may be its cause."""


def share_of_noise(survey: Survey, shared: GroupConditioning, dtype: np.dtype[Any]) -> float:
    """Share, from 0 to 1, of its white noise that a grey image should lose before it is enhanced.

    It is 0 if the network for pictures removes the noise well by itself.

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
        return 0.0
    try:
        found = fit_noise(survey.noise, dtype.kind in "iu")
    except ValueError:
        return 0.0
    mean = float(survey.thumbnail.mean())
    deviation = float(found.model.deviation(mean / survey.unit)) * survey.unit
    if found.binning != (1, 1) or deviation <= (ROUNDING if dtype.kind in "iu" else 0.0):
        return 0.0
    light = mean - shared.scale.black
    return min(
        _within(found.whiteness, WHITE_ENOUGH),
        _within(_evenness(survey.noise, found.model), EVEN),
        _within(deviation / light, NOISY) if light > 0 else 1.0,
    )


def _within(value: float, limits: tuple[float, float]) -> float:
    """Position of a value between two limits, clipped to [0, 1]."""
    low, high = limits
    return float(np.clip((value - low) / (high - low), 0, 1))


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
    shared: GroupConditioning,
    colours: Sequence[GroupConditioning],
    share: float,
    device: torch.device,
) -> NoiseStage | None:
    """Create the noise stage of a picture; None if the noise of no colour can be estimated.

    Parameters
    ----------
    shared : GroupConditioning
        Conditioning for the network for pictures.
    colours : sequence of GroupConditioning
        Conditioning for the noise network, one for each colour.
    share : float
        Share of the noise that is removed.
    device : torch.device
    """
    if all(colour.noise is None for colour in colours):
        return None
    black, white = shared.scale.black, shared.scale.white
    units = [colour.scale.white - colour.scale.black for colour in colours]
    factor = [(white - black) / unit for unit in units]
    offset = [(black - c.scale.black) / unit for c, unit in zip(colours, units, strict=True)]

    conditionings = tuple(
        None if colour.noise is None else colour.conditioning for colour in colours
    )
    return NoiseStage.of(factor, offset, conditionings, device, share)
