"""Planes of an array image: windows in, finished windows out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import Scale, full_scale
from napari_dcr.image.tone import expose

BAND = 1 << 16
"""Pixels that are converted at once."""


@dataclass(frozen=True)
class Rendering:
    """How the network's picture becomes the result.

    Attributes
    ----------
    strength : float
        0 gives the input back, 1 the network's picture.
    exposure : float
        Stops that the network's picture is brightened by.
    dtype : dtype
        Of the result.
    keep_units : bool
        Whether the result is in the input's own units; else [0, 1] is mapped to
        the full scale of ``dtype``.
    """

    strength: float
    exposure: float
    dtype: np.dtype[Any]
    keep_units: bool


@dataclass(frozen=True)
class ArrayPlane:
    """One plane of an array: a frame, and a channel or all its colours.

    Attributes
    ----------
    source, target : array
        Read from, written to.
    layout : Layout
        Of both.
    frame : tuple of int
        Place on the stepped axes.
    channel : int
        Channel, where there are channels.
    network_channels : int
        Channels that the network takes; grey is given to each of them.
    scale : Scale
        The image's black and white point.
    rendering : Rendering
    """

    source: Any
    target: Any
    layout: Layout
    frame: tuple[int, ...]
    channel: int
    network_channels: int
    scale: Scale
    rendering: Rendering

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read (S, h, w) in own units, alpha included."""
        return read_plane(self.source, self.layout, self.frame, self.channel, rows, columns)

    def to_working(self, own: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with colours in [0, 1]; what is not finite becomes black."""
        for band in _bands(own):
            np.clip(self._scaled(own[band]), 0, 1, out=out[band])  # grey is given to each channel

    def _scaled(self, own: NDArray[Any]) -> NDArray[np.float32]:
        scaled = self.scale.to_working(own[:3])
        return scaled if own.dtype.kind != "f" else np.where(np.isfinite(scaled), scaled, 0)

    def finish(self, own: NDArray[Any], enhanced: NDArray[np.float32]) -> NDArray[Any]:
        """Apply exposure and strength, return to units and dtype of the result.

        Values beyond the white or black point keep their distance from it.
        What is not finite stays as it is in float results.
        """
        result = np.empty(own.shape, self.rendering.dtype)
        for band in _bands(own):
            result[band] = self._finish(own[band], enhanced[band])
        return result

    def _finish(self, own: NDArray[Any], enhanced: NDArray[np.float32]) -> NDArray[Any]:
        colours = own[:3]
        picture = expose(np.clip(enhanced, 0, 1), self.rendering.exposure)
        if len(colours) < len(picture):
            picture = picture.mean(0, keepdims=True)
        working = self._scaled(own)
        change = np.float32(self.rendering.strength) * (picture - np.clip(working, 0, 1))
        dtype = self.rendering.dtype
        if self.rendering.keep_units:
            # Added to the own values, so that no change is no change to the last bit.
            wide: Any = np.float64 if own.dtype == np.float64 else np.float32
            change = change.astype(wide) * wide(self.scale.white - self.scale.black)
            result = Scale(0, 1).from_working(colours.astype(wide) + change, dtype)
        else:
            result = full_scale(dtype).from_working(np.clip(working + change, 0, 1), dtype)
        if own.dtype.kind == "f" and dtype.kind == "f":
            result = np.where(np.isfinite(colours), result, colours.astype(dtype))
        if len(own) == 4:
            alpha = own[3:]
            if not self.rendering.keep_units:
                opaque = full_scale(own.dtype).to_working(alpha)
                alpha = full_scale(dtype).from_working(np.clip(opaque, 0, 1), dtype)
            result = np.concatenate([result, alpha.astype(dtype)])
        return result

    def write(self, rows: slice, columns: slice, values: NDArray[Any]) -> None:
        """Write (S, h, w)."""
        index = self.layout.index(self.frame, self.channel, rows, columns, slice(None))
        self.target[index] = self.layout.from_planar(values)


def read_plane(
    source: Any, layout: Layout, frame: tuple[int, ...], channel: int, rows: slice, columns: slice
) -> NDArray[Any]:
    """Read a window of one plane as (S, h, w), native byte order."""
    index = layout.index(frame, channel, rows, columns, slice(None))
    return native(layout.to_planar(np.asarray(source[index])))


def native(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels in this machine's byte order."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _bands(window: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Rows of (S, h, w), a few at a time: intermediate results stay in the processor's cache."""
    height, width = window.shape[1:]
    rows = max(1, BAND // width)
    for y in range(0, height, rows):
        yield slice(None), slice(y, y + rows)
