"""The global-regional detail module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dcr.network.activation import activate, added
from napari_dcr.network.global_net import sample_grid

Guide = tuple[Tensor, Tensor, Tensor]
"""Feature grid of the image, and the interpolation weights of its rows and columns in a window."""


class DetailModule(nn.Module):
    """Fuse low-level features with the running state, guided by the whole image.

    The *global* part scales and shifts the fused features by maps sampled from
    the feature grid.  The *regional* part is a local high-pass branch, also scaled
    by the grid: the product of global and regional features in the published figure.
    ``detail`` switches the regional part only.
    """

    def __init__(self, width: int, grid_channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(2 * width, width, 1)
        self.guide = nn.Conv2d(grid_channels, 3 * width, 1)
        for parameter in self.guide.parameters():
            nn.init.zeros_(parameter)
        self.regional = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, low: Tensor, running: list[Tensor], guide: Guide, detail: bool) -> Tensor:
        """Fuse two (B, width, h, w) maps.

        Parameters
        ----------
        low : Tensor
            Low-level features.
        running : list of Tensor
            The running state, which is removed from the list, so that its memory is free once it
            has been read.  In the first stage it is ``low``.
        guide : Guide
        detail : bool
            Whether to run the regional part.
        """
        fused = self._fused(low, running.pop())
        dtype = fused.dtype
        shift = self._guide(1, guide, dtype)
        out = activate(shift.addcmul_(fused, self._guide(0, guide, dtype)))
        if not detail:
            return out
        difference = _nine_differences(fused)
        del fused
        kernel = self.regional.weight / 9
        regional = F.conv2d(difference, kernel, self.regional.bias, padding=2, groups=len(kernel))
        del difference
        regional = self.mix(activate(regional))
        gain = self._guide(2, guide, dtype)
        if torch.is_grad_enabled():
            return torch.addcmul(out, regional, gain)
        return out.addcmul_(regional, gain)

    def _fused(self, low: Tensor, state: Tensor) -> Tensor:
        of_low, of_state = self.fuse.weight.chunk(2, 1)
        if state is low:
            return F.conv2d(low, of_low + of_state, self.fuse.bias)
        # Two convolutions instead of one of both maps, which would have to be copied first.
        return added(F.conv2d(low, of_low, self.fuse.bias), F.conv2d(state, of_state))

    def _guide(self, part: int, guide: Guide, dtype: torch.dtype) -> Tensor:
        """Sample the scale (0), shift (1) or gain (2): one at a time, as each is as large as the features.

        Scale and gain are added to 1.  The grid is convolved before it is sampled: both steps are
        linear and the grid is small.
        """
        grid, rows, columns = guide
        bias = self.guide.bias
        assert bias is not None
        kernel, bias = (p.chunk(3)[part].to(grid.dtype) for p in (self.guide.weight, bias))
        cells = F.conv2d(grid, kernel, bias)
        return sample_grid(cells if part == 1 else cells + 1, rows, columns, dtype)

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Input span that the outputs ``low..high`` depend on: 3x3 mean, then 5x5."""
        return low - 3, high + 3


def _nine_differences(x: Tensor) -> Tensor:
    """Nine times the difference from the mean over 3 x 3 pixels, in a tenth of the time of `avg_pool2d` on CPUs.

    At borders the mean is taken over the pixels inside the image.  The factor makes the kernel
    exact in every precision.
    """
    kernel = x.new_full((x.shape[1], 1, 3, 3), -1)
    kernel[:, :, 1, 1] = 8
    result = F.conv2d(x, kernel, padding=1, groups=x.shape[1])
    for border in ((..., 0, slice(None)), (..., -1, slice(None)), (..., 0), (..., -1)):
        # Two thirds of the kernel's pixels are inside the image.
        result[border] = torch.lerp(9 * x[border], result[border], 1.5)
    return result
