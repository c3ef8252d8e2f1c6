"""Expected value of each block of an image, from noisy means of it and of the blocks around it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_blocks import SIDE
from napari_dcr.image.noise_model import NoiseModel

ROUGHNESS = 0.128
"""Mean roughness of blocks that hold white noise alone, in units of its variance."""

MARGIN = 1.15
"""Factor for the noise of means if noise is correlated, because its correlation is not known exactly.
With too much noise the levels differ too little and the gain is too high, which costs less than the
opposite."""

FLAT = 2.5
"""Largest roughness of nearly all blocks that hold noise alone, in units of its mean."""

USUAL = 5.0
"""Number of standard deviations from the median within which the levels of blocks are predicted from
one another."""

MOST_PARTS = 2.0
"""Largest sum of the absolute weights of a prediction. Two or three blocks do not determine the weights,
which may then be millions, and each level is the block's own mean instead."""


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
    differences between blocks, it equals their own means. So does it for blocks far from the median,
    such as those of a lamp, which would otherwise determine the prediction of all others.

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
    low, high = _usual_range(own)
    usual = (own >= low) & (own <= high)
    around = np.where(np.isfinite(blocks["around"]), blocks["around"], own).clip(low, high)
    variances = model.deviation(own) ** 2
    variance = max(float(variances[usual].mean()), 1e-300)
    shot = 1 - model.dark / variance
    centre = float(own[usual].mean())
    total = np.cov(own[usual], around[usual], bias=True)
    errors = _errors_of_means(lengths)
    certain = variance * errors * (MARGIN if max(lengths) > 1 else 1.0)
    # A scene that varies less than the sampling error of the variances cannot be excluded.
    least = math.sqrt(2 / usual.sum())
    scene = max(float(total[0, 0] - (1 - shot) * certain[0, 0]), least * float(total[0, 0]))
    shared = max(float(total[0, 1] - certain[0, 1]), 0.0)
    # A ridge keeps blocks without any difference, or without neighbours, from dividing by zero.
    ridge = (1e-9 * float(np.trace(total)) + 1e-300) * np.eye(2)
    parts = np.linalg.solve(total + ridge, [max(scene, shared), shared])
    if np.abs(parts).sum() > MOST_PARTS:
        parts = np.array([1.0, 0.0])
    predicted = centre + parts[0] * (own - centre) + parts[1] * (around - centre)
    level = np.where(usual, predicted, own)
    flat = variances * (FLAT * _roughness_of_noise(lengths) if max(lengths) > 1 else 0.0)
    share = float(np.clip(parts[0], 0, 1))
    own_error = share * math.sqrt(errors[0, 0])
    return BlockLevels(level, share, own_error, math.sqrt(parts @ errors @ parts), flat)


def _usual_range(means: NDArray[np.float64]) -> tuple[float, float]:
    """Range within `USUAL` standard deviations of the median, by the median absolute deviation."""
    middle = float(np.median(means))
    deviation = float(np.median(np.abs(means - middle))) / 0.6745
    return middle - USUAL * deviation, middle + USUAL * deviation


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
