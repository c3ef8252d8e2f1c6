"""The noise stage: a second network removes noise before the picture is enhanced.

Pixels are scaled to the units of the noise network, which takes linear
intensities (see `napari_dcr.network.variance_stabilization`), denoised one colour at a time, and scaled back. The
picture of depth 0 is computed from the noisy pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_dcr.network.binning import enhance_binned
from napari_dcr.network.global_net import Conditioning, NoiseStage

if TYPE_CHECKING:
    from napari_dcr.network.cascade import Cascade


CEILING = 2.0
"""Largest display value in the input of the noise network. If a lamp far above white were not limited,
the small part of it that is removed as noise would brighten its dark neighbours."""


def enhance_window(
    network: Cascade,
    noise_network: Cascade | None,
    x: Tensor,
    conditioning: Conditioning,
    weights: tuple[Tensor, Tensor],
    depth: int,
    detail: bool = True,
    exits: Sequence[int] | None = None,
    mean: Tensor | None = None,
) -> Tensor | list[Tensor]:
    """Enhance a window, with a noise stage and a binning if its conditioning has them.

    Parameters
    ----------
    network : Cascade
    noise_network : Cascade, optional
        Required if the conditioning has a noise stage.
    x : Tensor, shape (B, C, H, W)
        With a noise stage or a mean of frames, display values that are not clipped to [0, 1].
    conditioning, weights, depth, detail, exits
        See `napari_dcr.network.binning.enhance_binned`.
    mean : Tensor, optional
        Mean of the window and the same window of matching frames, from which all depths but 0 are
        computed.
    """
    stage = conditioning.noise
    if stage is None and conditioning.mean is None:
        return enhance_binned(network, x, conditioning, weights, depth, detail, exits)
    wanted = [depth] if exits is None else list(exits)
    results: dict[int, Tensor] = {}
    if 0 in wanted:
        noisy = network(x.clamp(0, 1), conditioning, weights, 0)
        assert isinstance(noisy, Tensor)
        results[0] = noisy
    if inner := [d for d in wanted if d]:
        clean = x if mean is None else mean
        if stage is not None:
            assert noise_network is not None
            clean = remove_noise(noise_network, clean, stage, weights)
        clean = clean.clamp(0, 1)
        pictures = network(clean, conditioning, weights, max(inner), detail, inner)
        results.update(zip(inner, pictures, strict=True))
    outputs = [results[d] for d in wanted]
    return outputs[0] if exits is None else outputs


def remove_noise(
    network: Cascade, x: Tensor, stage: NoiseStage, weights: tuple[Tensor, Tensor]
) -> Tensor:
    """Remove the noise of (B, C, H, W) display values, or the stage's share of it.

    For a grey picture, the first channel is denoised and copied to all channels.
    """
    counts = x[:, : len(stage.colours)].clamp(max=CEILING) * stage.factor + stage.offset
    cleaned = []
    for own, colour in zip(counts.split(1, 1), stage.colours, strict=True):
        if colour is None:
            cleaned.append(own)
            continue
        # A mean over n pixels has the weights of the middle pixel.
        down, across = colour.binning
        places = weights[0][:, down // 2 :: down], weights[1][:, across // 2 :: across]
        picture = enhance_binned(network, own, colour, places, network.stages)
        assert isinstance(picture, Tensor)
        cleaned.append(picture[:, :1])
    mixed = torch.lerp(counts, torch.cat(cleaned, 1), stage.share)
    return ((mixed - stage.offset) / stage.factor).expand(-1, x.shape[1], -1, -1)
