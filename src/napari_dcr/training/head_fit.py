"""Least-squares fit of the last layer, so that well-exposed pictures keep their brightness.

The rows of the head for the means of blocks of 2 x 2 pixels are linear in its input, the latent
features. Their best values for many pairs follow from normal equations, without gradient steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from napari_dcr.network.block_dct import dct
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.folding import FOLD, fold
from napari_dcr.training.data import PhotoPairs

SLOW = 6.0
"""Standard deviation, in pixels, of the filter that keeps the slow part of an error."""

BORDER, STEP = 4, 3
"""Blocks at each side of a crop that are left out, because the network pads there, and step between
the blocks that are used: neighbours have nearly the same features."""

OFF_WEIGHT, EARLY_WEIGHT = 0.5, 0.35
"""Weight of pairs without detail, and of depths below the last one."""

CURVE_ERROR = 4 / 255
"""Error of the tone curve, in display values, that halves the weight of a kept picture.  The head
must not correct a wrong curve."""

OTHERS_WEIGHT, RIDGE = 0.5, 1e-3
"""Weight of the change of other pairs, and ridge relative to the diagonal of the equations."""


@contextmanager
def recorded_inputs(layer: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """Context manager that records copies of the inputs of a layer.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> with recorded_inputs(layer) as seen:
    ...     _ = layer(torch.ones(1, 2))
    >>> seen[0][0].tolist()
    [[1.0, 1.0]]
    """
    seen: list[tuple[Tensor, ...]] = []
    handle = layer.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(x.clone() for x in inputs))
    )
    try:
        yield seen
    finally:
        handle.remove()


@dataclass
class NormalEquations:
    """Sums of weighted least squares for the mean of luma and of each chroma component.

    Attributes
    ----------
    matrix, vector : Tensor, shape (C, n, n) and (C, n)
        Weighted sums of products of features, and of features and errors.
    blocks : float
        Sum of the weights.
    """

    matrix: Tensor
    vector: Tensor
    blocks: float = 0.0

    @classmethod
    def empty(cls, components: int, size: int) -> NormalEquations:
        """Create equations without data."""
        vector = torch.zeros(components, size, dtype=torch.float64)
        return cls(vector[..., None].repeat(1, 1, size), vector)

    def add(self, around: Tensor, base: Tensor, errors: Tensor, weight: float) -> None:
        """Add blocks, given their (n / 2, P) features, and (C, P) base and errors of their means."""
        for component, (mean, error) in enumerate(zip(base, errors, strict=True)):
            features = torch.cat([around * mean, around])  # inputs of the gain, and of the bias
            self.matrix[component] += weight * (features @ features.T)
            self.vector[component] += weight * (features @ error)
        self.blocks += weight * around.shape[1]

    def means(self) -> tuple[Tensor, Tensor]:
        """Matrix and vector per block; zeros without data."""
        blocks = self.blocks or 1.0
        return self.matrix / blocks, self.vector / blocks


def slow_part(picture: Tensor) -> Tensor:
    """Smooth pictures (..., h, w) so that their slow changes remain.

    Examples
    --------
    >>> bool(slow_part(torch.ones(1, 3, 40, 40)).allclose(torch.ones(1, 3, 40, 40)))
    True
    """
    width = (0,) * (picture.ndim - 2) + (SLOW, SLOW)
    smooth = ndimage.gaussian_filter(picture.numpy(), width, mode="mirror", truncate=3)
    return torch.from_numpy(smooth)


@torch.inference_mode()
def head_equations(
    network: Cascade, pairs: PhotoPairs, count: int
) -> tuple[NormalEquations, NormalEquations]:
    """Set up the equations of the first ``count`` pairs: of those that are kept, and of all others."""
    channels, width = network.config.channels, network.head.in_channels
    size = width * math.prod(network.head.kernel_size) + 1
    kept, others = (NormalEquations.empty(channels, 2 * size) for _ in range(2))
    inner = np.s_[..., BORDER:-BORDER:STEP, BORDER:-BORDER:STEP]
    depths = range(network.stages + 1)

    def block_means(picture: Tensor) -> Tensor:
        return dct(fold(picture))[:, :: FOLD**2][inner].flatten(2)[0].double()

    for index in range(count):
        pair = pairs[index]
        x, target, rows, columns = (pair[k][None] for k in ("input", "target", "rows", "columns"))
        conditioning = network.condition(pair["thumbnail"][None])
        base = block_means(conditioning.tone.base(x))
        for detail in (True, False):
            with recorded_inputs(network.head) as latents:
                curve, *pictures = network(
                    x, conditioning, (rows, columns), network.stages, detail, exits=depths
                )
            weight = 1.0 if detail else OFF_WEIGHT
            if pair["kept"]:
                error = float(slow_part(curve.clamp(0, 1) - target).square().mean().sqrt())
                weight /= 1 + (error / CURVE_ERROR) ** 2
            for depth, ((latent,), picture) in enumerate(zip(latents, pictures, strict=True), 1):
                around = F.unfold(latent, network.head.kernel_size, padding=1)
                around = around.view(1, -1, *latent.shape[2:])
                around = torch.cat([around, torch.ones_like(around[:, :1])], 1)[inner]
                (kept if pair["kept"] else others).add(
                    around.flatten(2)[0].double(),
                    base,
                    block_means(slow_part(target - picture.clamp(0, 1))),
                    weight * (1.0 if depth == network.stages else EARLY_WEIGHT),
                )
    return kept, others


def fit_head(network: Cascade, kept: NormalEquations, others: NormalEquations) -> Cascade:
    """Fit the rows of the head for the means of blocks, in a copy of the network.

    The slow error of kept pictures is to vanish, and other pictures are to change little.

    Parameters
    ----------
    network : Cascade
    kept, others : NormalEquations
        From `head_equations`.

    Examples
    --------
    >>> from napari_dcr.network.cascade import CascadeConfig
    >>> network = Cascade(CascadeConfig(stages=1, widths=(4, 4, 4), grid_channels=4)).eval()
    >>> drawings = PhotoPairs([], crop=96, length=2, seed=0, drawn=1.0)
    >>> fitted = fit_head(network, *head_equations(network, drawings, 2))
    >>> bool((fitted.head.weight != network.head.weight).any())
    True
    """
    if not kept.blocks:
        raise ValueError("pairs: got none whose target is its input; use more of them")
    result = copy.deepcopy(network)
    head, means = result.head, range(0, result.head.out_channels // 2, FOLD**2)
    assert head.bias is not None
    matrix, wanted = kept.means()
    steady, _ = others.means()
    for component, row in enumerate(means):
        own, other = matrix[component], steady[component]
        ridge = RIDGE * torch.diag(torch.diag(own + other))
        # Pictures without colours leave some coefficients undetermined; these stay 0.
        solution = torch.linalg.lstsq(
            own + OTHERS_WEIGHT * other + ridge, wanted[component], driver="gelsd"
        ).solution
        change = solution.float().chunk(2)
        with torch.no_grad():
            for place, part in zip((row, row + head.out_channels // 2), change, strict=True):
                head.weight[place] += part[:-1].view_as(head.weight[place])
                head.bias[place] += part[-1]
    return result
