"""Coring: leave out changes of the finest detail that are too weak to be seen.

Removing noise that is too weak to be seen also removes fine texture, and an image that is
smoother than a photograph looks painted. Classic coring removes the weak part of a picture's
fine bands (Rossi 1978; Simoncelli & Adelson 1996, in wavelet bands). Here the weak part of
the cascade's *change* is removed, in the finest bands of a Haar transform.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

VISIBLE = 2.5 / 255
"""Standard deviation of a change, in display values, at which half of it is applied."""

AROUND = 1
"""Number of blocks on each side over which the power of a change is averaged."""


def cored(change: Tensor, visible: Tensor) -> Tensor:
    """Attenuate the weak part of a change in its finest detail.

    Parameters
    ----------
    change : Tensor, shape (B, C, 4, h, w)
        Change of the coefficients of 2 x 2 pixels, in display values (see `block_dct.dct`).
    visible : Tensor, shape (B,)
        Standard deviation of a change at which half of it is applied; 0 applies all of it.

    Returns
    -------
    Tensor
        Same shape. The mean of each block is unchanged; the other coefficients are
        multiplied by ``p^2 / (p^2 + visible^4)``, where p is the mean square difference
        between the pixels and their block's mean, averaged over the neighbouring blocks.

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
    """Mean over neighbouring blocks; blocks at the border are repeated beyond it.

    Uses shifted sums, which take half the time of `avg_pool2d` on CPUs.
    """
    height, width = x.shape[2:]
    size = 2 * AROUND + 1
    x = F.pad(x, [AROUND] * 4, mode="replicate")
    x = sum((x[..., i : i + width] for i in range(1, size)), x[..., :width])
    x = sum((x[..., i : i + height, :] for i in range(1, size)), x[..., :height, :])
    return x / size**2


def reach(low: int, high: int) -> tuple[int, int]:
    """Input span that the output blocks ``low..high`` depend on, along one axis."""
    return low - AROUND, high + AROUND
