"""Missing pixels: those that hold no data, because they are NaN, masked, no-data or hidden.

A window of an image is a plain array, or a masked one where a mask, a no-data value or an
alpha of 0 says that pixels hold no data. Everything that looks at pixels asks `missing`,
so that all kinds are treated alike: they count in no statistic, the network sees black in
their place, and they come back as they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mark(
    window: NDArray[Any],
    samples: int | None = None,
    colours: int = 1,
    nodata: float | None = None,
    alpha: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Mask the pixels of a window that hold no data.

    Parameters
    ----------
    window : ndarray
        With its own mask, if it is a masked array.
    samples : int, optional
        The axis of the samples, if there is one.
    colours : int
        How many of them are colours. The next one is alpha; where it is 0, the pixel is hidden.
    alpha : ndarray, optional
        Alpha that is not among them, indexed alike.
    nodata : float, optional
        A pixel is missing where this is its value, in all of its colours.

    Returns
    -------
    ndarray
        The window itself where nothing is missing, else a masked array on the same pixels.

    Examples
    --------
    >>> print(mark(np.array([[-9999, 12]], np.int16), nodata=-9999))
    [[-- 12]]
    """
    pixels = np.ma.getdata(window)
    gone: NDArray[np.bool_] | None = None
    planes = pixels[None] if samples is None else np.moveaxis(pixels, samples, 0)
    if nodata is not None and is_value_of(nodata, pixels.dtype):
        gone = (planes[:colours] == pixels.dtype.type(nodata)).all(0)
    if len(planes) > colours or alpha is not None:
        if alpha is None or samples is None:
            hidden = planes[colours] == 0
        else:
            hidden = np.moveaxis(np.ma.getdata(alpha), samples, 0)[0] == 0
        gone = hidden if gone is None else gone | hidden
    if gone is not None and gone.any():
        if samples is not None:
            gone = np.broadcast_to(np.expand_dims(gone, samples), pixels.shape)
        own = np.ma.getmask(window)
        return np.ma.MaskedArray(pixels, gone if own is np.ma.nomask else gone | own)
    if isinstance(window, np.ma.MaskedArray) and not np.ma.getmaskarray(window).any():
        return pixels
    return window


def missing(window: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find which pixels of a window hold no data: masked or not finite.

    Returns
    -------
    ndarray of bool or None
        Of the window's shape; None if all pixels hold data.

    Examples
    --------
    >>> missing(np.array([1.0, np.nan, np.inf]))
    array([False,  True,  True])
    >>> missing(np.array([1.0, 2.0])) is None
    True
    """
    gone: NDArray[np.bool_] | None = None
    pixels = np.ma.getdata(window)
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        gone = None if finite.all() else ~finite
    if isinstance(window, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(window)
        if mask.any():
            gone = mask if gone is None else gone | mask
    return gone


def is_value_of(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether pixels of a dtype can have a value.

    Examples
    --------
    >>> is_value_of(-9999, np.dtype("int16")), is_value_of(-1, np.dtype("uint8"))
    (True, False)
    """
    if dtype.kind == "f":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and float(value).is_integer()
