"""Activation of the convolutions, and sums that reuse the memory of their first operand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
