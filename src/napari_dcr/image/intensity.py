"""Intensities: dtypes, black and white points, and the working space in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
"""Dtypes that go in and come out."""

BINS = 1 << 16

FAINTEST = 2.0**-16
"""Least that the brightest pixels of a float picture in [0, 1] have: below it, it has another unit."""

InputRange = Literal["auto", "dtype"] | tuple[float, float]


def check_dtype(dtype: np.dtype[Any], argument: str = "image") -> np.dtype[Any]:
    """Return ``dtype`` in native byte order, or say which dtypes are allowed.

    Raises
    ------
    TypeError
        For bool, complex, 32- and 64-bit integers and everything else.
    """
    if dtype.name not in DTYPES:
        hint = "; a mask has no intensities to enhance" if dtype.kind == "b" else ""
        raise TypeError(
            f"{argument}: got dtype {dtype.name}; allowed are {', '.join(DTYPES)}{hint}"
        )
    return dtype.newbyteorder("=")


class Histogram:
    """Counts of intensities in 65536 fixed bins, whatever the tiling.

    Integers of up to 16 bits have a bin per value.  Floats are binned by the
    upper 16 bits of their float32 pattern, ordered by value: a relative width
    of 2^-7 over the whole range of floats, with no bounds known beforehand.
    Missing pixels are left out, see `missing`.

    Attributes
    ----------
    smallest, largest : float
    from_uint16 : Histogram or None
        Of floats that are all multiples of 1/65535 in [0, 1]: that of the integers they were.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.counts = np.zeros(BINS, np.int64)
        self.smallest = np.inf
        self.largest = -np.inf
        floats = dtype.kind == "f"
        self.from_uint16 = Histogram(np.dtype(np.uint16)) if floats else None

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of an array."""
        gone, values = missing(values), np.ma.getdata(values)
        values = np.ravel(values) if gone is None else values[~gone]
        if not values.size:
            return
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))
        self.counts += np.bincount(self._bin(values), minlength=BINS)
        if self.from_uint16 is not None:
            if self.smallest >= 0 and self.largest <= 1 and _are_16_bit(values):
                self.from_uint16.add(np.rint(65535 * values.astype(np.float64)).astype(np.uint16))
            else:
                self.from_uint16 = None

    def remove(self, values: NDArray[Any]) -> None:
        """Take away values that were counted; the smallest and largest stay what they are."""
        self.counts -= np.bincount(self._bin(values.astype(self.dtype)), minlength=BINS)
        self.counts = np.maximum(self.counts, 0)
        if self.from_uint16 is not None:
            self.from_uint16.remove(np.rint(65535 * values.astype(np.float64)))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another one of the same dtype."""
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self.counts += other.counts
        if self.from_uint16 is not None and other.from_uint16 is not None:
            self.from_uint16.merge(other.from_uint16)
        else:
            self.from_uint16 = None

    def _bin(self, values: NDArray[Any]) -> NDArray[np.int64]:
        if self.dtype.kind != "f":
            return values.astype(np.int64) - (
                np.iinfo(np.int16).min if self.dtype.kind == "i" else 0
            )
        limit = np.finfo(np.float32).max
        pattern = np.clip(values, -limit, limit).astype(np.float32).view(np.uint32)
        # IEEE 754 patterns sort like the numbers once negative ones are turned over.
        ordered = np.where(pattern >> 31, ~pattern, pattern | np.uint32(1 << 31))
        return (ordered >> 16).astype(np.int64)

    def _value(self, bin_index: int) -> float:
        if self.dtype.kind != "f":
            return float(bin_index + (np.iinfo(np.int16).min if self.dtype.kind == "i" else 0))
        ordered = np.uint32((bin_index << 16) | 0x8000)
        pattern = ordered & np.uint32(0x7FFFFFFF) if ordered >> 31 else ~ordered
        return float(np.array([pattern], np.uint32).view(np.float32)[0])

    def quantiles_without(self, value: float, shares: tuple[float, ...]) -> list[float]:
        """Quantiles of all pixels but those of one value, and of those in its bin."""
        rest = Histogram(self.dtype)
        rest.merge(self)
        rest.counts[self._bin(np.array([value], self.dtype))] = 0
        return [rest.quantile(share) for share in shares]

    def quantile(self, share: float) -> float:
        """Value that a ``share`` of the counted pixels does not exceed; 0 if none were counted."""
        cumulated = np.cumsum(self.counts)
        if not cumulated[-1]:
            return 0.0
        value = self._value(int(np.searchsorted(cumulated, max(1, share * cumulated[-1]))))
        return float(np.clip(value, self.smallest, self.largest))


