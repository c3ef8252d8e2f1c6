"""Functions of pixels, some rows of an image after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BAND = 1 << 18
"""Pixels of a plane that are computed at once on a CPU."""

BLOCK = 8
"""Bands begin at rows that it divides; a multiple of what pixels are folded by."""


def in_bands(
    function: Callable[..., tuple[Tensor, ...]], *images: Tensor, halo: int = 0
) -> tuple[Tensor, ...]:
    """Apply a function of pixels and their surroundings; on a CPU to some rows after the other.

    What comes between then takes little memory and stays in the processor's cache. The
    last bit may depend on where a band ends. Gradients are taken of the whole.

    Parameters
    ----------
    function : callable
        Takes the images' rows, gives images of as many rows and columns as the first has.
    images : Tensor, shape (B, C, H / n, W / n)
        C may differ, and so may n, of which `BLOCK` is a multiple; it is 1 for the first.
    halo : int
        Rows above and below that a row of the results depends on; each n divides them.

    Returns
    -------
    tuple of Tensor, shape (B, C, H, W)
    """
    height, width = images[0].shape[2:]
    if torch.is_grad_enabled() or images[0].device.type != "cpu" or height * width <= BAND:
        return function(*images)
    step = max(BLOCK, BAND // width // BLOCK * BLOCK)
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
    """Make room for an image like one of its bands."""
    last = part.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (*part.shape[:2], height, part.shape[3]),
        dtype=part.dtype,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )
