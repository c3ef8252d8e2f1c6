"""The activation between the convolutions over pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.1
"""Slope of the activation for negative values."""


def activate(x: Tensor) -> Tensor:
    """Apply a leaky ReLU in place; the preceding convolution no longer needs its output."""
    return F.leaky_relu(x, SLOPE, inplace=True)
