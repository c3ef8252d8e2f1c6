"""Area-mean thumbnails from fixed bins, the same whatever the tiling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

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
    return _shares(start, stop, size, bins) / size


def _shares(start: int, stop: int, size: int, bins: int = SIZE) -> NDArray[np.float64]:
    """Part of each pixel that lies in each bin, in units of ``1 / bins`` pixels: integers."""
    edges = np.arange(bins + 1, dtype=np.float64) * size
    pixel = np.arange(start, stop, dtype=np.float64) * bins
    upper = np.minimum(edges[1:, None], pixel + bins)
    lower = np.maximum(edges[:-1, None], pixel)
    return np.maximum(upper - lower, 0)


def _weighted_rows(values: NDArray[Any], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (C, bins, w) of rows (C, h, w), weighted by their shares (bins, h) in each bin.

    All rows of a bin but the first and the last lie in it as a whole, so they are added
    before they are weighted.
    """
    result = np.empty((len(values), len(shares), values.shape[2]))
    for number, share in enumerate(shares):
        inside = np.flatnonzero(share)
        first, last = inside[0], inside[-1]
        total = share[first] * values[:, first].astype(np.float64)
        if last > first:
            total += share[last] * values[:, last].astype(np.float64)
        if last > first + 1:
            inner = values[:, first + 1 : last].sum(1, dtype=np.float64)
            total += share[first + 1] * inner
        result[:, number] = total
    return result


class Thumbnail:
    """Accumulate the area mean of (C, H, W) planes from their windows.

    Missing pixels do not count (see `missing`); a bin that has no others is 0.  Planes added
    one after the other are averaged.

    Pixels are weighted in 64ths of a side, so that the sums of integers are
    integers, exact in float64 and the same in whatever order they are added (up
    to 2^53: some 390 000 pixels a side for 16 bits).

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
        rows = _shares(row, row + height, self._size[0])
        columns = _shares(column, column + width, self._size[1])
        # Only the bins the window touches: a window of a large image meets few of them.
        r, c = (slice(k[0], k[-1] + 1) for k in map(np.flatnonzero, (rows.any(1), columns.any(1))))
        rows, columns = rows[r], columns[c]
        values = np.ascontiguousarray(np.ma.getdata(window))
        weight: Any = np.outer(rows.sum(1), columns.sum(1))
        if (gone := missing(window)) is not None:
            values = np.where(gone, 0, values)
            weight = rows @ ~gone @ columns.T
        self._sum[:, r, c] += _weighted_rows(values, rows) @ columns.T
        self._weight[:, r, c] += weight

    def merge(self, other: Thumbnail) -> None:
        """Add what another one of the same shape was given."""
        self._sum += other._sum
        self._weight += other._weight

    @property
    def mean(self) -> NDArray[np.float64]:
        """The (C, 64, 64) thumbnail of what was added."""
        return self._sum / np.where(self._weight > 0, self._weight, 1)
