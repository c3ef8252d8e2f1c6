"""Functions of single pixels, some rows of an image after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BAND = 1 << 18
"""Pixels of a plane that are computed at once on a CPU."""


def in_bands(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """Apply a function of single pixels; on a CPU to some rows after the other.

    What comes between then takes little memory and stays in the processor's cache. The
    last bit may depend on where a band ends. Gradients are taken of the whole.

    Parameters
    ----------
    function : callable
        Takes the images' rows, gives as many rows of as many columns.
    images : Tensor, shape (B, C, H, W)
        C may differ.
    """
    height, width = images[0].shape[2:]
    if torch.is_grad_enabled() or images[0].device.type != "cpu" or height * width <= BAND:
        return function(*images)
    step = max(1, BAND // width)
    result = None
    for y in range(0, height, step):
        part = function(*(image[:, :, y : y + step] for image in images))
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
