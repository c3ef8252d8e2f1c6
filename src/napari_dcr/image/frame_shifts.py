"""Estimate the shift of a whole frame relative to another one, by phase correlation.

Frames are reduced to means over squares of pixels, so that memory and time are bounded. Spatial
frequencies at which noise dominates get no weight. A shift is returned only if its correlation is
clearly higher than that without a shift, and clearly above the correlations of all other shifts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

FARTHEST = 32
"""Largest shift that is recognised, in pixels along each axis."""

SIDE = 320
"""Largest side of a reduced frame."""

BAND = 1 << 22
"""Largest number of pixels that are read at a time."""

FADE_SHARE = 1 / 8
"""Share of each side over which a frame fades to 0.

The Fourier transform continues a frame periodically. Without fading, opposite sides would form an edge.
"""

CLIPPED_SHARE = 0.002
"""Share of the darkest pixels, and of the brightest, that are clipped."""

NOISE_FREQUENCY = 0.35
"""Spatial frequency in cycles per reduced pixel above which most of the power is noise."""

RINGS = 64
"""Number of rings of spatial frequencies per cycle in which the power is averaged."""

SIGNIFICANCE = 4.0
"""How far the correlation at a shift must exceed the correlation without a shift, in robust standard
deviations of the differences between other pairs of shifts that are equally far apart."""

PEAK = 5.0
"""Smallest correlation at the shift of matching frames, in robust standard deviations over all shifts.

