"""Correlation of noise between pixels: its length, and the averaging that makes the noise white."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_blocks import BINNINGS, CORRELATED, ENOUGH, SPACINGS, power_at
from napari_dcr.image.noise_levels import (
    NoiseLevels,
    fit_line,
    group_by_level,
    without_disturbed_blocks,
)
from napari_dcr.image.noise_model import SUM, NoiseModel

MILD = 0.75
"""Whiteness from which noise is treated as white, as in training."""

MOST_SLOW = 4.0
"""Largest ratio of the power of slow variations to that of the finest ones."""

CHANCE = 0.5
"""Relative standard deviation of the ratio of powers of one block, for strongly correlated noise."""

SHORT, LONG = 1.4, 4.5
"""Correlation lengths in pixels from which an axis is averaged over the smaller, and over the larger,
of `BINNINGS`."""

MOST_DETAIL = 1 / 150
"""Largest power of the detail that averaging may remove, in units of the noise variance, per averaged
pixel."""


def power_ratio(
    levels: NoiseLevels,
    spacing: tuple[int, int],
    finest: tuple[int, int] = (1, 1),
    chance: float = 0.0,
) -> float:
    """Ratio of residual powers at a fine and a coarser spacing, for most levels.

    Structure is coarser than noise and can only lower the ratio, so whiter levels contain less of
    it.

    Parameters
    ----------
    levels : NoiseLevels
    spacing, finest : (int, int)
        The two of `SPACINGS`.
    chance : float
        Relative standard deviation of the ratio of one block. If it is above 0, levels that differ
        from the whiter ones by no more than chance are averaged, because the whiter ones among equal
        levels are so by chance.
    """
    fine, wide = (levels.powers[:, SPACINGS.index(s)] for s in (finest, spacing))
    good = wide > 0.3 * levels.rounding  # rounding may hide the finer residuals
    if not good.any():
        return 1.0
    ratio, blocks = fine[good] / wide[good], levels.blocks[good]
    white = float(np.quantile(ratio, 0.75))
    if chance:
        alike = ratio > white * (1 - 2 * chance / np.sqrt(blocks))
        white = float(np.average(ratio[alike], weights=blocks[alike])) if alike.any() else white
    return max(0.0, white)


def _usual_ratio(levels: NoiseLevels) -> float:
    """Ratio of residual powers at spacings of 2 and 4 pixels, for levels near the median."""
    fine, wide = (levels.powers[:, SPACINGS.index((n, n))] for n in (2, 4))
    ratio = np.maximum(fine, 0) / np.maximum(wide, 1e-300)
    middle = float(np.median(ratio))
    near = np.abs(ratio - middle) <= 2 * CHANCE / np.sqrt(levels.blocks) * middle
    return float(np.average(ratio[near], weights=levels.blocks[near])) if near.any() else middle


def slow_power(whiteness: float, enough: float = 1.0) -> float:
    """Ratio of the power of slow variations of noise to that of its finest ones.

    For noise whose neighbouring pixels have a small correlation r these are the variance
    times (1 + 2 r)^2 and times about (1 - 4/3 r)^2, which is the whiteness.

    Parameters
    ----------
    whiteness : float
    enough : float
        Whiteness from which noise is treated as white.
    """
    return min(max((enough / max(whiteness, 1e-3)) ** 2, 1.0), MOST_SLOW)


_WIDTHS = np.linspace(0, 6, 241)
"""Standard deviations, in pixels, of the Gaussians that may have blurred white noise."""


def _filter_power(spacing: int, widths: NDArray[Any]) -> NDArray[np.float64]:
    """Power of second differences along one axis for blurred white noise.

    Parameters
    ----------
    spacing : int
        Spacing of the differences, in pixels.
    widths : ndarray
        Standard deviations of the Gaussian, in pixels.
    """
    with np.errstate(divide="ignore"):
        one, two = (np.exp(-((n * spacing) ** 2) / (4 * widths**2)) for n in (1, 2))
    power: NDArray[np.float64] = 1 - 4 / 3 * one + 1 / 3 * two
    return power


def correlation_lengths(levels: NoiseLevels) -> tuple[float, float]:
    """Correlation length of noise along y and x in pixels, assuming a Gaussian blur.

    The most informative spacing is used, because noise that is correlated over many pixels has the
    same power at 1 and 2 times a small spacing.
    """
    hidden = levels.powers[:, 0] < levels.rounding
    if hidden.mean() > 0.5 and power_ratio(levels, (2, 2)) < CORRELATED**2:
        # Rounding hides the finest residuals and thus the difference between the axes. Structure may
        # be coarser than noise that is correlated over a long distance, or finer.
        white, usual = power_ratio(levels, (4, 4), (2, 2), CHANCE), _usual_ratio(levels)
        ratio = (white * usual) ** 0.25
        length = SUM * _width(ratio, 2, 4)
        return max(1.0, length), max(1.0, length)
    found = []
    for axis in (0, 1):
        width = 0.0
        for spacing in (2, 4):
            ratio = power_ratio(levels, (spacing, 1) if axis == 0 else (1, spacing), chance=CHANCE)
            if ratio < CORRELATED:
                width = max(width, _width(ratio, 1, spacing))
        found.append(max(1.0, SUM * width))
    return found[0], found[1]


def _width(ratio: float, fine: int, wide: int) -> float:
    """Standard deviation of the Gaussian that explains a ratio of powers at two spacings."""
    expected = _filter_power(fine, _WIDTHS) / _filter_power(wide, _WIDTHS)
    # The ratio falls from 1 as the width grows, until the noise has no power at either spacing.
    falling = np.minimum.accumulate(expected)
    return float(np.interp(-ratio, -falling, _WIDTHS))


def with_variance_of_correlated(levels: NoiseLevels, lengths: tuple[float, float]) -> NoiseLevels:
    """Replace the power of the finest residuals by the variance of single pixels.

    The variance is derived from residuals at spacings of 2 and 4 pixels.  The former contain less of
    the noise, the latter more of the image.
    """
    found = []
    for spacing in (2, 4):
        shares = [_filter_power(spacing, np.array([length]) / SUM)[0] for length in lengths]
        power = levels.powers[:, SPACINGS.index((spacing, spacing))]
        if np.isfinite(power).all() and shares[0] * shares[1] > 0.01:
            found.append(np.maximum(power, 1e-300) / (shares[0] * shares[1]))
    if not found:
        return levels
    variance = np.exp(np.mean(np.log(found), 0)) + levels.rounding
    levels = levels._replace(variance=np.maximum(variance, levels.variance))
    # Blurred structure has the spectrum of blurred noise, but larger slopes.
    slope = levels.roughness / levels.variance
    return levels.part(slope <= 2.5 * np.quantile(slope, 0.25))


def whiten(
    table: NDArray[Any],
    varied: NDArray[Any],
    model: NoiseModel,
    finest: NoiseModel,
    lengths: tuple[float, float],
    floor: float,
) -> tuple[tuple[int, int], NoiseModel] | None:
    """Find the binning that makes correlated noise nearly white, and the remaining noise.

    The result is None if averaging would remove more of the image than of its noise.
    """
    number = 0 if max(lengths) < LONG else 1
    binning = tuple(BINNINGS[number] if length > SHORT else 1 for length in lengths)
    rows = table[(table["binning"] == binning).all(1) & np.isfinite(table["mean"])]
    rows = rows[(rows["low"] < rows["high"]) & np.isfinite(power_at(rows, 1, 1))]
    if binning == (1, 1) or len(rows) < ENOUGH:
        return None
    detail = varied["detail"][:, number]
    # The power of the finest residuals follows the noise and hardly the image.
    power = finest.deviation(varied["mean"]) ** 2
    flat = varied["roughness"] <= np.median(varied["roughness"])
    noise = float(np.median(detail[flat] / power[flat])) * power
    variance = float((model.deviation(varied["mean"]) ** 2).mean())
    if float((detail - noise).mean()) > MOST_DETAIL * math.prod(binning) * variance:
        return None
    rows = without_disturbed_blocks(rows, np.empty(0))
    levels = group_by_level(rows, np.zeros(len(rows)))
    slow = levels.variance * slow_power(power_ratio(levels, (2, 2)))
    # The theoretical value; noise with long tails and images with structure have more.
    least = model.deviation(levels.mean) ** 2 * math.prod(lengths) / math.prod(binning)
    levels = levels._replace(variance=np.clip(slow, least, MOST_SLOW * least))
    left = fit_line(levels, model.offset, floor / math.sqrt(math.prod(binning)))
    return (binning[0], binning[1]), left.model
