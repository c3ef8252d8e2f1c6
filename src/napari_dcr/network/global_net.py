"""The global net: what the whole image says to each of its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dcr.network.tone import Tone, ToneDecoder
from napari_dcr.network.variance_stabilization import Counts

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 luma weights of R, G, B."""

SYMMETRIES = tuple(range(8))
"""Of the square: four quarter turns, each as it is and mirrored."""


class Conditioning(NamedTuple):
    """What the global net hands to the tiles of one image.

    Attributes
    ----------
    tone : Tone or Counts
        Tone curve, or how the noise grows: what depth 0 is.
    grid : Tensor, shape (B, G, cells, cells)
        Coarse feature map over the whole image.
    binning : (int, int)
        Pixels along y and x whose means have noise that is nearly white; see
        `napari_dcr.network.binning`.
    """

    tone: Tone | Counts
    grid: Tensor
    binning: tuple[int, int] = (1, 1)


class GlobalNet(nn.Module):
    """Read a thumbnail of the whole image; give its tone curve and feature grid.

    Its input is the area mean of the *whole* image, so pooling is allowed here
    and nowhere else: its output is computed once and shared by all tiles.
    """

    QUANTILES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99, 0.999)

    quantiles: Tensor

    def __init__(self, channels: int, grid_channels: int, curve: bool = True) -> None:
        super().__init__()
        self.decoder = ToneDecoder(channels) if curve else None
        self.register_buffer(
            "quantiles", torch.tensor(self.QUANTILES, dtype=torch.float32), persistent=False
        )
        self.features = nn.Sequential(
            nn.Conv2d(2 * channels, 24, 3, 2, 1), nn.LeakyReLU(0.1),
            nn.Conv2d(24, 48, 3, 2, 1), nn.LeakyReLU(0.1),
            nn.Conv2d(48, 64, 3, 1, 1), nn.LeakyReLU(0.1),
            nn.Conv2d(64, 64, 3, 1, 1), nn.LeakyReLU(0.1),
        )  # fmt: skip
        summary = 2 * 64 + (2 + channels) * len(self.QUANTILES) + 1
        self.summary = nn.Sequential(
            nn.Linear(summary, 96), nn.LeakyReLU(0.1), nn.Linear(96, 64), nn.LeakyReLU(0.1)
        )
        if self.decoder:
            self.tone_head = nn.Linear(64, self.decoder.parameter_count)
            for parameter in self.tone_head.parameters():
                nn.init.zeros_(parameter)
        self.grid_local = nn.Conv2d(64, grid_channels, 1)
        self.grid_global = nn.Linear(64, grid_channels)

    def forward(
        self, thumbnail: Tensor, symmetries: Sequence[int] = SYMMETRIES
    ) -> tuple[Tone | None, Tensor]:
        """Give an image's tone curve, if there is to be one, and its feature grid.

        Both are means over the eight symmetries of the square, so that an image that is
        turned or mirrored gets the same curve, and its grid turned or mirrored with it.

        Parameters
        ----------
        thumbnail : Tensor, shape (B, C, 64, 64)
            Area mean of the whole image, in [0, 1] or about it.
        symmetries : sequence of int
            Those of `SYMMETRIES` that are averaged; training saves time with two at random.
        """
        thumbnail = thumbnail.to(self.grid_global.weight.dtype)
        level = _mean(thumbnail.flatten(1), 1).clamp(0.004, 1)
        a = level[:, None, None, None]
        # Noise takes dark cells of counts below 0, where the quotient would have a pole.
        lit = thumbnail.clamp(min=0)
        adapted = lit * (1 + a) / (lit + a)
        # The channels' own blacks tell a floor of clipped noise from shadows.
        values = torch.cat(
            [adapted.mean(1, keepdim=True), adapted.amax(1, keepdim=True), adapted], 1
        ).flatten(2)
        spread = torch.quantile(values, self.quantiles, dim=2)  # (Q, B, 2 + C)
        whole = [spread.permute(1, 0, 2).flatten(1), level.log2()[:, None] / 4]
        seen = torch.cat([adapted, thumbnail], 1)
        count = len(symmetries)
        features = self.features(torch.cat([_turned(seen, k) for k in symmetries]))
        pooled = [features.mean((2, 3)), features.amax((2, 3))]
        summary = self.summary(torch.cat(pooled + [w.repeat(count, 1) for w in whole], 1))
        summary = _mean(summary.unflatten(0, (count, -1)), 0)
        local = self.grid_local(features).chunk(count)
        local = _mean(
            torch.stack([_turned_back(x, k) for x, k in zip(local, symmetries, strict=True)]), 0
        )
        tone = self.decoder(self.tone_head(summary), level) if self.decoder else None
        return tone, F.leaky_relu(local + self.grid_global(summary)[:, :, None, None], 0.1)


def _turned(x: Tensor, symmetry: int) -> Tensor:
    """Turn (B, C, n, n) by quarters, and mirror it from the fifth symmetry on."""
    x = torch.rot90(x, symmetry % 4, (2, 3))
    return x.flip(3) if symmetry >= 4 else x


def _turned_back(x: Tensor, symmetry: int) -> Tensor:
    x = x.flip(3) if symmetry >= 4 else x
    return torch.rot90(x, -(symmetry % 4), (2, 3))


def _mean(x: Tensor, dim: int) -> Tensor:
    """Mean over what comes in any order: the same to the last bit."""
    return x.sort(dim).values.mean(dim)


def sample_weights(start: int, stop: int, size: float, cells: int, step: int = 2) -> Tensor:
    """Bilinear weights of the grid's cells along one axis, at absolute positions.

    Sample ``i`` is the centre of the ``step`` pixels from ``start + i * step``.
    Computed in float64 so that a tile gets to the last bit what the whole
    image gets.

    Parameters
    ----------
    start, stop : int
        Window on this axis, in pixels of the whole image.
    size : float
        Length of the whole image on this axis, in pixels.
    cells : int
        Cells of the grid on this axis.
    step : int
        Pixels per sample.

    Returns
    -------
    Tensor, shape ((stop - start) / step, cells)
    """
    centre = torch.arange(start, stop, step, dtype=torch.float64) + step / 2
    position = (centre / size * cells - 0.5).clamp(0, cells - 1)
    distance = (position[:, None] - torch.arange(cells, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()


def sample_grid(grid: Tensor, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Sample the feature grid over a window.

    Parameters
    ----------
    grid : Tensor, shape (B, G, cells, cells)
    rows : Tensor, shape (B or 1, h, cells)
    columns : Tensor, shape (B or 1, w, cells)
        Weights from `sample_weights`.
    dtype : dtype
        Of the result.

    Returns
    -------
    Tensor, shape (B, G, h, w)
        Channels last.
    """
    across = grid @ columns[:, None].transpose(2, 3)  # (B, G, cells, w)
    across = across.permute(0, 2, 3, 1).flatten(2)
    sampled = rows.to(dtype) @ across.to(dtype)  # (B, h, w G)
    return sampled.unflatten(2, (columns.shape[1], -1)).permute(0, 3, 1, 2)
