"""Differences between neighbouring groups of lines (undecimated Haar transform), and their inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def solve(levels: list[tuple[int, Floats, Floats]], variance: float, lines: int) -> Floats:
    """Offsets by weighted least squares with a prior, solved by conjugate gradients.

    Parameters
    ----------
    levels : list of (lag, weights, differences)
    variance : float
        Variance of the prior.
    lines : int
    """

    def normal(offsets: Floats) -> Floats:
        sums = cumulated(offsets)
        result = offsets / variance
        for lag, weight, _ in levels:
            result = result + _transposed(weight * differences(sums, lag), lag, lines)
        return result

    residual = np.zeros(lines)
    for lag, weight, difference in levels:
        residual += _transposed(weight * difference, lag, lines)
    offsets, direction = np.zeros(lines), residual.copy()
    power = start = float(residual @ residual)
    for _ in range(300):
        if power <= 1e-10 * start:
            break
        image = normal(direction)
        step = power / float(direction @ image)
        offsets += step * direction
        residual -= step * image
        power, previous = float(residual @ residual), power
        direction = residual + power / previous * direction
    return offsets


def cumulated(values: Floats) -> Floats:
    """Cumulative sums along the last axis, starting at 0; one longer than ``values``."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, -1, out=sums[..., 1:])
    return sums


def differences(sums: Floats, lag: int) -> Floats:
    """Means of the next ``lag`` lines minus means of the present ones, from `cumulated` sums."""
    found: Floats = (sums[..., 2 * lag :] - 2 * sums[..., lag:-lag] + sums[..., : -2 * lag]) / lag
    return found


def _transposed(values: Floats, lag: int, lines: int) -> Floats:
    """Transpose of `differences`."""
    sums = np.zeros(lines + 1)
    sums[2 * lag :] += values
    sums[lag:-lag] -= 2 * values
    sums[: -2 * lag] += values
    found: Floats = np.cumsum(sums[:0:-1])[::-1] / lag
    return found
