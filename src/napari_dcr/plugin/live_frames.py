"""The worker of *Live*: takes the latest frame of a layer and enhances it in another thread."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.options import Options
from napari_dcr.plugin.background import Failure

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dcr.engine.live import LiveEnhancer
    from napari_dcr.engine.regions import Region

STREAMS = 4
"""Largest number of running estimates, one for each channel or position that is shown in turn."""

WORKER_TIMEOUT = 0.05
"""Longest time in seconds that the worker waits before it checks whether to stop."""


@dataclass(frozen=True)
class Frame:
    """A frame of the source layer.

    Attributes
    ----------
    source : Image
        The layer.
    pixels : array
        Pixels of the layer that the viewer shows; for a lazy layer the whole array, from which the
        worker reads them.
    region : tuple of slice
        Position of the visible pixels in the layer's array.
    plane : tuple
        Index that selects the axes y, x and s of the visible pixels.
    options : Options
    arrived : float
        Time at which the layer changed, from `time.perf_counter`.
    stream : tuple
        Place of the frame along the axes that a camera does not move along, such as the channel.
        Frames with equal places and sources share a running estimate.
    """

    source: Image
    pixels: Any
    region: Region
    plane: tuple[int | slice, ...]
    options: Options
    arrived: float
    stream: tuple[int, ...] = ()


@dataclass(frozen=True)
class Enhanced:
    """An enhanced frame, with the record of how it was enhanced."""

    frame: Frame
    pixels: NDArray[Any]
    record: dict[str, Any]


class LatestFrame:
    """Passes the latest frame to the worker thread; a frame that the worker did not take in time is dropped.

    Attributes
    ----------
    dropped : int
        Number of frames that were dropped.
    shown : threading.Semaphore
        Released when a result is on screen. The worker waits for it, so that results do not
        accumulate in the event queue.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self.dropped = 0
        self.shown = threading.Semaphore(1)

    def put(self, frame: Frame) -> None:
        """Replace the frame that waits for the worker."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()

    def take(self) -> Frame | None:
        """Wait for a frame for a short time; returns None if there is none."""
        with self._changed:
            if self._frame is None:
                self._changed.wait(WORKER_TIMEOUT)
            frame, self._frame = self._frame, None
            return frame


def enhance_frames(latest_frame: LatestFrame) -> Generator[Enhanced | None, None, Failure | None]:
    """Enhance frames in the worker thread until the generator is closed."""
    try:
        from napari_dcr.engine.devices import one_core_free
        from napari_dcr.engine.live import LiveEnhancer

        with one_core_free(), contextlib.ExitStack() as stack:
            streams: OrderedDict[tuple[int, ...], LiveEnhancer] = OrderedDict()

            def close() -> None:
                while streams:
                    streams.popitem()[1].close()

            stack.callback(close)
            source: Image | None = None
            while True:
                frame = latest_frame.take()
                if frame is None:
                    yield None  # the caller can stop the worker here
                    continue
                if frame.source is not source:  # another layer has other noise and light
                    source = frame.source
                    close()
                if frame.stream not in streams:
                    streams[frame.stream] = LiveEnhancer(frame.options)
                streams.move_to_end(frame.stream)
                live = streams[frame.stream]
                if len(streams) > STREAMS:
                    streams.popitem(last=False)[1].close()
                live.options = frame.options
                window = frame.pixels
                if not isinstance(window, np.ndarray):
                    window = np.asanyarray(window[frame.region])
                result = live(window[frame.plane]).reshape(window.shape)
                while not latest_frame.shown.acquire(timeout=WORKER_TIMEOUT):
                    yield None
                yield Enhanced(frame, result, live.record)
    except Exception as error:
        return Failure(error)
