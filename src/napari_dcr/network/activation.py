"""The activation between the convolutions over pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.1
"""Of what is negative."""


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU, in place: what comes before has no use for its output any more."""
    return F.leaky_relu(x, SLOPE, inplace=True)
