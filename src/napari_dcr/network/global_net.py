"""The global net: compute the conditioning of all tiles from the whole image."""

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
"""Indices of the symmetries of the square: four quarter turns, then the same four mirrored."""


class Route(NamedTuple):
    """Networks and binnings that a window goes through; windows of one batch share them.

    Attributes
    ----------
    binning : (int, int)
        See `Conditioning`.
    noise : tuple of (int, int) or None
        Binning of each colour in the noise stage, None for colours that it does not change;
        empty without a noise stage.
    neighbours : int
        See `Conditioning`.
    scene : ((int, int), (int, int)) or None
        See `Conditioning`.
    mean : (int, int) or None
        Binning of the colour in which frames are compared before they are averaged; None if they
        are not.
    compared : tuple of int
        Index of this colour, and those of the other colours with noise.
    """

    binning: tuple[int, int] = (1, 1)
    noise: tuple[tuple[int, int] | None, ...] = ()
    neighbours: int = 0
    scene: tuple[tuple[int, int], tuple[int, int]] | None = None
    mean: tuple[int, int] | None = None
    compared: tuple[int, ...] = ()


PLAIN = Route()
"""Route without binning and without a noise stage, of an image that is all scene."""


class NoiseStage(NamedTuple):
    """Conditioning of the noise stage, which removes noise before the picture is enhanced.

    Attributes
    ----------
    factor, offset : Tensor, shape (B, n, 1, 1)
        ``factor * x + offset`` converts display values ``x`` of each of n colours to the input of
        the noise network.
    share : Tensor, shape (B, 1, 1, 1)
        Share of the noise network's change that is applied.
    colours : tuple of Conditioning or None
        Conditioning of the noise network for each colour; None for colours without noise.
    """

    factor: Tensor
    offset: Tensor
    share: Tensor
    colours: tuple[Conditioning | None, ...]

    @classmethod
    def of(
        cls,
        factor: Sequence[float],
        offset: Sequence[float],
        colours: Sequence[Conditioning | None],
        device: torch.device,
        share: float = 1.0,
    ) -> NoiseStage:
        """Create it from a factor and an offset for each colour."""
        units = torch.tensor([factor, offset], dtype=torch.float32, device=device)
        factors, offsets = units[:, None, :, None, None]
        return cls(factors, offsets, torch.full((1, 1, 1, 1), share, device=device), tuple(colours))

    def to(self, device: torch.device) -> NoiseStage:
        """Copy to a device."""
        return NoiseStage(
            self.factor.to(device),
            self.offset.to(device),
            self.share.to(device),
            tuple(colour and colour.to(device) for colour in self.colours),
        )

    @classmethod
    def batch(cls, parts: Sequence[NoiseStage]) -> NoiseStage:
        """Combine those of windows that have the same route into a batch."""
        colours = (
            [colour for colour in of_one if colour is not None]
            for of_one in zip(*(part.colours for part in parts), strict=True)
        )
        return cls(
            torch.cat([part.factor for part in parts]),
            torch.cat([part.offset for part in parts]),
            torch.cat([part.share for part in parts]),
            tuple(Conditioning.batch(of_one) if of_one else None for of_one in colours),
        )


class FrameMean(NamedTuple):
    """Conditioning of the mean of matching frames, which lowers noise before a picture is enhanced.

    Attributes
    ----------
    noise : NoiseStage
        Units and noise of each colour.
    compared : int
        Index of the colour whose features the frames are compared by.
    """

    noise: NoiseStage
    compared: int

    @property
    def colour(self) -> Conditioning:
        """Conditioning of the noise network for the colour that is compared."""
        colour = self.noise.colours[self.compared]
        assert colour is not None
        return colour

    @property
    def others(self) -> list[int]:
        """Indices of the other colours with noise."""
        return [
            number
            for number, colour in enumerate(self.noise.colours)
            if colour is not None and number != self.compared
        ]

    def counts(self, number: int) -> Counts:
        """Noise model of a colour with noise."""
        colour = self.noise.colours[number]
        assert colour is not None
        assert isinstance(colour.tone, Counts)
        return colour.tone

    def has_noise_of(self, other: FrameMean) -> bool:
        """Whether both describe the same noise, so that frames need not be scaled to be compared."""
        if self is other:  # frames that share their survey
            return True
        pairs = [(self.noise.factor, other.noise.factor), (self.noise.offset, other.noise.offset)]
        for own, its in zip(self.noise.colours, other.noise.colours, strict=True):
            if own is not None and its is not None:
                pairs += zip(own.tone, its.tone, strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    def to(self, device: torch.device) -> FrameMean:
        """Copy to a device."""
        return self._replace(noise=self.noise.to(device))


class Conditioning(NamedTuple):
    """Per-image conditioning shared by all tiles of the image.

    Attributes
    ----------
    tone : Tone or Counts
        Tone curve or noise model, which defines the result of depth 0.
    grid : Tensor, shape (B, G, cells, cells)
        Coarse feature map of the whole image.
    binning : (int, int)
        Number of pixels along y and x to average so that the noise of the means is nearly white,
        see `napari_dcr.network.binning`.
    noise : NoiseStage, optional
        Conditioning of the noise stage, if there is one; see `napari_dcr.network.noise_stage`.
    extent : ((float, float), (float, float))
        Part of the image's height and width, from 0 to 1, that the thumbnail shows and the grid
        covers.
    neighbours : int
        Number of neighbouring frames on each side that the result depends on.
    scene : ((int, int), (int, int)) or None
        Start and stop of the rows and columns that the network processes as if they were the whole
        image, because no other ones hold data; None for all.
    mean : FrameMean, optional
        Conditioning of the mean of matching frames, if neighbouring frames are averaged; see
        `napari_dcr.network.frame_mean`.
    """

    tone: Tone | Counts
    grid: Tensor
    binning: tuple[int, int] = (1, 1)
    noise: NoiseStage | None = None
    extent: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0))
    neighbours: int = 0
    scene: tuple[tuple[int, int], tuple[int, int]] | None = None
    mean: FrameMean | None = None

    @property
    def route(self) -> Route:
        """Networks and binnings that windows go through."""
        noise = () if self.noise is None else tuple(c and c.binning for c in self.noise.colours)
        if self.mean is None:
            return Route(self.binning, noise, self.neighbours, self.scene)
        mean, compared = self.mean.colour.binning, (self.mean.compared, *self.mean.others)
        return Route(self.binning, noise, self.neighbours, self.scene, mean, compared)

    def to(self, device: torch.device) -> Conditioning:
        """Copy to a device."""
        tone = type(self.tone)(*(field.to(device) for field in self.tone))
        noise, mean = self.noise and self.noise.to(device), self.mean and self.mean.to(device)
        return self._replace(tone=tone, grid=self.grid.to(device), noise=noise, mean=mean)

    @classmethod
    def batch(cls, parts: Sequence[Conditioning]) -> Conditioning:
        """Combine the conditioning of windows that have the same route into a batch."""
        first = parts[0]
        if len(parts) == 1:
            return first
        tones = zip(*(part.tone for part in parts), strict=True)
        stages = [part.noise for part in parts if part.noise is not None]
        noise = NoiseStage.batch(stages) if stages else None
        return cls(
            type(first.tone)(*(torch.cat(field) for field in tones)),
            torch.cat([part.grid for part in parts]),
            first.binning,
            noise,
            first.extent,
            first.neighbours,
            first.scene,
        )


