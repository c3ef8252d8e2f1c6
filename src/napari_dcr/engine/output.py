"""Renderings: own units to what the network takes, and what it gives to the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.intensity import Scale, full_scale
from napari_dcr.image.missing import missing
from napari_dcr.image.tone import expose
from napari_dcr.network.global_net import LUMA

BAND = 1 << 16
"""Pixels that are converted at once."""

LARGEST = np.float32(1e12)
"""Most deviations of the noise that pixels are handed to the network as."""


class Rendering(Protocol):
    """How an image becomes the network's input, and its output the result; `Display` for one.

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

    @property
    def needs_base(self) -> bool:
        """Whether `finish` wants the picture of depth 0 too."""

    def finish(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Turn (S, h, w) in own units and the network's (C, h, w) into the result."""

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Turn (S, h, w) into units and dtype of the result, and do nothing else."""

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
    is_grey : bool
        Whether the image is grey though it has colour samples: equal ones stay equal.
    denoise, denoise_colour : float
        Share of what the network changes of depth 0's picture that is made, in light and in
        colour: of luma, and of the differences from it.
    saturation : float
        Factor of the differences from luma in the result.
    """

    strength: float
    exposure: float
    dtype: np.dtype[Any]
    keep_units: bool
    is_grey: bool = False
    denoise: float = 1.0
    denoise_colour: float = 1.0
    saturation: float = 1.0

    @property
    def needs_base(self) -> bool:
        """Where not all of the noise is to be taken away."""
        return min(self.denoise, self.denoise_colour) < 1

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with colours in [0, 1]."""
        for band in _bands(own):
            np.clip(_scaled(own[band], scale), 0, 1, out=out[band])  # grey is given to each channel

    def finish(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Mix with depth 0's picture, apply exposure, saturation and strength, return to units.

        Values beyond the white or black point keep their distance from it.
        Missing pixels stay as they are, where ``dtype`` has their values.
        """
        result = np.empty(own.shape, self.dtype)
        for band in _bands(own):
            noisy = None if base is None else base[band]
            result[band] = self._finish(own[band], scale, enhanced[band], noisy)
        return result

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Turn (S, h, w) into units and dtype of the result, and do nothing else."""
        return self._result(own, scale, None)

    def _finish(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None,
    ) -> NDArray[Any]:
        grey = len(own) < len(enhanced) or self.is_grey
        picture = np.clip(enhanced, 0, 1)
        if self.needs_base and base is not None:
            picture = self._mixed(picture, np.clip(base, 0, 1), grey)
        picture = expose(picture, self.exposure)
        if grey:
            picture = picture.mean(0, keepdims=True)
        elif self.saturation != 1:
            light = _light(picture)
            picture = np.clip(light + np.float32(self.saturation) * (picture - light), 0, 1)
        working = np.clip(_scaled(own, scale), 0, 1)
        return self._result(own, scale, np.float32(self.strength) * (picture - working))

    def _mixed(
        self, picture: NDArray[np.float32], base: NDArray[np.float32], grey: bool
    ) -> NDArray[np.float32]:
        """Leave part of the noise in."""
        change = picture - base
        if grey or self.denoise == self.denoise_colour:
            return base + np.float32(self.denoise) * change
        light = _light(change)
        colour = np.float32(self.denoise_colour) * (change - light)
        return np.clip(base + np.float32(self.denoise) * light + colour, 0, 1)

    def _result(
        self, own: NDArray[Any], scale: Scale, change: NDArray[np.float32] | None
    ) -> NDArray[Any]:
        """Add a change in working units to the own values; none at all if there is none."""
        gone, marked, own = missing(own), own, np.ma.getdata(own)
        dtype = self.dtype
        if self.keep_units:
            # Added to the own values, so that no change is no change to the last bit.
            wide: Any = np.float64 if own.dtype == np.float64 else np.float32
            value = own.astype(wide)
            if change is not None:
                value = value + change.astype(wide) * wide(scale.white - scale.black)
            result = Scale(0, 1).from_working(value, dtype)
        else:
            working = _scaled(marked, scale)
            if change is not None:
                working = working + change
            result = full_scale(dtype).from_working(np.clip(working, 0, 1), dtype)
        return _keep_missing(own, gone, result)

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

    @property
    def needs_base(self) -> bool:
        """Never: that of depth 0 is the input itself."""
        return False

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (1, h, w) with deviations of the dark's noise above black."""
        for band in _bands(own):
            out[band] = self._counts(own[band], scale)

    def finish(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Apply strength and gain. Missing pixels stay as they are, see `Display.finish`."""
        wide: Any = np.float64 if np.float64 in (own.dtype, self.dtype) else np.float32
        gone = missing(own)
        own, marked = np.ma.getdata(own), own
        result = np.empty((2 if self.uncertainty else 1, *own.shape[1:]), wide)
        unit, gain = wide(scale.white - scale.black), wide(2**self.exposure)
        for band in _bands(own):
            part, estimate = own[band], enhanced[band]
            change = np.float32(self.strength) * (estimate[:1] - self._counts(marked[band], scale))
            value = part.astype(wide) + change.astype(wide) * unit
            if self.exposure:
                value = wide(scale.black) + gain * (value - wide(scale.black))
            rounded = Scale(0, 1).from_working(value, self.dtype)
            lost = None if gone is None else gone[band]
            result[band][:1] = _keep_missing(part, lost, rounded)
            if self.uncertainty:
                error = self.strength * gain * unit * estimate[1:]
                result[band][1:] = error if lost is None else np.where(lost, np.nan, error)
        return result if self.uncertainty else result.astype(self.dtype)

    def keep_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Alpha as it is, rounded and clipped to the result's dtype."""
        if alpha.dtype == self.dtype:
            return alpha
        return Scale(0, 1).from_working(alpha, self.dtype)

    @staticmethod
    def _counts(own: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
        """Deviations of the dark's noise, within what the network can square."""
        return np.clip(_scaled(own, scale), -LARGEST, LARGEST)

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Turn (1, h, w) into the result's dtype, and do nothing else; the error is not known."""
        pixels = np.ma.getdata(own)
        result = _keep_missing(pixels, missing(own), Scale(0, 1).from_working(pixels, self.dtype))
        if not self.uncertainty:
            return result
        wide: Any = np.float64 if np.float64 in (own.dtype, self.dtype) else np.float32
        return np.concatenate([result.astype(wide), np.full(own.shape, np.nan, wide)])


@dataclass(frozen=True)
class LeftAlone:
    """Planes that come back as they are: there is nothing in them that can be enhanced.

    Attributes
    ----------
    rendering : Rendering
        That of the planes beside them.
    """

    rendering: Rendering

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""
        return self.rendering.dtype

    @property
    def needs_base(self) -> bool:
        """As the planes beside."""
        return self.rendering.needs_base

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with black: what they hold may be beyond all bounds."""
        out[:] = 0

    def finish(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Turn (S, h, w) in own units into the result."""
        return self.unchanged(own, scale)

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Turn (S, h, w) in own units into the result."""
        return self.rendering.unchanged(own, scale)

    def keep_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Alpha, unchanged but for its dtype."""
        return self.rendering.keep_alpha(alpha)


def _light(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma of (3, h, w), as (1, h, w)."""
    red, green, blue = (np.float32(weight) for weight in LUMA)
    return red * colours[:1] + green * colours[1:2] + blue * colours[2:]


def _scaled(own: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """Colours in working units; what is missing becomes black."""
    gone = missing(own)
    with np.errstate(over="ignore", invalid="ignore"):  # of missing pixels, and far beyond white
        scaled = scale.to_working(np.ma.getdata(own))
    if gone is not None:
        scaled = np.where(gone, np.float32(0), scaled)
    return scaled


def _keep_missing(
    own: NDArray[Any], gone: NDArray[np.bool_] | None, result: NDArray[Any]
) -> NDArray[Any]:
    """Leave missing pixels as they are where the result's dtype has their values, else black."""
    if gone is None:
        return result
    if result.dtype.kind == "f":
        with np.errstate(over="ignore"):  # to infinite
            return np.where(gone, own.astype(result.dtype), result)
    limits = np.iinfo(result.dtype)
    if own.dtype.kind == "f":
        kept = np.where(np.isfinite(own) & (own == np.rint(own)), own, 0)
    else:
        kept = own
    kept = np.where((kept >= limits.min) & (kept <= limits.max), kept, 0)
    return np.where(gone, kept.astype(result.dtype), result)


def _bands(window: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Rows of (S, h, w), a few at a time: intermediate results stay in the processor's cache."""
    height, width = window.shape[1:]
    rows = max(1, BAND // width)
    for y in range(0, height, rows):
        yield slice(None), slice(y, y + rows)
