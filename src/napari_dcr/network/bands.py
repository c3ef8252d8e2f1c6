"""Functions of pixels, some rows of an image after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BAND = 1 << 18
"""Pixels of a plane that are computed at once on a CPU."""

FOLD = 2
"""Pixels per axis that are folded into channels where the network works."""

BLOCK = 8
"""Bands begin at rows that it divides; a multiple of `FOLD`."""


def in_bands(function: Callable[..., Tensor], *images: Tensor, halo: int = 0) -> Tensor:
    """Apply a function of pixels and their surroundings; on a CPU to some rows after the other.

    What comes between then takes little memory and stays in the processor's cache. The
    last bit may depend on where a band ends. Gradients are taken of the whole.

    Parameters
    ----------
    function : callable
        Takes the images' rows, gives as many rows as the first has, of as many columns.
    images : Tensor, shape (B, C, H / n, W / n)
        C may differ, and so may n, of which `BLOCK` is a multiple; it is 1 for the first.
    halo : int
        Rows above and below that a row of the result depends on.
    """
    height, width = images[0].shape[2:]
    if torch.is_grad_enabled() or images[0].device.type != "cpu" or height * width <= BAND:
        return function(*images)
    step = max(BLOCK, BAND // width // BLOCK * BLOCK)
    halo = -(-halo // BLOCK) * BLOCK
    result = None
    for y in range(0, height, step):
        top, bottom = max(0, y - halo), min(height, y + step + halo)
        folds = (height // image.shape[2] for image in images)
        rows = (i[:, :, top // n : bottom // n] for i, n in zip(images, folds, strict=True))
        part = function(*rows)[:, :, y - top : y - top + step]
        if result is None:
            last = part.is_contiguous(memory_format=torch.channels_last)
            result = torch.empty(
                (*part.shape[:2], height, width),
                dtype=part.dtype,
                memory_format=torch.channels_last if last else torch.contiguous_format,
            )
        result[:, :, y : y + step] = part
    assert result is not None
    return result
