"""Arrays that are read or changed when they are asked for: converted colours, turned pictures, planes of files."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOGETHER = 1 << 20
"""Pixels that are read together from an array that has no chunks of its own."""

REGION = 512
"""Rows and columns that are read at once from a plane of which a part can be read."""


class Converted:
    """An array whose windows are read from another one and converted.

    Parameters
    ----------
    array : array
        Indexed with one slice per axis.
    axis : int or None
        Of the samples, which are always read together; None if there is none.
    count : int
        Samples after conversion; the axis is added at the end where there was none and
        there is more than one.
    dtype : dtype
        After conversion.
    convert : callable
        Takes pixels.
    """

    def __init__(
        self,
        array: Any,
        axis: int | None,
        count: int,
        dtype: np.dtype[Any],
        convert: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> None:
        self._array, self._axis, self._convert = array, axis, convert
        self.dtype = dtype
        shape, chunks = list(array.shape), list(chunks_of(array))
        self._added = axis is None and count > 1
        if self._added:
            shape.append(count)
            chunks.append(count)
        elif axis is not None:
            shape[axis] = chunks[axis] = count
        self.shape, self.chunks = tuple(shape), tuple(chunks)
        self.ndim = len(shape)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window; one slice per axis."""
        outer, samples = list(index), slice(None)
        if self._added:
            samples = outer.pop()
        elif self._axis is not None:
            samples, outer[self._axis] = outer[self._axis], slice(None)
        converted = self._convert(np.asarray(self._array[tuple(outer)]))
        where = [slice(None)] * converted.ndim
        if self._added or self._axis is not None:
            where[-1 if self._axis is None else self._axis] = samples
        return converted[tuple(where)]


class Guarded:
    """An array of a file, whose errors are those of one kind that names the file.

    Parameters
    ----------
    array : array
        Indexed with one slice per axis.
    guard : callable
        Returns a context manager within which windows are read.
    """

    def __init__(self, array: Any, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._array, self._guard = array, guard
        self.shape, self.dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        self.ndim, self.chunks = len(self.shape), chunks_of(array)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a window."""
        with self._guard():
            return np.asanyarray(self._array[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)


class Upright:
    """An array whose y and x axes are turned as an EXIF Orientation asks for.

    Parameters
    ----------
    array : array
        Indexed with one slice per axis.
    axes : str
        A letter per axis.
    orientation : int
        1 to 8.
    """

    def __init__(self, array: Any, axes: str, orientation: int) -> None:
        self._array = array
        self._y, self._x = axes.index("y"), axes.index("x")
        # Of the stored picture: turned over in y, in x, and then y and x exchanged.
        self._over_y, self._over_x = orientation in (3, 4, 6, 7), orientation in (2, 3, 7, 8)
        self._exchanged = orientation >= 5
        self.dtype, self.ndim = np.dtype(array.dtype), len(array.shape)
        self.shape = self._swapped(tuple(array.shape))
        self.chunks = self._swapped(chunks_of(array))

    def _swapped(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self._exchanged:
            return values
        swapped = list(values)
        swapped[self._y], swapped[self._x] = swapped[self._x], swapped[self._y]
        return tuple(swapped)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window; one slice per axis."""
        inner = list(self._swapped(index))
        steps = [slice(None)] * self.ndim
        for axis, over in ((self._y, self._over_y), (self._x, self._over_x)):
            if over:
                size = self._array.shape[axis]
                start, stop, _ = inner[axis].indices(size)
                inner[axis] = slice(size - stop, size - start)
                steps[axis] = slice(None, None, -1)
        window = np.asarray(self._array[tuple(inner)])[tuple(steps)]
        return window.swapaxes(self._y, self._x) if self._exchanged else window


def chunks_of(array: Any) -> tuple[int, ...]:
    """Chunks that an array is best read in: its own, or what lies together in a file."""
    chunks = getattr(array, "chunks", None)
    if chunks is not None:
        return tuple(int(n) for n in chunks)
    room, sizes = TOGETHER, []
    for n in reversed(array.shape):
        sizes.append(max(1, min(int(n), room)))
        room = room // int(n)
    return tuple(reversed(sizes))


def turned(pixels: NDArray[Any], axes: str, orientation: int) -> NDArray[Any]:
    """Pixels as an EXIF Orientation asks for them to be shown."""
    return Upright(pixels, axes, orientation)[(slice(None),) * pixels.ndim]


class Planes:
    """An array whose planes are read from a file one by one, when they are asked for.

    Parameters
    ----------
    shape : tuple of int
        Leading axes, y, x, and one of colours where ``samples`` is more than 1.
    dtype : dtype
    read : callable
        Takes the indices along the leading axes and the rows and columns that are asked for;
        returns these pixels, masked where the file holds none.
    samples : int
        Colours of a pixel.
    by_region : bool
        Whether a part of a plane is read without the rest of it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[tuple[int, ...], slice, slice], NDArray[Any]],
        samples: int = 1,
        by_region: bool = False,
    ) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype.newbyteorder("="), len(shape)
        self._read, self._inner = read, 2 + (samples > 1)
        inner = shape[self.ndim - self._inner :]
        plane = [min(n, REGION) for n in inner] if by_region else list(inner)
        self.chunks = (*([1] * (self.ndim - self._inner)), *plane)
        # Few of the libraries allow several threads to read a file at once.
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window; one slice per axis."""
        outer = self.ndim - self._inner
        spans = [range(*i.indices(n)) for i, n in zip(index, self.shape, strict=True)]
        window = np.ma.empty([len(span) for span in spans], self.dtype)
        rows, columns = (slice(span.start, span.stop) for span in spans[outer : outer + 2])
        for place in itertools.product(*(range(len(span)) for span in spans[:outer])):
            where = tuple(span[i] for span, i in zip(spans, place, strict=False))
            try:
                with self._lock:
                    plane = self._read(where, rows, columns)
            except Exception as error:
                # The libraries raise exceptions of any kind for a damaged file.
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(f"image: plane {where} cannot be read: {reason}") from error
            colours: tuple[Any, ...] = (slice(None), slice(None), *index[outer + 2 :])
            window[place] = plane[colours]
        return window if np.ma.is_masked(window) else np.ma.getdata(window)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)
