"""Sinks that are written frame by frame, in order, by a thread of their own."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.resume import RunRecord
from napari_dcr.image.axes import Layout
from napari_dcr.io.metadata import Metadata

WAITING = 2
"""Finished frames that wait for being written; the run waits where there are more."""


def check_frames(path: Path, axes: str, samples: str) -> None:
    """Say if a format that holds the frames of a recording cannot hold an image of some axes.

    Raises
    ------
    ValueError
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
    """A result that is written frame by frame, while the next ones are enhanced.

    Tiles of a frame are collected until it is complete. One thread writes frames in order;
    a bounded number of them waits for it.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Of the image that it is made from.
    """

    unit = (1, 1)
    part: tuple[int, int] | None = None
    record: RunRecord | None = None
    in_order = True

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata
    ) -> None:
        self._layout, self._dtype, self._metadata = layout, dtype, metadata
        self.result = path
        self._step = next(i for i, axis in enumerate(layout.axes) if axis not in "yxs")
        self.count = layout.shape[self._step]
        self.shape, self.dtype, self.ndim = layout.shape, dtype, len(layout.shape)
        # Frames with their pixels that are still missing.
        self._begun: dict[int, tuple[NDArray[Any], int]] = {}
        self._next = 0
        self._queue: queue.Queue[NDArray[Any] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def bits(self) -> int:
        """Bits of a sample that are kept."""
        return 8 * self._dtype.itemsize

    @abstractmethod
    def _begin(self) -> None:
        """Create what is written to."""

    @abstractmethod
    def _write(self, number: int, frame: NDArray[Any]) -> None:
        """Write the next frame (samples, h, w); called in the writing thread."""

    @abstractmethod
    def _complete(self) -> None:
        """Put the result in its place."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove what is not complete."""

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> FrameSink:
        """The sink itself is the array that is written to."""
        self._begin()
        self._thread = threading.Thread(target=self._work, name="frames", daemon=True)
        self._thread.start()
        return self

    def __setitem__(self, index: tuple[Any, ...], values: NDArray[Any]) -> None:
        """Take a window of a frame."""
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
        """Write frames until there are no more."""
        number = 0
        while (frame := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._write(number, frame)
            except BaseException as error:
                self._error = error
            number += 1

    def _stop(self) -> None:
        """Wait for the writing thread; what waits for it is written or, after an error, left."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Put the result in its place."""
        yield "writing the last frames"
        self._stop()
        if self._error is not None:
            raise self._error
        self._complete()

    def close(self) -> None:
        """Remove what is not complete."""
        if self._thread is not None:
            self._error = self._error or InterruptedError("stopped")
        self._stop()
        self._discard()
