"""Noise of instruments: how the variance of pixels grows with their mean, and finding it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

BLOCK = 8
"""Side in pixels of the blocks that residuals are gathered in."""

BINS = 24
"""Levels that the variance is taken at."""


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel of mean ``m``: ``dark + gain * (m - offset)``.

    The Poisson-Gaussian model (Foi et al. 2008, IEEE TIP 17, 1737, eq. 3); below the
    offset the variance stays ``dark``.

    Attributes
    ----------
    gain : float
        Variance per unit of signal: of a camera that adds no noise when it
        multiplies, its units (ADU) per photo-electron.
    offset : float
        Level that ``dark`` is meant for.
    dark : float
        Variance there: of the read noise, and of a background that is above the
        camera's own offset.
    photon : float, optional
        Units per detected photon where they differ from ``gain``.
    """

    gain: float
    offset: float
    dark: float
    photon: float | None = None

    def at(self, level: float) -> NoiseModel:
        """Describe the same noise from another level; below the offset at least a tenth is left."""
        dark = max(self.dark + self.gain * (level - self.offset), 0.1 * self.dark)
        return NoiseModel(self.gain, level, dark, self.photon)

    def deviation(self, level: NDArray[Any] | float) -> NDArray[Any]:
        """Deviation of pixels of these means."""
        above = np.maximum(np.asarray(level) - self.offset, 0)
        return np.sqrt(self.dark + self.gain * above)

    @property
    def unit(self) -> float:
        """Deviation at the offset, with Anscombe's 3/8 of a photon (1948, Biometrika 35, 246)."""
        return float(np.sqrt(self.dark + 0.375 * self.gain**2))

    @property
    def curvature(self) -> float:
        """Gain in units of `unit`: that of `napari_dcr.network.variance_stabilization.Counts`."""
        return self.gain / self.unit


@dataclass(frozen=True)
class NoiseEstimate:
    """What an image says about its noise.

    Attributes
    ----------
    model : NoiseModel
        Its offset is the image's darkest level, which need not be the camera's.
    gain_error, dark_error : float
        Standard errors of the model's gain and dark variance.
    whiteness : float
        Variance of the finest residuals over that of residuals at twice their
        spacing: 1 for noise that is independent from pixel to pixel, less where a
        camera or a resampling has blurred it.
    blocks : int
        Blocks of 8 x 8 pixels that went into it.
    """

    model: NoiseModel
    gain_error: float
    dark_error: float
    whiteness: float
    blocks: int

    @property
    def read_noise(self) -> float:
        """Deviation at the darkest level, in the image's units."""
        return float(np.sqrt(self.model.dark))

    def in_unit(self, unit: float) -> NoiseEstimate:
        """Describe the same noise of pixels that were divided by ``unit``."""
        model = self.model
        with np.errstate(all="ignore"):  # variances in extreme units are 0 or infinite
            dark, error = np.array([model.dark, self.dark_error]) / np.float64(unit) ** 2
        scaled = NoiseModel(
            model.gain / unit, model.offset / unit, float(dark),
            None if model.photon is None else model.photon / unit,
        )  # fmt: skip
        return replace(
            self, model=scaled, gain_error=self.gain_error / unit,
            dark_error=float(error),
        )  # fmt: skip

    def to_dict(self) -> dict[str, float]:
        """Plain values, for a record."""
        model = self.model
        return {
            "gain": model.gain,
            "gain_error": self.gain_error,
            "offset": model.offset,
            "dark": model.dark,
            "dark_error": self.dark_error,
            "whiteness": self.whiteness,
        }


def estimate_noise(
    image: NDArray[Any] | Iterable[NDArray[Any]], floor: float | None = None
) -> NoiseEstimate:
    """Estimate gain, offset and read noise by regression of local variances on local means.

    Residuals of a Laplacian-like filter that is blind to planes and edges along the
    axes (Immerkaer 1996, CVIU 64, 300) give a variance for each block of 8 x 8
    pixels; at each level the flatter half of the blocks counts, by a measure of
    flatness that their finest noise hardly enters; a line is fitted through the
    levels' means (Foi et al. 2008, section III).

    Parameters
    ----------
    image : ndarray, shape (h, w), or several of them
        One channel, in its own units; what is not finite is left out.
    floor : float, optional
        Least deviation to report; that of rounding for integers, else 1e-6 of the range.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    ValueError
        If there is no window of at least 16 x 16 finite pixels.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> ramp = np.linspace(10, 60, 256) * np.ones((256, 1))
    >>> camera = 100 + 2 * rng.poisson(ramp) + rng.normal(0, 3, ramp.shape)
    >>> round(estimate_noise(camera).model.gain)
    2
    """
    windows = [image] if isinstance(image, np.ndarray) and image.ndim == 2 else list(image)
    tables = [block_statistics(np.asarray(w)) for w in windows]
    integer = all(np.asarray(w).dtype.kind in "iu" for w in windows)
    return fit_noise(np.concatenate([np.empty((0, 4)), *tables]), integer, floor)


