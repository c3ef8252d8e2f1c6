"""Estimate how the light of a whole frame changed relative to another one, as by a lamp or by bleaching.

Means over blocks of two frames are compared. A change counts only if most of the blocks agree on
it, so that a flash in a part of the frame does not change the result. The estimate is an affine map,
because the level without light is not known exactly: the offset of a noise model is that of the
darkest part of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.intensity import Scale

BLOCKS = 256
"""Approximate number of blocks that a frame is divided into."""

SMALLEST = 4
"""Smallest side of a block in reduced pixels; all sides are even."""

FEWEST = 24
"""Smallest number of blocks for which a change of the light is estimated."""

WIDTH = 4.685
"""Residuals, in standard deviations, from which a block has no weight (Tukey's biweight)."""

STEPS = 12
"""Largest number of steps of the robust fit."""

CLOSE = 0.01
"""Change of the fit in a step, in standard deviations of a block's mean, below which it has converged."""

CONTRAST = 10.0
"""Variance of the blocks' means, in units of that of their noise, from which a ratio is estimated."""

MAJORITY = 2 / 3
"""Share of the blocks that must agree with a change of the light, each weighted by how well it tells the
change from none."""

FLOOR = 2e-3
"""Smallest standard deviation of a block's mean, relative to that of the blocks' means."""

CERTAIN = 3.0
"""Smallest change of the light that is corrected, in units of its standard error."""

Means = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """Change of the light: a pixel of value ``v`` in the first frame is ``ratio * v + addend`` in the second."""

    ratio: float = 1.0
    addend: float = 0.0

    def inverse(self) -> Level:
        """Change from the second frame to the first."""
        return self if self == UNCHANGED else Level(1 / self.ratio, -self.addend / self.ratio)

    def between(self, first: Scale, second: Scale) -> Level:
        """Same change for values that are converted to the working units of the two frames.

        Examples
        --------
        >>> Level(0.5, 60).between(Scale(100, 110), Scale(100, 105))
        Level(ratio=1.0, addend=2.0)
        """
        units = [scale.white - scale.black for scale in (first, second)]
        zero = self.ratio * first.black + self.addend - second.black
        return Level(self.ratio * units[0] / units[1], zero / units[1])


UNCHANGED = Level()


def find_level(first: Means, second: Means) -> Level:
    """Estimate the change of the light between two frames that show the same scene.

    Parameters
    ----------
    first, second : ndarray, shape (h, w)
        Frames of equal shape, aligned with each other; pixels without data are NaN.

    Returns
    -------
    Level
        `UNCHANGED` if less than the `MAJORITY` agrees on a change. Otherwise the change is reduced
        according to its own standard error, so that one that is not significant is 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = 100 + np.kron(rng.random((16, 16)), np.full((6, 6), 50.0))
    >>> first, second = rng.poisson(scene), rng.poisson(0.9 * scene + 5)
    >>> second[10:50, 20:50] += 200  # a flash
    >>> level = find_level(first.astype(float), second.astype(float))
    >>> round(level.ratio, 1), round(level.ratio * 125 + level.addend)
    (0.9, 117)
    """
    side = max(SMALLEST, 2 * round((first.size / BLOCKS) ** 0.5 / 2))
    level = UNCHANGED
    # The second time, the noise of the difference is measured with the ratio that was found.
    for _ in range(2):
        x, y, noise = _block_means(first, second, side, level.ratio)
        if len(x) < FEWEST or not (x.std() > 0 and np.isfinite(noise).all()):
            return UNCHANGED
        level = _fit(x, y, np.maximum(noise, FLOOR * x.std()))
    return level


def _block_means(
    first: Means, second: Means, side: int, ratio: float
) -> tuple[Means, Means, Means]:
    """Means over blocks, and the standard deviation of the noise in their difference."""
    rows, columns = (n // side for n in first.shape)
    shape = rows, side, columns, side
    x, y = (f[: rows * side, : columns * side].reshape(shape).mean((1, 3)) for f in (first, second))
    difference = second - ratio * first
    even = difference[: rows * side, : columns * side]
    diagonal = even[::2, ::2] - even[1::2, ::2] - even[::2, 1::2] + even[1::2, 1::2]
    half = side // 2
    squares = (diagonal**2 / 4).reshape(rows, half, columns, half)
    variance = squares.mean((1, 3)) / side**2
    valid = np.isfinite(x) & np.isfinite(y) & np.isfinite(variance)
    if not valid.any():
        return x[valid], y[valid], variance[valid]
    noise = np.sqrt(np.maximum(variance[valid], np.median(variance[valid])))
    return x[valid], y[valid], noise


def _fit(x: Means, y: Means, noise: Means) -> Level:
    """Robust affine fit of ``y`` to ``x``, reduced by its standard errors."""
    order = np.argsort(x, kind="stable")
    low, high = order[: len(x) // 2], order[-(len(x) // 2) :]
    rise = x[high] - x[low]
    slopes = (y[high] - y[low])[rise > 0] / rise[rise > 0]
    ratios = [1.0, float(np.median(slopes))] if len(slopes) else [1.0]
    starts = [(1.0, 0.0), *((r, float(np.median(y - r * x))) for r in ratios)]
    fits = [_converged(x, y, noise, *start) for start in starts]
    # Tukey's loss, whose weights are those of the biweight.
    costs = [float((1 - _weights(x, y, noise, *fit[:2]) ** 1.5).sum()) for fit in fits]
    ratio, addend, middle, ratio_error, shift_error = fits[int(np.argmin(costs))]
    agrees = np.abs(y - ratio * x - addend) < 3 * noise
    tells = (((ratio - 1) * x + addend) / noise) ** 2
    if (tells * agrees).sum() <= MAJORITY * tells.sum() or agrees.mean() < MAJORITY:
        return UNCHANGED
    change = _reduced(ratio * middle + addend - middle, shift_error)
    ratio = 1 + _reduced(ratio - 1, ratio_error)
    addend = middle + change - ratio * middle
    return Level(float(ratio), float(addend)) if change or ratio != 1 else UNCHANGED


def _converged(
    x: Means, y: Means, noise: Means, ratio: float, addend: float
) -> tuple[float, float, float, float, float]:
    """Ratio, addend, weighted mean of ``x``, and standard errors of the ratio and of the mean change."""
    middle, errors = float(x.mean()), (np.inf, np.inf)
    for _ in range(STEPS):
        before = ratio * x + addend
        robust = _weights(x, y, noise, ratio, addend)
        weight = robust / noise**2
        total = weight.sum()
        if total == 0:
            break
        middle, level = float((weight * x).sum() / total), float((weight * y).sum() / total)
        across = x - middle
        # Noise of x itself would make the ratio too small: half of the difference's variance is its.
        own = float(robust.sum() / 2)
        spread = float((weight * across**2).sum())
        ratio_error = np.inf
        if spread > CONTRAST * own:
            ratio = float((weight * across * (y - level)).sum() / (spread - own))
        else:
            ratio = 1.0
        addend = level - ratio * middle
        residual = y - ratio * x - addend
        scale = max(1.0, float((weight * residual**2).sum() / robust.sum()))
        if spread > CONTRAST * own:
            ratio_error = (scale / spread) ** 0.5
        errors = ratio_error, (scale / total) ** 0.5
        if np.abs(ratio * x + addend - before).max() < CLOSE * noise.min():
            break
    return ratio, addend, middle, *errors


def _weights(x: Means, y: Means, noise: Means, ratio: float, addend: float) -> Means:
    """Tukey's biweight of the residuals of a fit."""
    scaled = (y - ratio * x - addend) / (WIDTH * noise)
    return np.asarray(np.maximum(1 - scaled**2, 0) ** 2)


def _reduced(value: float, error: float) -> float:
    """Reduce a value towards 0 by its standard error, as James and Stein (1961) do; 0 if it is not certain."""
    return value * (1 - (error / value) ** 2) if abs(value) > CERTAIN * error else 0.0
