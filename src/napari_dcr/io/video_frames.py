"""The frames of a video as an array."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.input_warnings import InputWarnings
from napari_dcr.io.video_colours import Colours
from napari_dcr.io.video_index import Index, decoded_frames, open_container, video_stream

KEPT = 2
"""Number of decoded frames that are cached."""

NEAR = 8
"""Largest number of frames that are decoded and discarded instead of seeking to a key frame."""


class Frames:
    """The frames of a video as an array, decoded in order.

    Parameters
    ----------
    path : Path
    index : Index
    size : tuple of int
        Height and width of a frame.
    colours : Colours
    warnings : InputWarnings
        Warnings to which frames that cannot be decoded are added.
    """

    def __init__(
        self, path: Path, index: Index, size: tuple[int, ...], colours: Colours,
        warnings: InputWarnings,
    ) -> None:  # fmt: skip
        self.shape, self.dtype = (len(index.times), *size), colours.dtype
        self.ndim, self.chunks = len(self.shape), (1, *size)
        self._path, self._index, self._colours, self._warnings = path, index, colours, warnings
        self._lock = threading.Lock()
        self._container: Any = None
        self._decoded: Iterator[tuple[int, Any]] = iter(())
        self._keys = index.keys
        self._next = self._begun = 0
        self._is_damaged = False
        self._raw: OrderedDict[int, Any] = OrderedDict()
        self._pixels: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window; one slice per axis."""
        numbers, inner = range(self.shape[0])[index[0]], index[1:]
        if len(numbers) == 1:
            return self._frame(numbers[0])[inner][None]
        shape = [len(range(*i.indices(n))) for i, n in zip(index, self.shape, strict=True)]
        window = np.empty(shape, self.dtype)
        for place, number in enumerate(numbers):
            window[place] = self._frame(number)[inner]
        return window

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)

    def _frame(self, number: int) -> NDArray[Any]:
        """Pixels of a frame."""
        with self._lock:
            if number not in self._pixels:
                if number not in self._raw:
                    self._decode(number)
                pixels = self._colours.pixels(self._raw[number])
                pixels.flags.writeable = False
                _keep(self._pixels, number, pixels)
            return self._pixels[number]

    def _decode(self, number: int) -> None:
        """Decode up to a frame, from the current position or from a key frame."""
        before = self._keys[: np.searchsorted(self._keys, number, "right")]
        begin = int(before[-1]) if len(before) else 0
        if self._container is None or number < self._next or begin > self._next + NEAR:
            self._start(begin)
        for place, frame in self._decoded:
            if (frame.height, frame.width) != self.shape[1:3]:
                raise ValueError(
                    f"its frame {place} is of {frame.height} x {frame.width} pixels, its first one"
                    f" of {self.shape[1]} x {self.shape[2]}; split it where the size changes"
                )
            if frame.is_corrupt and self._begun:
                # Decoding cannot start at the key frames of this file.
                self._keys = self._keys[:0]
                self._start(0)
                return self._decode(number)
            if frame.is_corrupt and not self._is_damaged:
                self._is_damaged = True
                self._warnings.add(
                    f"{self._path.name}: t {place + 1}/{self.shape[0]} is damaged, and others may be;"
                    " they are enhanced as the decoder repaired them"
                )
            if self._next <= number < place:
                # Repeat the previous frame in place of one that cannot be decoded, like video players.
                self._warnings.add(
                    f"{self._path.name}: t {number + 1}/{self.shape[0]} cannot be decoded; it is"
                    " replaced by the nearest frame"
                )
                _keep(self._raw, number, next(reversed(self._raw.values()), frame), 2 * KEPT)
            _keep(self._raw, place, frame, 2 * KEPT)
            self._next = place + 1
            if place >= number:
                return None
        raise ValueError(
            f"it ends after frame {self._next} of {self.shape[0]}; it is cut off or damaged"
        )

    def _start(self, begin: int) -> None:
        """Seek to a key frame."""
        if self._container is not None:
            self._container.close()
        self._raw.clear()
        self._container = open_container(self._path)
        stream = video_stream(self._container)
        decoded = decoded_frames(self._container, stream)
        self._next = self._begun = begin
        if not self._index.is_seekable:
            self._decoded = enumerate(decoded)
            return
        if begin:
            # Information about the encoder in the first frame is needed to decode all others.
            next(decoded, None)
            self._container.seek(int(self._index.times[begin]), stream=stream)
            decoded = decoded_frames(self._container, stream)
        self._decoded = self._known(decoded)
        first = next(self._decoded, None)
        if begin and (first is None or first[0] > begin):
            self._start(0)  # it cannot be reached directly
        elif first is not None:
            self._decoded = itertools.chain([first], self._decoded)

    def _known(self, frames: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """Frames with their numbers, without frames that the container does not present."""
        times = self._index.times
        for frame in frames:
            place = int(np.searchsorted(times, frame.pts)) if frame.pts is not None else len(times)
            if place < len(times) and times[place] == frame.pts:
                yield place, frame


def _keep(kept: OrderedDict[int, Any], number: int, value: Any, most: int = KEPT) -> None:
    """Add values to the cache."""
    kept[number] = value
    kept.move_to_end(number)
    while len(kept) > most:
        kept.popitem(last=False)
