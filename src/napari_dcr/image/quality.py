"""Report on a restored image: which intensities were kept, and what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing
from napari_dcr.image.noise_blocks import block_means, block_statistics, finest_deviation
from napari_dcr.image.noise_model import NoiseModel

BLOCK = 16
"""Side in pixels of the blocks whose means are compared."""

POINTS = 400
"""Largest number of block means to keep for the plot."""

WHITE = 0.12
"""Largest correlation of residuals between neighbouring pixels that still counts as noise."""

FOLLOWS = 0.17
"""Correlation of the residual with the result's structure above which a warning is given. Good
results on real recordings have up to 0.16, a Gaussian blur of sigma 1.5 to 3 has 0.18 to 0.36."""

EXCEEDS = 1.4
"""Ratio of the residual's standard deviation to that of the noise model, at one level, above which
a warning is given. White noise leaves 0.8 to 1.1, correlated noise up to 1.3."""

QUARTERS = "darkest", "second darkest", "second brightest", "brightest"
"""Quarters of the result's pixels in which the residual is compared with the noise model."""

FULL = 0.005
"""Share of saturated pixels above which a warning is given; stretching to 8 bits alone usually
saturates 0.1 or 0.2 %."""

KEPT = 0.02
"""Largest change of slope and sum for which intensities count as kept."""

ROUNDED = 0.005
"""Smallest change of the sum by rounding that a warning names."""

REMOVED = 0.7
"""Largest remaining share of the noise for which it counts as removed."""


MANY_ZEROS = 0.05
"""Share of pixels at 0 from which the report explains their effect."""

CLIPPED = (
    "if a black level was subtracted and negative values were set to 0, the mean of dark areas lies"
    " above that of the light, in the image and in the result"
)


