"""Group blocks by their mean, and fit the line of variance against mean."""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_blocks import ENOUGH, SIDE, power_at
from napari_dcr.image.noise_model import NoiseModel

EDGE = 0.2
"""Largest share of blocks that touch the edge of a constant area such as padding; a clipped black
level touches more."""

MOST_CONSTANTS = 4
"""Number of values of constant areas to check, starting with the most frequent one."""

LEVELS = 16
"""Largest number of equally filled levels; the brightest ones are divided further."""

WIDTH = 4.0
"""Smallest width of a level, in standard errors of a block's mean."""

ROUGHNESS = 0.128
"""Mean roughness of blocks that hold white noise alone, in units of its variance."""

MARGIN = 1.15
"""Factor for the noise of means if noise is correlated, because its correlation is not known exactly.
With too much noise the levels differ too little and the gain is too high, which costs less than the
opposite."""

FLAT = 2.5
"""Largest roughness of nearly all blocks that hold noise alone, in units of its mean."""

BLOCK_ERROR = 0.35
"""Relative standard error of the variance that the residuals of a block give."""

TOLERANCE = 0.1
"""Share of its variance by which a level may deviate from the line, because no model is perfect."""

MOST_SATURATED = 0.6
"""Share of saturated pixels above which a level is ignored."""

PART = 0.3
"""Share of the mean variance that is added to a level's own variance for `TOLERANCE`, so that neither
the darkest nor the brightest levels dominate."""


class LineFit(NamedTuple):
    """Line through the variances of the levels."""

    model: NoiseModel
    gain_error: float
    dark_error: float


def fit_line(levels: NoiseLevels, offset: float, floor: float, share: float = 1.0) -> LineFit:
    """Fit a `NoiseModel` through the variances of the levels.

    Parameters
    ----------
    levels : NoiseLevels
    offset : float
    floor : float
        Smallest read noise.
    share : float
        Share of a block's own mean in its level, see `BlockLevels`.
    """
    dark, gain, dark_error, gain_error = _line(
        np.maximum(levels.mean - offset, 0), levels.variance, levels.blocks, share
    )
    return LineFit(NoiseModel(gain, offset, max(dark, floor**2)), gain_error, dark_error)