def _are_16_bit(values: NDArray[Any]) -> bool:
    """Whether all values are multiples of 1/65535, as precisely as float32 holds them."""
    # A few values tell for most images.
    for some in (values[:: max(1, len(values) // 256)], values):
        scaled = some.astype(np.float64) * 65535
        if np.abs(scaled - np.rint(scaled)).max() > 0.01:
            return False
    return True


@dataclass(frozen=True)
class Scale:
    """Affine map between an image's own units and the working range [0, 1].

    Attributes
    ----------
    black, white : float
        Own units of 0 and 1.
    """

    black: float
    white: float

    def to_working(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Own units to working float32; not clipped."""
        wide: Any = np.float64 if values.dtype == np.float64 else np.float32
        scaled = (values.astype(wide) - wide(self.black)) / wide(self.white - self.black)
        return np.asarray(scaled, np.float32)

    def from_working(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Working values to own units, rounded and clipped to an integer dtype's range."""
        wide: Any = np.float64 if dtype == np.float64 else np.float32
        own = values.astype(wide) * wide(self.white - self.black) + wide(self.black)
        if dtype.kind == "f":
            limit = np.finfo(dtype).max
            return np.clip(own, -limit, limit).astype(dtype)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(own), limits.min, limits.max).astype(dtype)


def check_input_range(value: object) -> InputRange:
    """Validate the argument ``input_range``.

    Raises
    ------
    ValueError
        If it is neither ``"auto"``, ``"dtype"`` nor two finite rising numbers.
    """
    if isinstance(value, str) and value in ("auto", "dtype"):
        return "auto" if value == "auto" else "dtype"
    if isinstance(value, (tuple, list, np.ndarray)):
        try:
            black, white = np.array(value, np.float64)
        except (TypeError, ValueError):
            black = white = np.nan
        if np.ndim(black) == 0 and np.isfinite([black, white]).all() and white > black:
            return float(black), float(white)
    raise ValueError(
        f"input_range: got {value!r}; allowed are 'auto', 'dtype', or (black, white) with black < white"
    )


def full_scale(dtype: np.dtype[Any]) -> Scale:
    """[0, 1] for floats, 0 to the largest value for integers."""
    return Scale(0.0, 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max))


def needs_histogram(input_range: InputRange, dtype: np.dtype[Any], scientific: bool) -> bool:
    """Whether `find_scale` looks at the image's own values."""
    return input_range == "auto" and dtype != np.uint8 and (scientific or dtype.kind == "f")


def find_scale(
    input_range: InputRange, dtype: np.dtype[Any], histogram: Histogram | None, scientific: bool
) -> Scale:
    """Black and white point of an image.

    Parameters
    ----------
    input_range : {"auto", "dtype"} or (float, float)
        ``"dtype"`` is the dtype's full range (floats: 0 to 1).  ``"auto"`` is

        - 0..255 for uint8, and the dtype's full range for colour pictures of integers,
        - for grey 16-bit integers from the 0.1 percentile, the camera's offset, to the
          smallest of 2^8, 2^10, 2^12, 2^14, 2^15 or 2^16, less one, that 99.99 % of the
          pixels do not exceed: the bit depth of the camera rather than of its file; from
          0 to 65535 if all are multiples of 257, which are 8-bit ones that were converted,
        - the same for grey floats that are such integers divided by 65535,
        - 0..1 for all other floats whose 0.1 and 99 percentiles lie within it (by a hundredth)
          and that are not all below one part in 65536; a lamp may be above 1,
        - for further floats from the 0.1 percentile to `scene_white`.
    dtype : dtype
        Of the image.
    histogram : Histogram, optional
        Needed where `needs_histogram` says so.
    scientific : bool
        Whether the image is grey or channels, as cameras of instruments give them,
        rather than a finished colour picture.
    """
    if not isinstance(input_range, str):
        return Scale(*input_range)
    if histogram is None or not needs_histogram(input_range, dtype, scientific):
        return full_scale(dtype)
    if dtype.kind != "f":
        return _camera_range(histogram)
    black, white = histogram.quantile(0.001), histogram.quantile(0.9999)
    # What filters overshoot does not make it another unit, nor does a lamp.
    most = white if white <= 1.01 else histogram.quantile(0.99)
    if black >= -0.01 and FAINTEST <= most <= 1.01:
        if scientific and histogram.from_uint16 is not None:
            scale = _camera_range(histogram.from_uint16)
            return Scale(scale.black / 65535, scale.white / 65535)
        return Scale(0.0, 1.0)
    white = scene_white(histogram)
    if white <= black:  # a constant image, or none that is finite
        black, white = histogram.smallest, histogram.largest
    if not np.isfinite([black, white]).all():
        return Scale(0.0, 1.0)
    return Scale(black, white) if white > black else Scale(min(black, 0.0), max(white, 0.0) or 1.0)


def _camera_range(histogram: Histogram) -> Scale:
    """Black point and bit depth of 16-bit integers."""
    unsigned = histogram.dtype == np.uint16
    if unsigned and histogram.counts.sum() == histogram.counts[::257].sum():
        return full_scale(histogram.dtype)  # a finished picture of 8 bits
    white = histogram.quantile(0.9999)
    bits = next((b for b in (8, 10, 12, 14, 15) if white < 2**b), 16)
    return Scale(min(histogram.quantile(0.001), 2.0**bits - 2), 2.0**bits - 1)


def scene_white(histogram: Histogram) -> float:
    """White point of a scene of floats: what 99.99 % of its pixels do not exceed, but for lamps.

    Of a scene in linear light, which begins near 0 and varies, the brightest hundredth is
    taken for lamps where it is beyond what the scene's own spread leads to expect: light
    is distributed about log-normally, so the ratio of the 99 to the 90 percentile says where
    the 99.99 percentile should be. Pixels above white keep their values.
    """
    black, middle, bright, brighter, white = map(
        histogram.quantile, (0.001, 0.5, 0.9, 0.99, 0.9999)
    )
    if black < 0 or brighter < 1.3 * middle or bright <= black:  # noise about an offset
        return white
    # The normal distribution's quantiles: (3.72 - 2.33) / (2.33 - 1.28).
    growth = ((brighter - black) / (bright - black)) ** 1.33
    return min(white, black + (brighter - black) * growth)
