"""The mean of matching frames: lower the noise of a moving picture before it is enhanced.

A picture and its neighbouring frames are averaged pixel by pixel, where they show the same. The gates
of the noise network's stage of neighbouring frames decide this, from the features of one colour; in
the other colours, local means must agree. Where no neighbour matches, nothing is changed, so that the
result is that of the single frame. A mean does not blur: what is the same in all frames is kept, also
texture that looks like noise in one frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from napari_dcr.network.binning import first_phase
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.folding import FOLD, fold, unfold
from napari_dcr.network.global_net import FrameMean
from napari_dcr.network.neighbours import (
    FrameFeatures,
    NeighbourStage,
    moved,
    same_light,
    scaled_light,
)
from napari_dcr.network.noise_stage import CEILING
from napari_dcr.network.variance_stabilization import UNIT, Counts

DEPTH = 1
"""Number of sub-U-Nets whose features are compared. With all three, the gates gain less than 0.3 dB and take
three times as long."""


class PictureFeatures(NamedTuple):
    """Data of one frame of a moving picture, for the frame itself and as a neighbour.

    Attributes
    ----------
    x : Tensor, shape (B, C, H, W)
        Window in display values, not clipped.
    weights : tuple of Tensor
        Interpolation weights of the feature grid for the window.
    compared : FrameFeatures
        Features of the colour that is compared, of every n-th pixel of its local means.
    others : tuple of Tensor or None
        Folded stabilised pixels of every colour, (B, 4, h, w), as in `FrameFeatures.pixels`; None for the
        colour that is compared, and for colours without noise.
    noise : tuple of Tensor or None
        For a frame whose light was scaled, the variance of the noise of each of ``others``.
    """

    x: Tensor
    weights: tuple[Tensor, Tensor]
    compared: FrameFeatures
    others: tuple[Tensor | None, ...]
    noise: tuple[Tensor | None, ...]

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

        def shifted(folded: Tensor) -> Tensor:
            return fold(_interpolated(unfold(folded), *steps))

        def all_shifted(parts: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
            return tuple(None if part is None else shifted(part) for part in parts)

        own = self.compared
        names = ["pixels", "estimate", "variance", *(["noise"] if own.noise is not None else [])]
        inside = unfold(torch.ones_like(own.pixels))
        # A folded pixel is inside if all of its pixels are.
        present = fold((_interpolated(inside, *steps) > 1 - 1e-3).to(inside)).amin(1, keepdim=True)
        compared = own._replace(
            present=present, **{name: shifted(getattr(own, name)) for name in names}
        )
        return self._replace(
            x=moved(self.x, down, across),
            compared=compared,
            others=all_shifted(self.others),
            noise=all_shifted(self.noise),
        )

    def scaled(
        self, stage: NeighbourStage, ratio: float, addend: float, own: FrameMean, other: FrameMean
    ) -> PictureFeatures:
        """Scale the light of a neighbour to that of the frame that it is averaged with.

        Parameters
        ----------
        stage : NeighbourStage
            Stage of the noise network.
        ratio, addend : float
            Where the frame has the display value ``v``, the neighbour has ``ratio * v + addend``.
        own, other : FrameMean
            Of the neighbour, and of the frame.
        """
        compared, others, noise = self.compared, list(self.others), list(self.noise)
        for number, (mine, its) in enumerate(
            zip(own.noise.colours, other.noise.colours, strict=True)
        ):
            if mine is None or its is None:
                continue
            factors = [float(mean.noise.factor[0, number]) for mean in (own, other)]
            offsets = [float(mean.noise.offset[0, number]) for mean in (own, other)]
            # The same change in the units of the noise models.
            in_counts = ratio * factors[0] / factors[1]
            zero = factors[0] * addend + offsets[0] - in_counts * offsets[1]
            counts, target = mine.tone, its.tone
            assert isinstance(counts, Counts)
            assert isinstance(target, Counts)
            if number == own.compared:
                compared = stage.scaled(compared, in_counts, zero, counts, target)
            elif (pixels := others[number]) is not None:
                others[number], noise[number] = scaled_light(
                    pixels, in_counts, zero, counts, target
                )
        return self._replace(
            x=(self.x - addend) / ratio, compared=compared, others=tuple(others), noise=tuple(noise)
        )


def picture_features(
    network: Cascade, x: Tensor, mean: FrameMean, weights: tuple[Tensor, Tensor]
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
    """
    colour, noise = mean.colour, mean.noise
    down, across = colour.binning
    counts = x[:, : len(noise.colours)].clamp(max=CEILING) * noise.factor + noise.offset
    # A mean over n pixels has the weights of the middle pixel.
    places = weights[0][:, down // 2 :: down], weights[1][:, across // 2 :: across]
    others: list[Tensor | None] = []
    for number, (own, its) in enumerate(zip(counts.split(1, 1), noise.colours, strict=True)):
        if its is None or number == mean.compared:
            others.append(None)
        else:
            others.append(UNIT * fold(its.tone.base(first_phase(own, colour.binning))))
    own = counts[:, mean.compared : mean.compared + 1]
    compared = network.frame_features(first_phase(own, colour.binning), colour, places, DEPTH)
    return PictureFeatures(x, weights, compared, tuple(others), (None,) * len(others))


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
    x = centre.x[:, :colours]
    frames = torch.ones_like(centre.compared.pixels[:, :1])
    total, change = torch.ones_like(x), torch.zeros_like(x)
    for other in neighbours:
        if other is None:
            continue
        opened, _, _ = stage.open_gate(centre.compared, other.compared)
        frames = frames + opened
        gates = torch.cat([_gate(n, opened, centre, other, mean) for n in range(colours)], 1)
        gates = _at_pixels(gates, mean.colour.binning)
        total = total + gates
        change = torch.addcmul(change, gates, other.x[:, :colours] - x)
    return (x + change / total).expand(-1, centre.x.shape[1], -1, -1), frames


def _interpolated(x: Tensor, down: float, across: float) -> Tensor:
    """Shift up and left by a number of pixels that need not be whole, with zeros outside the window."""
    for axis, shift in ((0, down), (1, across)):
        whole = math.floor(shift)
        near, far = (moved(x, *((n, 0) if axis == 0 else (0, n))) for n in (whole, whole + 1))
        x = near if whole == shift else torch.lerp(near, far, shift - whole)
    return x


def _gate(
    number: int,
    opened: Tensor,
    centre: PictureFeatures,
    other: PictureFeatures,
    mean: FrameMean,
) -> Tensor:
    """Gate of a colour: that of the compared one, closed where this colour differs."""
    if number == mean.compared:
        return opened
    own, its = centre.others[number], other.others[number]
    if own is None or its is None:
        return torch.zeros_like(opened)
    return opened * same_light(its - own, other.noise[number])


def _at_pixels(gates: Tensor, binning: tuple[int, int]) -> Tensor:
    """Repeat gates (B, C, h, w) of folded, binned pixels for each pixel of the window."""
    down, across = (FOLD * n for n in binning)
    return gates.repeat_interleave(down, 2).repeat_interleave(across, 3)
