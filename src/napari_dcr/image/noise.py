"""Estimate the noise of an image from the image itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.block_levels import BlockLevels, expected_levels, own_means
from napari_dcr.image.noise_blocks import BLOCKS, FEW, block_statistics, power_at
from napari_dcr.image.noise_correlation import (
    MILD,
    correlation_lengths,
    power_ratio,
    slow_power,
    whiten,
    with_variance_of_correlated,
)
from napari_dcr.image.noise_levels import (
    BLOCK_ERROR,
    NoiseLevels,
    fit_line,
    group_by_level,
    saturated_share,
    without_disturbed_blocks,
)
from napari_dcr.image.noise_model import WHITE, NoiseEstimate, NoiseModel

EVEN = 0.45, 0.8
"""Range of the evenness of noise. White and blurred noise have an evenness of 0.5 to 0.7, most
structures less than 0.45, and regular patterns more than 0.8."""

GROWTH = 4.0
"""Ratio of the powers of structure at spacings of 2 and 1 pixels. It is 256 for smooth structures, and
lower for those that are a few pixels wide."""

LEAST = 1 / 16
"""Smallest share of the power in a few blocks that is treated as noise."""

EXCESS = 1.25, 1.75
"""Powers at a spacing of 2 pixels and means of powers, relative to those at 1 pixel and to medians,
below which a few blocks hold noise alone, and above which they hold structure."""

KEPT = 8
"""Number of estimates that are cached."""

_LATEST: dict[tuple[bytes, bool, float | None], NoiseEstimate] = {}


def estimate_noise(
    image: NDArray[Any] | Iterable[NDArray[Any]], floor: float | None = None
) -> NoiseEstimate:
    """Estimate gain, offset and read noise by regression of local variances on local means.

    Second differences along both axes give a variance for each block of 8 x 8 pixels. They are
    insensitive to planes and to edges along the axes (Immerkaer 1996, CVIU 64, 300). At each level,
    the flatter half of the blocks is used, and a line is fitted through the levels (Foi et al. 2008,
    section III). Where pixels are saturated, mean and variance without saturation are computed from
    the share of saturated pixels (Foi 2009, Signal Processing 89, 2609). Blocks of a single value,
    such as padding, are ignored.

    Parameters
    ----------
    image : ndarray, shape (h, w), or several of them
        One channel in its own units; pixels that are not finite are ignored.  The blocks of several
        small images are combined.
    floor : float, optional
        Smallest standard deviation to report. By default it is the standard deviation of rounding
        for integers, and 1e-6 of the range for floats.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    ValueError
        If no pixel is finite.

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
    return fit_noise(np.concatenate([np.empty(0, BLOCKS), *tables]), integer, floor)


def fit_noise(table: NDArray[Any], integer: bool, floor: float | None = None) -> NoiseEstimate:
    """Estimate the noise from the rows of `block_statistics`; see `estimate_noise`.

    The latest estimates are cached, because the search for defects and the run need the same one.
    """
    rows = np.ascontiguousarray(table)
    key = hashlib.sha256(rows.view(np.uint8).data).digest(), integer, floor
    found = _LATEST.get(key)
    if found is None:
        found = _LATEST[key] = _fit(rows, integer, floor)
        for oldest in list(_LATEST)[:-KEPT]:
            _LATEST.pop(oldest, None)
    return found


