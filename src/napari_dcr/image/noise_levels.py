"""Group blocks by their expected value, and fit the line of variance against mean."""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.block_levels import FLAT, ROUGHNESS, BlockLevels, own_means
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

BLOCK_ERROR = 0.35
"""Relative standard error of the variance that the residuals of a block give."""

TOLERANCE = 0.1
"""Share of its variance by which a level may deviate from the line, because no model is perfect."""

MOST_SATURATED = 0.6
"""Share of saturated pixels above which a level is ignored."""

PART = 0.3
"""Share of the mean variance that is added to a level's own variance for `TOLERANCE`, so that neither
the darkest nor the brightest levels dominate."""

ROUNDING = 1e-18
"""Largest variance of the levels, in units of their mean square, that rounding errors may cause. Such
levels are equal and determine no slope."""


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
    # Equal levels of counts keep their order in other units, whose rounding errors differ.
    span = float(np.ptp(expected.level)) or 1.0
    rounded = np.round((expected.level - expected.level.min()) / span, 9)
    order = np.argsort(rounded, kind="stable")
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
    determined = spread > ROUNDING * (weight * x * x).sum()
    slope_error = scale / math.sqrt(spread) if determined else 0.0
    intercept_error = math.hypot(scale / math.sqrt(total), slope_error * centre)
    if slope > 0 and determined:
        sampling = (((x - centre) / (BLOCK_ERROR * y / np.sqrt(count) + 1e-300)) ** 2).sum()
        excess = slope * (1 - share**2) * min(1.0, 1 / max(slope**2 * float(sampling), 1e-300))
        slope, intercept = slope - excess, intercept + excess * float(centre)
    return intercept, slope, intercept_error, slope_error


def _weighted_line(x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any]) -> tuple[float, float]:
    """Intercept and slope by weighted least squares, both at least 0."""
    total = weight.sum()
    centre, middle = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - centre) ** 2).sum()
    determined = spread > ROUNDING * (weight * x * x).sum()
    slope = (weight * (x - centre) * y).sum() / spread if determined else 0.0
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