Frames that show different scenes reach 4, and frames of a moving or blinking scene mostly exceed 8."""

AMBIGUOUS = 0.8
"""Smallest correlation without a shift, relative to the highest one, for frames that did not move."""

BLOCK = 8
"""Side in reduced pixels of the blocks that must agree on a shift of less than half a reduced pixel."""

MAJORITY = 2 / 3
"""Share of these blocks that must agree."""

SMALLEST = 16
"""Smallest side of a reduced frame for which a shift is estimated."""

Shift = tuple[float, float]
"""Shift in pixels along y and x."""

Read = Callable[[slice, slice], NDArray[np.generic]]
"""Function that reads rows and columns of a frame as (samples, h, w)."""


@dataclass(frozen=True)
class ReducedFrame:
    """Frame that was reduced in size, and its Fourier transform.

    Attributes
    ----------
    factor : int
        Each reduced pixel is the mean of ``factor`` x ``factor`` pixels.
    means : ndarray, shape (h, w)
        Reduced frame; NaN where pixels have no data.
    spectrum : ndarray or None
        Result of `numpy.fft.rfft2`; None if the frame is constant, has no data, or is too small.
    """

    factor: int
    means: NDArray[np.float64]
    spectrum: NDArray[np.complex64] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the reduced frame."""
        return self.means.shape[0], self.means.shape[1]

    @property
    def is_small(self) -> bool:
        """Whether the frame is too small to estimate a shift."""
        return min(self.shape) < SMALLEST

    @classmethod
    def of(cls, read: Read, height: int, width: int) -> ReducedFrame:
        """Reduce a frame, reading it in bands of rows.

        Parameters
        ----------
        read : callable
        height, width : int
            Size of the frame in pixels.
        """
        factor = max(1, -(-max(height, width) // SIDE))
        rows, columns = height // factor, width // factor
        step = max(1, BAND // (width * factor))
        bands: Iterable[NDArray[np.float64]] = (
            _means(
                read(slice(y * factor, min(y + step, rows) * factor), slice(0, columns * factor)),
                factor,
            )
            for y in range(0, rows, step)
        )
        means = np.concatenate([np.empty((0, columns)), *bands])
        return cls(factor, means, None if min(rows, columns) < SMALLEST else _spectrum(means))


def find_shift(first: ReducedFrame, second: ReducedFrame) -> Shift | None:
    """Estimate how far the scene moved from the first frame to the second.

    What is at position ``p`` in the first frame is at ``p + shift`` in the second.

    Parameters
    ----------
    first, second : ReducedFrame
        Frames of equal shape.

    Returns
    -------
    (float, float) or None
        Pixels along y and x; 0 if no shift of up to `FARTHEST` pixels is clearly better, and
        for frames that are too small. None if no shift is significant, which means that the frames
        show different scenes, moved too far, or contain hardly any structure.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = np.kron(rng.random((12, 12)), np.ones((8, 8)))
    >>> frames = [scene[None, 10:80, 10:80], scene[None, 4:74, 13:83]]
    >>> reduced = [ReducedFrame.of(lambda r, c, f=f: f[:, r, c], 70, 70) for f in frames]
    >>> [round(pixels) for pixels in find_shift(*reduced)]
    [6, -3]
    """
    if first.is_small or second.is_small:
        return 0.0, 0.0
    if first.spectrum is None or second.spectrum is None or first.shape != second.shape:
        return None
    cross = second.spectrum * first.spectrum.conj()
    power = np.abs(cross)
    rows, columns = first.shape
    ring, count, is_fine = _rings(rows, columns)
    mean = np.bincount(ring.ravel(), power.ravel()) / count
    signal = np.maximum(mean / power[is_fine].mean() - 1, 0)
    weight = (signal / (1 + signal)) ** 2
    weighted = cross / np.maximum(power, np.finfo(np.float32).tiny) * weight[ring]
    weighted[0, 0] = 0  # the means of the frames are ignored
    surface = np.fft.irfft2(weighted, s=first.shape)
    limits = [max(1, min(FARTHEST // first.factor, size // 2 - 2)) for size in first.shape]
    # Move the zero shift to the middle, and keep one more shift on each side for the interpolation.
    middle = np.roll(surface, [m + 1 for m in limits], (0, 1))
    middle = middle[: 2 * limits[0] + 3, : 2 * limits[1] + 3]
    inner = middle[1:-1, 1:-1]
    y, x = (int(i) + 1 for i in np.unravel_index(inner.argmax(), inner.shape))
    moved = y - limits[0] - 1, x - limits[1] - 1
    least = PEAK * np.median(np.abs(surface)) / 0.6745
    highest, unmoved = surface[moved], surface[0, 0]
    if not highest > least:
        return None
    differences = np.roll(surface, (-moved[0], -moved[1]), (0, 1)) - surface
    if not differences[0, 0] > SIGNIFICANCE * np.median(np.abs(differences)) / 0.6745:
        if not unmoved > max(least, AMBIGUOUS * highest):
            return None
        y, x = (limit + 1 for limit in limits)
        is_found = [first.factor > 1 and _is_small_shift(surface, first, second, n) for n in (0, 1)]
    else:
        is_found = [True, True]
    down = _vertex(middle[y - 1 : y + 2, x]) if is_found[0] else 0.0
    across = _vertex(middle[y, x - 1 : x + 2]) if is_found[1] else 0.0
    return first.factor * (y - limits[0] - 1 + down), first.factor * (x - limits[1] - 1 + across)


def _is_small_shift(
    surface: NDArray[np.floating[Any]], first: ReducedFrame, second: ReducedFrame, axis: int
) -> bool:
    """Whether most of a frame moved along an axis, by less than half a reduced pixel.

    The correlations on both sides of the zero shift must differ by more than by chance. An object that
    moves changes them, too, so in the blocks with texture a majority must have moved to that side.
    """
    tilt = np.roll(surface, -1, axis) - np.roll(surface, 1, axis)
    usual = np.median(np.abs(tilt[1::3, 1::3])) / 0.6745
    if not abs(tilt[0, 0]) > SIGNIFICANCE * usual:
        return False
    gradient = np.gradient(np.nan_to_num(first.means + second.means), axis=axis)
    rows, columns = (size // BLOCK for size in first.shape)
    change = np.nan_to_num(first.means - second.means)

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = values[: rows * BLOCK, : columns * BLOCK]
        return np.asarray(inside.reshape(rows, BLOCK, columns, BLOCK).sum((1, 3)))

    texture, moved = sums(gradient**2), sums(change * gradient)
    has_texture = texture >= np.median(texture)
    return bool(((moved * tilt[0, 0]) > 0)[has_texture].mean() > MAJORITY)


@functools.lru_cache(maxsize=4)
def _rings(rows: int, columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Ring of each spatial frequency, size of each ring (at least 1), and frequencies of noise."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    ring = (2 * RINGS * frequency).astype(np.intp)
    return ring, np.maximum(np.bincount(ring.ravel()), 1), frequency > NOISE_FREQUENCY


def whole_pixels(shift: Shift, steps: tuple[int, int]) -> tuple[int, int]:
    """Round a shift to multiples of ``steps`` pixels along y and x.

    Examples
    --------
    >>> whole_pixels((3.2, -0.9), (2, 2))
    (4, 0)
    """
    return tuple(  # type: ignore[return-value]
        step * int(np.rint(pixels / step)) for pixels, step in zip(shift, steps, strict=True)
    )


def _means(pixels: NDArray[np.generic], factor: int) -> NDArray[np.float64]:
    """Means over squares of (samples, h, w), without missing pixels; NaN where all are missing."""
    is_missing, values = missing(pixels), np.ma.getdata(pixels)
    height, width = values.shape[1] // factor, values.shape[2] // factor
    shape = height, width
    with np.errstate(over="ignore", invalid="ignore"):
        if is_missing is None:
            return _sums(values, factor, shape) / (len(values) * factor**2)
        total = _sums(np.where(is_missing, 0, values), factor, shape)
        count = _sums(~is_missing, factor, shape)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sums(values: NDArray[Any], factor: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over samples and squares; adding pixel by pixel is faster than summing short axes."""
    total = np.zeros(shape)
    for sample, y, x in np.ndindex(len(values), factor, factor):
        total += values[sample, y::factor, x::factor][: shape[0], : shape[1]]
    return total


@np.errstate(over="ignore", invalid="ignore")
def _spectrum(means: NDArray[np.float64]) -> NDArray[np.complex64] | None:
    is_valid = np.isfinite(means)
    if not is_valid.any():
        return None
    low, high = np.quantile(means[is_valid], [CLIPPED_SHARE, 1 - CLIPPED_SHARE])
    values = np.clip(np.where(is_valid, means, np.median(means[is_valid])), low, high)
    values -= values.mean()
    deviation = values.std()
    if not np.isfinite(deviation) or deviation == 0:
        return None
    rows, columns = (_fading(size) for size in values.shape)
    return np.fft.rfft2(values / deviation * rows[:, None] * columns).astype(np.complex64)


def _fading(size: int) -> NDArray[np.float64]:
    """Weights along an axis, which fall to 0 at both ends."""
    inside = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / (FADE_SHARE * size)
    return np.sin(np.pi / 2 * np.minimum(inside, 1)) ** 2


def _vertex(values: NDArray[np.float64]) -> float:
    """Position of the maximum of the parabola through three values, from -0.5 to 0.5."""
    before, middle, after = (float(v) for v in values)
    curvature = before - 2 * middle + after
    return 0.0 if curvature >= 0 else float(np.clip((before - after) / (2 * curvature), -0.5, 0.5))
