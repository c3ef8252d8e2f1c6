"""Losses of the photo model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dcr.network.global_net import LUMA, Conditioning
from napari_dcr.network.tone import Tone


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of `exit_loss` and `curve_loss`.

    Attributes
    ----------
    gt_mean : float
        Share of the pixel term that ignores the crop's mean brightness (Liao et al. 2025,
        "GT-mean loss"), because the curve determines the brightness and the cascade should
        learn noise and detail.
    structure, similarity, spectrum, chroma, edges : float
        Weights of 1 - MS-SSIM of luma, of 1 - SSIM of all channels, and of the differences of
        amplitude spectrum of luma (in blocks of 32 x 32 pixels), chroma, and Laplacian of luma.
    colour : float
        Mean strength of colour in blocks of 16 x 16 pixels.  Losses of single pixels alone would
        make uncertain colours grey.
    squared : float
        Squared error, which is the only term if the regional part of the detail modules is off.
    smoothness : float
        Curvature of the tone curve.
    """

    gt_mean: float = 0.5
    structure: float = 0.25
    similarity: float = 0.15
    spectrum: float = 0.02
    chroma: float = 0.3
    edges: float = 0.1
    colour: float = 0.3
    squared: float = 8.0
    smoothness: float = 0.02


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """Smooth L1 loss (Charbonnier et al. 1994) with epsilon 1e-3."""
    return torch.sqrt((a - b) ** 2 + 1e-6).mean()


def luma(rgb: Tensor) -> Tensor:
    """Rec. 601 luma (B, 1, H, W) of (B, 3, H, W); a single channel is returned unchanged."""
    if rgb.shape[1] == 1:
        return rgb
    weights = torch.tensor(LUMA, dtype=rgb.dtype, device=rgb.device)
    return (rgb * weights[:, None, None]).sum(1, keepdim=True)


def _band(size: int, step: int, device: torch.device) -> Tensor:
    """Build a banded (n, size) matrix that applies an 11-tap Gaussian at every ``step``-th position.

    This is much faster than a convolution of one channel, in particular in the backward pass.
    """
    offset = torch.arange(size, device=device) - torch.arange(size - 10, device=device)[:, None] - 5
    band = torch.exp(-0.5 * (offset / 1.5) ** 2) * (offset.abs() <= 5)
    return (band / band.sum(1, keepdim=True))[::step]


def ms_ssim(a: Tensor, b: Tensor, scales: int = 4) -> Tensor:
    """Multi-scale SSIM (Wang et al. 2003), mean over channels, 11x11 Gaussian, sigma 1.5.

    The weights are the published ones of the first ``scales`` scales, normalised to a sum of 1.
    """
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales])
    weights = weights / weights.sum()
    result = torch.ones((), device=a.device)
    for scale in range(scales):
        moments = torch.cat([a, b, a * a, b * b, a * b])
        # For a mean, every second position at full resolution is enough.
        rows, columns = (_band(n, 1 if scale else 2, a.device) for n in moments.shape[2:])
        blurred = rows @ moments @ columns.T
        mu_a, mu_b, aa, bb, ab = blurred.chunk(5)
        contrast = (2 * (ab - mu_a * mu_b) + 0.0009) / (aa - mu_a**2 + bb - mu_b**2 + 0.0009)
        value = contrast.mean()
        if scale == scales - 1:
            value = ((2 * mu_a * mu_b + 0.0001) / (mu_a**2 + mu_b**2 + 0.0001) * contrast).mean()
        result = result * value.clamp(min=1e-3) ** float(weights[scale])
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def _laplacian(x: Tensor) -> Tensor:
    return x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _spectrum(grey: Tensor, size: int = 32) -> Tensor:
    """Amplitude spectrum of (B, 1, H, W) in blocks, so that texture does not add detail to even areas."""
    height, width = (n - n % size for n in grey.shape[2:])
    blocks = grey[..., :height, :width].unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return torch.fft.rfft2(blocks, dim=(3, 5), norm="ortho").abs()


def _strength(colour: Tensor) -> Tensor:
    """Mean magnitude of colour differences (B, 3, H, W) in 16 x 16 pixels, after averaging 4 x 4 pixels."""
    size = ((F.avg_pool2d(colour, 4) ** 2).sum(1, keepdim=True) + 1e-5).sqrt()
    return F.avg_pool2d(size, 4)


def exit_loss(output: Tensor, target: Tensor, weights: LossWeights, detail: bool = True) -> Tensor:
    """Loss of one exit of the cascade, for display values (B, C, H, W).

    With ``detail``, the result should look like the target, which is the sharpened print.  Without
    ``detail``, the loss is the squared error and the target is the print before sharpening, so that
    the result is smooth where texture is uncertain.
    """
    # Results are clamped to [0, 1]. A small slope outside keeps a gradient that moves values back.
    inside = output.clamp(0, 1)
    output = inside + 0.1 * (output - inside)
    if not detail:
        return weights.squared * ((output - target) ** 2).mean()
    grey, grey_target = luma(output), luma(target)
    ratio = grey_target.mean((1, 2, 3)) / grey.mean((1, 2, 3)).clamp(min=0.02)
    matched = output * ratio.clamp(0.5, 2)[:, None, None, None]
    loss = (1 - weights.gt_mean) * charbonnier(output, target)
    loss = loss + weights.gt_mean * charbonnier(matched, target)
    loss = loss + weights.structure * (1 - ms_ssim(grey, grey_target))
    loss = loss + weights.similarity * (1 - ms_ssim(output, target, scales=1))
    loss = loss + weights.spectrum * (_spectrum(grey) - _spectrum(grey_target)).abs().mean()
    loss = loss + weights.edges * charbonnier(_laplacian(grey), _laplacian(grey_target))
    if output.shape[1] == 3:
        colour, wanted = output - grey, target - grey_target
        loss = loss + weights.chroma * charbonnier(colour, wanted)
        loss = loss + weights.colour * (_strength(colour) - _strength(wanted)).abs().mean()
    return loss


def _bend(curve: Tensor) -> Tensor:
    """Curvature of the tone curve: mean squared change of its log slope between 64 points."""
    points = curve[..., :: (curve.shape[-1] - 1) // 64]
    return ((points.diff(dim=-1) + 1e-3).log().diff(dim=-1) ** 2).mean()


def curve_loss(
    conditioning: Conditioning,
    batch: dict[str, Tensor],
    base: Tensor,
    weights: LossWeights,
) -> Tensor:
    """Loss of the tone curve, on the whole image and on the crop at 1/8 resolution.

    Parameters
    ----------
    conditioning : Conditioning
        Conditioning of the batch.
    batch : dict
        From `napari_dcr.training.data`.
    base : Tensor, shape (B, C, H, W)
        Crop after the tone curve.
    """
    dim, tone = batch["thumbnail"], conditioning.tone
    assert isinstance(tone, Tone)
    whole = tone.picture(tone.base(dim), dim)
    loss = charbonnier(whole, batch["target_thumbnail"])
    loss = loss + 0.5 * charbonnier(F.avg_pool2d(base, 8), F.avg_pool2d(batch["target"], 8))
    # Comparing sorted values gives weight to blacks and whites, which a mean over pixels neglects.
    curve, target = (luma(t).flatten(1) for t in (whole, batch["target_thumbnail"]))
    loss = loss + 0.5 * charbonnier(curve.sort(1).values, target.sort(1).values)
    return loss + weights.smoothness * _bend(tone.curve)
