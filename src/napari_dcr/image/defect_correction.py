"""Correct offsets and gains of lines in a window, and fill hot pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 2
"""Width in pixels of the border around a window that filling hot pixels needs."""

Floats = NDArray[np.float64]


def subtract_offsets(
    own: NDArray[Any], lines: Floats, axis: int, places: tuple[slice, slice], length: int
) -> None:
    """Subtract the offsets of columns or rows from the pixels of one channel, in place.

    Parameters
    ----------
    own : ndarray, shape (h, w)
        A window of the image.
    lines : ndarray, shape (p, n)
        Offsets of all lines of the image, for each of the p equal parts along them.
    axis : {0, 1}
        Axis along which a line runs: 0 for columns, 1 for rows.
    places : (slice, slice)
        Rows and columns of the window in the image.
    length : int
        Number of pixels in a line of the image.
    """
    along, across = places[axis], places[1 - axis]
    part = np.arange(along.start, along.stop) * len(lines) // length
    for number in range(part[0], part[-1] + 1):
        inside = np.flatnonzero(part == number)
        span = slice(inside[0], inside[-1] + 1)
        if axis == 0:
            own[span] -= lines[number, across]
        else:
            own[:, span] -= lines[number, across][:, None]


def divide_by_gains(
    own: NDArray[Any], row_gain: Floats | None, column_gain: Floats | None, black: float
) -> None:
    """Divide values above the black level by the gains of rows (h,) and columns (w,), in place."""
    if row_gain is None and column_gain is None:
        return
    own -= black
    if column_gain is not None:
        own /= column_gain
    if row_gain is not None:
        own /= row_gain[:, None]
    own += black


def fill_hot_pixels(
    own: NDArray[Any], y: NDArray[np.intp], x: NDArray[np.intp], lost: NDArray[np.bool_] | None
) -> None:
    """Replace hot pixels by the weighted mean of their good neighbours, in place.

    Parameters
    ----------
    own : ndarray, shape (h, w)
        A window of one channel.
    y, x : ndarray of int, shape (n,)
        Rows and columns of its hot pixels.
    lost : ndarray of bool, shape (h, w), or None
        Mask of missing pixels, which are not used.
    """
    if not len(y):
        return
    height, width = own.shape
    good = np.ones(own.shape, bool) if lost is None else ~lost
    good[y, x] = False
    left = np.arange(len(y))
    filled = np.empty(len(y), own.dtype)
    for radius in (1, MARGIN):
        total, count = np.zeros(len(left)), np.zeros(len(left))
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                # Nearer neighbours have more weight, because the scene is more similar there.
                weight = 1 / max(dy * dy + dx * dx, 1)
                ny, nx = y[left] + dy, x[left] + dx
                inside = (ny >= 0) & (ny < height) & (nx >= 0) & (nx < width)
                ny, nx = np.where(inside, ny, 0), np.where(inside, nx, 0)
                usable = inside & good[ny, nx]
                total += np.where(usable, weight * own[ny, nx], 0)
                count += weight * usable
        some = count > 0
        filled[left[some]] = total[some] / count[some]
        left = left[~some]
        if not len(left):
            break
    filled[left] = own[y[left], x[left]]  # a whole patch of defects has no good neighbours
    own[y, x] = filled