def saturated_share(blocks: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each block's pixels at the largest value of the image, if values are clipped there.

    Values are clipped if more pixels have the largest value than the next lower one, and if both
    values are close; padding may be far above all other values.
    """
    top = blocks["high"].max()
    full = blocks["high"] == top
    second = max(
        np.max(blocks["below"][full], initial=-np.inf), np.max(blocks["high"][~full], initial=-np.inf)
    )  # fmt: skip
    pixels = blocks["pixels"]
    at_top = float((pixels * blocks["at_high"])[full].sum())
    at_second = float((pixels * blocks["at_below"])[full & (blocks["below"] == second)].sum())
    at_second += float((pixels * blocks["at_high"])[blocks["high"] == second].sum())
    near = top - second < 0.1 * (top - blocks["low"].min())
    clipped = near and at_top >= 16 and at_top > 1.5 * at_second
    return np.where(full & clipped, blocks["at_high"], 0.0)


class NoiseLevels(NamedTuple):
    """Statistics of the flatter blocks of each level.

    Attributes
    ----------
    mean, variance : ndarray, shape (n,)
        Corrected for saturated pixels.
    powers : ndarray, shape (n, spacings)
        Powers without that of rounding.
    rounding : float
    blocks : ndarray, shape (n,)
        Number of blocks.
    roughness : ndarray, shape (n,)
        Mean roughness of the blocks.
    evenness : ndarray, shape (n,)
        Tenth percentile of the powers at a spacing of 2 pixels, relative to their median.  Noise is
        similar in all blocks of a level, structure is not.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    powers: NDArray[np.float64]
    rounding: float
    blocks: NDArray[np.float64]
    roughness: NDArray[np.float64]
    evenness: NDArray[np.float64]

    def part(self, chosen: NDArray[np.bool_]) -> NoiseLevels:
        """Select some of the levels."""
        arrays = {name: value[chosen] for name, value in self._asdict().items() if np.ndim(value)}
        return self._replace(**arrays)


class BlockLevels(NamedTuple):
    """Expected values of blocks.

    Attributes
    ----------
    level : ndarray, shape (n,)
    share : float
        Share of a block's own mean in its level; the rest is from the blocks around it.
    own_error, error : float
        Standard error of the levels because of a block's own mean, and the whole of it, relative to the
        standard deviation of a pixel's noise.
    flat : ndarray, shape (n,)
        Roughness up to which a block is as flat as noise alone would be; 0 if the power of its finest
        residuals determines it.
    """

    level: NDArray[np.float64]
    share: float
    own_error: float
    error: float
    flat: NDArray[np.float64]


def own_means(blocks: NDArray[Any], lengths: tuple[float, float] = (1.0, 1.0)) -> BlockLevels:
    """Means of the blocks as their levels, for noise of some correlation lengths."""
    error = math.sqrt(_errors_of_means(lengths)[0, 0])
    return BlockLevels(blocks["mean"], 1.0, error, error, np.zeros(len(blocks)))


def expected_levels(
    blocks: NDArray[Any], model: NoiseModel, lengths: tuple[float, float] = (1.0, 1.0)
) -> BlockLevels:
    """Expected value of each block, predicted from its mean and from those of the blocks around it.

    The noise of the means would make the variance appear to grow less with the level than it does
    (errors in variables; Fuller 1987, Measurement Error Models, section 1.2). The best linear
    prediction has no such effect. Where the noise of the means is small compared with the
    differences between blocks, it equals their own means.

    Parameters
    ----------
    blocks : ndarray
    model : NoiseModel
        Preliminary noise model. The shot noise in it raises or lowers mean and variance of a block
        together, as the expected value does, so its effect on means needs no correction.
    lengths : (float, float)
        Correlation lengths of the noise along y and x.
    """
    own = blocks["mean"]
    variances = model.deviation(own) ** 2
    variance = max(float(variances.mean()), 1e-300)
    shot = 1 - model.dark / variance
    around = np.where(np.isfinite(blocks["around"]), blocks["around"], own)
    centre = float(own.mean())
    total = np.cov(own, around, bias=True)
    errors = _errors_of_means(lengths)
    certain = variance * errors * (MARGIN if max(lengths) > 1 else 1.0)
    # A scene that varies less than the sampling error of the variances cannot be excluded.
    least = math.sqrt(2 / len(own))
    scene = max(float(total[0, 0] - (1 - shot) * certain[0, 0]), least * float(total[0, 0]))
    shared = max(float(total[0, 1] - certain[0, 1]), 0.0)
    # A ridge keeps blocks without any difference, or without neighbours, from dividing by zero.
    ridge = (1e-9 * float(np.trace(total)) + 1e-300) * np.eye(2)
    parts = np.linalg.solve(total + ridge, [max(scene, shared), shared])
    level = centre + parts[0] * (own - centre) + parts[1] * (around - centre)
    flat = variances * (FLAT * _roughness_of_noise(lengths) if max(lengths) > 1 else 0.0)
    share = float(np.clip(parts[0], 0, 1))
    own_error = share * math.sqrt(errors[0, 0])
    return BlockLevels(level, share, own_error, math.sqrt(parts @ errors @ parts), flat)


def _errors_of_means(lengths: tuple[float, float]) -> NDArray[np.float64]:
    """Covariance matrix of a block's mean and of the mean of the eight blocks around it.

    It is relative to the variance of a pixel, for noise blurred by Gaussians along y and x.
    """
    same, with_all, of_all = 1.0, 1.0, 1.0  # with the sum over all nine blocks, and of this sum
    for length in lengths:
        own, next_, far = (_covariance_of_means(SIDE, n * SIDE, length) for n in range(3))
        same *= own
        with_all *= own + 2 * next_
        of_all *= 3 * own + 4 * next_ + 2 * far
    shared = (with_all - same) / 8
    return np.array([[same, shared], [shared, (of_all - 2 * with_all + same) / 64]])


def _roughness_of_noise(lengths: tuple[float, float]) -> float:
    """Roughness of blocks that hold noise alone, in units of its variance."""
    own, apart = ([_covariance_of_means(5, far, n) for n in lengths] for far in (0, 4))
    return 2 * (own[1] * (own[0] - apart[0]) + own[0] * (own[1] - apart[1]))


def _covariance_of_means(side: int, far: int, length: float) -> float:
    """Covariance of the means over ``side`` pixels in a row whose first pixels are ``far`` apart.

    It is relative to the variance of a pixel, for noise of a correlation length.
    """
    apart = np.arange(1 - side, side)
    distance = apart + far
    correlation = np.exp(-np.pi * (distance / length) ** 2) if length > 1 else distance == 0
    return float(((side - np.abs(apart)) * correlation).sum()) / side**2


def group_by_level(
    blocks: NDArray[Any], saturated: NDArray[np.float64], expected: BlockLevels | None = None
) -> NoiseLevels:
    """Group blocks by their expected values, and select the flatter ones of each level.

    Parameters
    ----------
    blocks : ndarray
    saturated : ndarray
        Share of saturated pixels of each block.
    expected : BlockLevels, optional
        By default the means of the blocks.
    """
    expected = expected or own_means(blocks)
    rows = []
    for members in _by_level(blocks, expected):
        fine, rough = blocks["power"][members, 0], blocks["roughness"][members]
        # Take all blocks that are as flat as noise alone would be, at least the flatter half.
        usual = max(float(np.median(rough)), FLAT * ROUGHNESS * float(np.median(fine)))
        flat = members[rough <= np.maximum(usual, expected.flat[members])]
        flat = flat[_without_hot_pixels(blocks["power"][flat, 0])]
        share = float(saturated[flat].mean())
        if share > MOST_SATURATED:
            continue
        powers = blocks["power"][flat]
        remaining, shift = clipped_normal(share)
        variance = float(powers[:, 0].mean()) / remaining
        mean = float(expected.level[flat].mean()) + shift * math.sqrt(variance)
        roughness = float(blocks["roughness"][flat].mean())
        evenness = _evenness(blocks[members])
        rows.append((mean, variance, len(flat), roughness, evenness, *_column_means(powers)))
    if not rows:  # everything is saturated
        fine = blocks["power"][:, 0]
        powers = _column_means(blocks["power"])
        rough = blocks["roughness"].mean()
        rows = [(blocks["mean"].mean(), fine.mean(), len(fine), rough, _evenness(blocks), *powers)]
    table = np.array(rows)
    rounding = float(blocks["rounding"].mean())
    return NoiseLevels(
        table[:, 0], table[:, 1], table[:, 5:] - rounding, rounding, *table[:, 2:5].T
    )


def _evenness(blocks: NDArray[Any]) -> float:
    power = power_at(blocks, 2, 2)
    power = power[np.isfinite(power)]
    if not len(power):
        return 1.0
    low, middle = np.quantile(power, [0.1, 0.5])
    return float(low / middle) if middle > 0 else 0.0


def _by_level(blocks: NDArray[Any], expected: BlockLevels) -> list[NDArray[np.intp]]:
    """Divide blocks into levels that are wider than the noise of a block's mean.

    In narrower levels noise would decide to which level a block belongs, and the variance would
    appear to grow less with the mean than it does.
    """
    order = np.argsort(expected.level, kind="stable")
    mean, fine = expected.level[order], blocks["power"][order, 0]
    least = max(ENOUGH, len(order) // LEVELS)
    groups, start = [], 0
    while start < len(order):
        error = expected.share * math.sqrt(float(np.median(fine[start : start + ENOUGH]))) / SIDE
        wide = int(np.searchsorted(mean, mean[start] + WIDTH * error))
        stop = max(start + least, wide)
        left = len(order) - stop
        if left < ENOUGH:
            stop = len(order)
        elif left < least:  # few blocks are bright, and they determine the gain
            least = max(ENOUGH, left // 2)
        groups.append(order[start:stop])
        start = stop
    return groups


def _without_hot_pixels(fine: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of blocks without hot pixels, which are rare and far above all others."""
    usual = fine <= np.quantile(fine, 0.985)
    return np.asarray(usual | (fine <= 4 * fine[usual].mean()))


def _column_means(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over its finite values; NaN for columns without any."""
    finite = np.isfinite(powers)
    count = finite.sum(0)
    total = np.where(finite, powers, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def clipped_normal(share: float) -> tuple[float, float]:
    """Variance and shift of a normal variable's mean when its largest values are clipped.

    Parameters
    ----------
    share : float
        Share of the values that are clipped.

    Returns
    -------
    variance : float
        Remaining variance.
    shift : float
        Decrease of the mean in standard deviations.
    """
    if share <= 0:
        return 1.0, 0.0
    normal = statistics.NormalDist()
    z = normal.inv_cdf(1 - share)
    density = normal.pdf(z)
    mean = z * share - density
    square = (1 - share) - z * density + z * z * share
    return square - mean * mean, -mean


def _line(
    x: NDArray[Any], y: NDArray[Any], count: NDArray[Any], share: float
) -> tuple[float, float, float, float]:
    """Fit intercept and slope, both at least 0, and their standard errors.

    Structure can only add to a variance, so levels far above the line have less weight. Where
    ``share`` is below 1, levels differ little, and a slope that is hardly significant is reduced.
    """
    if not y.any():  # a drawing, or equal rows, without any noise to fit
        return 0.0, 0.0, 0.0, 0.0
    error = (
        np.hypot(BLOCK_ERROR * y / np.sqrt(count), TOLERANCE * (y + PART * float(y.mean())))
        + 1e-300
    )
    certain = 1 / error**2
    weight = certain
    for _ in range(10):
        intercept, slope = _weighted_line(x, y, weight)
        above = (y - intercept - slope * x) / error
        scale = max(1.0, 1.48 * float(np.median(np.abs(above))))
        weight = certain * np.minimum(1, 2 * scale / np.maximum(above, 1e-9))
    total = weight.sum()
    centre = (weight * x).sum() / total
    spread = (weight * (x - centre) ** 2).sum()
    slope_error = scale / math.sqrt(spread) if spread > 0 else 0.0
    intercept_error = math.hypot(scale / math.sqrt(total), slope_error * centre)
    if slope > 0 and spread > 0:
        sampling = (((x - centre) / (BLOCK_ERROR * y / np.sqrt(count) + 1e-300)) ** 2).sum()
        excess = slope * (1 - share**2) * min(1.0, 1 / max(slope**2 * float(sampling), 1e-300))
        slope, intercept = slope - excess, intercept + excess * float(centre)
    return intercept, slope, intercept_error, slope_error


def _weighted_line(x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any]) -> tuple[float, float]:
    """Intercept and slope by weighted least squares, both at least 0."""
    total = weight.sum()
    centre, middle = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - centre) ** 2).sum()
    slope = (weight * (x - centre) * y).sum() / spread if spread > 0 else 0.0
    slope = max(float(slope), 0.0)
    intercept = float(middle) - slope * float(centre)
    if intercept < 0:
        return 0.0, float((weight * x * y).sum() / (weight * x * x).sum())
    return intercept, slope


def without_disturbed_blocks(varied: NDArray[Any], constants: NDArray[np.float64]) -> NDArray[Any]:
    """Remove blocks near hot pixels, and those that overlap a constant area.

    Padding has no noise, and blocks at its edge have too little noise, or a step.  Blocks are not
    removed if few would remain, because in a sparse image most blocks border on an empty one.

    Parameters
    ----------
    varied : ndarray, shape (n,), dtype `BLOCKS`
    constants : ndarray
        Values of the blocks that have a single one.
    """
    for what in ("beside_hot", "beside_constant"):
        apart = varied[~varied[what]]
        if len(apart) >= max(3 * ENOUGH, 0.25 * len(varied)):
            varied = apart
    values, counts = np.unique(constants, return_counts=True)
    for value in values[np.argsort(counts)[::-1][:MOST_CONSTANTS]]:
        touched = (varied["low"] == value) | (varied["high"] == value)
        saturated = value == varied["high"].max() and saturated_share(varied).any()
        if touched.mean() < EDGE and not saturated:
            varied = varied[~touched]
    return varied
