"""Renderings: convert native units to the network's input, and its output to the result.

They are in one file because missing pixels, alpha and rounding must be treated alike in all of them.
"""

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
"""Number of pixels that are converted at a time."""

BEYOND = 1e4
"""Largest display value that is given to a noise stage."""

LARGEST = np.float32(1e12)
"""Largest input of a counts model, in standard deviations of the dark noise."""


class Rendering(Protocol):
    """Conversion of an image to the network's input, and of its output to the result.

    `Display` and `Quantitative` are the two kinds.

    Attributes
    ----------
    dtype : dtype
        Dtype of the result.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the result."""

    @property
    def keep_units(self) -> bool:
        """Whether the result is in the image's own units."""

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Convert (S, h, w) in own units to working units (C, h, w); missing pixels become black."""

    @property
    def needs_base(self) -> bool:
        """Whether `render` also needs the result of depth 0."""

    def render(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Combine (S, h, w) in own units and the network's output (C, h, w) into the result."""

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Convert (S, h, w) to the units and dtype of the result without enhancing it."""

    def convert_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Convert alpha to the dtype of the result."""


@dataclass(frozen=True)
class Display:
    """Rendering of pictures for viewing, in display values between 0 and 1.

    Attributes
    ----------
    strength : float
        Weight of the network's picture: 0 returns the input, 1 the network's picture.
    exposure : float
        Additional brightening of the network's picture, in stops.
    dtype : dtype
        Dtype of the result.
    keep_units : bool
        Whether the result is in the input's own units; otherwise [0, 1] is mapped to the full
        scale of ``dtype``.
    is_grey : bool
        Whether all colour samples of the image are equal; they then stay equal in the result.
    denoise, denoise_colour : float
        Weight of the change from depth 0's picture to the network's, for luma and for the
        colour differences from luma.
    saturation : float
        Factor for the colour differences from luma in the result.
    clips : bool
        Whether the network's input is clipped to [0, 1]. A noise stage needs values outside this
        range, because noise that is clipped at black no longer has a mean of 0.
    """

    strength: float
    exposure: float
    dtype: np.dtype[Any]
    keep_units: bool
    is_grey: bool = False
    denoise: float = 1.0
    denoise_colour: float = 1.0
    saturation: float = 1.0
    clips: bool = True

    @property
    def needs_base(self) -> bool:
        """Whether part of the noise is kept, for which the result of depth 0 is needed."""
        return min(self.denoise, self.denoise_colour) < 1

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with display values; grey is repeated in every channel."""
        low, high = (0, 1) if self.clips else (-BEYOND, BEYOND)
        for band in _bands(own):
            np.clip(_scaled(own[band], scale), low, high, out=out[band])

    def render(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Apply denoising weights, exposure, saturation and strength, and convert to result units.

        Values beyond the white or black point keep their distance from it.  Missing pixels keep
        their values where ``dtype`` can represent them.
        """
        result = np.empty(own.shape, self.dtype)
        for band in _bands(own):
            noisy = None if base is None else base[band]
            result[band] = self._render(own[band], scale, enhanced[band], noisy)
        return result

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Convert (S, h, w) to the units and dtype of the result without enhancing it."""
        return self._result(own, scale, None)

    def _render(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None,
    ) -> NDArray[Any]:
        # If only some frames of a recording were surveyed, others may have colours.
        grey = len(own) < len(enhanced) or (self.is_grey and _is_grey(own))
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
        """Mix with the picture of depth 0, to keep part of the noise."""
        change = picture - base
        if grey or self.denoise == self.denoise_colour:
            return base + np.float32(self.denoise) * change
        light = _light(change)
        colour = np.float32(self.denoise_colour) * (change - light)
        return np.clip(base + np.float32(self.denoise) * light + colour, 0, 1)

    def _result(
        self, own: NDArray[Any], scale: Scale, change: NDArray[np.float32] | None
    ) -> NDArray[Any]:
        """Add a change in working units, if given, to the own values."""
        gone, marked, own = missing(own), own, np.ma.getdata(own)
        dtype = self.dtype
        if self.keep_units:
            # Adding to the own values returns them exactly where the change is zero.
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

    def convert_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Convert alpha like the colours: scaled to the full range of ``dtype``, or only cast."""
        if self.keep_units:
            return alpha.astype(self.dtype)
        opaque = np.clip(full_scale(alpha.dtype).to_working(alpha), 0, 1)
        return full_scale(self.dtype).from_working(_without_nan(opaque, self.dtype), self.dtype)


