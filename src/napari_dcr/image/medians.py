"""Medians of finite values, several times as fast as `numpy.median`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median along the last axis, equal to that of `numpy.median` for finite values.

    `numpy.median` also searches for NaN, which takes several times as long as the median itself.

    Examples
    --------
    >>> median(np.array([[3.0, 1.0, 2.0], [4.0, 0.0, 9.0]])).tolist()
    [2.0, 4.0]
    """
    middle, is_odd = divmod(values.shape[-1], 2)
    ordered = np.partition(values, middle, -1)
    upper: NDArray[np.float64] = ordered[..., middle]
    return upper if is_odd else (ordered[..., :middle].max(-1) + upper) / 2
