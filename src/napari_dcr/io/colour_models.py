"""Colour models of TIFF, and their conversion to grey or RGB.

Sources are the sections of TIFF 6.0 (Adobe 1992): bilevel and grey 4, palettes 5, CMYK 16,
associated alpha 18, YCbCr 20 and 21, CIE L*a*b* 23.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR, CIELAB, ICCLAB = (
    0,
    1,
    2,
    3,
    5,
    6,
    8,
    9,
)

COMPONENTS = {
    WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, SEPARATED: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3,
}  # fmt: skip
"""Number of samples per colour, for each model that can be read."""

NAMES = {
    WHITE_IS_ZERO: "min-is-white", PALETTE: "palette", SEPARATED: "CMYK", YCBCR: "YCbCr",
    CIELAB: "CIE L*a*b*", ICCLAB: "ICC L*a*b*",
}  # fmt: skip

OTHERS = {4: "transparency mask", 10: "ITU L*a*b*", 32803: "colour filter array (camera raw; give it the suffix .dng)", 32844: "LogL",
          32845: "LogLuv", 34892: "linear raw", 51177: "depth map"}  # fmt: skip
"""Models that are not supported."""

DECODED_TO_RGB = (6, 7, 33003, 34712, 34892, 50001)
"""Compressions (JPEG, JPEG 2000, WebP) whose decoders convert YCbCr to RGB."""

# CIE D50 to linear sRGB, with the white point adapted by Bradford's method (ICC.1:2010, annex E).
_D50 = np.array([0.96422, 1.0, 0.82521])
_XYZ_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


@dataclass(frozen=True)
class ColourModel:
    """Conversion of the samples of a page to grey or RGB, with alpha and further samples.

    Attributes
    ----------
    samples : str
        Meaning of the samples after conversion, see `napari_dcr.image.axes.Layout`; empty for
        grey without further samples.
    dtype : dtype
        Dtype after conversion.
    components : int
        Number of samples that make up the colour before conversion.
    convert : callable or None
        Converts colours (components, ...) to (1 or 3, ...); None if no conversion is needed.
    name : str
        Name of the converted model; empty without conversion.
    extend : callable or None
        Converts the further samples to the same dtype.
    """

    samples: str
    dtype: np.dtype[Any]
    components: int
    convert: Callable[[Pixels], Pixels] | None = None
    name: str = ""
    extend: Callable[[Pixels], Pixels] | None = None

    @property
    def count(self) -> int:
        """Number of samples per pixel after conversion."""
        return len(self.samples) or 1

    def apply(self, pixels: Pixels, axis: int | None) -> Pixels:
        """Convert pixels.

        Parameters
        ----------
        pixels : ndarray
            Decoded pixels.
        axis : int or None
            Axis of the samples; None if each pixel has one sample.  Without a sample axis, several
            converted samples become the last axis.
        """
        if self.convert is None:
            return pixels
        planes = pixels[None] if axis is None else np.moveaxis(pixels, axis, 0)
        colours = self.convert(planes[: self.components])
        others = planes[self.components :]
        if len(others):
            others = others if self.extend is None else self.extend(others)
            colours = np.concatenate([colours, others.astype(self.dtype, copy=False)])
        if axis is None:
            return colours[0] if len(colours) == 1 else np.moveaxis(colours, 0, -1)
        return np.moveaxis(colours, 0, axis)


def model_of(page: Any, is_display_map: bool) -> ColourModel:
    """Determine the colour model of a TIFF page.

    Parameters
    ----------
    page : tifffile.TiffPage
    is_display_map : bool
        Whether a palette only defines the display colours of intensities, as in ImageJ and OME
        files; the image then consists of the intensities.

    Raises
    ------
    ValueError
        If the model cannot be converted; the message names it.
    """
    kind = int(page.photometric)
    if kind not in COMPONENTS:
        name = OTHERS.get(kind, getattr(page.photometric, "name", str(kind)))
        raise ValueError(
            f"its colour model {name} is not supported; allowed are grey, RGB, "
            + ", ".join(NAMES.values())
        )
    dtype, bits, components = np.dtype(page.dtype), int(page.bitspersample), COMPONENTS[kind]
    if kind == YCBCR and (int(page.compression) in DECODED_TO_RGB or is_subsampled(page)):
        kind = RGB
    if kind == PALETTE and is_display_map:
        kind = BLACK_IS_ZERO
    if kind == SEPARATED and _value(page, "InkSet", 1) != 1:
        raise ValueError("its inks are not cyan, magenta, yellow and black; convert it to RGB")
    if kind not in (BLACK_IS_ZERO, RGB) and (dtype.kind not in "ub" or bits > 16):
        raise ValueError(
            f"its colour model {NAMES[kind]} with {dtype.name} is not supported; allowed are"
            " unsigned integers of up to 16 bits"
        )
    colours = "y" if kind in (BLACK_IS_ZERO, WHITE_IS_ZERO) else "rgb"
    extras = "".join(
        {1: "A", 2: "a"}.get(_extra(page, i), "y") for i in range(page.samplesperpixel - components)
    )
    samples = colours + extras
    samples = "" if samples == "y" else samples
    # Pictures with fewer bits than their dtype are scaled to its range; camera counts are not.
    full = dtype if dtype.kind != "b" else np.dtype(np.uint8)
    widened = dtype.kind in "ub" and bits < 8 * full.itemsize and (bits < 8 or kind not in (0, 1))
    extend = _widen(bits, full) if widened else None
    top = 2**bits - 1 if dtype.kind in "ub" else None
    # Read now, because the file is closed when pixels are converted.
    palette = np.asarray(page.colormap if kind == PALETTE else (), np.uint16)
    coding = _YCbCr.of(page, np.iinfo(full).max) if kind == YCBCR else None

    def convert(planes: Pixels) -> Pixels:
        if kind == PALETTE:
            return _look_up(planes, palette)
        if kind == WHITE_IS_ZERO:
            planes = ~planes if planes.dtype.kind == "b" else planes.dtype.type(top) - planes
        if extend is not None:
            planes = extend(planes)
        if kind == SEPARATED:
            return _from_cmyk(planes)
        if coding is not None:
            return coding.to_rgb(planes)
        if kind in (CIELAB, ICCLAB):
            return _from_lab(planes, kind == CIELAB)
        return planes

    changed = kind not in (BLACK_IS_ZERO, RGB) or extend is not None
    if kind == PALETTE:
        full = np.dtype(np.uint16 if bits > 8 else np.uint8)
    return ColourModel(
        samples, full, components, convert if changed else None, NAMES.get(kind, ""), extend
    )


def is_subsampled(page: Any) -> bool:
    """Whether chroma is subsampled without JPEG, whose subsampled chroma tifffile decodes."""
    return (
        int(page.photometric) == YCBCR
        and int(page.compression) not in DECODED_TO_RGB
        and tuple(page.subsampling or (1, 1)) != (1, 1)
    )


def _extra(page: Any, number: int) -> int:
    extras = tuple(page.extrasamples or ())
    return int(extras[number]) if number < len(extras) else 0


def _value(page: Any, name: str, default: Any) -> Any:
    return page.tags[name].value if name in page.tags else default


def _widen(bits: int, dtype: np.dtype[Any]) -> Callable[[Pixels], Pixels]:
    """Create a function that scales integers of some bits to the full range of a dtype."""
    own, full = 2**bits - 1, np.iinfo(dtype).max

    def widen(planes: Pixels) -> Pixels:
        return ((planes.astype(np.uint32) * full + own // 2) // own).astype(dtype)

    return widen


def _look_up(planes: Pixels, table: Pixels) -> Pixels:
    """Colours of a palette, as 8 bits like in viewers if the indices have at most 8 bits."""
    if table.shape[1] <= 256:
        table = (table >> 8).astype(np.uint8)
    index = np.minimum(planes[0].astype(np.intp), table.shape[1] - 1)
    return table[:, index]


def _rounded(planes: Pixels, dtype: np.dtype[Any]) -> Pixels:
    top = np.iinfo(dtype).max
    return np.clip(np.rint(planes), 0, top).astype(dtype)


def _from_cmyk(planes: Pixels) -> Pixels:
    """Convert CMYK to RGB by (1 - ink) (1 - black), like viewers without colour profiles."""
    top = np.float32(np.iinfo(planes.dtype).max)
    left = top - planes.astype(np.float32)
    return _rounded(left[:3] * left[3:] / top, planes.dtype)


@dataclass(frozen=True)
class _YCbCr:
    """Conversion from luma and colour differences to RGB (TIFF 6.0, section 21).

    Attributes
    ----------
    lumas : tuple of float
        Weights of red, green and blue in the luma.
    low, scale : tuple of float
        Code of 0, and step of one code, for Y, Cb and Cr.
    """

    lumas: tuple[float, ...]
    low: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, page: Any, top: int) -> _YCbCr:
        middle = (top + 1) // 2
        lumas = _ratios(_value(page, "YCbCrCoefficients", None), (0.299, 0.587, 0.114))
        default = (0, top, middle, top, middle, top)
        limits = _ratios(_value(page, "ReferenceBlackWhite", None), default)
        low, high = limits[::2], limits[1::2]
        if top > 255 and high[0] <= 255:  # libraries write the limits of 8 bits for every bit depth
            low, high = default[::2], default[1::2]
        ranges = (top, top - middle, top - middle)
        scale = tuple(n / ((h - b) or 1) for n, b, h in zip(ranges, low, high, strict=True))
        return cls(lumas, tuple(low), scale)

    def to_rgb(self, planes: Pixels) -> Pixels:
        shape = (3,) + (1,) * (planes.ndim - 1)
        low, scale = (np.array(v, np.float32).reshape(shape) for v in (self.low, self.scale))
        y, cb, cr = (planes.astype(np.float32) - low) * scale
        red, green, blue = (np.float32(v) for v in self.lumas)
        r = y + (2 - 2 * red) * cr
        b = y + (2 - 2 * blue) * cb
        g = (y - blue * b - red * r) / green
        return _rounded(np.stack([r, g, b]), planes.dtype)


def _ratios(value: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    """Values of a tag of fractions, which alternates numerators and denominators."""
    if value is None:
        return default
    flat = [float(v) for v in value]
    if len(flat) == 2 * len(default):
        flat = [a / (b or 1) for a, b in zip(flat[::2], flat[1::2], strict=True)]
    return tuple(flat) if len(flat) == len(default) else default


def _from_lab(planes: Pixels, signed: bool) -> Pixels:
    """Convert CIE L*a*b* with the white point D50 to sRGB."""
    bits = 8 * planes.dtype.itemsize
    top, unit = 2**bits - 1, 2 ** (bits - 8)
    lightness = planes[0].astype(np.float32) * np.float32(100 / top)
    if signed:
        a, b = planes[1:].view(f"i{planes.dtype.itemsize}").astype(np.float32) / unit
    else:
        a, b = planes[1:].astype(np.float32) / unit - 128
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = xyz * _D50.reshape((3,) + (1,) * (planes.ndim - 1))
    linear = np.clip(np.tensordot(_XYZ_TO_SRGB, xyz, 1), 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return _rounded(coded.astype(np.float32) * top, planes.dtype)
