"""Demosaicing in floating point: interpolate the missing colours of a colour filter array.

Measured samples keep their values, and negative values stay negative. Bayer patterns use the
filters of Malvar, He and Cutler 2004, "High-quality linear interpolation for demosaicing of
Bayer-patterned color images", figure 2. Other patterns, such as X-Trans, use normalised convolution
(Knutsson and Westin 1993): first of the most frequent colour, then of the differences of the other
colours from it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BAND = 252
"""Rows that are demosaiced at once; a multiple of the height of every pattern."""

MARGIN = 6
"""Largest distance of pixels that a result depends on; a multiple of the height of every pattern."""


def demosaic(mosaic: Floats, pattern: NDArray[Any]) -> Floats:
    """Interpolate the missing colours of each pixel.

    Parameters
    ----------
    mosaic : ndarray of float32, shape (h, w)
        White-balanced pixels, so that all colours are equal where the scene is grey.
    pattern : ndarray of int, shape (p, q)
        Colour number of each pixel of the colour filter array, which is repeated from the
        upper left corner.

    Returns
    -------
    ndarray of float32, shape (n, h, w)
        One plane for each colour.

    Examples
    --------
    >>> mosaic = np.full((4, 6), 0.5, np.float32)
    >>> demosaic(mosaic, np.array([[0, 1], [1, 2]])).shape
    (3, 4, 6)
    """
    return np.concatenate([band for _, band in demosaic_bands(mosaic, pattern)], 1)


def demosaic_bands(mosaic: Floats, pattern: NDArray[Any]) -> Iterator[tuple[slice, Floats]]:
    """Demosaic a few rows at a time; see `demosaic`.

    Yields
    ------
    slice, ndarray of shape (n, rows, w)
        Rows, and their colours.
    """
    height, width = mosaic.shape
    if pattern.size == 1:
        yield slice(0, height), mosaic[None]
        return
    colours = int(pattern.max()) + 1
    step = _bayer if is_bayer(pattern) else _any_pattern
    # Reflection without repeating the edge continues the pattern.
    padded = np.pad(mosaic, MARGIN, "reflect" if min(height, width) > MARGIN else "wrap")
    for first in range(0, height, BAND):
        rows = slice(first, min(first + BAND, height))
        window = padded[first : rows.stop + 2 * MARGIN]
        yield rows, step(window, pattern, colours)


def is_bayer(pattern: NDArray[Any]) -> bool:
    """Whether a pattern is a Bayer pattern: green on one diagonal, red and blue on the other."""
    if pattern.shape != (2, 2):
        return False
    diagonals = sorted([pattern[0, 0], pattern[1, 1]]), sorted([pattern[0, 1], pattern[1, 0]])
    return sorted(diagonals) == [[0, 2], [1, 1]]


def _shifted(window: Floats, y: int, x: int) -> Floats:
    """Pixels inside the margin, shifted by y rows and x columns."""
    height, width = (n - 2 * MARGIN for n in window.shape)
    return window[MARGIN + y : MARGIN + y + height, MARGIN + x : MARGIN + x + width]


def _bayer(window: Floats, pattern: NDArray[Any], colours: int) -> Floats:
    own = _shifted(window, 0, 0)
    cross = [_shifted(window, y, x) for y, x in ((0, -1), (0, 1), (-1, 0), (1, 0))]
    far = [_shifted(window, y, x) for y, x in ((0, -2), (0, 2), (-2, 0), (2, 0))]
    beside, above = cross[0] + cross[1], cross[2] + cross[3]
    beside2, above2 = far[0] + far[1], far[2] + far[3]
    corners = _shifted(window, -1, -1) + _shifted(window, -1, 1)
    corners = corners + _shifted(window, 1, -1) + _shifted(window, 1, 1)
    eighth = np.float32(1 / 8)
    green = (4 * own + 2 * (beside + above) - beside2 - above2) * eighth
    # Filters for colours whose neighbours are in the row, in the column, and at the corners.
    row = (5 * own + 4 * beside - beside2 - corners + np.float32(0.5) * above2) * eighth
    column = (5 * own + 4 * above - above2 - corners + np.float32(0.5) * beside2) * eighth
    corner = (6 * own + 2 * corners - np.float32(1.5) * (beside2 + above2)) * eighth
    result = np.empty((colours, *own.shape), np.float32)
    for y in (0, 1):
        for x in (0, 1):
            place = slice(y, None, 2), slice(x, None, 2)
            here = pattern[y, x]
            for colour in range(3):
                if colour == here:
                    source = own
                elif colour == 1:
                    source = green
                elif here != 1:
                    source = corner
                else:
                    source = row if pattern[y, 1 - x] == colour else column
                result[colour][place] = source[place]
    return result


def _any_pattern(window: Floats, pattern: NDArray[Any], colours: int) -> Floats:
    height, width = window.shape
    ph, pw = pattern.shape
    # The margin is a multiple of the pattern, so the pattern starts at the window's corner.
    tiled = np.tile(pattern, (-(-height // ph), -(-width // pw)))[:height, :width]
    guide = int(np.bincount(pattern.ravel()).argmax())
    inside = slice(MARGIN, height - MARGIN), slice(MARGIN, width - MARGIN)
    is_guide = tiled == guide
    plane = np.where(is_guide, window, _normalised(window, is_guide, 2))
    result = np.empty((colours, height - 2 * MARGIN, width - 2 * MARGIN), np.float32)
    for colour in range(colours):
        if colour == guide:
            result[colour] = plane[inside]
            continue
        own = tiled == colour
        difference = _normalised(window - plane, own, 3)
        result[colour] = np.where(own, window, plane + difference)[inside]
    return result


def _normalised(values: Floats, known: NDArray[np.bool_], radius: int) -> Floats:
    """Weighted mean of the known values around each pixel, with a Gaussian kernel."""
    places = np.arange(-radius, radius + 1)
    kernel = np.exp(-(places**2) / (radius / 1.5) ** 2).astype(np.float32)

    def smooth(plane: Floats) -> Floats:
        for axis in (0, 1):
            padded = np.pad(plane, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)])
            length = plane.shape[axis]
            parts = (padded.take(range(i, i + length), axis) * k for i, k in enumerate(kernel))
            plane = functools.reduce(np.add, parts)
        return plane

    weight = smooth(known.astype(np.float32))
    total = smooth(np.where(known, values, np.float32(0)))
    mean: Floats = (total / np.maximum(weight, np.float32(1e-6))).astype(np.float32)
    return mean
