"""Padding: solid areas of one value around, between or beside the scene, in which nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, ...]
"""Value of a pixel in each of its colours."""


@dataclass(frozen=True)
class Padding:
    """A kind of padding.

    Attributes
    ----------
    colour : tuple of float
        Value of its pixels.
    share : float
        Approximate share of the plane's pixels.
    square, line : int
        Sides, in pixels, of squares and lines: the padding is the union of all squares and lines
        of this size that consist of such pixels only.
    frame : ((int, int), (int, int)), optional
        Start and stop of the rows and columns of the scene: the padding is everything outside
        them.  If given, ``square`` and ``line`` are not used.
    around : ((int, int), (int, int)), optional
        Start and stop of rows and columns outside which all pixels are padding of this kind.
    """

    colour: Colour
    share: float
    square: int = 0
    line: int = 0
    frame: tuple[tuple[int, int], tuple[int, int]] | None = None
    around: tuple[tuple[int, int], tuple[int, int]] | None = field(default=None, compare=False)

    @property
    def margin(self) -> int:
        """Pixels around a window that are needed to find padding in it."""
        return 0 if self.frame else max(self.square, self.line) + 2

    def scaled(self, size: tuple[int, int], new: tuple[int, int]) -> Padding:
        """The same padding in a level of another size of the image."""
        if self.frame is None:
            return replace(self, around=None)
        spans = [
            (start * n // old, -(-stop * n // old))
            for (start, stop), old, n in zip(self.frame, size, new, strict=True)
        ]
        return replace(self, frame=(spans[0], spans[1]), around=None)

    def find(self, pixels: NDArray[Any], row: int, column: int) -> NDArray[np.bool_]:
        """Find the padding of a window (C, h, w) of colours whose first pixel is at a place."""
        shape = pixels.shape[1:]
        if self.frame is not None:
            return ~_within(self.frame, shape, (row, column))
        alike = pixels_of(np.ma.getdata(pixels), self.colour)
        if not alike.any():
            return alike
        # Pixels of the scene beside a straight border may have the value by chance.
        inside = alike
        if self.around is not None:
            inside = alike & _within(self.around, shape, (row, column))
        solid = opened(inside, (self.square, self.square))
        for rectangle in ((1, self.line), (self.line, 1)):
            solid |= opened(inside, rectangle)
        # Squares do not reach into the corners of slanted edges.
        return (alike & ~inside) | (inside & widened(solid, 2))


def _within(
    spans: tuple[tuple[int, int], tuple[int, int]], shape: tuple[int, ...], first: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask of the pixels of a window, the first of which is given, within rows and columns of the plane."""
    places = (np.arange(start, start + n) for start, n in zip(first, shape, strict=True))
    rows, columns = (
        (place >= start) & (place < stop)
        for place, (start, stop) in zip(places, spans, strict=True)
    )
    return np.logical_and.outer(rows, columns)


STEADY = 0.01
"""Largest relative difference between the sizes of the same padding in two frames of a video."""


def steady_padding(
    padding: Mapping[int, tuple[Padding, ...]], frames: int
) -> dict[int, tuple[Padding, ...]]:
    """Padding that all frames of a video have, with the same size, such as black bars.

    Other constant areas are dark parts of the scene that compression made constant. They differ
    between frames, so a result that left them unchanged would flicker.

    Parameters
    ----------
    padding : dict
        Kinds of padding of frames, by the number of the frame; only frames that have some.
    frames : int
        Number of frames that were examined.

    Examples
    --------
    >>> bars, shadow = Padding((0.0,), 0.25, 5), [Padding((1.0,), 0.1 + 0.01 * n, 5) for n in (0, 1)]
    >>> steady_padding({0: (bars, shadow[0]), 1: (bars, shadow[1])}, 2)[1] == (bars,)
    True
    >>> steady_padding({0: (bars,)}, 2)
    {}
    """
    if len(padding) < frames:
        return {}
    shares: dict[Colour, list[float]] = {}
    for kinds in padding.values():
        for kind in kinds:
            shares.setdefault(kind.colour, []).append(kind.share)
    kept = {
        colour
        for colour, found in shares.items()
        if len(found) == frames and max(found) - min(found) <= STEADY * max(found)
    }
    if not kept:
        return {}
    return {
        number: tuple(kind for kind in kinds if kind.colour in kept)
        for number, kinds in padding.items()
    }


def mark_padding(
    window: NDArray[Any], colours: int, kinds: tuple[Padding, ...], row: int, column: int
) -> NDArray[Any]:
    """Mask the padding of a window (S, h, w), which its first ``colours`` samples determine.

    The first pixel of the window is at ``row``, ``column`` of the plane.
    """
    gone: NDArray[np.bool_] | None = None
    for kind in kinds:
        found = kind.find(window[:colours], row, column)
        gone = found if gone is None else gone | found
    if gone is None or not gone.any():
        return window
    own = np.ma.getmaskarray(window)
    return np.ma.MaskedArray(np.ma.getdata(window), own | gone)


def pixels_of(pixels: NDArray[Any], colour: Colour) -> NDArray[np.bool_]:
    """Mask of the pixels of (C, h, w) that have a colour."""
    alike: Any = True
    for plane, value in zip(pixels, colour, strict=True):
        alike = alike & (plane == plane.dtype.type(value))
    return np.asarray(alike)


def opened(masks: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Morphological opening of masks (..., h, w) by a rectangle; empty for sides of 0."""
    if min(shape) == 0 or any(n > size for n, size in zip(shape, masks.shape[-2:], strict=True)):
        return np.zeros_like(masks)
    for axis, n in zip((-2, -1), shape, strict=True):
        masks = _combined(masks, n, axis, np.logical_and)
    for axis, n in zip((-2, -1), shape, strict=True):
        masks = _combined(_surrounded(masks, n - 1, axis), n, axis, np.logical_or)
    return masks


def widened(masks: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Dilation of masks (..., h, w) by ``by`` pixels along the axes and diagonals."""
    for axis in (-2, -1):
        masks = _combined(_surrounded(masks, by, axis), 2 * by + 1, axis, np.logical_or)
    return masks


def _surrounded(masks: NDArray[np.bool_], by: int, axis: int) -> NDArray[np.bool_]:
    """Masks with ``by`` pixels more at both ends of an axis; for small masks, numpy.pad takes longer."""
    if by == 0:
        return masks
    shape = list(masks.shape)
    shape[axis] += 2 * by
    wide = np.zeros(shape, bool)
    wide[_part(slice(by, -by), axis)] = masks
    return wide


def _combined(masks: NDArray[np.bool_], n: int, axis: int, both: np.ufunc) -> NDArray[np.bool_]:
    """Logical "and", or "or", of ``n`` neighbouring pixels along an axis."""
    reach = 1
    while reach < n:  # every step doubles the number of pixels
        step = min(reach, n - reach)
        masks = both(masks[_part(slice(None, -step), axis)], masks[_part(slice(step, None), axis)])
        reach += step
    return masks


def _part(span: slice, axis: int) -> tuple[Any, ...]:
    """Index of rows (axis -2) or columns (axis -1)."""
    return (..., span, slice(None)) if axis == -2 else (..., span)
