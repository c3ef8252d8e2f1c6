"""Lazy array views: converted colours, missing planes, rotated pictures, and planes read from files."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.file_errors import reason_of
from napari_dcr.image.axes import turns_of

TOGETHER = 1 << 20
"""Side in pixels of the blocks in which arrays without chunks are read."""

REGION = 512
"""Side in pixels of the blocks in which planes are read that can be read in part."""


class Converted:
    """View of an array that converts its windows when they are read.

    Parameters
    ----------
    array : array
        Array that is indexed with one slice per axis.
    axis : int or None
        Axis of the samples, which are always read together; None if there is none.
    count : int
        Number of samples after conversion.  If it is larger than 1 and the array has no sample
        axis, one is added at the end.
    dtype : dtype
        Dtype after conversion.
    convert : callable
        Converts pixels.
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
        """Read a window, given by one slice per axis."""
        outer, samples = list(index), slice(None)
        if self._added:
            samples = outer.pop()
        elif self._axis is not None:
            samples, outer[self._axis] = outer[self._axis], slice(None)
        converted = self._convert(np.asanyarray(self._array[tuple(outer)]))
        where = [slice(None)] * converted.ndim
        if self._added or self._axis is not None:
            where[-1 if self._axis is None else self._axis] = samples
        return converted[tuple(where)]


class Incomplete:
    """View of an array some of whose planes are missing from the file; they are masked.

    Parameters
    ----------
    array : array
        Array that is indexed with one slice per axis, with any values for the missing planes.
    missing : ndarray of bool
        Mask of the planes; its axes are the leading axes of the array.

    Examples
    --------
    >>> view = Incomplete(np.zeros((2, 3, 4)), np.array([False, True]))
    >>> view[:, :1, :2].mask[:, 0, 0].tolist()
    [False, True]
    """

    def __init__(self, array: Any, missing: NDArray[np.bool_]) -> None:
        self._array, self._missing = array, missing
        self.shape, self.dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        self.ndim, self.chunks = len(self.shape), chunks_of(array)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window, given by one slice per axis."""
        leading = self._missing.ndim
        gone = self._missing[tuple(index)[:leading]]
        window = np.asarray(self._array[index])
        if not gone.any():
            return window
        mask = np.broadcast_to(
            gone.reshape(*gone.shape, *[1] * (self.ndim - leading)), window.shape
        )
        return np.ma.MaskedArray(np.where(mask, 0, window).astype(window.dtype), mask.copy())


def split_index(
    index: Any, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[int | slice, ...]]:
    """Split a basic index of NumPy into one slice per axis of step 1, and an index of that window.

    Raises
    ------
    IndexError
        If an axis gets anything but an integer within the array or a slice.
    """
    given = list(index) if isinstance(index, tuple) else [index]
    gap = next((i for i, part in enumerate(given) if part is Ellipsis), len(given))
    missing = len(shape) - len([part for part in given if part is not Ellipsis])
    given[gap : gap + 1] = [slice(None)] * missing
    if len(given) != len(shape):
        raise IndexError(f"index: got {len(given)} parts for an array of {len(shape)} axes")
    window: list[slice] = []
    rest: list[int | slice] = []
    for part, size in zip(given, shape, strict=True):
        if not isinstance(part, slice):
            try:
                number = range(size)[operator.index(part)]
            except TypeError:
                raise IndexError(
                    f"index: got {part!r}; allowed are integers, slices and ..."
                ) from None
            window.append(slice(number, number + 1))
            rest.append(0)
            continue
        picked = range(size)[part]
        low, high = (min(picked), max(picked) + 1) if len(picked) else (0, 0)
        window.append(slice(low, high))
        rest.append(slice(None, None, picked.step))
    return tuple(window), tuple(rest)


class Guarded:
    """View of a file's array that turns errors into a ValueError that names the file.

    Parameters
    ----------
    array : array
        Array that is indexed with one slice per axis.
    guard : callable
        Returns the context manager in which windows are read.
    """

    def __init__(self, array: Any, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._array, self._guard = array, guard
        self.shape, self.dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        self.ndim, self.chunks = len(self.shape), chunks_of(array)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a window, given by integers, slices of any step and an ellipsis, as in NumPy."""
        window, rest = split_index(index, self.shape)
        with self._guard():
            pixels = np.asanyarray(self._array[window])
        return np.asanyarray(pixels[rest])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole array."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)


class Upright:
    """View of an array that is rotated or mirrored according to its EXIF Orientation.

    Parameters
    ----------
    array : array
        Array that is indexed with one slice per axis.
    axes : str
        One letter per axis.
    orientation : int
        EXIF Orientation, 1 to 8.
    """

    def __init__(self, array: Any, axes: str, orientation: int) -> None:
        self._array = array
        self._y, self._x = axes.index("y"), axes.index("x")
        self._over_y, self._over_x, self._exchanged = turns_of(orientation)
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
        """Read a window, given by one slice per axis."""
        inner = list(self._swapped(index))
        steps = [slice(None)] * self.ndim
        for axis, over in ((self._y, self._over_y), (self._x, self._over_x)):
            if over:
                size = self._array.shape[axis]
                start, stop, _ = inner[axis].indices(size)
                inner[axis] = slice(size - stop, size - start)
                steps[axis] = slice(None, None, -1)
        window = np.asanyarray(self._array[tuple(inner)])[tuple(steps)]
        return window.swapaxes(self._y, self._x) if self._exchanged else window


def chunks_of(array: Any) -> tuple[int, ...]:
    """Chunks in which an array is read best: its own, or blocks that are contiguous in the file."""
    chunks = getattr(array, "chunks", None)
    if chunks is not None:
        return tuple(int(n) for n in chunks)
    room, sizes = TOGETHER, []
    for n in reversed(array.shape):
        sizes.append(max(1, min(int(n), room)))
        room = room // int(n)
    return tuple(reversed(sizes))


def turned(pixels: NDArray[Any], axes: str, orientation: int) -> NDArray[Any]:
    """Rotate or mirror pixels according to an EXIF Orientation."""
    return Upright(pixels, axes, orientation)[(slice(None),) * pixels.ndim]


def _of_plane(reason: str, where: tuple[int, ...]) -> str:
    """Add the number of a plane, if a file has several, to the reason why it cannot be read."""
    if not where:
        return reason
    plane = f"its plane {where[0] if len(where) == 1 else where}"
    start, _, rest = reason.partition(" ")
    return f"{plane} {rest}" if start == "it" else f"{plane}: {reason}"


class Planes:
    """Lazy array whose planes are read from a file one by one.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the leading axes, y, x, and of a colour axis if ``samples`` is more than 1.
    dtype : dtype
    read : callable
        Takes the indices along the leading axes and the requested rows and columns; returns
        these pixels, masked where the file has none.
    samples : int
        Number of colours of a pixel.
    by_region : bool
        Whether part of a plane can be read without reading all of it.
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
        # Few libraries allow several threads to read a file at the same time.
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window, given by one slice per axis."""
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
                # Libraries raise any type of exception for a damaged file.
                raise ValueError(_of_plane(reason_of(error), where)) from error
            colours: tuple[Any, ...] = (slice(None), slice(None), *index[outer + 2 :])
            window[place] = plane[colours]
        return window if np.ma.is_masked(window) else np.ma.getdata(window)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole array."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)
