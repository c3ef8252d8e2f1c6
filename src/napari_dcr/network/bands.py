"""Evaluation of per-pixel functions in bands of rows, to save memory on CPUs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BAND = 1 << 18
"""Pixels of a plane that are evaluated at once on a CPU."""

BLOCK = 8
"""Bands begin at multiples of this many rows; itself a multiple of the folding factor."""


def in_bands(
    function: Callable[..., tuple[Tensor, ...]],
    *images: Tensor,
    halo: int = 0,
    band: int | None = None,
) -> tuple[Tensor, ...]:
    """Apply a function of pixels and their neighbourhood; on a CPU, band by band.

    Intermediate results of a band take little memory and stay in the processor's cache.
    The last bit of a result may depend on where a band ends. When gradients are needed,
    the function is applied to the whole images.

    Parameters
    ----------
    function : callable
        Takes a band of each image and returns images with as many rows and columns as
        the first band.
    images : Tensor, shape (B, C, H / n, W / n)
        C and n may differ between images. n is 1 for the first image and divides `BLOCK`.
    halo : int
        Number of rows above and below that a row of the results depends on; a multiple of
        every n.
    band : int, optional
        Number of pixels of a band; `BAND` if None.

    Returns
    -------
    tuple of Tensor, shape (B, C, H, W)
    """
    height, width = images[0].shape[2:]
    band = BAND if band is None else band
    if torch.is_grad_enabled() or images[0].device.type != "cpu" or height * width <= band:
        return function(*images)
    step = max(BLOCK, band // width // BLOCK * BLOCK)
    results: list[Tensor] = []
    for y in range(0, height, step):
        top, bottom = max(0, y - halo), min(height, y + step + halo)
        folds = (height // image.shape[2] for image in images)
        rows = (i[:, :, top // n : bottom // n] for i, n in zip(images, folds, strict=True))
        parts = function(*rows)
        results = results or [_of_height(height, part) for part in parts]
        for result, part in zip(results, parts, strict=True):
            result[:, :, y : y + step] = part[:, :, y - top : y - top + step]
    return tuple(results)


def _of_height(height: int, part: Tensor) -> Tensor:
    """Allocate an image of this height with the layout of one of its bands."""
    last = part.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (*part.shape[:2], height, part.shape[3]),
        dtype=part.dtype,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
