"""The mean of matching frames: lower the noise of a moving picture before it is enhanced.

A picture and its neighbouring frames are averaged pixel by pixel, where they show the same. The gates
of the noise network's stage of neighbouring frames decide this, from means of few pixels of one colour;
in the other colours, these means and those of larger areas must agree. Where no neighbour matches, nothing is changed, so that the
result is that of the single frame. A mean does not blur: what is the same in all frames is kept, also
texture that looks like noise in one frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dcr.network.cascade import Cascade
from napari_dcr.network.folding import FOLD, unfold
from napari_dcr.network.global_net import FrameMean
from napari_dcr.network.neighbours import (
    DIFFER,
    Comparison,
    NeighbourStage,
    in_noise,
    moved,
    same_light,
    scaled_light,
)
from napari_dcr.network.noise_stage import CEILING

DEPTH = 1
"""Number of sub-U-Nets whose features are compared. With all three, the gates gain less than 0.3 dB and take
three times as long."""

BINNING = 2
"""Smallest number of pixels along each axis whose means are compared. Comparing single pixels gains less than
0.1 dB, up to 0.5 dB in pans by an odd number of pixels with mild noise, and takes four times as long."""


CERTAIN = 12.0, 3.0
"""Sum over the colours of the squared differences of a place, in units of their variance, from which the places
beside it are not averaged either: the first number, and the second for each colour. Noise exceeds it in
one place of ten thousand."""

BEGIN = 0.75
"""Share of this sum from which the places beside are averaged less."""


class PictureFeatures(NamedTuple):
    """Data of one frame of a moving picture, for the frame itself and as a neighbour.

    Attributes
    ----------
    x : Tensor, shape (B, C, H, W)
        Window in display values, not clipped.
    weights : tuple of Tensor
        Interpolation weights of the feature grid for the window.
    compared : Comparison
        Data of the means over n pixels of the colour that is compared.
    others : Tensor, shape (B, k, h, w), optional
        Stabilised means over n pixels of the other colours with noise; None if there are none.
    noise : Tensor, shape (B, k, h, w), optional
        For a frame whose light was scaled, the variance of the noise of ``others``; None for other frames,
        where it is 1.
    """

    x: Tensor
    weights: tuple[Tensor, Tensor]
    compared: Comparison
    others: Tensor | None
    noise: Tensor | None = None

    def aligned(self, down: int, across: int, binning: tuple[int, int]) -> PictureFeatures:
        """Shift a neighbour to the place of the frame that it is averaged with.

        Pixels are moved exactly. What is compared of binned pixels is interpolated between them.

        Parameters
        ----------
        down, across : int
            Number of pixels by which the neighbour has moved.
        binning : (int, int)
            That of the colour that is compared.
        """
        if not (down or across):
            return self
        steps = down / binning[0], across / binning[1]

        def shifted(x: Tensor) -> Tensor:
            return _interpolated(x, *steps)

        own = torch.ones_like(unfold(self.compared.pixels))
        if self.compared.present is not None:
            own = F.interpolate(self.compared.present, scale_factor=FOLD)
        inside = shifted(own) > 1 - 1e-3
        # A folded pixel is inside if all of its pixels are.
        present = -F.max_pool2d(-inside.to(self.x), FOLD)
        return self._replace(
            x=moved(self.x, down, across),
            compared=self.compared.shifted(shifted, present),
            others=None if self.others is None else shifted(self.others),
            noise=None if self.noise is None else shifted(self.noise),
        )

    def scaled(
        self, ratio: float, addend: float, own: FrameMean, other: FrameMean
    ) -> PictureFeatures:
        """Scale the light of a neighbour to that of the frame that it is averaged with.

        Parameters
        ----------
        ratio, addend : float
            Where the frame has the display value ``v``, the neighbour has ``ratio * v + addend``.
        own, other : FrameMean
            Of the neighbour, and of the frame.
        """
        changes = {}
        for number in (own.compared, *own.others):
            factors = [float(mean.noise.factor[0, number]) for mean in (own, other)]
            offsets = [float(mean.noise.offset[0, number]) for mean in (own, other)]
            # The same change in the units of the noise models.
            in_counts = ratio * factors[0] / factors[1]
            zero = factors[0] * addend + offsets[0] - in_counts * offsets[1]
            changes[number] = in_counts, zero, own.counts(number), other.counts(number)
        others, noise = None, None
        if self.others is not None:
            scaled = [
                scaled_light(pixels, *changes[number])
                for number, pixels in zip(own.others, self.others.split(1, 1), strict=True)
            ]
            others, noise = (torch.cat(parts, 1) for parts in zip(*scaled, strict=True))
        compared = self.compared.scaled(*changes[own.compared])
        return self._replace(
            x=(self.x - addend) / ratio, compared=compared, others=others, noise=noise
        )


def picture_features(
    network: Cascade,
    x: Tensor,
    mean: FrameMean,
    weights: tuple[Tensor, Tensor],
    held: Tensor | None = None,
) -> PictureFeatures:
    """Compute what `mean_of_frames` needs of a window of one frame.

    Parameters
    ----------
    network : Cascade
        The noise network.
    x : Tensor, shape (B, C, H, W)
        Display values.
    mean : FrameMean
    weights : tuple of Tensor
        Interpolation weights of the feature grid for the window.
    held : Tensor, shape (B, 1, H, W), optional
        1 for pixels with data, 0 for others.
    """
    colour, noise = mean.colour, mean.noise
    down, across = colour.binning
    means = F.avg_pool2d(x[:, : len(noise.colours)].clamp(max=CEILING), colour.binning)
    counts = means * noise.factor + noise.offset
    # A mean over n pixels has the weights of the middle pixel.
    places = weights[0][:, down // 2 :: down], weights[1][:, across // 2 :: across]
    own = counts[:, mean.compared : mean.compared + 1]
    compared = network.comparison(own, colour, places, DEPTH)
    if held is not None:
        compared = compared._replace(present=-F.max_pool2d(-held, (FOLD * down, FOLD * across)))
    stabilised = [mean.counts(n).stabilise(counts[:, n : n + 1]) for n in mean.others]
    return PictureFeatures(x, weights, compared, torch.cat(stabilised, 1) if stabilised else None)


def mean_of_frames(
    network: Cascade,
    centre: PictureFeatures,
    neighbours: Sequence[PictureFeatures | None],
    mean: FrameMean,
) -> tuple[Tensor, Tensor]:
    """Average a frame with its neighbours where they match.

    Parameters
    ----------
    network : Cascade
        The noise network.
    centre : PictureFeatures
    neighbours : sequence of PictureFeatures or None
        Aligned features of the neighbours; None for a frame that is missing.
    mean : FrameMean
        That of the frame.

    Returns
    -------
    Tensor, shape (B, C, H, W)
        Display values; those of the frame itself where no neighbour matches.
    Tensor, shape (B, 1, h, w)
        Number of frames that were averaged in the colour that is compared.
    """
    stage = network.neighbours
    assert stage is not None
    colours = len(mean.noise.colours)
    frames = torch.ones_like(centre.compared.pixels[:, :1])
    total = frames.expand(-1, colours, -1, -1)
    gates = []
    for other in neighbours:
        if other is None:
            continue
        opened, level = _gate(stage, centre.compared, other.compared)
        gate = torch.zeros_like(total)
        gate[:, mean.compared : mean.compared + 1] = opened
        order = [mean.compared]
        if centre.others is not None and other.others is not None:
            differences = in_noise(other.others - centre.others, other.noise)
            level = torch.cat([level, F.avg_pool2d(differences, FOLD)], 1)
            gate[:, mean.others] = opened * same_light(level[:, 1:])
            order += mean.others
        gate[:, order] *= _apart_from_changes(level, other.compared.present)
        opened = gate[:, mean.compared : mean.compared + 1]
        frames, total = frames + opened, total + gate
        gates.append((other.x, gate))
    down, across = (FOLD * n for n in mean.colour.binning)

    def weighted(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of blocks of pixels, (B, C, h, n, W), and weights (B, C, h, 1, W) of their columns."""
        columns = weights.repeat_interleave(across, 3)
        return x[:, :colours].unflatten(2, (-1, down)), columns.unsqueeze(3)

    result = torch.mul(*weighted(centre.x, 1 / total))
    for x, gate in gates:
        result.addcmul_(*weighted(x, gate / total))
    return result.flatten(2, 3).expand(-1, centre.x.shape[1], -1, -1), frames


