"""The activation between the convolutions over pixels, and sums that need no further memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.1
"""Slope of the activation for negative values."""


def activate(x: Tensor) -> Tensor:
    """Apply a leaky ReLU in place; the preceding convolution no longer needs its output."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def added(x: Tensor, y: Tensor) -> Tensor:
    """Sum of two tensors, of which the first is no longer needed; in place unless gradients are."""
    return x + y if torch.is_grad_enabled() else x.add_(y)
