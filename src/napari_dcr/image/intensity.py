"""Intensities: allowed dtypes, histograms, and black and white points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
"""Dtypes of images and results."""

BINS = 1 << 16

FAINTEST = 2.0**-16
"""Smallest maximum of a float picture in [0, 1]; darker images are assumed to have another unit."""

LAMPS = 0.05
"""Largest share of a scene's pixels that are treated as lamps."""

LAMP_GAP, BETWEEN = 4.0, 0.1
"""Ratio of the levels of lamps and of the brightest pixels of a scene, both above black, and largest
number of pixels between them for each pixel of a lamp."""

SKEW = 1.8
"""Least ratio of the distances of the 99 and the 1 percentile from the median in a scene in linear
light. Of noise around an offset it is about 1, of a log-normal distribution usually above 3."""

DISPLAYED = 0.25
"""Smallest 99 percentile of a scene that is treated as a picture in [0, 1], whose white is 1."""

_FINITE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))

InputRange = Literal["auto", "dtype"] | tuple[float, float]


def check_dtype(dtype: np.dtype[Any], argument: str = "image") -> np.dtype[Any]:
    """Return ``dtype`` in native byte order, after checking that it is allowed.

    Raises
    ------
    TypeError
        If the dtype is not one of `DTYPES`, such as bool, complex and 32- or 64-bit integers.
    """
    if dtype.name not in DTYPES:
        hints = {
            "b": "; this is a mask, choose an image of intensities",
            "i": "; convert it, for example with image.astype('float32')",
            "u": "; convert it, for example with image.astype('float32')",
        }
        hint = hints.get(dtype.kind, "")
        raise TypeError(
            f"{argument}: got dtype {dtype.name}; allowed are {', '.join(DTYPES)}{hint}"
        )
    return dtype.newbyteorder("=")


