"""The cosine transform of a block: its light and its colours, its mean and its detail apart.

Noise and picture differ in little more than that noise is as strong in every coefficient of
an orthonormal transform, and pictures are not: most of them is the mean, least of them is
fine and coloured.  Of 2 x 2 pixels the transform is that of Haar (1910), of three channels
the opponent colours of Ohta, Kanade and Sakai (1980), in which denoising is at home (BM3D,
Dabov et al. 2007).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dcr.network.folding import FOLD


def _dct_matrix(size: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II (Ahmed, Natarajan and Rao 1974), a coefficient a row."""
    k, i = np.mgrid[:size, :size]
    scale = np.sqrt(np.where(k == 0, 1, 2) / size)
    return scale * np.cos(np.pi * (2 * i + 1) * k / (2 * size))


@functools.cache
def _block_matrix(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same along channels, rows and columns of a folded block.

    Made once for a device: to copy it there for every window would wait for those before.
    """
    pixels = np.kron(_dct_matrix(FOLD), _dct_matrix(FOLD))
    with torch.inference_mode(False):  # training may use what inference made
        return torch.tensor(np.kron(_dct_matrix(channels), pixels), dtype=dtype, device=device)


def _matrix_for(x: Tensor) -> Tensor:
    return _block_matrix(x.shape[1] // FOLD**2, x.dtype, x.device)


def dct(folded: Tensor) -> Tensor:
    """Take folded pixels to the coefficients of their blocks.

    Parameters
    ----------
    folded : Tensor, shape (B, C F^2, h, w)
        From `folding.fold`.

    Returns
    -------
    Tensor, shape (B, C F^2, h, w)
        C times F^2 coefficients: of light (and of C - 1 colours), the mean's first.

    Examples
    --------
    >>> import torch
    >>> grey = dct(torch.full((1, 12, 1, 1), 0.5)).flatten()
    >>> bool((grey[0] - 0.5 * 12**0.5).abs() < 1e-6), bool(grey[1:].abs().max() < 1e-6)
    (True, True)
    """
    return _product(_matrix_for(folded), folded)


def inverse_dct(coefficients: Tensor) -> Tensor:
    """Undo `dct`.

    Examples
    --------
    >>> import torch
    >>> folded = torch.rand(2, 12, 3, 5)
    >>> bool(torch.allclose(inverse_dct(dct(folded)), folded, atol=1e-6))
    True
    """
    return _product(_matrix_for(coefficients).T, coefficients)


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])
