"""Conversion between straight colours and colours that are multiplied by alpha.

TIFF 6.0 (Adobe 1992), section 18, calls alpha by which colours are multiplied "associated".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_straight(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Divide colours by their alpha.

    Parameters
    ----------
    colours : ndarray, shape (C, h, w)
        Colours multiplied by alpha; integers in their dtype's full range, or floats in [0, 1].
    alpha : ndarray, shape (1, h, w)
        Alpha in the same dtype.

    Returns
    -------
    ndarray
        Straight colours of the same shape and dtype; black where alpha is 0.

    Examples
    --------
    >>> colour, alpha = np.full((3, 1, 1), 20, np.uint8), np.full((1, 1, 1), 51, np.uint8)
    >>> to_straight(colour, alpha).ravel()
    array([100, 100, 100], dtype=uint8)
    """
    top = _top(colours.dtype)
    opaque = alpha.astype(np.float64) / top
    straight = np.divide(colours, opaque, out=np.zeros(colours.shape), where=opaque > 0)
    return _stored(straight, colours.dtype, top)


def to_associated(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Multiply colours by their alpha; the inverse of `to_straight`, except for rounding.

    Examples
    --------
    >>> colour, alpha = np.full((3, 1, 1), 100, np.uint8), np.full((1, 1, 1), 51, np.uint8)
    >>> to_associated(colour, alpha).ravel()
    array([20, 20, 20], dtype=uint8)
    """
    top = _top(colours.dtype)
    return _stored(colours * (alpha.astype(np.float64) / top), colours.dtype, top)


def _top(dtype: np.dtype[Any]) -> float:
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def _stored(values: NDArray[np.float64], dtype: np.dtype[Any], top: float) -> NDArray[Any]:
    return (values if dtype.kind == "f" else np.clip(np.rint(values), 0, top)).astype(dtype)