class Histogram:
    """Histogram of intensities with 65536 fixed bins, independent of tiling.

    Integers of up to 16 bits have one bin per value.  Floats are binned by the upper 16 bits of
    their float32 pattern, in the order of their values.  This gives a relative bin width of 2^-7
    over the whole range of floats, without any limits known beforehand.  Missing pixels are not
    counted, see `missing`.

    Attributes
    ----------
    smallest, largest : float
        Smallest and largest counted value.
    from_uint16 : Histogram or None
        Histogram of the original integers, if all floats are multiples of 1/65535 in [0, 1].
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
        if values.size < BINS // 8:  # adding all bins would take longer than counting the values
            bins, counts = np.unique(self._bin(values), return_counts=True)
            self.counts[bins] += counts
        else:
            self.counts += np.bincount(self._bin(values), minlength=BINS)
        if self.from_uint16 is not None:
            if self.smallest >= 0 and self.largest <= 1 and _are_16_bit(values):
                self.from_uint16.add(np.rint(65535 * values.astype(np.float64)).astype(np.uint16))
            else:
                self.from_uint16 = None

    def remove(self, values: NDArray[Any]) -> None:
        """Remove values that were counted before; ``smallest`` and ``largest`` do not change."""
        self.counts -= np.bincount(self._bin(values.astype(self.dtype)), minlength=BINS)
        self.counts = np.maximum(self.counts, 0)
        if self.from_uint16 is not None:
            self.from_uint16.remove(np.rint(65535 * values.astype(np.float64)))

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram of the same dtype."""
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
        # IEEE 754 patterns sort like the numbers if those of negative numbers are inverted.
        ordered = np.where(pattern >> 31, ~pattern, pattern | np.uint32(1 << 31))
        return (ordered >> 16).astype(np.int64)

    def _value(self, number: int, within: float) -> float:
        """Value of a bin, or of a position from 0 to 1 between the ends of a bin of floats."""
        if self.dtype.kind != "f":
            return float(number + (np.iinfo(np.int16).min if self.dtype.kind == "i" else 0))
        ends = np.array([number << 16, number << 16 | 0xFFFF], np.uint32)
        pattern = np.where(ends >> 31, ends & np.uint32(0x7FFFFFFF), ~ends)
        low, high = np.clip(pattern.view(np.float32).astype(np.float64), *_FINITE)
        return float(low + within * (high - low))

    def quantiles_without(self, value: float, shares: tuple[float, ...]) -> list[float]:
        """Quantiles of all pixels except those in the bin of one value."""
        rest = Histogram(self.dtype)
        rest.merge(self)
        rest.counts[self._bin(np.array([value], self.dtype))] = 0
        return [rest.quantile(share) for share in shares]

    def without_lamps(self) -> Histogram:
        """The same without lamps, if a wide gap separates them from a scene in linear light."""
        low, high = (self.quantile(share) for share in (0.001, 1 - LAMPS))
        if not (self.dtype.kind == "f" and 0 <= low < high):
            return self
        numbers = np.flatnonzero(self.counts)
        numbers = numbers[numbers >= self._bin(np.array([high], self.dtype))[0]]
        levels = np.array([self._value(number, 1.0) for number in numbers]) - low
        # Pixels from each of these bins on, and pixels beyond the gap above it.
        above = np.cumsum(self.counts[numbers][::-1])[::-1]
        further = np.searchsorted(levels, LAMP_GAP * levels, "right")
        beyond = np.append(above, 0)[further]
        between = np.append(above[1:], 0) - beyond
        gaps = np.flatnonzero((beyond > 0) & (between <= BETWEEN * beyond))
        if not len(gaps):
            return self
        rest = Histogram(self.dtype)
        last = int(numbers[gaps[0]])
        rest.counts[: last + 1] = self.counts[: last + 1]
        rest.smallest, rest.largest = self.smallest, min(self.largest, self._value(last, 1.0))
        rest.from_uint16 = None
        dim, middle, bright = map(rest.quantile, (0.01, 0.5, 0.99))
        is_scene = bright - middle > SKEW * (middle - dim) > 0 or DISPLAYED <= bright <= 1.01
        return rest if is_scene else self

    def share_outside(self, low: float, high: float) -> float:
        """Share of the counted pixels below ``low`` or above ``high``, to the width of a bin."""
        if self.dtype.kind == "f":
            ends = np.array([low, high])
        else:
            limits = np.iinfo(self.dtype)
            ends = np.clip([np.ceil(low), np.floor(high)], limits.min, limits.max)
        first, last = self._bin(ends)
        return float(1 - self.counts[first : last + 1].sum() / max(1, self.counts.sum()))

    def quantile(self, share: float) -> float:
        """Value that a ``share`` of the counted pixels does not exceed; 0 if no pixel was counted."""
        cumulated = np.cumsum(self.counts)
        if not cumulated[-1]:
            return 0.0
        wanted = max(1, share * cumulated[-1])
        number = int(np.searchsorted(cumulated, wanted))
        below = cumulated[number] - self.counts[number]
        # Floats are assumed to be distributed uniformly within a bin, so that the unit hardly matters.
        value = self._value(number, float((wanted - below) / self.counts[number]))
        return float(np.clip(value, self.smallest, self.largest))


