"""Estimate the offsets of a sensor's columns or rows below an unknown scene.

The statistics of differences between lines are in the same file as the estimate, because their
weights and errors follow from its prior; `amplifiers` uses them, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.haar_differences import cumulated, differences, solve
from napari_dcr.image.medians import median

Floats = NDArray[np.float64]

LAGS = (1, 2, 4, 8, 16, 32, 64)
"""Widths in lines of the neighbouring groups of lines whose means are compared."""

GROUPS = 12
"""Number of groups of patches whose scatter gives the standard error of a difference."""

AGREEMENT = 0.7
"""Smallest correlation between the estimates from the two halves of an image. For true offsets of
twice their standard error it is 0.67; photographs have less than 0.55."""

SIGNIFICANCE = 6.0
"""Smallest variance of the offsets, relative to the variance of their error."""

WHITE = 3.0
"""Largest ratio between the variances at the three smallest widths; 1 for independent offsets."""

ISOTROPY = 4.0
"""Variance that is added to a difference across the lines, per unit of the scene's power along them."""

POWER = 1.5
"""Exponent of the variance in the weights of patches: above 1, because what structures add to a
difference has a heavy tail, which the variance nearby underestimates."""

DOUBT = 8.0
"""Squared error that is added to a mean of differences, per unit of that power."""

WIDER = 2.0
"""Squared error that is added to a mean of differences, for each further line in a group and per unit
of the scatter beyond that of noise: wide structures are alike in neighbouring patches, which hides
their errors."""

BEYOND = 3.0
"""Smallest power of the scene that is taken into account, in units of the noise variance."""

FEWEST = 32
"""Smallest number of lines, and of patches times four, from which offsets are estimated."""


UNKNOWN = 1e30
"""Squared error of differences that no patch shows."""

QUICK = 1 << 16
"""Number of means that are enough for the quick test of whether there are offsets."""


class LineOffsets(NamedTuple):
    """Offsets of lines with their standard error.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Offsets in the image's units; 0 for offsets that cannot be distinguished from the scene.
    error : float
        Standard error of differences between neighbouring lines, divided by the square root of 2.
    """

    values: Floats
    error: float


