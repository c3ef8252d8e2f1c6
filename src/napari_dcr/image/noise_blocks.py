"""Local statistics of blocks, from which the noise of an image is estimated."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

SIDE = 8
"""Side in pixels of the blocks."""

SPACINGS = ((1, 1), (1, 2), (1, 4), (2, 1), (4, 1), (2, 2), (4, 4))
"""Distances in pixels, along y and x, between the taps of the residual filters."""

BINNINGS = (3, 5)
"""Numbers of pixels that may be averaged along an axis if the noise is correlated. They are odd, so
that the centre of a mean is a pixel."""

ENOUGH = 24
"""Smallest number of blocks in a level."""

FEW = 2 * ENOUGH
"""Number of blocks below which they form a single level."""

BLOCKS = np.dtype(
    [
        ("binning", "u1", (2,)),
        ("mean", "f8"),
        ("around", "f8"),
        ("power", "f8", (len(SPACINGS),)),
        ("typical", "f8", (2,)),
        ("roughness", "f8"),
        ("detail", "f8", (len(BINNINGS),)),
        ("rounding", "f8"),
        ("pixels", "f8"),
        ("low", "f8"),
        ("high", "f8"),
        ("at_high", "f8"),
        ("below", "f8"),
        ("at_below", "f8"),
        ("beside_constant", "?"),
        ("beside_hot", "?"),
    ]
)
"""Statistics of one block.

``binning``: numbers of pixels along y and x that were averaged before measuring, 1 and 1 for the image
itself; ``mean``; ``around``: mean of the means of those of the eight blocks around it that are beside neither a constant
area nor a hot pixel; ``power``: mean squared residual at each of `SPACINGS`; ``typical``: the same from the median, at spacings
of 1 and 2 pixels, see `_typical`; ``roughness``: mean
squared gradient over a few pixels; ``detail``: mean square of what averaging over each of
`BINNINGS` removes, if noise is correlated, otherwise 0; ``rounding``: variance that rounding
has added, which is white even if the noise is not; ``pixels``: number of finite pixels; ``low`` and
``high``: smallest and largest value; ``at_high``: share of the pixels with the largest value;
``below`` and ``at_below``: second largest value and its share; ``beside_constant``: whether two
adjacent rows or columns of the block, or one of the eight blocks around it, have a single value;
``beside_hot``: whether the block or one of the eight around it has a pixel far above all others.
"""

CORRELATED = 0.7
"""Ratio of residual powers at spacings of 1 and 2 pixels, along one axis, below which noise
counts as correlated; 1 for white noise."""

LEAST = 8
"""Smallest number of residuals in a block that is used."""

MEDIAN = 0.4549
"""Median of the square of a normal variable, in units of its variance."""

MOST_EQUAL = 0.3
"""Share of the most frequent value of a block above which it holds sparse counts, or a constant part. Their
median says nothing about their noise."""


def power_at(blocks: NDArray[Any], y: int, x: int) -> NDArray[np.float64]:
    """Residual powers of blocks at a pair of `SPACINGS`, along y and x."""
    powers: NDArray[np.float64] = blocks["power"][:, SPACINGS.index((y, x))]
    return powers


def block_statistics(window: NDArray[Any], binned: bool = True) -> NDArray[Any]:
    """Measure the blocks of 8 x 8 pixels of a window.

    If the noise is correlated between pixels, blocks of the window averaged over `BINNINGS` pixels
    are measured too, to estimate the noise that remains after averaging.

    Parameters
    ----------
    window : ndarray, shape (h, w)
        One channel in its own units; missing pixels are ignored.
    binned : bool
        Whether to measure averaged blocks of correlated noise, which takes several times as long.

    Returns
    -------
    ndarray, shape (n,), dtype `BLOCKS`
    """
    gone, window = missing(window), np.ma.getdata(window)
    # Products of 16-bit integers are accurate enough in single precision; floats may
    # have any unit.
    small = window.dtype.kind in "iu" and window.dtype.itemsize <= 2
    pixels = window.astype(np.float32 if small else np.float64)
    if gone is not None:
        pixels[gone] = np.nan
    own = _measure(pixels, (1, 1))
    own["rounding"] = _rounding(pixels)
    own["typical"] = _typical(pixels) if len(own) < FEW else np.nan
    tables = [own]
    axes = correlated_axes(own) if binned else (False, False)
    if any(axes) and min(window.shape) >= 4 * SIDE:
        for number, size in enumerate(BINNINGS):
            binning = tuple(size if along else 1 for along in axes)
            means = bin_pixels(pixels, binning)
            left = own["rounding"][0] / (binning[0] * binning[1])
            own["detail"][:, number] = _detail(pixels, means, binning)
            down, across = binning
            for y, x in np.ndindex(down, across):
                tables.append(_measure(means[y::down, x::across], binning))
                tables[-1]["rounding"] = left
    table = own if len(tables) == 1 else np.concatenate(tables)
    return table[table["pixels"] > 0]


def in_unit(blocks: NDArray[Any], factor: float) -> NDArray[Any]:
    """Convert the statistics to those of pixels multiplied by ``factor``."""
    if factor == 1:
        return blocks
    scaled = blocks.copy()
    for name in ("mean", "around", "low", "high", "below"):
        scaled[name] *= factor
    for name in ("power", "typical", "roughness", "detail", "rounding"):
        scaled[name] *= factor**2
    return scaled


def finest_deviation(blocks: NDArray[Any]) -> float:
    """Standard deviation of the finest residuals in the flatter half of an image's blocks."""
    own = blocks[(blocks["binning"] == 1).all(1) & np.isfinite(power_at(blocks, 1, 1))]
    if not len(own):
        return float("nan")
    flat = own["roughness"] <= np.median(own["roughness"])
    return float(np.sqrt(power_at(own[flat], 1, 1).mean()))


