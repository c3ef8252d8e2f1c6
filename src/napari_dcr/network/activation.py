"""Activation of the convolutions, sums that need little memory, and convolutions of two maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
"""Slope of the activation for negative values."""


def activate(x: Tensor) -> Tensor:
    """Apply a leaky ReLU in place, which overwrites the output of the preceding convolution."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def added(x: Tensor, y: Tensor) -> Tensor:
    """Sum of two tensors, written into the first one unless gradients are computed.

    The caller must not use the first tensor afterwards.
    """
    return x + y if torch.is_grad_enabled() else x.add_(y)


def of_both(convolution: nn.Conv2d, x: Tensor, y: Tensor) -> Tensor:
    """Convolve the channels of two maps together.

    A CPU adds the convolutions of the two maps: copying the maps into one takes longer.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return convolution(torch.cat([x, y], 1))
    of_x, of_y = convolution.weight.split([x.shape[1], y.shape[1]], 1)
    padding = convolution.padding
    assert not isinstance(padding, str)
    return F.conv2d(x, of_x, convolution.bias, 1, padding).add_(F.conv2d(y, of_y, None, 1, padding))
