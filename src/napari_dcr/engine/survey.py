"""The survey: one streamed pass over a plane or stack, independent of tiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.intensity import Histogram
from napari_dcr.image.thumbnail import Thumbnail

BLOCK = 2048
"""Pixels a side that are read at once."""

Reader = Callable[[slice, slice], NDArray[Any]]
"""Reads a window of one plane as (C, h, w) in the image's own dtype."""


class Survey:
    """What a whole image, or stack of linked frames, says about itself.

    Attributes
    ----------
    histogram : Histogram or None
        Of all intensities; None where nobody asked for it.
    """

    def __init__(
        self, channels: int, height: int, width: int, dtype: np.dtype[Any], histogram: bool
    ) -> None:
        self._size = height, width
        self._thumbnail = Thumbnail(channels, height, width)
        self.histogram = Histogram(dtype) if histogram else None

    def add_plane(self, read: Reader) -> Iterator[None]:
        """Add a plane block by block; yields after each, so that the caller may stop."""
        height, width = self._size
        for y in range(0, height, BLOCK):
            for x in range(0, width, BLOCK):
                block = read(slice(y, min(y + BLOCK, height)), slice(x, min(x + BLOCK, width)))
                if self.histogram:
                    self.histogram.add(block)
                self._thumbnail.add(block, y, x)
                yield

    @property
    def thumbnail(self) -> NDArray[np.float64]:
        """Area mean (C, 64, 64) in the image's own units; non-finite pixels do not count."""
        return self._thumbnail.mean