def correlated_axes(blocks: NDArray[Any]) -> tuple[bool, bool]:
    """Whether noise is correlated along y and along x, in most flat blocks of an image."""
    wide = blocks[np.isfinite(blocks["power"]).all(1) & (power_at(blocks, 1, 1) > 0)]
    if not len(wide):
        return False, False
    flat = wide[wide["roughness"] <= np.median(wide["roughness"])]
    powers = flat["power"].mean(0) - flat["rounding"].mean()
    fine, down, across, both = (
        powers[SPACINGS.index(spacing)] for spacing in ((1, 1), (2, 1), (1, 2), (2, 2))
    )
    if fine < flat["rounding"].mean() and fine < CORRELATED**2 * both:
        return True, True  # rounding hides the axis
    return bool(fine < CORRELATED * down), bool(fine < CORRELATED * across)


def bin_pixels(pixels: NDArray[Any], binning: tuple[int, ...]) -> NDArray[Any]:
    """Means over ``binning`` pixels along y and x, for pixels with a complete neighbourhood."""
    for axis, size in enumerate(binning):
        if size > 1:
            length = pixels.shape[axis] - size + 1
            before = (slice(None),) * axis
            parts = (pixels[(*before, slice(i, i + length))] for i in range(size))
            pixels = sum(parts, np.zeros((), pixels.dtype)) / size
    return pixels


def _rounding(pixels: NDArray[Any]) -> float:
    """Variance added by rounding to whole numbers."""
    finite = pixels[np.isfinite(pixels)]
    return 1 / 12 if bool((finite == np.rint(finite)).all()) else 0.0