def _are_16_bit(values: NDArray[Any]) -> bool:
    """Whether all values are multiples of 1/65535 within the precision of float32."""
    # For most images a few values are enough to decide.
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
        Values in the image's own units that correspond to 0 and 1 of the working range.
    """

    black: float
    white: float

    def to_working(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Convert own units to working units as float32, without clipping."""
        wide: Any = np.float64 if values.dtype == np.float64 else np.float32
        scaled = (values.astype(wide) - wide(self.black)) / wide(self.white - self.black)
        return np.asarray(scaled, np.float32)

    def from_working(self, values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Convert working units to own units, rounded and clipped to the range of ``dtype``."""
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
        If it is neither ``"auto"``, ``"dtype"`` nor two finite increasing numbers.
    """
    if isinstance(value, str) and value in ("auto", "dtype"):
        return "auto" if value == "auto" else "dtype"
    if isinstance(value, (tuple, list, np.ndarray)):
        try:
            black, white = np.array(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            black = white = np.nan
        if np.ndim(black) == 0 and np.isfinite([black, white]).all() and white > black:
            return float(black), float(white)
    raise ValueError(
        f"input_range: got {value!r}; allowed are 'auto', 'dtype', or (black, white) with black < white"
    )


def full_scale(dtype: np.dtype[Any]) -> Scale:
    """Full range of a dtype: [0, 1] for floats, 0 to the largest value for integers."""
    return Scale(0.0, 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max))


def needs_histogram(input_range: InputRange, dtype: np.dtype[Any], scientific: bool) -> bool:
    """Whether `find_scale` needs the histogram of the image."""
    return input_range == "auto" and dtype != np.uint8 and (scientific or dtype.kind == "f")


def find_scale(
    input_range: InputRange, dtype: np.dtype[Any], histogram: Histogram | None, scientific: bool
) -> Scale:
    """Black and white point of an image.

    Parameters
    ----------
    input_range : {"auto", "dtype"} or (float, float)
        ``"dtype"`` is the dtype's full range (floats: 0 to 1).  ``"auto"`` is

        - 0 to 255 for uint8, and the dtype's full range for colour pictures of integers;
        - for grey 16-bit integers, from the 0.1 percentile, which is the camera's offset, to
          2^n - 1 with the smallest n of 8, 10, 12, 14, 15 and 16 that 99.99 % of the pixels do
          not exceed.  This is the bit depth of the camera instead of that of the file.  If all
          values are multiples of 257, the image was converted from 8 bits and the range is 0 to
          65535;
        - the same for grey floats that are such integers divided by 65535;
        - 0 to 1 for other floats whose 0.1 and 99 percentiles are in this range, with a
          tolerance of a hundredth, unless all values are below 1/65536.  Lamps may exceed 1;
        - for all other floats, from the 0.1 percentile to `scene_white`.

        Lamps in up to 5 % of a float picture's pixels, far above all others, are ignored.
    dtype : dtype
        Dtype of the image.
    histogram : Histogram, optional
        Required if `needs_histogram` is True.
    scientific : bool
        Whether the image is grey or has channels, like those of scientific cameras, and is not
        a finished colour picture.
    """
    if not isinstance(input_range, str):
        return Scale(*input_range)
    if histogram is None or not needs_histogram(input_range, dtype, scientific):
        return full_scale(dtype)
    if dtype.kind != "f":
        return _camera_range(histogram)
    histogram = histogram.without_lamps()
    black, white = histogram.quantile(0.001), histogram.quantile(0.9999)
    # Neither the overshoot of filters nor a lamp means that the image has another unit.
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
    """Determine black point and bit depth of 16-bit integers."""
    unsigned = histogram.dtype == np.uint16
    if unsigned and histogram.counts.sum() == histogram.counts[::257].sum():
        return full_scale(histogram.dtype)  # a picture that was converted from 8 bits
    white = histogram.quantile(0.9999)
    bits = next((b for b in (8, 10, 12, 14, 15) if white < 2**b), 16)
    return Scale(min(histogram.quantile(0.001), 2.0**bits - 2), 2.0**bits - 1)


def scene_white(histogram: Histogram) -> float:
    """White point of a float image: the 99.99 percentile, without the influence of lamps.

    In a scene in linear light, which starts near 0 and varies, the brightest hundredth is
    treated as lamps if it exceeds the value predicted from the rest of the scene.  Light is distributed
    approximately log-normally, so the ratio of the 99 to the 90 percentile predicts the 99.99
    percentile.  Pixels above the white point keep their values.
    """
    black, middle, bright, brighter, white = map(
        histogram.quantile, (0.001, 0.5, 0.9, 0.99, 0.9999)
    )
    if black < 0 or brighter < 1.3 * middle or bright <= black:  # noise around an offset
        return white
    # Exponent from quantiles of the normal distribution: (3.72 - 2.33) / (2.33 - 1.28).
    growth = ((brighter - black) / (bright - black)) ** 1.33
    return min(white, black + (brighter - black) * growth)
