"""Missing pixels: pixels without data, because they are NaN, masked, no-data or hidden by alpha.

A window of an image is a plain array, or a masked array if a mask, a no-data value or an alpha of
0 marks pixels as missing.  All code that evaluates pixels calls `missing`, so that all kinds of
missing pixels are treated in the same way: statistics ignore them, they are replaced by means of
nearby pixels (or by black if there are none) in the network's input, and they are returned unchanged.
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
        Pixels; the mask of a masked array is kept.
    samples : int, optional
        Axis of the samples, if there is one.
    colours : int
        Number of colour samples.  The next sample is alpha; where it is not above 0, the pixel is hidden.
    nodata : float, optional
        No-data value; a pixel is missing if all of its colours have this value.
    alpha : ndarray, optional
        Alpha with the shape of the window, if alpha is not among the samples.

    Returns
    -------
    ndarray
        The window itself if no pixel is missing, else a masked array that shares its pixels.

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
            opacity = planes[colours]
        else:
            opacity = np.moveaxis(np.ma.getdata(alpha), samples, 0)[0]
        hidden = ~(opacity > 0)  # also where a float alpha is negative or NaN
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
    """Find the missing pixels of a window: those that are masked or not finite.

    Returns
    -------
    ndarray of bool or None
        True for missing pixels, in the shape of the window; None if no pixel is missing.

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


NEAR, ROUNDS = 4, 3
"""Distance in pixels over which missing pixels are filled from others, and number of rounds."""

REACH = NEAR * ROUNDS
"""Pixels around a window that `filled` needs."""


@np.errstate(over="ignore", invalid="ignore")
def filled(window: NDArray[Any]) -> NDArray[Any]:
    """Fill missing pixels near others with local means, so that there is no edge between them.

    Missing pixels farther than `REACH` pixels from all valid ones stay missing.  Sums are always
    added in the same order, so that the result does not depend on the extent of the window.

    Parameters
    ----------
    window : ndarray, shape (C, h, w)

    Examples
    --------
    >>> filled(np.array([[[2.0, np.nan, 4.0]]])).data.tolist()
    [[[2.0, 3.0, 4.0]]]
    """
    gone, dtype = missing(window), window.dtype
    if gone is None:
        return window
    held = ~gone
    values = np.where(held, np.ma.getdata(window), 0).astype(np.float64)
    for _ in range(ROUNDS):
        count = _box_sums(held.astype(np.float32))
        total = _box_sums(values)
        new = ~held & (count > 0) & np.isfinite(total)
        mean = total[new] / count[new]
        values[new] = np.rint(mean) if dtype.kind in "iu" else mean
        held |= new
    return np.ma.MaskedArray(values.astype(dtype), ~held)


def _box_sums(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of the pixels at most `NEAR` away along y and x, for each pixel of (C, h, w)."""
    for axis in (1, 2):
        width = [(0, 0)] * 3
        width[axis] = (NEAR, NEAR)
        sums, have = np.pad(values, width), 1
        single = sums
        while have < 2 * NEAR + 1:
            twice = 2 * have <= 2 * NEAR + 1
            step = have
            other = sums if twice else single
            length = (sums.shape[axis] if twice else single.shape[axis]) - step
            first = sums[(slice(None),) * axis + (slice(0, length),)]
            sums = first + other[(slice(None),) * axis + (slice(step, step + length),)]
            have += have if twice else 1
        values = sums
    return values


def is_value_of(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a dtype can represent a value.

    Examples
    --------
    >>> is_value_of(-9999, np.dtype("int16")), is_value_of(-1, np.dtype("uint8"))
    (True, False)
    """
    if dtype.kind == "f":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and float(value).is_integer()
