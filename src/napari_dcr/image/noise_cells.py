"""Noise in cells of a plane, from a sample that does not depend on how the plane is turned or mirrored."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPAN = 128
"""Usual side in pixels of the cells over which the noise is assumed to be constant."""

SAMPLED = 8
"""Number of rows, and of columns, that are sampled in a cell. It is even, see `spread`."""


def usual_differences(plane: NDArray[Any], gone: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """About 3.7 standard deviations of the noise in each cell, from differences of neighbouring pixels.

    Parameters
    ----------
    plane : ndarray, shape (h, w)
        Both sides are 5 pixels or more.
    gone : ndarray of bool, shape (h, w), or None
        Mask of missing pixels.

    Returns
    -------
    ndarray, shape (rows, columns) of `cells`

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 2, (200, 200))
    >>> bool(6 < usual_differences(noise, None)[0, 0] < 9)
    True
    """
    rows, columns = (len(cells(length)[0]) - 1 for length in plane.shape)
    tall, wide = (min(SAMPLED, max(2, length // 6 * 2)) for length in plane.shape)
    y, x = spread(plane.shape[0], rows * tall), spread(plane.shape[1], columns * wide)
    dtype = np.float32 if plane.dtype.itemsize <= 2 else np.float64
    width = plane.shape[1]
    places = y[:, None] * width + x
    own = _sampled(plane, gone, places, dtype)
    sample = np.empty((rows, columns, 4, tall, wide), dtype)
    for number, shift in enumerate((-1, 1, -width, width)):
        differences = np.abs(own - _sampled(plane, gone, places + shift, dtype))
        sample[:, :, number] = differences.reshape(rows, tall, columns, wide).swapaxes(1, 2)
    sample = sample.reshape(rows, columns, -1)
    # Use the smaller half of the differences, without edges; missing pixels are sorted to the end.
    # Means of sorted floats are equal to the last bit.
    sample.sort(2)
    usual: NDArray[np.float64] = sample[:, :, : sample.shape[2] // 2].mean(2, dtype=np.float64)
    return 8 * np.nan_to_num(usual)


def _sampled(
    plane: NDArray[Any], gone: NDArray[np.bool_] | None, places: NDArray[np.intp], dtype: Any
) -> NDArray[Any]:
    """Pixels at positions in the flattened plane as floats; missing pixels are NaN."""
    values: NDArray[Any] = plane.ravel().take(places).astype(dtype)
    if gone is not None:
        values[gone.ravel().take(places)] = np.nan
    return values


# Both results are the same for every frame of a stack, and take as long as the search in a small frame.


@functools.lru_cache(maxsize=256)
def cells(length: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide an axis into cells, in the same way from both ends.

    Returns
    -------
    edges : ndarray, shape (cells + 1,)
        First pixel of each cell, and the length.
    numbers : ndarray, shape (length,)
        Number of the cell of each pixel.

    Examples
    --------
    >>> cells(300)[0].tolist()
    [0, 100, 200, 300]
    """
    count = 2 * (length // (2 * SPAN)) + 1  # odd, because a middle edge might halve a pixel
    lower = np.arange(count // 2 + 1) * length // count
    edges = np.concatenate([lower, length - lower[::-1]])
    numbers = np.repeat(np.arange(count), np.diff(edges))
    edges.flags.writeable = numbers.flags.writeable = False
    return edges, numbers


@functools.lru_cache(maxsize=256)
def spread(length: int, count: int) -> NDArray[np.intp]:
    """Positions spread evenly along an axis, in the same way from both ends; ``count`` is even.

    Examples
    --------
    >>> spread(13, 4).tolist()
    [1, 4, 8, 11]
    """
    lower = np.arange(1, count, 2) * length // (2 * count)
    places: NDArray[np.intp] = np.concatenate([lower, length - 1 - lower[::-1]])
    places.flags.writeable = False
    return places