def fit_noise(
    table: NDArray[np.float64], integer: bool, floor: float | None = None
) -> NoiseEstimate:
    """Estimate from the rows that `block_statistics` gives; see `estimate_noise`."""
    table = table[np.isfinite(table).all(1)]
    if not len(table):
        raise ValueError("image: got no 16 x 16 finite pixels; estimating noise needs some")
    mean, fine, coarse, rough = table.T
    if floor is None:
        floor = 12**-0.5 if integer else 1e-6 * max(float(np.ptp(mean)), abs(float(mean[0])), 1e-6)
    offset = float(np.quantile(mean, 0.005))

    levels = np.array_split(np.argsort(mean, kind="stable"), min(BINS, max(1, len(mean) // 24)))
    points = []
    for members in levels:
        flat = members[np.argsort(rough[members], kind="stable")[: max(1, (len(members) + 1) // 2)]]
        # A hot pixel spoils its block.
        flat = flat[fine[flat] <= np.quantile(fine[flat], 0.985)]
        points.append(
            (mean[flat].mean(), fine[flat].mean(), coarse[flat].mean(), fine[flat].var(), len(flat))
        )
    level, variance, wider, scatter, count = np.array(points).T
    error = np.sqrt((scatter + (0.2 * variance) ** 2) / count) + 1e-3 * variance + 1e-12
    dark, gain, dark_error, gain_error = _line(np.maximum(level - offset, 0), variance, error)
    # Structure is coarser than noise and only ever lowers it: the whiter levels have less of it.
    whiteness = float(np.quantile(variance / np.maximum(wider, 1e-30), 0.75))
    model = NoiseModel(gain, offset, max(dark, floor**2))
    return NoiseEstimate(model, gain_error, dark_error, whiteness, int(count.sum()))


def _line(
    x: NDArray[Any], y: NDArray[Any], error: NDArray[Any]
) -> tuple[float, float, float, float]:
    """Fit intercept and slope, both at least 0, and their errors; outliers above count less."""
    weight = 1 / error**2
    for _ in range(10):
        total = weight.sum()
        centre = (weight * x).sum() / total
        spread = (weight * (x - centre) ** 2).sum()
        middle = (weight * y).sum() / total
        slope = (weight * (x - centre) * y).sum() / spread if spread > 1e-12 * total else 0.0
        slope = max(slope, 0.0)
        intercept = middle - slope * centre
        if intercept < 0:
            intercept, slope = 0.0, (weight * x * y).sum() / max((weight * x * x).sum(), 1e-30)
        distance = np.abs(y - intercept - slope * x) / error
        # Structure only ever adds to a variance; Huber's weights bound what it does.
        scale = max(1.0, 1.48 * float(np.median(distance)))
        weight = np.minimum(1, 1.5 * scale / np.maximum(distance, 1e-9)) / error**2
    slope_error = scale / np.sqrt(spread) if spread > 1e-12 * total else 0.0
    intercept_error = np.hypot(scale / np.sqrt(total), slope_error * centre)
    return float(intercept), float(slope), float(intercept_error), float(slope_error)


def block_statistics(window: NDArray[Any]) -> NDArray[np.float64]:
    """Measure the blocks of 8 x 8 pixels of a window (h, w).

    Returns
    -------
    ndarray, shape (n, 4)
        Mean, mean squared residual of pixels and of every other pixel, and roughness;
        none if a side is shorter than 16 pixels.
    """
    if min(window.shape) < 2 * BLOCK:
        return np.empty((0, 4))
    gone, window = missing(window), np.ma.getdata(window)
    pixels = window.astype(np.float64)
    if gone is not None:
        pixels[gone] = np.nan
    if window.dtype.kind in "iu":
        full = np.iinfo(window.dtype).max
        pixels[window == full] = np.nan  # saturated
    inner = pixels[2:-2, 2:-2]
    fine, coarse = _residual(pixels, 1), _residual(pixels, 2)
    smooth = _box(pixels)
    with np.errstate(invalid="ignore"):  # infinite pixels
        down = smooth[4:, 2:-2] - smooth[:-4, 2:-2]
        gradient = np.hypot(down, smooth[2:-2, 4:] - smooth[2:-2, :-4])
    gradient = np.pad(gradient, 2, "edge")[: inner.shape[0], : inner.shape[1]]
    parts = (inner, fine**2, coarse**2, gradient**2)
    return np.stack([block_means(part) for part in parts], -1)


def _residual(x: NDArray[Any], step: int) -> NDArray[Any]:
    """Immerkaer's filter with its taps ``step`` apart; unit gain for white noise."""
    h, w = x.shape
    rows, columns = (
        [x_[2 - step : n - 2 - step], x_[2 : n - 2], x_[2 + step : n - 2 + step]]
        for x_, n in ((np.arange(h), h), (np.arange(w), w))
    )
    vertical = x[rows[0]] - 2 * x[rows[1]] + x[rows[2]]
    both = vertical[:, columns[0]] - 2 * vertical[:, columns[1]] + vertical[:, columns[2]]
    result: NDArray[Any] = both / 6
    return result


def _box(x: NDArray[Any]) -> NDArray[Any]:
    """Means of 5 x 5 pixels, where they are complete."""
    height, width = x.shape
    rows = functools.reduce(np.add, (x[i : height - 4 + i] for i in range(5)))
    total: NDArray[Any] = functools.reduce(np.add, (rows[:, i : width - 4 + i] for i in range(5)))
    return total / 25


def block_means(image: NDArray[Any], side: int = BLOCK) -> NDArray[np.float64]:
    """Means of the complete blocks of ``side`` x ``side`` pixels of an image (h, w)."""
    height, width = (n // side for n in image.shape)
    cut = image[: height * side, : width * side].reshape(height, side, width, side)
    means: NDArray[np.float64] = cut.mean((1, 3), dtype=np.float64).ravel()
    return means
