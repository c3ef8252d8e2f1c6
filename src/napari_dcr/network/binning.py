"""Correlated noise: enhance subsampled images of local means, in which the noise is nearly white.

The network is trained on noise that is independent from pixel to pixel. If it is not, local means
over n x n pixels are computed around every pixel and divided into n x n images, each of which takes
every n-th mean along both axes. Within such an image the noise is nearly white. All images are
enhanced and interleaved again, so the result has as many pixels as the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dcr.network.folding import FOLD
from napari_dcr.network.global_net import Conditioning

if TYPE_CHECKING:
    from napari_dcr.network.cascade import Cascade
    from napari_dcr.network.neighbours import FrameFeatures


def enhance_binned(
    network: Cascade,
    x: Tensor,
    conditioning: Conditioning,
    weights: tuple[Tensor, Tensor],
    depth: int,
    detail: bool = True,
    exits: Sequence[int] | None = None,
) -> Tensor | list[Tensor]:
    """Enhance a window as `Cascade.forward` does, at the binning of its conditioning.

    The subsampled images are enhanced one after the other; with 9 of them, the feature maps need
    only a ninth of the memory.

    Parameters
    ----------
    network : Cascade
    x : Tensor, shape (B, C, H, W)
        H and W are multiples of the stride times the binning.
    conditioning, depth, detail, exits
        See `Cascade.forward`.
    weights : tuple of Tensor
        From `Cascade.window_weights` for the binning.
    """
    down, across = conditioning.binning
    if (down, across) == (1, 1):
        return network(x, conditioning, weights, depth, detail, exits)
    wanted = [depth] if exits is None else list(exits)
    counts = conditioning.tone
    # At depth 0 nothing is changed, so averaging is not needed.
    results = {0: counts.picture(counts.base(x), x)} if 0 in wanted else {}
    inner = [d for d in wanted if d]
    phases = _phases(x, conditioning.binning) if inner else ()
    for (y, column), phase in phases:
        pictures = network(phase, conditioning, weights, max(inner), detail, inner)
        for exit_, picture in zip(inner, pictures, strict=True):
            if exit_ not in results:
                results[exit_] = picture.new_empty(*picture.shape[:2], *x.shape[2:])
            results[exit_][:, :, y::down, column::across] = picture
    outputs = [results[d] for d in wanted]
    return outputs[0] if exits is None else outputs


def binned_features(
    network: Cascade,
    x: Tensor,
    conditioning: Conditioning,
    weights: tuple[Tensor, Tensor],
    depth: int,
    detail: bool = True,
    held: Tensor | None = None,
) -> tuple[FrameFeatures, ...]:
    """Compute what `fuse_binned` needs of a window of one frame: one item for each picture.

    The parameters are those of `enhance_binned`; ``depth`` is at least 1. ``held``, (B, 1, H, W), is 1
    for pixels with data and 0 for others.
    """
    found = tuple(
        network.frame_features(phase, conditioning, weights, depth, detail)
        for _, phase in _phases(x, conditioning.binning)
    )
    if held is None:
        return found
    # A mean has data if all of its pixels have, and a folded pixel if all of its means have.
    parts = [-F.max_pool2d(-own, FOLD) for _, own in _phases(held, conditioning.binning)]
    return tuple(
        features._replace(compared=features.compared._replace(present=(part > 1 - 1e-3).to(part)))
        for features, part in zip(found, parts, strict=True)
    )


def fuse_binned(
    network: Cascade,
    centre: Sequence[FrameFeatures],
    neighbours: Sequence[Sequence[FrameFeatures] | None],
    conditioning: Conditioning,
) -> Tensor:
    """Enhance a window of a frame with the help of the frames beside it.

    Parameters
    ----------
    network : Cascade
    centre : sequence of FrameFeatures
        Of the frame, from `binned_features`.
    neighbours : sequence
        Those of the same window in the frames ``-n..-1, 1..n``; None for a frame that is missing.
    conditioning : Conditioning
        That of the frame.
    """
    down, across = conditioning.binning
    pictures = [
        network.fuse(
            features,
            [None if other is None else other[number] for other in neighbours],
            conditioning,
        )
        for number, features in enumerate(centre)
    ]
    if len(pictures) == 1:
        return pictures[0]
    first = pictures[0]
    result = first.new_empty(*first.shape[:2], down * first.shape[2], across * first.shape[3])
    for number, picture in enumerate(pictures):
        result[:, :, number // across :: down, number % across :: across] = picture
    return result


def _phases(x: Tensor, binning: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """First row, first column and pixels of every picture of a window."""
    down, across = binning
    if binning == (1, 1):
        yield (0, 0), x
        return
    means = local_means(x, binning)
    for y, column in itertools.product(range(down), range(across)):
        yield (y, column), means[:, :, y::down, column::across].contiguous()


def local_means(x: Tensor, binning: tuple[int, int]) -> Tensor:
    """Means over ``binning`` pixels, odd numbers, around each pixel of (B, C, H, W).

    Pixels at the border are repeated beyond it.

    Examples
    --------
    >>> import torch
    >>> local_means(torch.tensor([[[[0.0, 3.0, 6.0, 0.0]]]]), (1, 3)).tolist()
    [[[[1.0, 3.0, 3.0, 2.0]]]]
    """
    down, across = (size // 2 for size in binning)
    x = F.pad(x, [across, across, down, down], mode="replicate")
    height, width = x.shape[2] - 2 * down, x.shape[3] - 2 * across
    rows = torch.stack([x[:, :, i : i + height] for i in range(binning[0])]).mean(0)
    return torch.stack([rows[..., i : i + width] for i in range(binning[1])]).mean(0)
