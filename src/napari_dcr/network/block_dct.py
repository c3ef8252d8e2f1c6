"""Cosine transform of blocks of pixels: separates luma from chroma, and means from detail.

White noise is equally strong in every coefficient of an orthonormal transform. Photographs
are not: most of their energy is in the mean, and least in fine chroma. For 2 x 2 pixels the
transform is the Haar transform (Haar 1910); for three channels it gives the opponent colours
of Ohta, Kanade and Sakai (1980), which are common in denoising (BM3D, Dabov et al. 2007).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dcr.network.folding import FOLD


def _dct_matrix(size: int) -> NDArray[np.float64]:
    """Matrix of the orthonormal DCT-II (Ahmed, Natarajan and Rao 1974), one row per coefficient."""
    k, i = np.mgrid[:size, :size]
    scale = np.sqrt(np.where(k == 0, 1, 2) / size)
    return scale * np.cos(np.pi * (2 * i + 1) * k / (2 * size))


@functools.cache
def _block_matrix(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix of the transform along channels, rows and columns of a folded block.

    Cached for each device: copying it there for every window would wait for earlier windows.
    """
    pixels = np.kron(_dct_matrix(FOLD), _dct_matrix(FOLD))
    with torch.inference_mode(False):  # so that training can use a matrix that inference created
        return torch.tensor(np.kron(_dct_matrix(channels), pixels), dtype=dtype, device=device)


def _matrix_for(x: Tensor) -> Tensor:
    return _block_matrix(x.shape[1] // FOLD**2, x.dtype, x.device)


def dct(folded: Tensor) -> Tensor:
    """Transform folded pixels into the coefficients of their blocks.

    Parameters
    ----------
    folded : Tensor, shape (B, C F^2, h, w)
        From `folding.fold`.

    Returns
    -------
    Tensor, shape (B, C F^2, h, w)
        F^2 coefficients for each of C components: luma, then C - 1 chroma components. The
        mean comes first in each.

    Examples
    --------
    >>> import torch
    >>> grey = dct(torch.full((1, 12, 1, 1), 0.5)).flatten()
    >>> bool((grey[0] - 0.5 * 12**0.5).abs() < 1e-6), bool(grey[1:].abs().max() < 1e-6)
    (True, True)
    """
    return _product(_matrix_for(folded), folded)


def inverse_dct(coefficients: Tensor) -> Tensor:
    """Invert `dct`.

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