def _gate(stage: NeighbourStage, centre: Comparison, other: Comparison) -> tuple[Tensor, Tensor]:
    """Gate of a neighbour, and mean difference at each place in the units of `in_noise`; each (B, 1, h, w)."""
    opened, _, differences = stage.open_gate(centre, other)
    noise = None if other.noise is None else other.noise.mean(1, keepdim=True)
    return opened, in_noise(differences[:, FOLD**2 :].mean(1, keepdim=True), noise)


def _apart_from_changes(levels: Tensor, present: Tensor | None) -> Tensor:
    """From 1 to 0 where a place or one beside it has certainly changed, for each colour.

    The edge of a moving object may cover a part of a place, and what it hides and shows there may
    cancel out. The place beside it, which the object covers, tells that it is the edge of an object.
    What changes in one colour only does not count in the others.
    """
    squared = FOLD**2 / 2 * levels**2
    if present is not None:
        squared = squared * present
    first, each = CERTAIN
    joint = squared.clamp(max=DIFFER).sum(1, keepdim=True) / (first + each * levels.shape[1])
    certain = F.max_pool2d(torch.maximum(squared / (first + each), joint), 3, 1, 1)
    return ((1 - certain) / (1 - BEGIN)).clamp(0, 1)


def _interpolated(x: Tensor, down: float, across: float) -> Tensor:
    """Shift up and left by a number of pixels that need not be whole, with zeros outside the window."""
    for axis, shift in ((0, down), (1, across)):
        whole = math.floor(shift)
        near, far = (moved(x, *((n, 0) if axis == 0 else (0, n))) for n in (whole, whole + 1))
        x = near if whole == shift else torch.lerp(near, far, shift - whole)
    return x
