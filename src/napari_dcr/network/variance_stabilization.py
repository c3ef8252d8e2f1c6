"""Counts: the base of the cascade for images of instruments, in their own units.

The network works where the noise of camera and light has deviation 1 at every
level (a generalised Anscombe transform, Starck, Murtagh and Bijaoui 1998, written
so that it holds for pure read noise too), and gives back what it took. Local means of
the input are kept: noise is moved, never light.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dcr.network.folding import unfold

REACH = 8.0
"""Most that the network may change a pixel, in deviations of its noise: what noise
cannot explain is never taken away, nor put there."""

UNIT = 16.0
"""Deviations of the noise that are 1 to the convolutions."""


BLOCK, AROUND = 8, 2
"""Intensities keep their mean over blocks of so many pixels a side, and so many blocks
around: 40 x 40 pixels, over which noise has all but gone."""


class Counts(NamedTuple):
    """How the noise of an image grows with its signal.

    Images are in units of the noise's deviation ``s`` at the reference level that
    is 0: the variance of a pixel of level ``w`` is ``1 + curvature * w``.

    Attributes
    ----------
    curvature : Tensor, shape (B, 1, 1, 1)
        Gain over ``s``, at least 0: 0 for noise that is the same everywhere, 1.6 for
        photons counted without read noise.
    """

    curvature: Tensor

    def base(self, x: Tensor) -> Tensor:
        """Take (B, 1, H, W) in: stabilised, in units of the convolutions."""
        return self.stabilise(x) / UNIT

    def features(self, x: Tensor, base: Tensor) -> Tensor:
        """What the convolutions see, (B, 2, H, W): the second channel magnifies the darks."""
        return torch.cat([base, torch.tanh(4 * base)], 1)

    def picture(self, base: Tensor, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Give (B, 2, H, W) back: the estimate, and the deviation of its error.

        ``maps`` (B, 2 F^2, H / F, W / F), those of F x F pixels folded into channels, are the correction in deviations of the noise and the
        logarithm of the error's deviation in those; without them nothing is corrected.
        """
        if maps is None:
            return torch.cat([x, self.deviation(x)], 1)
        correction, log_error = unfold(maps).to(base.dtype).chunk(2, 1)
        estimate = self.restore(UNIT * base + REACH * torch.tanh(correction / REACH))
        estimate = estimate + _local_mean(x - estimate)
        error = log_error.clamp(-7, 2).exp() * self.deviation(estimate)
        return torch.cat([estimate, error], 1)

    def stabilise(self, x: Tensor) -> Tensor:
        """Make the noise's deviation 1 everywhere; 0 stays 0, and below it nothing changes."""
        lit = x.clamp(min=0)
        return 2 * lit / (torch.sqrt(1 + self.curvature * lit) + 1) + (x - lit)

    def restore(self, z: Tensor) -> Tensor:
        """Undo `stabilise`, exactly."""
        return z + 0.25 * self.curvature * z.clamp(min=0) ** 2

    def deviation(self, x: Tensor) -> Tensor:
        """Deviation of the noise of a pixel of level ``x``."""
        return torch.sqrt(1 + self.curvature * x.clamp(min=0))

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Span of pixels that those from ``low`` to ``high`` depend on, along one axis."""
        first, last = (low - BLOCK // 2) // BLOCK, (high - BLOCK // 2) // BLOCK + 1
        return BLOCK * (first - AROUND), BLOCK * (last + AROUND + 1) - 1


def _local_mean(x: Tensor) -> Tensor:
    """Mean over `AROUND` blocks around each pixel's own, led smoothly from block to block."""
    blocks = F.avg_pool2d(x, BLOCK)
    size = 2 * AROUND + 1
    blocks = F.avg_pool2d(blocks, size, 1, AROUND, count_include_pad=False)
    return F.interpolate(blocks, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