def find_line_offsets(table: Floats, patch: int) -> LineOffsets | None:
    """Estimate additive offsets of columns that are the same along the whole of each column.

    The scene is unknown, so only differences between neighbouring columns are used, mainly
    where the scene is flat.  For groups of 1, 2, 4 ... 64 columns, the mean of the next group
    minus that of the group (an undecimated Haar transform) is averaged over the patches of rows.
    Each patch is weighted by the inverse of its variance, so that structures and the noise of
    bright regions have little influence.  This variance consists of that of the differences
    nearby, and of the scene's power at the same width along the columns, which does not depend
    on column offsets.  The prior is that offsets are independent from column to column and
    have one variance.  The estimate is the maximum a posteriori over all widths, so each
    component is shrunk according to its standard error.

    Parameters
    ----------
    table : ndarray, shape (p, n)
        Means of the pixels of n columns over p patches of rows; NaN for invalid means.  Offsets
        of rows must have been corrected, because they look like structure along the columns.
    patch : int
        Number of rows in a patch.

    Returns
    -------
    LineOffsets or None
        None if noise and scene explain the differences between columns.  Offsets are accepted
        only if both halves of the image agree on them, and if their variance is the same at
        all widths, unlike that of gratings, walls and gradients.

    Notes
    -----
    The mean of all offsets cannot be distinguished from that of the scene; it is 0 here.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> offsets = rng.normal(0, 4, 256)
    >>> image = 100 + offsets + rng.normal(0, 5, (256, 256))
    >>> found = find_line_offsets(image.reshape(64, 4, 256).mean(1), 4)
    >>> bool(np.std(found.values - offsets) < 0.6)
    True
    """
    has_data = np.asarray(np.isfinite(table).any(0))
    if not has_data.all():  # lines beside missing ones are treated as neighbours
        within = find_line_offsets(table[:, has_data], patch)
        if within is None:
            return None
        every = np.zeros(len(has_data))
        every[has_data] = within.values
        return LineOffsets(every, within.error)
    if not may_agree(sum_patches(table)):
        return None
    patches, lines = table.shape
    # Squares of very small or large units of floats would underflow or overflow.
    unit = float(np.nanmax(table) - np.nanmin(table))
    if not 0 < unit < np.inf:
        return None
    scaled = _Table(table / unit)
    if not _halves_agree(scaled):
        return None
    found, flat = _observe_all(scaled, patch)
    # Where many pixels are missing, wide groups of lines have no patch in common.
    found = {lag: level for lag, level in found.items() if np.median(level.scatter) < UNKNOWN}
    if 1 not in found or 2 not in found:
        return None
    lags, levels = list(found), list(found.values())
    variances = [
        (_spread(level.difference) - float(np.median(level.scatter * (1 + (lag - 1) / 3))))
        * lag
        / 2
        for lag, level in zip(lags, levels, strict=True)
    ]
    uncertain = [1.6 * math.sqrt(4 * lag / lines) for lag in lags]
    variance = min(
        v * (1 + u)
        for v, u in zip(variances, uncertain, strict=True)
        if u < 0.6 or v is variances[0]
    )
    error = float(np.median(levels[0].scatter)) / 2
    if not variance > SIGNIFICANCE * error or max(variances[:3]) > WHITE * min(variances[:3]):
        return None
    weighted = []
    for lag, level in zip(lags, levels, strict=True):
        noise = 2 * flat / (lag * patches)
        hidden = WIDER * (lag - 1) * np.maximum(level.scatter - noise, 0)
        squared = level.scatter * (1 + (lag - 1) / 10) + hidden + DOUBT * level.structure
        # A wall is no offset, so the weight of values beyond three standard deviations decreases.
        squared += np.maximum(0, level.difference**2 - 9 * (2 * variance / lag + squared))
        # The transform has a redundancy of 2 lag.
        weighted.append((lag, 1 / (2 * lag * squared), level.difference))
    values = solve(weighted, variance, lines)
    if _is_periodic(values):
        return None
    return LineOffsets(unit * (values - values.mean()), unit * math.sqrt(error))


def _is_periodic(values: Floats) -> bool:
    """Whether one frequency has significantly more power than the others.

    The test is that of Fisher 1929, Proc. R. Soc. A 125, 54.
    """
    power = np.abs(np.fft.rfft(values - values.mean()))[1:] ** 2
    return bool(power.max() > (math.log(len(power)) + 12) * power.mean())


class _Table:
    """Cumulative means of patches, from which differences of any lag are computed."""

    def __init__(self, table: Floats) -> None:
        finite = np.isfinite(table)
        self._bad = None if finite.all() else cumulated((~finite).astype(np.float64))
        self.lines = table.shape[1]
        centre = table[finite][0]
        self._sums = cumulated(np.where(finite, table - centre, 0.0))

    def differences(self, lag: int) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Means of the next ``lag`` lines minus means of the present ones, and a mask of valid ones."""
        bad = self._bad
        valid = None if bad is None else bad[:, 2 * lag :] - bad[:, : -2 * lag] == 0
        return differences(self._sums, lag), valid

    def slopes(self, lag: int, patches: int) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Differences along the lines, of blocks of ``2 lag`` lines, at the positions of `differences`.

        Parameters
        ----------
        lag : int
        patches : int
            Number of patches in a block.
        """

        def blocks(sums: Floats) -> Floats:
            return cumulated((sums[:, 2 * lag :] - sums[:, : -2 * lag]).T)

        found = differences(blocks(self._sums), patches).T / (2 * lag)
        around = (patches - 1, patches), (0, 0)
        found = np.pad(found, around, "edge")
        if self._bad is None:
            return found, None
        bad = blocks(self._bad)
        valid = (bad[:, 2 * patches :] == bad[:, : -2 * patches]).T
        return found, np.pad(valid, around, "edge")


