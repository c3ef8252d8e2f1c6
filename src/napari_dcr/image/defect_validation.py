"""Validate the arrays that describe the defects of a sensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def checked_lines(
    name: str, value: Any, shape: tuple[int | None, ...], channels: int
) -> NDArray[np.float64]:
    """Convert offsets or gains to float64 and check them.

    Parameters
    ----------
    name : str
        Name of an attribute of `napari_dcr.Defects`; values are factors if it contains "gain".
    value : array_like
    shape : tuple
        Allowed lengths of the axes; None for any from 1.  The axis of the channels is the
        second of four, or the first.
    channels : int
        Number of channels of the sensor; one entry for all channels is allowed too.

    Raises
    ------
    ValueError
        If the shape is wrong, values are not finite, or factors are not positive.
    """
    array = np.ascontiguousarray(value, np.float64)
    fits = array.ndim == len(shape) and all(
        n > 0 and m in (None, n) for n, m in zip(array.shape, shape, strict=True)
    )
    if not fits or array.shape[1 if len(shape) == 4 else 0] not in (1, channels):
        raise ValueError(
            f"defects: got {name} of shape {array.shape}; allowed is {shape}"
            f" with 1 or {channels} channels"
        )
    if not np.isfinite(array).all() or ("gain" in name and (array <= 0).any()):
        allowed = "finite numbers" + (" above 0" if "gain" in name else "")
        raise ValueError(f"defects: got {name} with other values; allowed are {allowed}")
    return array


def checked_places(hot: Any, size: tuple[int, int, int]) -> NDArray[Any]:
    """Check the positions of hot pixels, (n, 3): channel, row and column of each.

    Parameters
    ----------
    hot : array_like of int
    size : (int, int, int)
        Channels, height and width of the sensor.

    Raises
    ------
    ValueError
        If the shape or dtype is wrong, or a position is outside the image.
    """
    array = np.asarray(hot)
    if array.ndim != 2 or array.shape[1] != 3 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"defects: got hot of shape {array.shape} and dtype {array.dtype};"
            " allowed is (n, 3) of integers: channel, row, column"
        )
    if ((array < 0) | (array >= size)).any():
        raise ValueError(
            f"defects: got hot pixels outside an image of {size} channels, rows, columns"
        )
    return array
