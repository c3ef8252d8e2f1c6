"""Optional stage that refines a frame with information from its neighbouring frames.

The cascade processes every frame by itself. This stage compares the cascade's results for a frame
with those for its neighbours along time or depth, and changes the maps of the frame. A gate for
each neighbour and pixel compares the two frames in units of their noise. Where a neighbour does not
match, its gate is exactly 0 and it contributes nothing, like a frame that is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dcr.network.activation import activate, added
from napari_dcr.network.folding import FOLD, fold, unfold
from napari_dcr.network.sub_unet import SubUNet
from napari_dcr.network.variance_stabilization import REACH, UNIT, Counts

AROUND = (3, 7)
"""Sides, in folded pixels, of the areas over which a gate averages differences."""

EVIDENCE = 2 + 2 * len(AROUND)
"""Number of maps from which a gate is computed."""

CLOSED = 0.1
"""Largest value of the sigmoid for which a gate is exactly 0."""

MATCH, DIFFER = 4.0, 9.0
"""Squared difference of local means, in units of its variance, at which a gate begins to close, and from
which it is exactly 0: two and three standard deviations. Changes of the light that exceed their noise are
therefore not averaged, with any weights."""


class Comparison(NamedTuple):
    """Data of one frame by which the gates compare it with another one.

    Attributes
    ----------
    pixels, estimate, variance : Tensor, shape (B, 4, H / 2, W / 2)
        Folded stabilised pixels, single-frame estimates and their variances, in units of the
        noise.
    present : Tensor, shape (B, 1, H / 2, W / 2), optional
        0 outside the image of a frame that was shifted, and where pixels have no data, else 1; None if
        it is 1 everywhere.
    noise : Tensor, shape (B, 4, H / 2, W / 2), optional
        For a frame whose light was scaled, the variance of the noise of ``pixels``; None for other
        frames, where it is 1.
    """

    pixels: Tensor
    estimate: Tensor
    variance: Tensor
    present: Tensor | None = None
    noise: Tensor | None = None

    @classmethod
    def of(cls, base: Tensor, maps: Tensor) -> Comparison:
        """Compute the data from the base of a frame and from its maps."""
        pixels = UNIT * fold(base)
        correction, log_error = maps.to(base.dtype).chunk(2, 1)
        estimate = pixels + REACH * torch.tanh(correction / REACH)
        return cls(pixels, estimate, (2 * log_error.clamp(-7, 2)).exp())

    def shifted(self, shift: Callable[[Tensor], Tensor], present: Tensor) -> Comparison:
        """Shift a neighbour with a function of unfolded pixels (B, 1, H, W)."""
        names = ["pixels", "estimate", "variance", *(["noise"] if self.noise is not None else [])]
        return self._replace(
            present=present,
            **{name: _channels_last(fold(shift(unfold(getattr(self, name))))) for name in names},
        )

    def scaled(self, ratio: float, addend: float, own: Counts, other: Counts) -> Comparison:
        """Scale the light of a neighbour; the parameters are those of `NeighbourStage.scaled`."""
        estimate, noise = scaled_light(self.estimate, ratio, addend, own, other)
        pixels, _ = scaled_light(self.pixels, ratio, addend, own, other)
        return self._replace(
            pixels=_channels_last(pixels),
            estimate=_channels_last(estimate),
            variance=_channels_last(self.variance * noise),
            noise=_channels_last(noise),
        )


class FrameFeatures(NamedTuple):
    """Data of one frame that the stage needs, for the frame itself and as a neighbour.

    Attributes
    ----------
    base, x : Tensor, shape (B, 1, H, W)
        Stabilised window and the window itself, as in `Counts.picture`.
    latent : Tensor, shape (B, width, H / 2, W / 2)
        Sum of the latents of the cascade's stages.
    maps : Tensor, shape (B, 8, H / 2, W / 2)
        Maps of the single frame.
    encoding : Tensor, shape (B, n, H / 2, W / 2)
        Features that are used when the frame is a neighbour of another one.
    compared : Comparison
    """

    base: Tensor
    x: Tensor
    latent: Tensor
    maps: Tensor
    encoding: Tensor
    compared: Comparison

    def aligned(self, down: int, across: int) -> FrameFeatures:
        """Shift the features of a neighbour to the place of the frame that it is combined with.

        Pixels, estimates and variances are moved exactly. The encoding is moved by whole folded
        pixels, and by the mean of two positions for an odd number of pixels.

        Parameters
        ----------
        down, across : int
            Number of pixels by which the neighbour has moved.
        """
        if not (down or across):
            return self
        halves = [(-(-n // FOLD), n // FOLD) for n in (down, across)]
        corners = [(y, x) for y in dict.fromkeys(halves[0]) for x in dict.fromkeys(halves[1])]
        encoding = torch.stack([moved(self.encoding, *corner) for corner in corners]).mean(0)
        inside = self.compared.present
        if inside is None:
            inside = torch.ones_like(self.compared.pixels[:, :1])
        present = torch.stack([moved(inside, *corner) for corner in corners]).amin(0)
        compared = self.compared.shifted(lambda x: moved(x, down, across), present)
        return self._replace(encoding=_channels_last(encoding), compared=compared)


def moved(x: Tensor, down: int, across: int) -> Tensor:
    """Shift up and left, with zeros outside the window."""
    height, width = x.shape[2:]
    down, across = (max(-n, min(k, n)) for k, n in ((down, height), (across, width)))
    return F.pad(x, [-across, across, -down, down])  # cuts where the padding is negative


class NeighbourStage(nn.Module):
    """Refine the maps of a frame with information from its neighbours.

    Parameters
    ----------
    latent : int
        Number of channels of the cascade's latent.
    encoding : int
        Number of channels of `FrameFeatures.encoding`.
    widths : tuple of int
        Number of feature channels at 1/2, 1/4 and 1/8 of the image's resolution.
    """

    FRAMES = 2
    """Largest number of neighbours on each side."""

    def __init__(
        self, latent: int, encoding: int = 16, widths: tuple[int, int, int] = (48, 64, 96)
    ) -> None:
        super().__init__()
        folded = FOLD**2
        self.per_frame = encoding + 2
        self.encode = nn.Conv2d(latent + 2 * folded, encoding, 1)
        self.compare = nn.Conv2d(EVIDENCE, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 1, 3, padding=1)
        inputs = 2 * self.FRAMES * self.per_frame + latent + 2 * folded
        self.mix = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.unet = SubUNet(widths)
        self.head = nn.Conv2d(widths[0] + 2 * folded, 2 * folded, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, 2.0)

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Span of folded pixels of the latents on which the maps ``low..high`` depend, along one axis."""
        low, high = SubUNet.reach(low - 1, high + 1)  # head
        around = 1 + 2 + max(AROUND) // 2 + 1  # mix, gate and comparison, averages, maps
        return low - around, high + around

    def features(self, base: Tensor, x: Tensor, latent: Tensor, maps: Tensor) -> FrameFeatures:
        """Compute the features of a frame from its base, pixels, summed latent and maps."""
        compared = Comparison.of(base, maps)
        encoding = self.encoding(latent, compared)
        return FrameFeatures(base, x, latent, maps, encoding, compared)

    def encoding(self, latent: Tensor, compared: Comparison) -> Tensor:
        """Compute the features that are used when the frame is a neighbour of another one."""
        own = torch.cat([compared.pixels, compared.estimate], 1) / UNIT
        # Concatenating tensors of equal memory layout avoids a second copy.
        inputs = torch.cat([latent, _channels_last(own.to(latent))], 1)
        return activate(self.encode(_channels_last(inputs)))

    def scaled(
        self, features: FrameFeatures, ratio: float, addend: float, own: Counts, other: Counts
    ) -> FrameFeatures:
        """Scale the light of a neighbour to that of the frame that it is combined with.

        The network compares and combines frames in units of the noise of the frame that is enhanced.
        Therefore the noise of the scaled neighbour is computed, too.

        Parameters
        ----------
        features : FrameFeatures
            Features of the neighbour.
        ratio, addend : float
            Where the frame has the light ``w``, the neighbour has ``ratio * w + addend``; each in the
            units of its own noise model.
        own, other : Counts
            Noise models of the neighbour and of the frame.
        """
        compared = features.compared.scaled(ratio, addend, own, other)
        encoding = self.encoding(features.latent, compared)
        return features._replace(encoding=encoding, compared=compared)

    def forward(
        self,
        centre: FrameFeatures,
        neighbours: Sequence[FrameFeatures | None],
        present: Tensor | None = None,
    ) -> Tensor:
        """Compute what is added to the maps of a frame.

        Parameters
        ----------
        centre : FrameFeatures
        neighbours : sequence of FrameFeatures or None
            Features of the frames ``-n..-1, 1..n``, with n = 1 or 2; None for a missing frame. At
            least one must be given.
        present : Tensor, shape (B, 2 n), optional
            1 if a neighbour is used, 0 if not; during training, random neighbours are left out.

        Returns
        -------
        Tensor, shape (B, 8, H / 2, W / 2)
            Addition to the maps, exactly 0 where all gates are closed.
        """
        return self.gated(centre, neighbours, present)[0]

    def gated(
        self,
        centre: FrameFeatures,
        neighbours: Sequence[FrameFeatures | None],
        present: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute the addition to the maps, and the gates of the neighbours, (B, 1, H / 2, W / 2) each."""
        skipped = self.FRAMES - len(neighbours) // 2
        encodings: list[Tensor] = []
        small: list[Tensor] = []
        slots: list[int] = []
        closed = torch.ones_like(centre.compared.pixels[:, :1])
        total = torch.zeros_like(closed)
        means = torch.zeros_like(torch.cat([centre.compared.estimate, centre.compared.pixels], 1))
        for number, other in enumerate(neighbours):
            if other is None:
                continue
            opened, level, differences = self.open_gate(centre.compared, other.compared)
            if present is not None:
                opened = opened * present[:, number, None, None, None]
            closed = closed * (1 - opened)
            total = total + opened
            means = means + opened * differences
            encodings.append(other.encoding * opened.to(other.encoding))
            small += [opened, level * opened]
            slots.append(number + skipped)
        means = _channels_last((means / (1 + total)).to(centre.latent))
        gates = _channels_last(torch.cat(small, 1).to(centre.latent))
        inputs = torch.cat([*encodings, gates, _channels_last(centre.latent), means], 1)
        state = activate(F.conv2d(inputs, self._kernel(slots), self.mix.bias, padding=1))
        state = added(state, self.unet(state))
        addition = self.head(torch.cat([state, means], 1))
        return addition * (1 - closed).to(addition), small[::2]

    def open_gate(self, centre: Comparison, other: Comparison) -> tuple[Tensor, Tensor, Tensor]:
        """Compare a neighbour with the frame.

        Returns
        -------
        Tensor, shape (B, 1, h, w)
            The gate, from 0 to 1.
        Tensor, shape (B, 1, h, w)
            Difference of local means, in units of the noise.
        Tensor, shape (B, 8, h, w)
            Differences of estimates and of pixels.
        """
        # Differences of the estimates and of the noisy pixels.
        estimates, pixels = other.estimate - centre.estimate, other.pixels - centre.pixels
        scaled = (estimates**2 / (other.variance + centre.variance + 1e-3)).mean(1, keepdim=True)
        noise = None if other.noise is None else other.noise.mean(1, keepdim=True)
        mean = in_noise(pixels.mean(1, keepdim=True), noise)
        both = torch.cat([scaled, mean], 1)
        # The mean of n differences of pixels has a variance of 2 / n where the frames match.
        evidence = [scaled, FOLD**2 / 2 * both[:, 1:] ** 2]
        match = torch.ones_like(scaled)
        for side in AROUND:
            around, level = _mean_around(both, side).chunk(2, 1)
            squared = (FOLD * side) ** 2 / 2 * level**2
            evidence += [around, squared]
            match = match * _agreement(squared)
        logarithms = torch.log1p(torch.cat(evidence, 1)).to(self.compare.weight)
        compared = activate(self.compare(logarithms))
        opened = torch.sigmoid(self.gate(compared).to(pixels))
        opened = match * ((opened - CLOSED) / (1 - CLOSED)).clamp(min=0)
        if other.present is not None:
            opened = opened * other.present
        return opened, level, torch.cat([estimates, pixels], 1)

    def _kernel(self, slots: list[int]) -> Tensor:
        """Kernel of the first convolution for the given neighbours only, in the order of the inputs."""
        weight, n = self.mix.weight, self.per_frame
        own = [weight[:, n * slot : n * (slot + 1)] for slot in slots]
        parts = [part[:, :-2] for part in own] + [part[:, -2:] for part in own]
        return _channels_last(torch.cat([*parts, weight[:, 2 * self.FRAMES * n :]], 1))


def scaled_light(
    z: Tensor, ratio: float, addend: float, own: Counts, other: Counts
) -> tuple[Tensor, Tensor]:
    """Scale the light of stabilised values, and return the variance of the noise of the results, too.

    The parameters are those of `NeighbourStage.scaled`.
    """
    light = own.restore(z)
    scaled = (light - addend) / ratio
    noise = (own.deviation(light) / (ratio * other.deviation(scaled))) ** 2
    return other.stabilise(scaled), noise


def in_noise(differences: Tensor, noise: Tensor | None) -> Tensor:
    """Convert differences of two frames to units in which their noise has a variance of 2.

    ``noise`` is the variance of the noise of the second frame, where it is not 1.
    """
    return differences if noise is None else differences / ((1 + noise) / 2).sqrt()


def same_light(level: Tensor) -> Tensor:
    """Where folded pixels and means around them agree within their noise, from 0 to 1.

    In larger areas the differences of a small object that moved cancel out.
    ``level`` holds means of the differences of folded pixels, in the units of `in_noise`.
    """
    match = _agreement(FOLD**2 / 2 * level**2)
    for side in AROUND:
        match = match * _agreement((FOLD * side) ** 2 / 2 * _mean_around(level, side) ** 2)
    return match


def _agreement(squared: Tensor) -> Tensor:
    """From 1 to 0 where the squared difference of local means, in units of its variance, is large."""
    return ((DIFFER - squared) / (DIFFER - MATCH)).clamp(0, 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _mean_around(x: Tensor, side: int) -> Tensor:
    """Mean over ``side`` x ``side`` pixels around each pixel, without those outside the window."""
    for axis in (2, 3):
        length, half = x.shape[axis], side // 2
        padded = F.pad(x, (0, 0, half, half) if axis == 2 else (half, half))
        # On CPUs, adding maps takes a third of the time of `torch.nn.functional.avg_pool2d`.
        total = functools.reduce(torch.add, (padded.narrow(axis, n, length) for n in range(side)))
        places = torch.arange(length, device=x.device)
        count = 1 + places.clamp(max=half) + places.flip(0).clamp(max=half)
        x = total / (count[:, None] if axis == 2 else count)
    return x