class GlobalNet(nn.Module):
    """Compute the tone curve and the feature grid from a thumbnail of the whole image.

    The output is computed once and shared by all tiles.  This is therefore the only network part
    that may pool over the whole image.
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
        """Compute the parameters of the tone curve, if the network has one, and the feature grid.

        Both are means over the eight symmetries of the square.  A rotated or mirrored image
        therefore gets the same curve, and a feature grid that is rotated or mirrored like it.

        Parameters
        ----------
        thumbnail : Tensor, shape (B, C, 64, 64)
            Area means of the whole image, approximately in [0, 1].
        symmetries : sequence of int
            Indices of the `SYMMETRIES` to average over; training draws two, to save time.
        """
        thumbnail = thumbnail.to(self.grid_global.weight.dtype)
        level = _mean(thumbnail.flatten(1), 1).clamp(0.004, 1.0)
        a = level[:, None, None, None]
        # With counts, noise makes dark cells negative, where the quotient would have a pole.
        lit = thumbnail.clamp(min=0)
        adapted = lit * (1 + a) / (lit + a)
        # Quantiles of each channel distinguish noise that is clipped at black from shadows.
        values = torch.cat(
            [adapted.mean(1, keepdim=True), adapted.amax(1, keepdim=True), adapted], 1
        ).flatten(2)
        spread = torch.quantile(values, self.quantiles, dim=2)  # (Q, B, 2 + C)
        whole = [spread.permute(1, 0, 2).flatten(1), level.log2()[:, None] / 4]
        inputs = torch.cat([adapted, thumbnail], 1)
        count = len(symmetries)
        features = self.features(torch.cat([_turned(inputs, k) for k in symmetries]))
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
    """Apply a symmetry to (B, C, n, n): quarter turns, from the fifth symmetry on also mirrored."""
    x = torch.rot90(x, symmetry % 4, (2, 3))
    return x.flip(3) if symmetry >= 4 else x


def _turned_back(x: Tensor, symmetry: int) -> Tensor:
    x = x.flip(3) if symmetry >= 4 else x
    return torch.rot90(x, -(symmetry % 4), (2, 3))


def _mean(x: Tensor, dim: int) -> Tensor:
    """Mean that is identical to the last bit for any order of the values along ``dim``."""
    return x.sort(dim).values.mean(dim)


def sample_weights(
    start: float,
    stop: float,
    size: float,
    cells: int,
    step: int = 2,
    extent: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Bilinear interpolation weights of the grid's cells along one axis of a window.

    Sample ``i`` is at the centre of the ``step`` pixels that start at ``start + i * step``.  The
    weights are computed in float64 from positions in the whole image, so that a tile gets the
    same weights as the whole image to the last bit.

    Parameters
    ----------
    start, stop : float
        Window along this axis, in pixels of the whole image; its length is a multiple of ``step``.
    size : float
        Length of the whole image along this axis, in pixels.
    cells : int
        Number of grid cells along this axis.
    step : int
        Number of pixels per sample.
    extent : (float, float)
        Part of the axis that the cells cover.

    Returns
    -------
    Tensor, shape ((stop - start) / step, cells)
    """
    places = torch.arange(round((stop - start) / step), dtype=torch.float64)
    centre = start + step * places + step / 2
    first, last = extent
    position = ((centre / size - first) / (last - first) * cells - 0.5).clamp(0, cells - 1)
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
        Dtype of the result.

    Returns
    -------
    Tensor, shape (B, G, h, w)
        Sampled features in channels-last layout.
    """
    across = grid @ columns[:, None].transpose(2, 3)  # (B, G, cells, w)
    across = across.permute(0, 2, 3, 1).flatten(2)
    sampled = rows.to(dtype) @ across.to(dtype)  # (B, h, w G)
    return sampled.unflatten(2, (columns.shape[1], -1)).permute(0, 3, 1, 2)
