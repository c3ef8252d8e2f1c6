"""Steps between the amplifiers of a sensor, whose halves or quadrants have different black levels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.line_offsets import LAGS, observe_differences
from napari_dcr.image.medians import median

Floats = NDArray[np.float64]

AROUND = 192
"""Number of lines on each side of a boundary that are compared."""

SIGNIFICANT = 6.0
"""Smallest height of a step, in standard errors."""

HIGHEST = 3.0
"""Largest height of a step, in standard deviations of a pixel; larger steps belong to the scene."""

SHARP = 0.6
"""Smallest part of a step that must lie between the two lines at the boundary. An edge of the scene
that the lens blurs by 0.6 pixels reaches this value."""

NEAREST = (1,)
"""Width in lines of the groups that are compared first."""

STRETCHES = 8
"""Number of parts of the boundary; all of them but one must have the step."""


ALIKE = 0.8
"""Share of the parts of an image that an alternation of columns must have alike, to 60 %."""

LARGE = 1 << 17
"""Smallest number of means at which a quick test precedes the search for an alternation."""

COLUMN_STEPS = (-1.0, 1.0, 0.0, 0.0), (0.0, 0.0, -1.0, 1.0)
"""Steps across the upper and the lower half of the boundary between left and right, in terms of the
levels of the top left, top right, bottom left and bottom right."""

ROW_STEPS = (-1.0, 0.0, 1.0, 0.0), (0.0, -1.0, 0.0, 1.0)
"""Steps across the left and the right half of the boundary between top and bottom."""


class Step(NamedTuple):
    """A difference in level at the middle of a sensor.

    Attributes
    ----------
    height : float
        Level of the second half minus that of the first one, in the image's units.
    error : float
        Its standard error.
    is_sure : bool
        Whether the scene cannot explain it.
    """

    height: float
    error: float
    is_sure: bool


def find_step(table: Floats, patch: int, frames: int = 1, at_once: bool = True) -> Step | None:
    """Measure the step between the left and the right half of a sensor.

    A step is sure if it is significant, equally high along the whole boundary, and as high
    between the two lines at the boundary as between wider groups of lines.  Edges of the scene
    do not fulfil the last condition, because the lens blurs them.

    Parameters
    ----------
    table : ndarray, shape (p, n)
        Means of the pixels of n columns over p patches of rows, without offsets of columns;
        NaN for invalid means.
    patch : int
        Number of rows in a patch.
    frames : int
        Number of frames that were averaged.
    at_once : bool
        Return None early if a quick test shows that there is no sure step.

    Returns
    -------
    Step or None
        None if ``at_once`` is set and the quick test fails.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = 100 + rng.normal(0, 5, (256, 256))
    >>> image[:, 128:] += 7
    >>> step = find_step(image.reshape(64, 4, 256).mean(1), 4)
    >>> step.is_sure, abs(step.height - 7) < 0.5
    (True, True)
    """
    patches, lines = table.shape
    if lines % 2 or lines < 64 or patches < 2 * STRETCHES:
        return None
    if at_once and not _may_have_step(table):
        return None
    middle = min(lines // 2, AROUND)
    table = table[:, lines // 2 - middle : lines // 2 + middle]
    unit = float(np.nanmax(table) - np.nanmin(table))
    if not 0 < unit < np.inf:
        return None
    levels, flat = observe_differences(table / unit, patch, NEAREST if at_once else LAGS)
    if at_once:
        # Most boundaries have no sharp step, which differences between neighbouring lines tell.
        if abs(levels[1].difference[middle - 1]) <= 3 * math.sqrt(levels[1].scatter[middle - 1]):
            return None
        levels, flat = observe_differences(table / unit, patch)
    pixel = math.sqrt(max(flat, 0) * patch * frames / 2)
    heights = {lag: level.difference[middle - lag] for lag, level in levels.items()}
    squared = {
        lag: level.scatter[middle - lag] * (1 + (lag - 1) / 10) + level.structure[middle - lag]
        for lag, level in levels.items()
    }
    best = min(squared, key=lambda lag: squared[lag])
    height, error = float(heights[best]), math.sqrt(squared[best])
    sharp = all(
        abs(heights[lag] - height) < 3 * math.sqrt(squared[lag] + error**2) for lag in (1, 2, 4)
    )
    nearest = float(heights[1]) * np.sign(height)
    sharp = sharp and nearest > SHARP * abs(height) + 3 * math.sqrt(squared[1])
    is_sure = bool(
        sharp
        and abs(height) > SIGNIFICANT * error
        and abs(height) < HIGHEST * pixel
        and _is_everywhere(table[:, middle - 8 : middle + 8] / unit, height)
    )
    return Step(unit * height, unit * error, is_sure)


def _may_have_step(table: Floats) -> bool:
    """Quick test whether the lines at the boundary differ by more than chance."""
    middle = table.shape[1] // 2
    for width in (2, 8):
        difference = _halves(table[:, middle - width : middle + width])
        difference = difference[np.isfinite(difference)]
        if not len(difference):
            return False
        centre = float(median(difference))
        spread = 1.4826 * float(median(np.abs(difference - centre)))
        if abs(centre) * math.sqrt(len(difference)) < 3 * spread:
            return False
    return True


def _is_everywhere(near: Floats, height: float) -> bool:
    """Whether all parts of a boundary but one have the step; differences are (patches, lines)."""
    right = 0
    for stretch in np.array_split(_halves(near), STRETCHES):
        some = stretch[np.isfinite(stretch)]
        if not len(some):
            return False
        right += abs(float(median(some)) - height) < 0.6 * abs(height)
    return right >= STRETCHES - 1


def find_alternation(table: Floats, patch: int, frames: int = 1) -> float:
    """Measure how much higher even columns are than odd ones, as if two amplifiers read alternate columns.

    No lens forms a pattern of two pixels over a whole image. The pattern therefore belongs to the
    sensor if it is equal in all parts of the image and weaker than the noise of a pixel.

    Parameters
    ----------
    table : ndarray, shape (p, n)
        Means of the pixels of n columns over p patches of rows; NaN for those that do not
        count.
    patch : int
        Rows in a patch.
    frames : int
        Frames that the means are of.

    Returns
    -------
    float
        Half of the difference: the offset of even columns is this, that of odd ones its
        negative.  0 if there is no such pattern.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = 100 + rng.normal(0, 5, (256, 256))
    >>> image[:, ::2] += 2
    >>> abs(find_alternation(image.reshape(64, 4, 256).mean(1), 4) - 1) < 0.1
    True
    """
    patches, lines = table.shape
    if patches < 2 * STRETCHES or lines < 8 * STRETCHES:
        return 0.0
    # Medians of a quarter of the patches have twice the error, which the quick test allows for.
    if table.size >= LARGE and not _may_alternate(table[::4]):
        return 0.0
    bends = _bends(table)
    parts = _medians(bends)
    height = _middle(parts)
    if not np.isfinite(height):
        return 0.0
    # Offsets of single columns are alike in all rows, so errors are compared across columns.
    of_columns = np.array([_middle(part) for part in parts.T])
    error = float(of_columns.std()) / math.sqrt(STRETCHES)
    is_sure = (
        abs(height) > SIGNIFICANT * error
        and np.abs(of_columns / (height or 1) - 1).max() < 0.5
        and _share_alike(parts, height, 0.6) >= ALIKE
    )
    if not is_sure:
        return 0.0
    usual = float(np.nanmedian(np.abs(bends - height)))
    pixel = 1.4826 * usual * math.sqrt(patch * frames / 1.5)
    return height / 2 if abs(height) < pixel else 0.0


def _bends(table: Floats) -> Floats:
    """Differences of columns from the mean of both neighbours, with the sign of an alternation."""
    bends: Floats = table[:, 1:-1] - (table[:, :-2] + table[:, 2:]) / 2
    bends[:, ::2] *= -1  # the first one belongs to an odd column
    return bends


def _medians(bends: Floats) -> Floats:
    """Medians in equal parts of the image, (`STRETCHES`, `STRETCHES`)."""
    return np.array(
        [
            [_middle(part) for part in np.array_split(stretch, STRETCHES, axis=1)]
            for stretch in np.array_split(bends, STRETCHES)
        ]
    )


def _share_alike(parts: Floats, height: float, tolerance: float) -> float:
    """Share of the parts whose alternation is that of the image, up to a relative difference."""
    return float((np.abs(parts - height) < tolerance * abs(height)).mean())


def _may_alternate(table: Floats) -> bool:
    """Quick test on a few patches, whose medians have larger errors, for `find_alternation`."""
    bends = _bends(table)
    # Parts of one size, without the last few columns, take a fifth of the time of `_medians`.
    high, wide = (size // STRETCHES for size in bends.shape)
    cut = bends[: high * STRETCHES, : wide * STRETCHES].reshape(STRETCHES, high, STRETCHES, wide)
    every = cut.swapaxes(1, 2).reshape(STRETCHES, STRETCHES, high * wide)
    parts = median(every) if every.size and np.isfinite(every.sum()) else _medians(bends)
    return _share_alike(parts, _middle(parts), 1.2) >= 0.7


def _middle(part: Floats) -> float:
    """Median of the finite values; NaN if there are none."""
    values = part[np.isfinite(part)]
    return float(median(values)) if len(values) else math.nan


def _halves(near: Floats) -> Floats:
    """Mean of the right half minus that of the left one, for each patch."""
    middle = near.shape[1] // 2
    found: Floats = near[:, middle:].mean(1) - near[:, :middle].mean(1)
    return found


def find_amplifiers(
    columns: Floats, rows: Floats, patches: tuple[int, int], frames: int = 1
) -> Floats | None:
    """Find the levels of the quadrants of a sensor.

    Parameters
    ----------
    columns, rows : ndarray, shapes (p, width) and (q, height)
        Means of the columns over patches of rows, and of the rows over patches of columns,
        without line offsets.
    patches : (int, int)
        Number of pixels of a column, and of a row, in a patch.
    frames : int
        Number of frames that were averaged.

    Returns
    -------
    ndarray, shape (2, 2), or None
        Levels of the top left, top right, bottom left and bottom right; their mean is 0.
        None if they do not differ.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = 100 + rng.normal(0, 5, (256, 256))
    >>> image[128:, 128:] += 10
    >>> levels = find_amplifiers(
    ...     image.reshape(64, 4, 256).mean(1), image.T.reshape(64, 4, 256).mean(1), (4, 4))
    >>> np.round(levels, -1).tolist()
    [[-0.0, -0.0], [-0.0, 10.0]]
    """
    equations: list[tuple[list[float], Step]] = []
    tables = (columns, patches[0], COLUMN_STEPS), (rows, patches[1], ROW_STEPS)
    for table, patch, signs in tables:
        step = find_step(table, patch, frames)
        if step is not None and step.is_sure:
            equations.append(([(a + b) / 2 for a, b in zip(*signs, strict=True)], step))
    if not equations:  # a step along one half of a boundary
        parts = [
            (part, patch, list(own))
            for table, patch, signs in tables
            if len(table) % 2 == 0
            for part, own in zip(np.array_split(table, 2), signs, strict=True)
        ]
        steps = (find_step(part, patch, frames) for part, patch, _ in parts)
        if any(step is not None and step.is_sure for step in steps):
            for part, patch, own in parts:
                step = find_step(part, patch, frames, at_once=False)
                if step is not None:
                    equations.append((own, step))
    if not equations:
        return None
    # Small weights keep levels equal that no step separates.
    typical = max(abs(step.height) for _, step in equations)
    matrix = [np.array(signs) / step.error for signs, step in equations]
    values = [step.height / step.error for _, step in equations]
    matrix.extend(np.eye(4) * 3 / typical)
    values.extend([0.0] * 4)
    levels: Floats = np.linalg.lstsq(np.array(matrix), np.array(values), rcond=None)[0]
    return (levels - levels.mean()).reshape(2, 2)