@dataclass(frozen=True)
class Report:
    """Report on the intensities of one restored channel.

    Attributes
    ----------
    slope, intercept, r_squared : float
        Straight line fitted to the means of 16 x 16 pixels of the result against those of the
        input: 1, 0 (in the image's units) and 1 if intensities were kept. The line has the slope 1 if
        the input's means do not differ by more than their noise.
    total_ratio : float
        Sum of the result divided by that of the input, each after the black level is subtracted. If
        the input's mean above black is less than the standard deviation of its noise, this quotient
        is not defined well, and the value is 1 plus the change of the mean in standard deviations.
    noise_before, noise_after : float
        Standard deviation of the finest detail at the median level, in the image's units.
    saturated : float
        Share of pixels at the largest value of an integer dtype, or at the value at which the
        image itself was clipped.
    residual_deviation : float
        Standard deviation of input minus result relative to that of the noise: about 1, and less if
        the result follows the noise.
    residual_correlation : float
        Correlation of residuals between neighbouring pixels: 0 for white noise, more if structure
        was removed.
    signal_correlation : float
        Correlation of the residuals with the structure of the result: below 0 if structure was
        exaggerated, above 0 if it was flattened.
    warnings : tuple of str
        Reasons to doubt the result.
    means : tuple of (float, float)
        Means of some blocks in input and result, for a plot.
    corrected : str
        Corrected sensor defects; all other values are measured after their correction.
    correlation : str
        Correlation length of the noise, and how the image was processed because of it; empty for
        white noise.
    left_out : str
        Parts of the image that the noise estimate ignored; empty if it used everything.
    zeros : float
        Share of integer pixels that are 0.
    residual_levels : tuple of (float, float)
        Levels of the result, in the image's units, and the ratio of the residual's standard deviation
        there to that of the noise model: about 1 if the model fits the image at every level.
    neighbours : str
        What neighbouring frames contributed; empty if none were used.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = np.linspace(0, 50, 256) * np.ones((256, 1))
    >>> noisy = truth + rng.normal(0, 2, truth.shape)
    >>> report = assess([(noisy, truth)], NoiseModel(0, 0, 4), black=0)
    >>> round(report.slope, 2), round(report.residual_deviation, 1)
    (1.0, 1.0)
    """

    slope: float
    intercept: float
    r_squared: float
    total_ratio: float
    noise_before: float
    noise_after: float
    saturated: float
    residual_deviation: float
    residual_correlation: float
    signal_correlation: float
    warnings: tuple[str, ...]
    means: tuple[tuple[float, float], ...]
    corrected: str = ""
    correlation: str = ""
    left_out: str = ""
    zeros: float = 0.0
    residual_levels: tuple[tuple[float, float], ...] = ()
    neighbours: str = ""

    @classmethod
    def of_nothing(cls, warnings: Sequence[str], kept: float = 1.0) -> Report:
        """Report on a channel that is returned unchanged, or was not compared if ``kept`` is NaN."""
        unknown = float("nan")
        return cls(
            kept, 1 - kept, kept, kept, unknown, unknown, unknown, unknown, unknown, unknown,
            tuple(warnings), (),
        )  # fmt: skip

    def in_unit(self, unit: float) -> Report:
        """Convert the report to pixels divided by ``unit``."""
        return replace(
            self,
            intercept=self.intercept / unit,
            noise_before=self.noise_before / unit,
            noise_after=self.noise_after / unit,
            means=tuple((x / unit, y / unit) for x, y in self.means),
            residual_levels=tuple((level / unit, r) for level, r in self.residual_levels),
        )

    def to_dict(self) -> dict[str, Any]:
        """Report as a dictionary of plain values, for the record of a result."""
        return asdict(self) | {
            "warnings": list(self.warnings),
            "means": [list(pair) for pair in self.means],
            "residual_levels": [list(pair) for pair in self.residual_levels],
        }

    @property
    def verdict(self) -> str:
        """Whether intensities were kept and noise was removed, in one sentence, and the warnings."""
        kept = abs(self.slope - 1) <= KEPT and abs(self.total_ratio - 1) <= KEPT
        if np.isnan(self.noise_before):
            return "\n".join(["left as it is", *(f"  warning: {text}" for text in self.warnings)])
        removed = self.noise_after <= REMOVED * self.noise_before
        sentence = (
            f"{'intensities kept' if kept else 'intensities CHANGED'} (slope {self.slope:.3f}, total"
            f" {self.total_ratio:.1%}); {'noise removed' if removed else 'little noise removed'}"
            f" ({self.noise_before:.3g} before, {self.noise_after:.3g} after)"
        )
        return "\n".join([sentence, *(f"  warning: {text}" for text in self.warnings)])

    def __str__(self) -> str:
        lines = [
            f"block means: result = {self.slope:.4f} x input {self.intercept:+.3g}"
            f" (R2 {self.r_squared:.4f})",
            f"sum of intensities: {self.total_ratio:.4f} of the input's",
            f"noise: {self.noise_before:.3g} before, {self.noise_after:.3g} after",
            f"saturated pixels: {self.saturated:.2%}",
            f"residual: {self.residual_deviation:.2f} x the noise; correlation between"
            f" neighbouring pixels {self.residual_correlation:+.3f}, with the signal"
            f" {self.signal_correlation:+.3f}",
            *([_describe_levels(self.residual_levels)] if self.residual_levels else []),
            *([f"corrected: {self.corrected}"] if self.corrected else []),
            *([self.correlation] if self.correlation else []),
            *([self.neighbours] if self.neighbours else []),
            *([self.left_out] if self.left_out else []),
            *([f"pixels at 0: {self.zeros:.2%}; {CLIPPED}"] if self.zeros > MANY_ZEROS else []),
            *(f"warning: {text}" for text in self.warnings),
        ]
        return "\n".join(lines)


