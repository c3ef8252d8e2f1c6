"""Area-mean thumbnails from fixed bins, the same whatever the tiling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 64
"""Bins per axis."""


def bin_weights(start: int, stop: int, size: int, bins: int = SIZE) -> NDArray[np.float64]:
    """Share of each pixel ``start..stop-1`` of an axis of ``size`` in each bin's mean.

    Bin ``k`` covers ``[k, k + 1) * size / bins`` pixels; a pixel on an edge is
    shared between its bins, so the mean is exact for any size, also below
    ``bins``.

    Returns
    -------
    ndarray, shape (bins, stop - start)
        Summed over the whole axis each row gives 1.

    Examples
    --------
    >>> bin_weights(0, 3, 3, bins=2).round(3)
    array([[0.667, 0.333, 0.   ],
           [0.   , 0.333, 0.667]])
    """
    edges = np.arange(bins + 1, dtype=np.float64) * size / bins
    pixel = np.arange(start, stop, dtype=np.float64)
    upper = np.minimum(edges[1:, None], pixel + 1)
    lower = np.maximum(edges[:-1, None], pixel)
    return np.maximum(upper - lower, 0) * (bins / size)


class Thumbnail:
    """Accumulate the area mean of (C, H, W) planes from their windows.

    Non-finite pixels do not count; a bin that has no others is 0.  Planes added
    one after the other are averaged.

    Parameters
    ----------
    channels, height, width : int
        Shape of the whole plane.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._size = height, width
        self._sum = np.zeros((channels, SIZE, SIZE))
        self._weight = np.zeros((channels, SIZE, SIZE))

    def add(self, window: NDArray[Any], row: int, column: int) -> None:
        """Add a (C, h, w) window whose first pixel is at ``row``, ``column``."""
        height, width = window.shape[1:]
        rows = bin_weights(row, row + height, self._size[0])
        columns = bin_weights(column, column + width, self._size[1])
        # Only the bins the window touches: a window of a large image meets few of them.
        r, c = (slice(k[0], k[-1] + 1) for k in map(np.flatnonzero, (rows.any(1), columns.any(1))))
        rows, columns = rows[r], columns[c]
        values = window.astype(np.float64)
        finite = np.isfinite(values)
        if finite.all():
            weight = np.outer(rows.sum(1), columns.sum(1))
        else:
            values = np.where(finite, values, 0)
            weight = rows @ finite @ columns.T
        self._sum[:, r, c] += rows @ values @ columns.T
        self._weight[:, r, c] += weight

    @property
    def mean(self) -> NDArray[np.float64]:
        """The (C, 64, 64) thumbnail of what was added."""
        return self._sum / np.where(self._weight > 0, self._weight, 1)
