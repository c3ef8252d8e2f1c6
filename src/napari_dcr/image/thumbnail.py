"""Area-mean thumbnails of images, independent of tiling."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

SIZE = 64
"""Number of thumbnail pixels (bins) per axis."""

FEW_ROWS = 128
"""Number of rows up to which a matrix product is faster than a sum for each bin."""


def bin_weights(start: int, stop: int, size: int, bins: int = SIZE) -> NDArray[np.float64]:
    """Weights of the pixels ``start..stop-1`` along an axis of ``size`` in the mean of each bin.

    Bin ``k`` covers ``[k, k + 1) * size / bins`` pixels.  A pixel on the edge of a bin is shared
    between both bins, so that the mean is exact for any size, also for sizes below ``bins``.

    Returns
    -------
    ndarray, shape (bins, stop - start)
        Weights; over the whole axis, each row sums to 1.

    Examples
    --------
    >>> bin_weights(0, 3, 3, bins=2).round(3)
    array([[0.667, 0.333, 0.   ],
           [0.   , 0.333, 0.667]])
    """
    return _shares(start, stop, size, bins) / size


@functools.lru_cache(maxsize=64)
def _shares(start: int, stop: int, size: int, bins: int = SIZE) -> NDArray[np.float64]:
    """Overlap of each pixel with each bin, as integers in units of ``1 / bins`` pixels."""
    edges = np.arange(bins + 1, dtype=np.float64) * size
    pixel = np.arange(start, stop, dtype=np.float64) * bins
    upper = np.minimum(edges[1:, None], pixel + bins)
    lower = np.maximum(edges[:-1, None], pixel)
    return np.maximum(upper - lower, 0)


def _weighted_rows(values: NDArray[Any], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (C, bins, w) of rows (C, h, w), weighted by their shares (bins, h) in each bin.

    All rows of a bin except the first and the last lie completely in it, so that they can be
    added before they are weighted.  Of a window with few rows, all are weighted at once.
    """
    if values.shape[1] <= FEW_ROWS:
        return shares @ values.astype(np.float64)
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
    """Accumulates the area means of (C, H, W) planes from their windows.

    Missing pixels do not count (see `missing`); a bin with only missing pixels is filled from
    other bins.  Several planes are averaged.

    Pixels are weighted in units of 1/64 of their side.  Sums of integers are therefore integers,
    which float64 represents exactly up to 2^53 (about 390 000 pixels a side for 16 bits), and do
    not depend on the order in which windows are added.

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
        # Restrict the sums to bins that overlap the window, which are few in large images.
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
        """Add the windows of another thumbnail of the same shape."""
        self._sum += other._sum
        self._weight += other._weight

    @property
    def mean(self) -> NDArray[np.float64]:
        """Thumbnail (C, 64, 64) of all windows that were added."""
        mean = self._sum / np.where(self._weight > 0, self._weight, 1)
        for values, held in zip(mean, self._weight > 0, strict=True):
            if held.any() and not held.all():
                _fill(values, held)
        return mean


def _fill(values: NDArray[np.float64], held: NDArray[np.bool_]) -> None:
    """Fill bins without data by reflection at the nearest bin with data.

    The filled thumbnail then has about the same mean, quantiles and structure as the scene. Repeating
    the outermost bins would turn a lamp at the border into a large area of light.
    """
    around = np.pad(held, 1, constant_values=True)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edges, holes = (np.argwhere(mask).astype(np.int32) for mask in (held & ~inner, ~held))
    down, across = (np.subtract.outer(h, e) for h, e in zip(holes.T, edges.T, strict=True))
    squares = down**2 + across**2
    nearest = squares.min(1)
    # Several edges may be equally near; their mean does not depend on how the image is turned.
    hole, edge = np.nonzero(squares == nearest[:, None])
    distance = np.zeros(held.shape, np.int32)
    distance[~held] = nearest
    mirrored = np.clip(2 * edges[edge] - holes[hole], 0, np.array(held.shape) - 1)
    # In a narrow scene, the reflection may be a bin without data that was filled before.
    is_filled = distance[tuple(mirrored.T)] < nearest[hole]
    sources = np.where(is_filled[:, None], mirrored, edges[edge])
    for step in np.unique(nearest):
        pairs = nearest[hole] == step
        numbers, own = np.unique(hole[pairs], return_inverse=True)
        sums = np.bincount(own, values[tuple(sources[pairs].T)])
        values[tuple(holes[numbers].T)] = sums / np.bincount(own)
