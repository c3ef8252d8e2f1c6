"""Counts: the base of the cascade for intensities of instruments, in their own units.

The network works on variance-stabilised values, in which camera and photon noise together have a
standard deviation of 1 at every level.  The transform is a generalised Anscombe transform (Starck,
Murtagh and Bijaoui 1998), written so that it also holds for pure read noise, and it is inverted
exactly.  Local means of the input are preserved, so that the total intensity is conserved.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dcr.network.folding import unfold

REACH = 8.0
"""Largest change of a pixel by the network, in standard deviations of its noise.

The network can therefore neither remove nor add signals that noise cannot explain."""

UNIT = 16.0
"""Number of standard deviations of the noise that the convolutions see as 1."""


BLOCK, AROUND = 8, 2
"""Side of a block in pixels, and the number of neighbouring blocks on each side, over which mean
intensities are preserved: 40 x 40 pixels, over which noise averages out."""


class Counts(NamedTuple):
    """Noise model of images in counts, with its variance-stabilising transform.

    Images are in units of the standard deviation ``s`` of the noise at level 0.  The variance of
    a pixel of level ``w`` is ``1 + curvature * w``.

    Attributes
    ----------
    curvature : Tensor, shape (B, 1, 1, 1)
        Gain divided by ``s``, at least 0.  It is 0 for noise that does not depend on the signal,
        and 1.6 for photons counted without read noise.
    """

    curvature: Tensor

    def base(self, x: Tensor) -> Tensor:
        """Stabilise (B, 1, H, W) and convert it to the units of the convolutions."""
        return self.stabilise(x) / UNIT

    def features(self, x: Tensor, base: Tensor) -> Tensor:
        """Input of the convolutions (B, 2, H, W); the second channel magnifies dark values."""
        return torch.cat([base, torch.tanh(4 * base)], 1)

    def picture(self, base: Tensor, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Compute the estimate and its standard error, stacked as (B, 2, H, W).

        Parameters
        ----------
        base, x : Tensor, shape (B, 1, H, W)
            Stabilised window and the window itself.
        maps : Tensor, shape (B, 2 F^2, H / F, W / F), optional
            Correction of each pixel and logarithm of its standard error, both in standard
            deviations of the noise, with F x F pixels folded into channels.  Without maps the
            estimate is the window itself.
        """
        if maps is None:
            return torch.cat([x, self.deviation(x)], 1)
        correction, log_error = unfold(maps).to(base.dtype).chunk(2, 1)
        estimate = self.restore(UNIT * base + REACH * torch.tanh(correction / REACH))
        estimate = estimate + _local_mean(x - estimate)
        error = log_error.clamp(-7, 2).exp() * self.deviation(estimate)
        return torch.cat([estimate, error], 1)

    def stabilise(self, x: Tensor) -> Tensor:
        """Transform values so that the noise has a standard deviation of 1 at every level.

        Values of 0 and below are not changed.
        """
        lit = x.clamp(min=0)
        return 2 * lit / (torch.sqrt(1 + self.curvature * lit) + 1) + (x - lit)

    def restore(self, z: Tensor) -> Tensor:
        """Invert `stabilise` exactly."""
        return z + 0.25 * self.curvature * z.clamp(min=0) ** 2

    def deviation(self, x: Tensor) -> Tensor:
        """Standard deviation of the noise at the level ``x``."""
        return torch.sqrt(1 + self.curvature * x.clamp(min=0))

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Span of input pixels that the output pixels ``low..high`` depend on, along one axis."""
        first, last = (low - BLOCK // 2) // BLOCK, (high - BLOCK // 2) // BLOCK + 1
        return BLOCK * (first - AROUND), BLOCK * (last + AROUND + 1) - 1


def _local_mean(x: Tensor) -> Tensor:
    """Mean over the block of each pixel and its neighbours, interpolated between blocks."""
    blocks = F.avg_pool2d(x, BLOCK)
    size = 2 * AROUND + 1
    blocks = F.avg_pool2d(blocks, size, 1, AROUND, count_include_pad=False)
    return F.interpolate(blocks, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