def assess(
    windows: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    noise: NoiseModel,
    black: float,
    warnings: Sequence[str] = (),
    dtype: np.dtype[Any] | None = None,
    expected_correlation: float = 0.0,
    bits: int = 0,
    clipped: float = 0.0,
) -> Report:
    """Compare windows of an image with those of its restoration.

    Parameters
    ----------
    windows : sequence of (ndarray, ndarray)
        Input and result, shape (h, w) each, in the input's units.
    noise : NoiseModel
        Noise of the input.
    black : float
        Black level, which is subtracted before intensities are summed.
    warnings : sequence of str
        Known reasons to doubt the result.
    dtype : dtype, optional
        Dtype in which the input was recorded, if it has been converted.
    expected_correlation : float
        Correlation of the noise itself between neighbouring pixels.
    bits : int
        Number of bits that integers were recorded with; 0 for all bits of their dtype.
    clipped : float
        Share of pixels that the noise estimate found saturated, at any value.
    """
    dtype = dtype or windows[0][0].dtype
    integer = dtype.kind in "iu"
    top = np.iinfo(dtype).max if integer else np.inf
    if bits and integer:
        top = min(top, 2**bits - 1)
    means, varied, residuals, compared = [], [], [], []
    light = change = 0.0
    saturated = pixels = zeros = beyond = 0
    neighbours, with_signal = [], []
    for given, got in windows:
        own, out = (np.ma.getdata(w).astype(np.float64) for w in (given, got))
        good = np.isfinite(own) & np.isfinite(out)
        if (gone := missing(given)) is not None:
            good &= ~gone
        saturated += int((own[good] >= top).sum())
        zeros += int((own[good] == 0).sum()) if integer else 0
        pixels += int(good.sum())
        light += float((own[good] - black).sum())
        change += float((out[good] - own[good]).sum())
        compared.append((own[good], out[good]))
        if got.dtype.kind in "iu":
            held = np.iinfo(got.dtype)
            beyond += int(((own[good] < held.min - 0.5) | (own[good] > held.max + 0.5)).sum())
        own, out = np.where(good, own, black), np.where(good, out, black)
        means.append(np.stack([block_means(own, BLOCK), block_means(out, BLOCK)]))
        varied.append(_varied_blocks(own))
        residual = (own - out) / np.maximum(noise.deviation(out), 1e-12)
        residuals.append(float((residual**2).mean()))
        centred = residual - residual.mean()
        power = float((centred**2).mean())
        across, down = centred[:, :-1] * centred[:, 1:], centred[:-1] * centred[1:]
        pairs = [float(products.mean()) if products.size else 0.0 for products in (across, down)]
        neighbours.append((sum(pairs) / 2, power))
        # Structure of a few pixels: the result minus its local mean.
        detail = (out - _local_mean(out)) / np.maximum(noise.deviation(out), 1e-12)
        with_signal.append((float((centred * detail).mean()), power, float((detail**2).mean())))
    x, y = np.concatenate(means, 1) if means[0].size else np.zeros((2, 1))
    in_use = np.concatenate(varied)
    if in_use.any():  # blocks of one value, such as padding, do not show what was kept
        x, y = x[in_use], y[in_use]
    before = float(noise.deviation(float(np.median(x))))
    slope, intercept, r_squared = _regression(x, y, (before / BLOCK) ** 2)
    correlation = _share(sum(n for n, _ in neighbours), sum(p for _, p in neighbours))
    both = np.sum(with_signal, 0)
    along = _share(both[0], np.sqrt(both[1] * both[2]))
    after = finest_deviation(
        np.concatenate([block_statistics(out, binned=False) for _, out in windows])
    )
    notes = list(warnings)
    if correlation > WHITE + 1.2 * expected_correlation:
        notes.append("what was removed is not pure noise: fine structure may be lost")
    if abs(along) > FOLLOWS:
        what = "flattened" if along > 0 else "exaggerated"
        notes.append(f"the residual follows the signal: structure may have been {what}")
    levels = _residual_levels(compared, noise)
    worst = max(range(len(levels)), key=lambda k: levels[k][1], default=0)
    if levels and levels[worst][1] > EXCEEDS:
        notes.append(
            f"in the {QUARTERS[worst]} quarter of the pixels, the residual is {levels[worst][1]:.1f}"
            " times as strong as the noise model: structure may have been removed, or the noise was"
            " estimated too low"
        )
    share = max(saturated / max(pixels, 1), clipped)
    if share > FULL:
        notes.append("saturated pixels: their intensities are not known")
    # In a dark frame the sum above black is only the error of the black level.
    is_dark = light < before * pixels
    ratio = 1 + _share(change, before * pixels if is_dark else light)
    if windows[0][1].dtype.kind in "iu" and abs(ratio - 1) > (KEPT if is_dark else ROUNDED):
        # All pixels of a smooth area are rounded in the same direction.
        of = " of the noise's standard deviation" if is_dark else ""
        changed = f"the {'mean' if is_dark else 'sum of intensities'} by {abs(ratio - 1):.1%}{of}"
        cause = f"clipping to {windows[0][1].dtype.name}" if beyond else "rounding"
        notes.append(f"{cause} changed {changed}: pass output='float32'")
    step = max(1, -(-len(x) // POINTS))
    return Report(
        slope, intercept, r_squared,
        ratio, before, after, share,
        float(np.sqrt(np.mean(residuals))), correlation, along, tuple(notes),
        tuple((float(a), float(b)) for a, b in zip(x[::step], y[::step], strict=True)),
        zeros=zeros / max(pixels, 1), residual_levels=levels,
    )  # fmt: skip


def _describe_levels(levels: Sequence[tuple[float, float]]) -> str:
    found = ", ".join(f"{ratio:.2f} at {level:.4g}" for level, ratio in levels)
    return f"residual by level, relative to the noise model: {found}"


def _residual_levels(
    compared: Sequence[tuple[NDArray[Any], NDArray[Any]]], noise: NoiseModel
) -> tuple[tuple[float, float], ...]:
    """Compare the residual with the noise model at some levels of the result."""
    own, out = (np.concatenate(values) for values in zip(*compared, strict=True))
    parts = np.array_split(np.argsort(out, kind="stable"), len(QUARTERS))
    found = []
    for part in parts:
        if not len(part):
            return ()
        residual = float(((own[part] - out[part]) ** 2).sum())
        expected = float((noise.deviation(out[part]) ** 2).sum())
        found.append((float(out[part].mean()), _share(residual, expected) ** 0.5))
    return tuple(found)


def _varied_blocks(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of blocks that do not consist of a single value, in the order of `block_means`."""
    height, width = (n // BLOCK for n in image.shape)
    cut = image[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    if not cut.size:
        return np.zeros(0, bool)
    varied: NDArray[np.bool_] = (cut.max((1, 3)) > cut.min((1, 3))).ravel()
    return varied


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _regression(x: NDArray[Any], y: NDArray[Any], noise: float) -> tuple[float, float, float]:
    """Slope, intercept and R2 of a least squares line; 1, shift, 1 if x differ only by noise.

    ``noise`` is the variance of the noise of x.
    """
    dx, dy = x - x.mean(), y - y.mean()
    variance, covariance, total = (dx**2).mean(), (dx * dy).mean(), (dy**2).mean()
    # Three standard deviations above the expected variance of values that differ only by noise.
    noise *= 1 + 3 * (2 / len(x)) ** 0.5
    if variance <= max(noise, 1e-12 * max(1.0, float(np.abs(x).max()) ** 2)):
        return 1.0, float(y.mean() - x.mean()), 1.0
    slope = float(covariance / variance)
    determined = float(covariance**2 / (variance * total)) if total > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean()), determined


def _local_mean(x: NDArray[Any]) -> NDArray[Any]:
    """Mean over 9 x 9 pixels, from sums; the border is repeated."""
    padded = np.pad(x, ((5, 4), (5, 4)), "edge").cumsum(0).cumsum(1)
    total: NDArray[Any] = (
        padded[9:, 9:] - padded[:-9, 9:] - padded[9:, :-9] + padded[:-9, :-9]
    ) / 81
    return total