@dataclass(frozen=True)
class Quantitative:
    """Rendering of intensities for measurement, in the image's own units.

    Attributes
    ----------
    strength : float
        Weight of the network's estimate: 0 returns the input, 1 the estimate.
    exposure : float
        Gain above ``zero``, in stops; 0 leaves the intensities as they are.
    dtype : dtype
        Dtype of the result: values are rounded and clipped to it, never scaled.
    uncertainty : bool
        Whether to append a second plane with the standard error of the estimate in own units.
        Both planes are then floats, the first one already rounded to ``dtype``.
    zero : float, optional
        Level above which ``exposure`` is a gain; None for the black point of the scale.
    """

    strength: float
    exposure: float
    dtype: np.dtype[Any]
    uncertainty: bool = False
    zero: float | None = None

    @property
    def keep_units(self) -> bool:
        """Always True."""
        return True

    @property
    def needs_base(self) -> bool:
        """Always False: the result of depth 0 is the input itself."""
        return False

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (1, h, w) with values above black, in standard deviations of the dark noise."""
        for band in _bands(own):
            out[band] = self._counts(own[band], scale)

    def render(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Apply strength and gain; missing pixels keep their values, see `Display.render`."""
        wide: Any = np.float64 if np.float64 in (own.dtype, self.dtype) else np.float32
        gone = missing(own)
        own, marked = np.ma.getdata(own), own
        result = np.empty((2 if self.uncertainty else 1, *own.shape[1:]), wide)
        unit, gain = wide(scale.white - scale.black), wide(2**self.exposure)
        zero = wide(scale.black if self.zero is None else self.zero)
        for band in _bands(own):
            part, estimate = own[band], enhanced[band]
            change = np.float32(self.strength) * (estimate[:1] - self._counts(marked[band], scale))
            with np.errstate(over="ignore"):  # values are clipped to the range of the dtype below
                value = part.astype(wide) + change.astype(wide) * unit
                value = self._brightened(value, zero)
            lost = None if gone is None else gone[band]
            if lost is not None:
                value = np.where(lost, zero, value)
            rounded = Scale(0, 1).from_working(value, self.dtype)
            result[band][:1] = _keep_missing(part, lost, rounded)
            if self.uncertainty:
                error = self.strength * gain * unit * estimate[1:]
                result[band][1:] = error if lost is None else np.where(lost, np.nan, error)
        return result if self.uncertainty else result.astype(self.dtype)

    def convert_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Round and clip alpha to the dtype of the result."""
        if alpha.dtype == self.dtype:
            return alpha
        return Scale(0, 1).from_working(_without_nan(alpha, self.dtype), self.dtype)

    @staticmethod
    def _counts(own: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
        """Convert to standard deviations of the dark noise, clipped so that squares are finite."""
        return np.clip(_scaled(own, scale), -LARGEST, LARGEST)

    def _brightened(self, values: NDArray[Any], zero: Any) -> NDArray[Any]:
        """Apply the exposure."""
        if not self.exposure:
            return values
        brightened: NDArray[Any] = zero + values.dtype.type(2**self.exposure) * (values - zero)
        return brightened

    def unchanged(self, own: NDArray[Any], scale: Scale, zero: float | None = None) -> NDArray[Any]:
        """Convert (1, h, w) to the dtype of the result; its standard error is unknown (NaN).

        The exposure is applied above ``zero``, unless that is None.
        """
        pixels = np.ma.getdata(own)
        values = pixels
        if zero is not None:
            values = self._brightened(pixels.astype(np.float64), zero)
        result = _keep_missing(pixels, missing(own), Scale(0, 1).from_working(values, self.dtype))
        if not self.uncertainty:
            return result
        wide: Any = np.float64 if np.float64 in (own.dtype, self.dtype) else np.float32
        return np.concatenate([result.astype(wide), np.full(own.shape, np.nan, wide)])


@dataclass(frozen=True)
class LeftAlone:
    """Rendering of planes that are returned unchanged because they cannot be enhanced.

    Attributes
    ----------
    rendering : Rendering
        Rendering of the other planes of the image.
    zero : float, optional
        Known black level above which the exposure is applied nevertheless.
    """

    rendering: Rendering
    zero: float | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the result."""
        return self.rendering.dtype

    @property
    def keep_units(self) -> bool:
        """Same as for the other planes of the image."""
        return self.rendering.keep_units

    @property
    def needs_base(self) -> bool:
        """Same as for the other planes of the image."""
        return self.rendering.needs_base

    def to_working(self, own: NDArray[Any], scale: Scale, out: NDArray[np.float32]) -> None:
        """Fill (C, h, w) with black, because the values may be arbitrarily large."""
        out[:] = 0

    def render(
        self,
        own: NDArray[Any],
        scale: Scale,
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Convert (S, h, w) to the units and dtype of the result without enhancing it."""
        if self.zero is not None and isinstance(self.rendering, Quantitative):
            return self.rendering.unchanged(own, scale, self.zero)
        return self.unchanged(own, scale)

    def unchanged(self, own: NDArray[Any], scale: Scale) -> NDArray[Any]:
        """Convert (S, h, w) to the units and dtype of the result without enhancing it."""
        return self.rendering.unchanged(own, scale)

    def convert_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Convert alpha to the dtype of the result."""
        return self.rendering.convert_alpha(alpha)


def _without_nan(alpha: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Replace an alpha of NaN by 0 if the dtype of the result cannot hold it."""
    return alpha if dtype.kind == "f" else np.nan_to_num(alpha, nan=0.0)


def _is_grey(own: NDArray[Any]) -> bool:
    """Whether the samples of (S, h, w) are equal."""
    return all(np.array_equal(own[0], other) for other in own[1:])


def _light(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma (1, h, w) of colours (3, h, w)."""
    red, green, blue = (np.float32(weight) for weight in LUMA)
    return red * colours[:1] + green * colours[1:2] + blue * colours[2:]


def _scaled(own: NDArray[Any], scale: Scale) -> NDArray[np.float32]:
    """Convert to working units; missing pixels become black."""
    gone = missing(own)
    with np.errstate(over="ignore", invalid="ignore"):  # missing pixels and extreme values overflow
        scaled = scale.to_working(np.ma.getdata(own))
    if gone is not None:
        scaled = np.where(gone, np.float32(0), scaled)
    return scaled


def _keep_missing(
    own: NDArray[Any], gone: NDArray[np.bool_] | None, result: NDArray[Any]
) -> NDArray[Any]:
    """Give missing pixels their own values, or 0 where the result's dtype cannot represent them."""
    if gone is None:
        return result
    if result.dtype.kind == "f":
        with np.errstate(over="ignore"):  # overflow to infinity is intended
            return np.where(gone, own.astype(result.dtype), result)
    limits = np.iinfo(result.dtype)
    if own.dtype.kind == "f":  # the limits of integers exceed those of half floats
        kept = np.where(np.isfinite(own) & (own == np.rint(own)), own, 0).astype(np.float64)
    else:
        kept = own
    kept = np.where((kept >= limits.min) & (kept <= limits.max), kept, 0)
    return np.where(gone, kept.astype(result.dtype), result)


def _bands(window: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Slices of a few rows of (S, h, w), so that intermediate results fit the processor's cache."""
    height, width = window.shape[1:]
    rows = max(1, BAND // width)
    for y in range(0, height, rows):
        yield slice(None), slice(y, y + rows)