def _detail(
    pixels: NDArray[Any], means: NDArray[Any], binning: tuple[int, ...]
) -> NDArray[np.float64]:
    """Mean squared difference between pixels and their local means, per block."""
    top, left = ((n - 1) // 2 for n in binning)
    inner = pixels[top : top + means.shape[0], left : left + means.shape[1]]
    count, total = _block_sums((inner - means) ** 2, (top, left), pixels.shape)
    return total / np.maximum(count, 1)


def _measure(pixels: NDArray[Any], binning: tuple[int, ...]) -> NDArray[Any]:
    height, width = pixels.shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    table = np.zeros(rows * columns, BLOCKS)
    table["binning"] = binning
    count, total = _block_sums(pixels, (0, 0), pixels.shape)
    table["pixels"] = count
    with np.errstate(invalid="ignore", divide="ignore"):
        table["mean"] = total / count
        for number, (y, x) in enumerate(SPACINGS):
            table["power"][:, number] = _power(pixels, y, x)
        table["roughness"] = _roughness(pixels)
    _extremes(pixels, table)
    shape = rows, columns
    table["beside_constant"] |= _around((table["low"] == table["high"]).reshape(shape))
    # A single far pixel in a block; noise and the few values of sparse counts leave no such gap.
    with np.errstate(invalid="ignore"):  # blocks without a pixel
        gap, usual = table["high"] - table["below"], table["below"] - table["low"]
    hot = (table["at_high"] * table["pixels"] < 1.5) & (gap > 2 * usual) & (usual > 0)
    table["beside_hot"] = _around(hot.reshape(shape))
    apart = np.where(table["beside_constant"] | table["beside_hot"], np.nan, table["mean"])
    table["around"] = _mean_around(apart.reshape(shape))
    return table


def _around(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Extend a mask of blocks to their eight neighbours."""
    return np.asarray(np.any(_neighbourhoods(blocks), 0)).ravel()


def _mean_around(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the finite means of the eight blocks around each block; NaN if there are none."""
    finite = np.isfinite(means)
    filled = np.where(finite, means, 0)
    count = np.sum(_neighbourhoods(finite), 0) - finite
    total: NDArray[np.float64] = np.sum(_neighbourhoods(filled), 0) - filled
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).ravel()


def _neighbourhoods(blocks: NDArray[Any]) -> list[NDArray[Any]]:
    """Values of each block and of its eight neighbours; 0 beyond the border."""
    rows, columns = blocks.shape
    padded = np.zeros((rows + 2, columns + 2), blocks.dtype)  # faster than np.pad
    padded[1:-1, 1:-1] = blocks
    return [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]


def _power(pixels: NDArray[Any], y: int, x: int) -> NDArray[np.float64]:
    """Mean squared second differences per block, at ``y`` and ``x`` pixels along the axes.

    They are normalised for white noise (Immerkaer 1996, CVIU 64, 300), and insensitive to planes and to
    edges along the axes.  An axis that is too short is skipped.
    """
    squares, origin, gain = _squared_residuals(pixels, y, x)
    if not any(origin):
        return np.full(-(-pixels.shape[0] // SIDE) * -(-pixels.shape[1] // SIDE), np.nan)
    count, total = _block_sums(squares, origin, pixels.shape)
    return np.where(count >= LEAST, total / np.maximum(count, 1), np.nan) / gain


def _squared_residuals(
    pixels: NDArray[Any], y: int, x: int
) -> tuple[NDArray[Any], tuple[int, int], int]:
    """Squared second differences, position of the first one, and their mean for noise of variance 1."""
    height, width = pixels.shape
    y, x = (s if n > 2 * s else 0 for s, n in ((y, height), (x, width)))
    residual = pixels
    if y:
        residual = residual[: -2 * y] - 2 * residual[y:-y] + residual[2 * y :]
    if x:
        residual = residual[:, : -2 * x] - 2 * residual[:, x:-x] + residual[:, 2 * x :]
    return residual * residual, (y, x), (6 if y else 1) * (6 if x else 1)


def _typical(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Variance of white noise (n, 2) that the medians of the squared residuals of n blocks correspond to.

    Structure in less than half of the pixels hardly changes it. It is NaN for blocks with too few
    residuals, and for those with many equal values.
    """
    values = np.sort(_tiled(pixels), 1)
    repeats = max(2, round(MOST_EQUAL * SIDE * SIDE))
    many = (values[:, repeats:] == values[:, :-repeats]).any(1)
    found = np.full((len(values), 2), np.nan)
    blocks = np.arange(len(values))
    placed = np.empty(pixels.shape)
    for number, step in enumerate((1, 2)):
        squares, (top, left), gain = _squared_residuals(pixels, step, step)
        placed.fill(np.nan)
        placed[top : top + len(squares), left : left + squares.shape[1]] = squares
        ordered = np.sort(_tiled(placed), 1)  # those that are NaN come last
        count = np.isfinite(ordered).sum(1)
        both = ordered[blocks, np.maximum(count - 1, 0) // 2] + ordered[blocks, count // 2]
        usable = (count >= LEAST) & ~many
        found[usable, number] = both[usable] / (2 * MEDIAN * gain)
    return found


def _tiled(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels of each block, (blocks, 64), NaN beyond the border."""
    height, width = pixels.shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    padded = np.full((rows * SIDE, columns * SIDE), np.nan, pixels.dtype)  # faster than np.pad
    padded[:height, :width] = pixels
    tiled = padded.reshape(rows, SIDE, columns, SIDE).transpose(0, 2, 1, 3)
    return tiled.reshape(rows * columns, SIDE * SIDE)


def _roughness(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Mean squared gradient per block, of means over up to 5 x 5 pixels at a distance of 4."""
    height, width = pixels.shape
    box = tuple(min(5, (n + 1) // 2) for n in pixels.shape)
    smooth = bin_pixels(pixels, box)
    down, across = (min(4, n - 1) for n in smooth.shape)
    squares = np.zeros(smooth.shape, smooth.dtype)
    if down:
        difference = smooth[down:] - smooth[:-down]
        squares[: len(difference)] += difference**2
        squares[len(difference) :] = squares[len(difference) - 1]
    if across:
        difference = smooth[:, across:] - smooth[:, :-across]
        wide = difference.shape[1]
        squares[:, :wide] += difference**2
        squares[:, wide:] += (difference[:, -1:]) ** 2
    # The gradient between two means belongs to the pixels between them.
    top, left = ((n - m) // 2 for n, m in zip(pixels.shape, squares.shape, strict=True))
    squares = np.pad(
        squares, ((top, height - len(squares) - top), (left, width - squares.shape[1] - left)), "edge"
    )  # fmt: skip
    count, total = _block_sums(squares, (0, 0), pixels.shape)
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _block_sums(
    values: NDArray[Any], origin: tuple[int, int], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count and sum of finite values per block; ``values`` lie at ``origin`` in ``shape``."""
    finite = np.isfinite(values)
    if finite.all():
        count = _complete_blocks(origin, values.shape, shape)
    else:
        values = np.where(finite, values, 0)
        count = _sums(finite, origin, shape, np.float32)
    return count, _sums(values, origin, shape, np.float64)


def _sums(
    values: NDArray[Any], origin: tuple[int, int], shape: tuple[int, ...], rows_as: type
) -> NDArray[np.float64]:
    """Sum of the values per block; sums along the rows are computed first, in their own dtype."""
    for axis, kind in ((0, rows_as), (1, np.float64)):
        starts, empty = _block_starts(origin[axis], values.shape[axis], shape[axis])
        values = np.add.reduceat(values, starts, axis, dtype=kind)
        if empty:
            values = np.pad(values, [(0, empty if n == axis else 0) for n in (0, 1)])
    return values.astype(np.float64).ravel()


# Both results are the same for every frame of a stack, and take as long as the sums of a small frame.


@functools.lru_cache(maxsize=256)
def _block_starts(origin: int, length: int, size: int) -> tuple[NDArray[np.intp], int]:
    """First value of each block along an axis, and number of blocks beyond the last value."""
    edges = np.arange(0, size, SIDE) - origin
    inside = edges[edges < length]
    return np.maximum(inside, 0), len(edges) - len(inside)


@functools.lru_cache(maxsize=256)
def _complete_blocks(
    origin: tuple[int, int], values: tuple[int, ...], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Number of values per block if all of them are finite."""
    count = _sums(np.ones(values, bool), origin, shape, np.float32)
    count.flags.writeable = False
    return count


def _extremes(pixels: NDArray[Any], table: NDArray[Any]) -> None:
    """Set the smallest, largest and second largest value of each block, and constant strips."""
    blocks = _tiled(pixels)
    missing = np.isnan(blocks)
    low, high = (
        (np.where(missing, np.inf, blocks).min(1), np.where(missing, -np.inf, blocks).max(1))
        if missing.any()
        else (blocks.min(1), blocks.max(1))
    )
    count = np.maximum(table["pixels"], 1)
    top = blocks >= high[:, None]
    below = np.where(top | missing, -np.inf, blocks).max(1)
    table["low"], table["high"], table["below"] = low, high, below
    table["at_high"] = top.sum(1) / count
    table["at_below"] = (blocks == below[:, None]).sum(1) / count
    square = blocks.reshape(-1, SIDE, SIDE)
    strips = False
    for along in (square, square.transpose(0, 2, 1)):
        single = (along[:, :, 1:] == along[:, :, :1]).all(2)
        strips |= (single[:, 1:] & single[:, :-1]).any(1)
    table["beside_constant"] = strips


def block_means(image: NDArray[Any], side: int = 8) -> NDArray[np.float64]:
    """Means of all complete blocks of ``side`` x ``side`` pixels in an image (h, w)."""
    height, width = (n // side for n in image.shape)
    cut = image[: height * side, : width * side].reshape(height, side, width, side)
    means: NDArray[np.float64] = cut.mean((1, 3), dtype=np.float64).ravel()
    return means
