"""Coring: a change of the finest detail that nobody would see is not made.

Who takes away noise that is too weak to be seen takes fine texture with it, and what
is smoother than photographs are looks painted.  Classic coring removes the weak part of
a picture's fine bands (Rossi 1978; Simoncelli & Adelson 1996, in wavelet bands); here it
is the weak part of what the cascade would change, in the finest bands of a Haar transform.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

VISIBLE = 2.5 / 255
"""Deviation of a change, in display values, at which half of it is made."""

AROUND = 1
"""Blocks on either side of a block over which the power of a change is averaged."""


def cored(change: Tensor, visible: Tensor) -> Tensor:
    """Leave out what is weak of a change's finest detail.

    Parameters
    ----------
    change : Tensor, shape (B, C, 4, h, w)
        Change of the coefficients of 2 x 2 pixels, in display values (`block_dct.dct`).
    visible : Tensor, shape (B,)
        Deviation of the pixels at which half of it is made; where it is 0, all of it.

    Returns
    -------
    Tensor
        Of the same shape: each block's mean as it was, and of the other coefficients
        ``p^2 / (p^2 + visible^4)``, p being the mean square of the pixels' differences from
        their block's mean, in the blocks around.

    Examples
    --------
    >>> import torch
    >>> change = torch.tensor([9.0, 2.0, 0.0, 0.0])[None, None, :, None, None] / 255
    >>> made = 255 * cored(change, torch.tensor([0.01]))
    >>> float(made[0, 0, 0].round()), bool(made[:, :, 1:].abs().max() < 0.1)
    (9.0, True)
    >>> bool((255 * cored(20 * change, torch.tensor([0.01])))[0, 0, 1] > 39)
    True
    """
    mean, fine = change[:, :, :1], change[:, :, 1:]
    power = _mean_around((fine * fine).sum(2).mean(1, keepdim=True)) / change.shape[2]
    threshold = visible[:, None, None, None] ** 4
    left_out = threshold / (power * power + (threshold + 1e-30))
    return torch.cat([mean, fine * (1 - left_out)[:, :, None]], 2)


def _mean_around(x: Tensor) -> Tensor:
    """Mean over the blocks around; those of the border stand for what is beyond it.

    By shifted sums: in half the time of `avg_pool2d` on CPUs.
    """
    height, width = x.shape[2:]
    size = 2 * AROUND + 1
    x = F.pad(x, [AROUND] * 4, mode="replicate")
    x = sum((x[..., i : i + width] for i in range(1, size)), x[..., :width])
    x = sum((x[..., i : i + height, :] for i in range(1, size)), x[..., :height, :])
    return x / size**2


def reach(low: int, high: int) -> tuple[int, int]:
    """Span of blocks that those from ``low`` to ``high`` depend on, along one axis."""
    return low - AROUND, high + AROUND
