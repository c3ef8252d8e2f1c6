"""The survey: one streamed pass over a plane or stack, independent of tiling and chunking."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.intensity import Histogram
from napari_dcr.image.noise import block_statistics
from napari_dcr.image.thumbnail import Thumbnail

BLOCK = 2048
"""Pixels a side that are read at once.  Always the same, and always counted in the
same order: that makes sums of floats the same to the last bit, however an image is
stored."""

READERS = 2
"""Threads that read and count."""

NOISE_WINDOW = 512
"""Pixels a side of the middle of a block in which the noise is looked at."""

NOISE_BLOCKS = 64
"""Most blocks of which that is kept, evenly from all that there are."""

REMEMBERED = 32
"""Surveys that are kept for further runs."""

Reader = Callable[[slice, slice], NDArray[Any]]
"""Reads a window of one plane as (C, h, w) in the image's own dtype."""


@dataclass(frozen=True)
class Survey:
    """What a whole image, or stack of linked frames, says about itself.

    Attributes
    ----------
    thumbnail : ndarray, shape (C, 64, 64)
        Area mean in the image's own units; non-finite pixels do not count.
    histogram : Histogram or None
        Of all intensities; None where nobody asked for it.
    digest : str
        SHA-256 of all pixels, in the order of the blocks.
    noise : ndarray, shape (n, 4), or None
        Of `napari_dcr.image.noise.block_statistics`; None where nobody asked for it.
    """

    thumbnail: NDArray[np.float64]
    histogram: Histogram | None
    digest: str
    noise: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Block:
    """What one block adds to a survey."""

    thumbnail: Thumbnail
    histogram: Histogram | None
    digest: bytes
    noise: NDArray[np.float64] | None


@dataclass(frozen=True)
class Subject:
    """Planes to survey.

    Attributes
    ----------
    channels, height, width : int
        Of each plane.
    dtype : dtype
    histogram, noise : bool
        Whether to count intensities as well, and to look at the noise of grey planes.
    """

    channels: int
    height: int
    width: int
    dtype: np.dtype[Any]
    histogram: bool
    noise: bool = False

    @property
    def blocks(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the blocks of a plane, in the order in which they count."""
        return [
            (slice(y, min(y + BLOCK, self.height)), slice(x, min(x + BLOCK, self.width)))
            for y in range(0, self.height, BLOCK)
            for x in range(0, self.width, BLOCK)
        ]

    def look(self, pixels: NDArray[Any], row: int, column: int) -> Block:
        """Measure a block (C, h, w) whose first pixel is at ``row``, ``column``."""
        thumbnail = Thumbnail(self.channels, self.height, self.width)
        thumbnail.add(pixels, row, column)
        histogram = Histogram(self.dtype) if self.histogram else None
        if histogram:
            histogram.add(pixels)
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
        noise = None
        if self.noise:
            top, left = (max(0, (n - NOISE_WINDOW) // 2) for n in pixels.shape[1:])
            middle = pixels[0, top : top + NOISE_WINDOW, left : left + NOISE_WINDOW]
            noise = block_statistics(middle)
        return Block(thumbnail, histogram, digest, noise)


class Surveyor:
    """Adds up the blocks of planes, in order.

    Parameters
    ----------
    subject : Subject
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._thumbnail = Thumbnail(subject.channels, subject.height, subject.width)
        self._histogram = Histogram(subject.dtype) if subject.histogram else None
        self._noise: list[NDArray[np.float64]] = []
        self._added, self._every = 0, 1
        size = subject.channels, subject.height, subject.width
        self._digest = hashlib.sha256(f"{size} {subject.dtype.name}".encode())

    def add(self, block: Block) -> None:
        """Count the next block."""
        self._thumbnail.merge(block.thumbnail)
        if self._histogram and block.histogram:
            self._histogram.merge(block.histogram)
        self._digest.update(block.digest)
        if block.noise is not None:
            if self._added % self._every == 0:
                self._noise.append(block.noise)
            self._added += 1
            if len(self._noise) > NOISE_BLOCKS:
                self._noise, self._every = self._noise[::2], 2 * self._every

    def add_planes(self, readers: Iterable[Reader]) -> Generator[None, None, None]:
        """Stream through planes, some blocks at a time; yields after each, so that the caller may stop."""
        work = ((read, *block) for read in readers for block in self.subject.blocks)
        ahead: deque[Future[Block]] = deque()
        with ThreadPoolExecutor(READERS, "survey") as pool:
            try:
                ahead.extend(pool.submit(self._look, *w) for w in islice(work, 2 * READERS))
                while ahead:
                    self.add(ahead.popleft().result())
                    ahead.extend(pool.submit(self._look, *w) for w in islice(work, 1))
                    yield
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, read: Reader, rows: slice, columns: slice) -> Block:
        return self.subject.look(read(rows, columns), rows.start, columns.start)

    def finish(self) -> Survey:
        """What was found."""
        noise = np.concatenate(self._noise) if self._noise else None
        return Survey(self._thumbnail.mean, self._histogram, self._digest.hexdigest(), noise)


class SurveyCache:
    """The last surveys, so that a second run with other options needs none."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Any, ...], Survey] = OrderedDict()

    def get(self, key: tuple[Any, ...], subject: Subject) -> Survey | None:
        """The survey of an image, if it is known as completely as asked for."""
        with self._lock:
            survey = self._known.get(key)
            if (
                survey is None
                or (subject.histogram and survey.histogram is None)
                or (subject.noise and survey.noise is None)
            ):
                return None
            self._known.move_to_end(key)
            return survey

    def put(self, key: tuple[Any, ...], survey: Survey) -> None:
        """Remember a survey; the oldest is forgotten."""
        with self._lock:
            self._known[key] = survey
            self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


SURVEYS = SurveyCache()
"""Of this process."""