@np.errstate(invalid="ignore", over="ignore")
def sum_patches(table: Floats) -> Floats:
    """Sums of several patches of a large image, which has enough lines for `may_agree` without them."""
    patches, lines = table.shape
    many = min(table.size // QUICK, patches // FEWEST)
    if many < 2:
        return table
    sums: Floats = table[: patches // many * many].reshape(-1, many, lines).sum(1)
    return sums


@np.errstate(invalid="ignore", over="ignore")
def may_agree(table: Floats) -> bool:
    """Quick test before `_halves_agree`, which takes ten times as long; False for small tables."""
    if table.shape[1] < FEWEST or 4 * len(table) < FEWEST:
        return False
    values = np.diff(table, axis=1)
    if not np.isfinite(values.sum()):
        values[~np.isfinite(values)] = 0
    most = 3 * float(median(np.abs(values[::8, ::8]).ravel()))
    # A clipped mean takes a tenth of the time of a median.
    np.clip(values, -most, most, out=values)
    middle = len(values) // 2
    return _correlation(values[:middle].mean(0), values[middle:].mean(0)) >= 0.5 * AGREEMENT


def _halves_agree(table: _Table) -> bool:
    """Whether both halves of the patches show the same differences between lines."""
    found = []
    for lag in (1, 2):
        values, valid = table.differences(lag)
        middle = len(values) // 2
        halves = [
            _median(values[part], None if valid is None else valid[part])
            for part in (slice(middle), slice(middle, None))
        ]
        found.append(_correlation(*halves))
    return float(np.mean(found)) >= AGREEMENT


def _correlation(first: Floats, second: Floats) -> float:
    """Correlation of two series, from their signs, so that a few strong lines do not dominate it."""
    signs = [np.sign(half - median(half)) for half in (first, second)]
    return math.sin(math.pi / 2 * float(np.mean(signs[0] * signs[1])))  # holds for Gaussians


class Level(NamedTuple):
    """Statistics of the differences at one lag.

    Attributes
    ----------
    difference : ndarray
        Weighted mean over the patches.
    scatter : ndarray
        Squared error from the scatter of groups of patches.
    structure : ndarray
        Squared error from structures of the scene that are as long as they are wide.
    """

    difference: Floats
    scatter: Floats
    structure: Floats


def _observe(table: _Table, lag: int, patch: int, noise: float) -> Level:
    """Measure the differences at a lag; ``noise`` is `_flat_variance`."""
    values, valid = table.differences(lag)
    patches = len(values)
    slope = _slope_power(table, lag, patch, noise, patches)
    centre = _median(values, valid)
    for _ in range(3):
        squared = (values - centre) ** 2
        if valid is not None:
            squared = np.where(valid, squared, np.nan)
        cap = 500 * float(np.nanmedian(squared))
        local = (
            np.minimum(squared, cap)
            if valid is None
            else np.where(valid, np.minimum(squared, cap), cap)
        )
        local = _smoothed(local, 1, max(4, lag // 2)) + ISOTROPY * slope
        local += np.quantile(local, 0.1) + 1e-30
        weight = local**-POWER
        if valid is not None:
            weight = np.where(valid, weight, 0.0)
            squared = np.where(valid, squared, 0.0)
        weight *= np.minimum(1, 9 * local / (squared + 1e-30)) ** 2
        total = weight.sum(0) + 1e-30
        centre = (weight * values).sum(0) / total
    has_weight = total > 1e-20

    def error(parts: Floats) -> Floats:
        found = np.where(has_weight, (parts**2).sum(0) / total**2, 0.0)
        near = _running_mean(found, max(4, lag))
        if has_weight.all():
            return near
        share = _running_mean(has_weight.astype(np.float64), max(4, lag))
        return np.where(has_weight, near / np.maximum(share, 1e-9), UNKNOWN)

    # Groups are at least twice as high as the lag, because structures are as long as they are wide.
    groups = int(np.clip(round(patches * patch / (2 * lag)), 3, min(GROUPS, patches)))
    edges = np.arange(groups) * patches // groups
    scatter = error(np.add.reduceat(weight * (values - centre), edges, axis=0))
    scatter = scatter * groups / (groups - 1)
    # All patches within a structure have the same error.
    groups = int(np.clip(round(patches * patch / lag), 1, patches))
    edges = np.arange(groups) * patches // groups
    structure = error(np.add.reduceat(weight * np.sqrt(slope), edges, axis=0))
    return Level(
        centre,
        # Larger structures are equal in neighbouring patches, which hides their errors.
        np.maximum(scatter, 0.5 * np.median(scatter)),
        structure,
    )


def observe_differences(
    table: Floats, patch: int, lags: Sequence[int] = LAGS
) -> tuple[dict[int, Level], float]:
    """Measure the differences between neighbouring groups of lines at several lags.

    Parameters
    ----------
    table : ndarray, shape (p, n)
        Means of the pixels of n lines over p patches, in a unit of about their range.
    patch : int
        Pixels of a line in a patch.
    lags : sequence of int
        Numbers of lines in a group.

    Returns
    -------
    dict of Level
        Differences by lag; entry ``i`` is the mean of ``lag`` lines from ``i + lag`` on, minus that of
        the lines from ``i`` on.
    float
        Variance of the difference of neighbouring lines in a patch where the scene is flat.
    """
    return _observe_all(_Table(table), patch, lags)


def _observe_all(
    table: _Table, patch: int, lags: Sequence[int] = LAGS
) -> tuple[dict[int, Level], float]:
    noise = _flat_variance(table)
    few = [lag for lag in lags if lag <= table.lines // 6]
    return {lag: _observe(table, lag, patch, noise) for lag in few}, noise


def _flat_variance(table: _Table) -> float:
    """Variance of the differences of single patches at lag 1 where the scene is flat."""
    values, valid = table.differences(1)
    squared = (values - _median(values, valid)) ** 2
    if valid is not None:
        squared = np.where(valid, squared, np.nanmax(squared[valid]))
    return float(np.quantile(_smoothed(squared, 2, 8), 0.1))


def _slope_power(table: _Table, lag: int, patch: int, noise: float, patches: int) -> Floats:
    """Power of the scene's differences along the lines at a lag, minus noise, (patches, positions)."""
    high = max(1, min(lag // patch, patches // 3))
    slopes, valid = table.slopes(lag, high)
    power = slopes**2 - BEYOND * noise / (2 * high * lag)
    if valid is None:
        return np.maximum(_smoothed(power, high, max(4, lag // 2)), 0)
    share = _smoothed(valid.astype(np.float64), high, max(4, lag // 2))
    power = _smoothed(np.where(valid, power, 0), high, max(4, lag // 2))
    return np.maximum(power / np.maximum(share, 1e-9), 0)


def _running_mean(values: Floats, radius: int) -> Floats:
    """Running mean over ``2 radius + 1`` values of the last axis, or fewer at its ends."""
    places = np.arange(values.shape[-1])
    low, high = np.maximum(places - radius, 0), np.minimum(places + radius + 1, len(places))
    sums = cumulated(values)
    found: Floats = (sums[..., high] - sums[..., low]) / (high - low)
    return found


def _smoothed(values: Floats, patches: int, lines: int) -> Floats:
    """Running mean with these radii in patches and lines."""
    return _running_mean(_running_mean(values, lines).T, patches).T


def _median(values: Floats, valid: NDArray[np.bool_] | None) -> Floats:
    """Median of valid values over the first axis; 0 without valid values."""
    if valid is None:
        found: Floats = np.median(values, 0)
        return found
    some = valid.any(0)
    found = np.zeros(values.shape[1])
    found[some] = np.nanmedian(np.where(valid, values, np.nan)[:, some], 0)
    return found


def _spread(values: Floats) -> float:
    """Variance from the median absolute deviation, which ignores a few strong lines."""
    return float((1.4826 * np.median(np.abs(values - np.median(values)))) ** 2)
