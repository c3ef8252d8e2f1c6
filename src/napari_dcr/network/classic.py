"""The cascade of 2019 as published, as a reference for comparisons.

Reconstructed from the public record of DCR (Kun Lu, 2019) and the surviving
U-Net of the same author's TBEFN (Lu and Zhang 2020); it contains no code of the author.
It has latent spaces of three channels, a loss on the final output only and no global path, and
it processes whole images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassicUNet(nn.Module):
    """U-Net of four scales with one 3x3 convolution each: 16, 32, 64 and 128 channels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.encoders = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, 2) for width in (64, 32, 16)
        )
        self.decoders = nn.ModuleList(
            nn.Conv2d(2 * width, width, 3, padding=1) for width in (64, 32, 16)
        )
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to a latent picture of the same shape."""
        skips = []
        for encoder in self.encoders:
            x = F.relu(encoder(x))
            skips.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = skips.pop()
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            skip = skips.pop()
            x = up(x)[..., : skip.shape[2], : skip.shape[3]]
            x = F.relu(decoder(torch.cat([skip, x], 1)))
        out: Tensor = self.out(x)
        return out


class ClassicDetail(nn.Module):
    """Product of the low-level features and the running state after four convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))

    def forward(self, low: Tensor, state: Tensor) -> Tensor:
        """Fuse two (B, 3, H, W) maps."""
        x = self.convolutions[1](self.convolutions[0](state))
        x = F.relu(self.convolutions[2](x))
        x = F.relu(self.convolutions[3](x))
        return low * x + state


class ClassicCascade(nn.Module):
    """The published cascade for whole images.

    ``z = C_in(x)``; ``d_i = GRD_i(z, s_(i-1))``; ``s_i = d_i + UNet_i(d_i)``; ``y = C_out(...)``.
    """

    def __init__(self, stages: int = 3) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 3, 3, padding=1)
        self.details = nn.ModuleList(ClassicDetail() for _ in range(stages))
        self.unets = nn.ModuleList(ClassicUNet() for _ in range(stages))
        self.leave = nn.Conv2d(3 * stages, 3, 3, padding=1)

    def latents(self, x: Tensor) -> list[Tensor]:
        """Compute the latent pictures ``u_1 .. u_(N-1), s_N``."""
        low, state = self.enter(x), x
        pictures = []
        for detail, unet in zip(self.details, self.unets, strict=True):
            fused = detail(low, state)
            update = unet(fused)
            state = fused + update
            pictures.append(update)
        return [*pictures[:-1], state]

    def forward(self, x: Tensor) -> Tensor:
        """Enhance (B, 3, H, W) display values."""
        y: Tensor = self.leave(torch.cat(self.latents(x), 1))
        return y
