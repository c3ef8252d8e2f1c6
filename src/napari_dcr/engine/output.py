"""Renderings: own units to what the network takes, and what it gives to the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.intensity import Scale, full_scale
from napari_dcr.image.tone import expose

BAND = 1 << 16
"""Pixels that are converted at once."""


class Rendering(Protocol):
    """How an image becomes the network's input, and its output the result.

    Attributes
    ----------
    dtype : dtype
        Of the result.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Turn (S, h, w) in own units into (C, h, w); what is not finite becomes black."""

    def finish(
        self, own: NDArray[Any], scale: Scale, enhanced: NDArray[np.float32]
    ) -> NDArray[Any]:
        """Turn (S, h, w) in own units and the network's (C, h, w) into the result."""

    def keep_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Alpha, unchanged but for its dtype."""


@dataclass(frozen=True)
class Display:
    """Pictures to look at: display values in [0, 1].

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

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with colours in [0, 1]."""
        for band in _bands(own):
            np.clip(_scaled(own[band], scale), 0, 1, out=out[band])  # grey is given to each channel

    def finish(
        self, own: NDArray[Any], scale: Scale, enhanced: NDArray[np.float32]
    ) -> NDArray[Any]:
        """Apply exposure and strength, return to units and dtype of the result.

        Values beyond the white or black point keep their distance from it.
        What is not finite stays as it is in float results.
        """
        result = np.empty(own.shape, self.dtype)
        for band in _bands(own):
            result[band] = self._finish(own[band], scale, enhanced[band])
        return result

    def _finish(
        self, own: NDArray[Any], scale: Scale, enhanced: NDArray[np.float32]
    ) -> NDArray[Any]:
        picture = expose(np.clip(enhanced, 0, 1), self.exposure)
        if len(own) < len(picture):
            picture = picture.mean(0, keepdims=True)
        working = _scaled(own, scale)
        change = np.float32(self.strength) * (picture - np.clip(working, 0, 1))
        dtype = self.dtype
        if self.keep_units:
            # Added to the own values, so that no change is no change to the last bit.
            wide: Any = np.float64 if own.dtype == np.float64 else np.float32
            change = change.astype(wide) * wide(scale.white - scale.black)
            result = Scale(0, 1).from_working(own.astype(wide) + change, dtype)
        else:
            result = full_scale(dtype).from_working(np.clip(working + change, 0, 1), dtype)
        return _keep_missing(own, result)

    def keep_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Alpha, scaled to the full range of the result's dtype where the colours are."""
        if self.keep_units:
            return alpha.astype(self.dtype)
        opaque = full_scale(alpha.dtype).to_working(alpha)
        return full_scale(self.dtype).from_working(np.clip(opaque, 0, 1), self.dtype)


@dataclass(frozen=True)
class Quantitative:
    """Intensities to measure: own units stay what they are.

    Attributes
    ----------
    strength : float
        0 gives the input back, 1 the network's estimate.
    exposure : float
        Stops that what lies above the black point is multiplied by; 0 for none.
    dtype : dtype
        Of the result: values are rounded and clipped to it, never scaled.
    uncertainty : bool
        Give a second plane: the deviation of the estimate's error, in own units. Both
        are float then, the first one already rounded to ``dtype``.
    """

    strength: float
    exposure: float
    dtype: np.dtype[Any]
    uncertainty: bool = False

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (1, h, w) with deviations of the dark's noise above black."""
        for band in _bands(own):
            out[band] = _scaled(own[band], scale)

    def finish(
        self, own: NDArray[Any], scale: Scale, enhanced: NDArray[np.float32]
    ) -> NDArray[Any]:
        """Apply strength and gain. What is not finite stays as it is in float results."""
        wide: Any = np.float64 if np.float64 in (own.dtype, self.dtype) else np.float32
        result = np.empty((2 if self.uncertainty else 1, *own.shape[1:]), wide)
        unit, gain = wide(scale.white - scale.black), wide(2**self.exposure)
        for band in _bands(own):
            part, estimate = own[band], enhanced[band]
            change = np.float32(self.strength) * (estimate[:1] - _scaled(part, scale))
            value = part.astype(wide) + change.astype(wide) * unit
            if self.exposure:
                value = wide(scale.black) + gain * (value - wide(scale.black))
            rounded = Scale(0, 1).from_working(value, self.dtype)
            result[band][:1] = _keep_missing(part, rounded)
            if self.uncertainty:
                result[band][1:] = self.strength * gain * unit * estimate[1:]
        return result if self.uncertainty else result.astype(self.dtype)

    def keep_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Alpha as it is, rounded and clipped to the result's dtype."""
        return Scale(0, 1).from_working(alpha, self.dtype)


def _scaled(own: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """Colours in working units; what is not finite becomes black."""
    scaled = scale.to_working(own)
    return scaled if own.dtype.kind != "f" else np.where(np.isfinite(scaled), scaled, 0)


def _keep_missing(own: NDArray[Any], result: NDArray[Any]) -> NDArray[Any]:
    """Leave what is not finite as it is, where floats become floats."""
    if own.dtype.kind == "f" and result.dtype.kind == "f":
        return np.where(np.isfinite(own), result, own.astype(result.dtype))
    return result


def _bands(window: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Rows of (S, h, w), a few at a time: intermediate results stay in the processor's cache."""
    height, width = window.shape[1:]
    rows = max(1, BAND // width)
    for y in range(0, height, rows):
        yield slice(None), slice(y, y + rows)
