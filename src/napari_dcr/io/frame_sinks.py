"""Sinks whose frames are written in order by a separate thread."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.resume import RunRecord
from napari_dcr.image.axes import Layout
from napari_dcr.io.metadata import Metadata

WAITING = 2
"""Largest number of finished frames that wait to be written; then the run waits."""


def check_frames(path: Path, axes: str, samples: str) -> None:
    """Check that a format for frames of a recording can contain an image with these axes.

    Raises
    ------
    ValueError
        If it cannot.
    """
    stepped = [axis for axis in axes if axis not in "yxs"]
    if len(stepped) != 1 or "c" in axes:
        raise ValueError(
            f"{path}: a video or a sequence of images holds one axis beside y, x and colour, got axes"
            f" {axes!r}; write a .zarr or .tif"
        )
    if samples not in ("", "rgb"):
        raise ValueError(
            f"{path}: a video holds grey or RGB, got samples {samples!r}; write a .zarr or .tif"
        )


class FrameSink(ABC):
    """Base class of sinks that write finished frames while the next ones are enhanced.

    The tiles of a frame are collected until the frame is complete.  One thread writes the frames
    in order; a limited number of frames can wait for it.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Metadata of the source image.
    """

    unit = (1, 1)
    part: tuple[int, int] | None = None
    record: RunRecord | None = None
    one_size, in_order = False, True

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata
    ) -> None:
        self._layout, self._dtype, self._metadata = layout, dtype, metadata
        self.result = path
        self._step = next(i for i, axis in enumerate(layout.axes) if axis not in "yxs")
        self.count = layout.shape[self._step]
        self.shape, self.dtype, self.ndim = layout.shape, dtype, len(layout.shape)
        # Frames, and the number of their pixels that are still missing.
        self._begun: dict[int, tuple[NDArray[Any], int]] = {}
        self._next = 0
        self._queue: queue.Queue[NDArray[Any] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def bits(self) -> int:
        """Bit depth of the stored samples."""
        return 8 * self._dtype.itemsize

    @abstractmethod
    def _begin(self) -> None:
        """Create the output."""

    @abstractmethod
    def _write(self, number: int, frame: NDArray[Any]) -> None:
        """Write the next frame (samples, h, w); called in the writing thread."""

    @abstractmethod
    def _complete(self) -> None:
        """Move the result to its path."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove an incomplete result."""

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> FrameSink:
        """Return the sink itself, which accepts windows like an array."""
        with self._naming_result():
            self._begin()
        self._thread = threading.Thread(target=self._work, name="frames", daemon=True)
        self._thread.start()
        return self

    def __setitem__(self, index: tuple[Any, ...], values: NDArray[Any]) -> None:
        """Add a window to its frames."""
        number, inner = index[self._step], (*index[: self._step], *index[self._step + 1 :])
        size = self.shape[: self._step] + self.shape[self._step + 1 :]
        if values.shape == size:
            frame, missing = values, 0
        else:
            known = self._begun.get(number)
            frame, missing = (
                (np.empty(size, self.dtype), int(np.prod(size))) if known is None else known
            )
            frame[inner] = values
            missing -= values.size
        self._begun[number] = frame, missing
        while self._next in self._begun and self._begun[self._next][1] == 0:
            self._put(self._layout.to_planar(self._begun.pop(self._next)[0]))
            self._next += 1

    def _put(self, frame: NDArray[Any] | None) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._queue.put(frame, timeout=0.2)
            except queue.Full:
                continue

    def _work(self) -> None:
        """Write waiting frames until the end of the run."""
        number = 0
        while (frame := self._queue.get()) is not None:
            try:
                if self._error is None:
                    with self._naming_result():
                        self._write(number, frame)
            except BaseException as error:
                self._error = error
            number += 1

    def _stop(self) -> None:
        """Wait for the writing thread, which writes all waiting frames unless an error occurred."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Move the result to its path."""
        yield "writing the last frames"
        self._stop()
        if self._error is not None:
            raise self._error
        with self._naming_result():
            self._complete()

    @contextmanager
    def _naming_result(self) -> Iterator[None]:
        """Context manager whose errors name the result, and not the hidden file that is written."""
        try:
            yield
        except Exception as error:
            is_system = isinstance(error, OSError)
            reason = getattr(error, "strerror", None) or (str(error) if is_system else "")
            if not reason or str(self.result) in reason:
                raise
            code = (error.errno,) if isinstance(error, OSError) and error.errno else ()
            raise OSError(*code, f"{self.result} cannot be written: {reason}") from error

    def close(self) -> None:
        """Remove an incomplete result."""
        if self._thread is not None:
            self._error = self._error or InterruptedError("stopped")
        self._stop()
        self._discard()