def _fit(table: NDArray[Any], integer: bool, floor: float | None) -> NoiseEstimate:
    own = table[(table["binning"] == 1).all(1) & np.isfinite(table["mean"])]
    if not len(own):
        raise ValueError(
            "image: got no finite pixels; the noise can only be estimated from finite ones"
        )
    if floor is None:
        span = max(float(np.ptp(own["mean"])), float(np.abs(own["mean"]).max()))
        floor = 12**-0.5 if integer else 1e-6 * span or 1.0
    varied = own[(own["low"] < own["high"]) & np.isfinite(power_at(own, 1, 1))]
    if not len(varied):
        model = NoiseModel(0.0, float(np.median(own["mean"])), floor**2)
        return NoiseEstimate(
            model, 0.0, 0.0, 1.0, 0, (1.0, 1.0), 0.0, (1, 1), model, left_out=len(own)
        )
    saturated = float((saturated_share(own) * own["pixels"]).sum() / own["pixels"].sum())
    varied = without_disturbed_blocks(varied, own[own["low"] == own["high"]]["low"])
    shares = saturated_share(varied)
    levels = group_by_level(varied, shares)
    typical = varied["typical"][np.isfinite(varied["typical"]).all(1)]
    if len(own) < FEW and 2 * len(typical) >= len(varied):
        fine, coarse = np.median(typical, 0).tolist()
        few = _fit_few(varied, levels, fine, coarse, floor)
        return replace(few, saturated=saturated, left_out=len(own) - len(varied))
    if integer and levels.variance.any() and levels.variance.min() < floor**2:
        # Sparse counts are exact integers, so rounding adds no variance.
        floor = 0.1 * math.sqrt(levels.variance.min())
    # Residuals that vary more from block to block than noise does are structure.
    even = EVEN[0] < float(np.median(levels.evenness)) < EVEN[1]
    whiteness = power_ratio(levels, (2, 2)) if even else 1.0
    lengths = correlation_lengths(levels) if even else (1.0, 1.0)
    correlated = whiteness < WHITE
    extent = lengths if correlated else (1.0, 1.0)
    expected = own_means(varied, extent)
    whole = with_variance_of_correlated(levels, extent) if correlated else levels
    for _ in range(2):
        preliminary = fit_line(whole, _darkest(expected, whole), floor, expected.share).model
        expected = expected_levels(varied, preliminary, extent)
        levels = whole = group_by_level(varied, shares, expected)
        if correlated:
            extent = lengths = correlation_lengths(levels)
            whole = with_variance_of_correlated(levels, extent)
    offset = _darkest(expected, whole)
    fine = fit_line(levels, offset, floor, expected.share)
    model, binning, binned = fine.model, (1, 1), fine.model.scaled(slow_power(whiteness, MILD))
    if correlated:
        finest = fine.model
        fine = fit_line(whole, offset, floor, expected.share)
        model = fine.model
        binned = model.scaled(math.prod(lengths))
        found = whiten(table, varied, model, finest, lengths, floor)
        if found is not None:
            binning, binned = found
    return NoiseEstimate(
        model, fine.gain_error, fine.dark_error, whiteness, int(levels.blocks.sum()), lengths,
        saturated, binning, binned, left_out=len(own) - len(varied),
    )  # fmt: skip


def _fit_few(
    varied: NDArray[Any], levels: NoiseLevels, fine: float, coarse: float, floor: float
) -> NoiseEstimate:
    """Estimate the noise of an image whose blocks are too few to find flat ones.

    Structure adds more power at a spacing of 2 pixels than at 1, and so does noise that is correlated
    between pixels. It is treated as structure, because the opposite mistake would remove structure.

    Parameters
    ----------
    varied : ndarray
        Blocks that do not have a single value.
    levels : NoiseLevels
        The level that they form.
    fine, coarse : float
        Typical powers at spacings of 1 and 2 pixels.
    floor : float
        Smallest read noise.
    """
    mean, coarse_mean = (float(np.nanmean(power_at(varied, n, n))) for n in (1, 2))
    variance = max(fine - max(coarse - fine, 0.0) / (GROWTH - 1), LEAST * fine)
    if fine > 0:
        # Means have less sampling error than medians, and agree with them if there is no structure.
        excess = max(coarse_mean / mean, mean / fine)
        certain = float(np.interp(excess, EXCESS, (1, 0)))
        variance = certain * mean + (1 - certain) * variance
        fine = max(certain * mean + (1 - certain) * fine, variance)
    model = NoiseModel(0.0, _darkest(own_means(varied), levels), max(variance, floor**2))
    blocks = int(levels.blocks.sum())
    error = math.hypot(BLOCK_ERROR / math.sqrt(blocks) * variance, fine - variance)
    return NoiseEstimate(
        model, 0.0, error, 1.0, blocks, (1.0, 1.0), 0.0, (1, 1), model,
        structure=max(1 - model.dark / fine, 0.0) if fine > 0 else 0.0,
    )  # fmt: skip


def _darkest(expected: BlockLevels, levels: NoiseLevels) -> float:
    """Darkest level; because of noise, those of the darkest blocks are below it."""
    deviation = math.sqrt(float(levels.variance[0]))
    darkest = float(np.quantile(expected.level, 0.005))
    # The darkest sixteenth of normal variables has a mean of -2 standard deviations.
    around = math.sqrt(max(expected.error**2 - expected.own_error**2, 0.0))
    mean = float(levels.mean[0]) + 2 * deviation * around
    return max(darkest, min(mean, darkest + 2.58 * deviation * expected.error))
