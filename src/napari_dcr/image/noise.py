"""Noise of instruments: the noise model, and its estimate from an image."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_blocks import (
    BINNINGS,
    BLOCKS,
    CORRELATED,
    SIDE,
    SPACINGS,
    block_statistics,
    power_at,
)

LEVELS = 16
"""Largest number of equally filled levels; the brightest ones are divided further."""

WIDTH = 4.0
"""Smallest width of a level, in standard errors of a block's mean."""

FLAT = 2.5 * 0.128
"""Roughness of nearly all blocks that hold white noise alone, in units of its variance; it is
0.128 on average."""

ENOUGH = 24
"""Smallest number of blocks in a level."""

TOLERANCE = 0.1
"""Share of its variance by which a level may deviate from the line, because no model is perfect."""

WHITE = 0.5
"""Whiteness below which pixels are averaged for the network."""

MILD = 0.75
"""Whiteness from which noise is treated as white, as in training."""

MOST_SLOW = 4.0
"""Largest ratio of the power of slow variations to that of the finest ones."""

EVEN = 0.45, 0.8
"""Evenness between which residuals are taken for noise: white and blurred noise have 0.5 to 0.7,
most structure less than 0.45, and a pattern of equal parts more."""

SHORT, LONG = 1.4, 4.5
"""Correlation lengths in pixels: from the first one on an axis is averaged, over the larger of
`BINNINGS` from the second one on."""

MOST_DETAIL = 1 / 150
"""Most that averaging may take away of an image, in units of its noise's variance, for each
pixel that is averaged."""

SUM = 2 * math.sqrt(math.pi)
"""Sum of a Gaussian's autocorrelation function, in units of its standard deviation."""

EDGE = 0.2
"""Part of the blocks that the edges of a constant area touch at most; a black level that is
clipped touches more."""

MOST_CONSTANTS = 4
"""Number of values of constant areas to check, starting with the most frequent one."""

MOST_SATURATED = 0.6
"""Share of saturated pixels above which a level is ignored."""

PART = 0.3
"""Part of the mean variance that counts with the level's own in `TOLERANCE`: the darkest
levels do not decide alone, nor do the brightest."""


@dataclass(frozen=True)
class NoiseModel:
    """Noise model: the variance of a pixel with mean ``m`` is ``dark + gain * (m - offset)``.

    This is the Poisson-Gaussian model (Foi et al. 2008, IEEE TIP 17, 1737, eq. 3); below the
    offset the variance is ``dark``.

    Attributes
    ----------
    gain : float
        Variance per unit of signal.  For a camera without multiplication noise this is the number
        of units (ADU) per photo-electron.
    offset : float
        Level at which the variance is ``dark``.
    dark : float
        Variance at the offset: that of the read noise, and of a background if the offset is above
        that of the camera.
    photon : float, optional
        Units per detected photon, if they differ from ``gain``.
    """

    gain: float
    offset: float
    dark: float
    photon: float | None = None

    @classmethod
    def of_camera(cls, gain: float, offset: float, read_noise: float) -> NoiseModel:
        """Create a model from the figures on data sheets of cameras.

        Parameters
        ----------
        gain : float
            Units (ADU) per photo-electron.
        offset : float
            Level without light, ADU.
        read_noise : float
            Standard deviation without light, in electrons.
        """
        return cls(gain, offset, (gain * read_noise) ** 2)

    @classmethod
    def parse(cls, text: str) -> NoiseModel:
        """Parse ``"GAIN,OFFSET,READ"``, the arguments of `of_camera`.

        Examples
        --------
        >>> NoiseModel.parse("2, 100, 1.5")
        NoiseModel(gain=2.0, offset=100.0, dark=9.0, photon=None)
        """
        try:
            gain, offset, read_noise = (float(part) for part in text.split(","))
        except ValueError:
            raise ValueError(
                f"noise: got {text!r}; allowed are three numbers, GAIN,OFFSET,READ: units per"
                " electron, units without light, and read noise in electrons"
            ) from None
        return cls.of_camera(gain, offset, read_noise)

    def to_dict(self) -> dict[str, float]:
        """Model as plain values, which the option ``noise`` accepts too."""
        return {"gain": self.gain, "offset": self.offset, "dark": self.dark}

    def at(self, level: float) -> NoiseModel:
        """Same noise with another offset; below the old offset at least a tenth of ``dark`` remains."""
        dark = max(self.dark + self.gain * (level - self.offset), 0.1 * self.dark)
        return NoiseModel(self.gain, level, dark, self.photon)

    def scaled(self, factor: float) -> NoiseModel:
        """Model with the variance multiplied at every level."""
        return replace(self, gain=self.gain * factor, dark=self.dark * factor)

    def in_unit(self, unit: float) -> NoiseModel:
        """Same noise for pixels that are divided by ``unit``."""
        with np.errstate(all="ignore"):  # variances in extreme units underflow or overflow
            dark = float(np.float64(self.dark) / np.float64(unit) ** 2)
        photon = None if self.photon is None else self.photon / unit
        return NoiseModel(self.gain / unit, self.offset / unit, dark, photon)

    def deviation(self, level: NDArray[Any] | float) -> NDArray[Any]:
        """Standard deviation of pixels with these means."""
        above = np.maximum(np.asarray(level) - self.offset, 0)
        return np.sqrt(self.dark + self.gain * above)

    @property
    def unit(self) -> float:
        """Standard deviation at the offset, with Anscombe's 3/8 photon (1948, Biometrika 35, 246)."""
        return float(np.sqrt(self.dark + 0.375 * self.gain**2))

    @property
    def curvature(self) -> float:
        """Gain in units of `unit`: that of `napari_dcr.network.variance_stabilization.Counts`."""
        return self.gain / self.unit


@dataclass(frozen=True)
class NoiseEstimate:
    """Estimate of the noise of an image.

    Attributes
    ----------
    model : NoiseModel
        Noise of single pixels.  Its offset is the image's darkest level, which may differ from
        that of the camera.
    gain_error, dark_error : float
        Standard errors of the model's gain and dark variance.
    whiteness : float
        Ratio of the variance of the finest residuals to that of residuals at twice their spacing.
        It is 1 for noise that is independent from pixel to pixel, and lower for noise that a camera
        or resampling has blurred.
    blocks : int
        Number of blocks of 8 x 8 pixels in the estimate; 0 for an image of a single value.
    left_out : int
        Blocks that tell nothing of the noise, as they have a single value or lie beside such an
        area: padding, masks, a black level that was clipped.
    correlation_length : (float, float)
        Correlation length along y and x in pixels: the sum of the autocorrelation function, which is
        1 for white noise.
    saturated : float
        Share of the pixels at the largest value, if values are clipped there.
    binning : (int, int)
        Number of pixels along y and x whose means have nearly white noise.  It is (1, 1) for white
        noise, and if averaging would remove detail of the image.
    binned : NoiseModel
        Noise of these means for denoising: the power of its slow variations, which equals the
        variance for white noise.
    is_given : bool
        Whether the model was given and not estimated.
    """

    model: NoiseModel
    gain_error: float
    dark_error: float
    whiteness: float
    blocks: int
    correlation_length: tuple[float, float]
    saturated: float
    binning: tuple[int, int]
    binned: NoiseModel
    is_given: bool = False
    left_out: int = 0

    def with_model(self, model: NoiseModel, level: float) -> NoiseEstimate:
        """Replace the estimated model by a known one, and keep the estimated correlation.

        Parameters
        ----------
        model : NoiseModel
        level : float
            Typical level of the image, at which the effect of binning is evaluated.
        """
        left = float((self.binned.deviation(level) / self.model.deviation(level)) ** 2)
        return replace(
            self, model=model, binned=model.scaled(left), gain_error=0.0, dark_error=0.0,
            is_given=True,
        )  # fmt: skip

    @property
    def is_white(self) -> bool:
        """Whether the noise is independent from pixel to pixel."""
        return self.correlation_length == (1.0, 1.0) or self.whiteness >= WHITE

    def neighbour_correlation(self) -> float:
        """Correlation with the neighbouring pixel, averaged over both axes."""
        if self.is_white:
            return 0.0
        widths = np.array(self.correlation_length) / SUM
        return float(np.where(widths > 1 / SUM, np.exp(-1 / (4 * widths**2)), 0).mean())

    def describe_correlation(self) -> str:
        """Describe the correlation of the noise and how it was handled; empty for white noise.

        Examples
        --------
        >>> model = NoiseModel(0.0, 0.0, 4.0)
        >>> noise = NoiseEstimate(model, 0, 0, 0.2, 100, (2.1, 1.9), 0.0, (3, 3), model)
        >>> noise.describe_correlation()
        'noise correlated over 2.1 x 1.9 pixels; processed at 3 x 3'
        """
        if self.is_white:
            return ""
        down, across = self.correlation_length
        found = f"noise correlated over {down:.1f} x {across:.1f} pixels"
        if self.binning == (1, 1):
            return f"{found}; processed pixel by pixel, as averaging would take away detail"
        return f"{found}; processed at {self.binning[0]} x {self.binning[1]}"

    def describe_blocks(self) -> str:
        """Say how many blocks the estimate left out; empty where it left out none.

        Examples
        --------
        >>> model = NoiseModel(0.0, 0.0, 4.0)
        >>> noise = NoiseEstimate(
        ...     model, 0, 0, 1.0, 960, (1.0, 1.0), 0.0, (1, 1), model, left_out=64)
        >>> noise.describe_blocks()
        'noise estimated without 64 blocks of 8 x 8 pixels that have a single value or lie beside such an area'
        """
        if not self.left_out or self.is_given:
            return ""
        return (
            f"noise estimated without {self.left_out} block{'s' if self.left_out > 1 else ''} of"
            " 8 x 8 pixels that have a single value or lie beside such an area"
        )

    @property
    def read_noise(self) -> float:
        """Standard deviation at the darkest level, in the image's units."""
        return float(np.sqrt(self.model.dark))

    def in_unit(self, unit: float) -> NoiseEstimate:
        """Same noise for pixels that are divided by ``unit``."""
        with np.errstate(all="ignore"):
            dark_error = float(np.float64(self.dark_error) / np.float64(unit) ** 2)
        return replace(
            self, model=self.model.in_unit(unit), binned=self.binned.in_unit(unit),
            gain_error=self.gain_error / unit, dark_error=dark_error,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Estimate as plain values, for a record."""
        model = self.model
        return {
            "gain": model.gain,
            "gain_error": self.gain_error,
            "offset": model.offset,
            "dark": model.dark,
            "dark_error": self.dark_error,
            "whiteness": self.whiteness,
            "correlation_length": list(self.correlation_length),
            "saturated": self.saturated,
            "binning": list(self.binning),
            "is_given": self.is_given,
            "blocks": self.blocks,
            "left_out": self.left_out,
        }


def estimate_noise(
    image: NDArray[Any] | Iterable[NDArray[Any]], floor: float | None = None
) -> NoiseEstimate:
    """Estimate gain, offset and read noise by regression of local variances on local means.

    Second differences along both axes, which are blind to planes and to edges along the
    axes (Immerkaer 1996, CVIU 64, 300), give a variance for each block of 8 x 8 pixels; at
    each level the flatter half of the blocks counts; a line is fitted through the levels
    (Foi et al. 2008, section III). Where pixels are saturated, the variance and the mean
    that they would have are found from their share (Foi 2009, Signal Processing 89, 2609).
    Blocks of a single value, such as padding, are ignored.

    Parameters
    ----------
    image : ndarray, shape (h, w), or several of them
        One channel in its own units; pixels that are not finite are ignored.  The blocks of several
        small images are combined.
    floor : float, optional
        Smallest standard deviation to report; by default that of rounding for integers, and 1e-6 of
        the range for floats.

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
    """Estimate the noise from the rows of `block_statistics`; see `estimate_noise`."""
    own = table[(table["binning"] == 1).all(1) & np.isfinite(table["mean"])]
    if not len(own):
        raise ValueError("image: got no finite pixels; estimating noise needs some")
    if floor is None:
        span = max(float(np.ptp(own["mean"])), float(np.abs(own["mean"]).max()))
        floor = 12**-0.5 if integer else 1e-6 * span or 1.0
    varied = own[(own["low"] < own["high"]) & np.isfinite(power_at(own, 1, 1))]
    if not len(varied):
        model = NoiseModel(0.0, float(np.median(own["mean"])), floor**2)
        return NoiseEstimate(
            model, 0.0, 0.0, 1.0, 0, (1.0, 1.0), 0.0, (1, 1), model, left_out=len(own)
        )
    saturated = float((_saturated_share(own) * own["pixels"]).sum() / own["pixels"].sum())
    varied = _undisturbed(varied, own[own["low"] == own["high"]]["low"])
    levels = _levels(varied, _saturated_share(varied))
    if integer and levels.variance.any() and levels.variance.min() < floor**2:
        # Sparse counts, which are whole numbers anyway.
        floor = 0.1 * math.sqrt(levels.variance.min())
    # The noise of block means puts the darkest blocks below the darkest level.
    error = 2.58 * math.sqrt(levels.variance[0]) / SIDE
    darkest = float(np.quantile(varied["mean"], 0.005))
    offset = max(darkest, min(float(levels.mean[0]), darkest + error))
    fine = _fit(levels, offset, floor)
    # Variations from block to block that noise cannot have are structure.
    even = EVEN[0] < float(np.median(levels.evenness)) < EVEN[1]
    whiteness = _ratio(levels, (2, 2)) if even else 1.0
    lengths = _correlation_lengths(levels) if even else (1.0, 1.0)
    model, binning, binned = fine.model, (1, 1), fine.model.scaled(_slow_power(whiteness, MILD))
    if whiteness < WHITE:
        finest = fine.model
        fine = _fit(_with_variance_of_correlated(levels, lengths), offset, floor)
        model = fine.model
        binned = model.scaled(math.prod(lengths))
        found = _whitened(table, varied, model, finest, lengths, floor)
        if found is not None:
            binning, binned = found
    return NoiseEstimate(
        model, fine.gain_error, fine.dark_error, whiteness, int(levels.blocks.sum()), lengths,
        saturated, binning, binned, left_out=len(own) - len(varied),
    )  # fmt: skip


DISAGREES = 1.3
"""Ratio of standard deviations from which a model does not fit an image."""


def describe_disagreement(
    given: NoiseModel, found: NoiseEstimate, table: NDArray[Any], unit: float = 1.0
) -> str:
    """Describe where the residuals of an image disagree with a model; empty if they agree.

    Parameters
    ----------
    given : NoiseModel
    found : NoiseEstimate
        Of the image.
    table : ndarray
        Of `block_statistics`.
    unit : float
        The image's units in one of the others.
    """
    means = table["mean"][(table["low"] < table["high"]) & (table["binning"] == 1).all(1)]
    if found.blocks < ENOUGH:
        return ""
    worst, text = 1.0, ""
    for level in np.quantile(means, [0.1, 0.5, 0.95]):
        residual, said = float(found.model.deviation(level)), float(given.deviation(level))
        ratio = residual / max(said, 1e-30)
        # Differences within the error of the estimate are ignored.
        error = math.hypot(found.dark_error, found.gain_error * (level - found.model.offset))
        certain = 1 + error / max(residual, 1e-30) ** 2
        if max(ratio, 1 / max(ratio, 1e-30)) > max(worst, DISAGREES * certain):
            worst = max(ratio, 1 / ratio)
            text = (
                f"noise: the image's residual has a standard deviation of {unit * residual:.3g} at"
                f" the level {unit * level:.4g}, where noise= says {unit * said:.3g}"
                f" ({ratio:.2g} times as much); check gain, offset and read noise"
            )
    return text


def check_noise(value: Any) -> NoiseModel | None:
    """Validate the option ``noise``: None, a model, or its values by name."""
    if value is None:
        return None
    if isinstance(value, dict) and set(value) <= {"gain", "offset", "dark"} and len(value) == 3:
        value = NoiseModel(**value)
    if not isinstance(value, NoiseModel):
        raise TypeError(
            f"noise: got {value!r}; allowed are None and a NoiseModel, such as"
            " NoiseModel(gain=2.2, offset=100, dark=9)"
        )
    numbers = value.gain, value.offset, value.dark
    if not all(isinstance(n, Real) and math.isfinite(n) for n in numbers) or (
        value.gain < 0 or value.dark < 0 or value.gain + value.dark <= 0
    ):
        raise ValueError(
            f"noise: got gain {value.gain!r}, offset {value.offset!r}, dark {value.dark!r}; allowed"
            " are finite numbers, a gain and a dark variance from 0, one of them above it"
        )
    return NoiseModel(float(value.gain), float(value.offset), float(value.dark))


def _undisturbed(varied: NDArray[Any], constants: NDArray[np.float64]) -> NDArray[Any]:
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
        saturated = value == varied["high"].max() and _saturated_share(varied).any()
        if touched.mean() < EDGE and not saturated:
            varied = varied[~touched]
    return varied


def _slow_power(whiteness: float, enough: float = 1.0) -> float:
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


def _with_variance_of_correlated(levels: _Levels, lengths: tuple[float, float]) -> _Levels:
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


def _whitened(
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
    rows = _undisturbed(rows, np.empty(0))
    levels = _levels(rows, np.zeros(len(rows)))
    slow = levels.variance * _slow_power(_ratio(levels, (2, 2)))
    # The theoretical value; noise with long tails and images with structure have more.
    least = model.deviation(levels.mean) ** 2 * math.prod(lengths) / math.prod(binning)
    levels = levels._replace(variance=np.clip(slow, least, MOST_SLOW * least))
    left = _fit(levels, model.offset, floor / math.sqrt(math.prod(binning)))
    return (binning[0], binning[1]), left.model


class _Fit(NamedTuple):
    """Line through the variances of the levels."""

    model: NoiseModel
    gain_error: float
    dark_error: float


def _fit(levels: _Levels, offset: float, floor: float) -> _Fit:
    dark, gain, dark_error, gain_error = _line(
        np.maximum(levels.mean - offset, 0), levels.variance, levels.blocks
    )
    return _Fit(NoiseModel(gain, offset, max(dark, floor**2)), gain_error, dark_error)


def _saturated_share(blocks: NDArray[Any]) -> NDArray[np.float64]:
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


class _Levels(NamedTuple):
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

    def part(self, chosen: NDArray[np.bool_]) -> _Levels:
        """Select some of the levels."""
        arrays = {name: value[chosen] for name, value in self._asdict().items() if np.ndim(value)}
        return self._replace(**arrays)


def _levels(blocks: NDArray[Any], saturated: NDArray[np.float64]) -> _Levels:
    """Group blocks by their means, and select the flatter ones of each level."""
    rows = []
    for members in _by_level(blocks):
        fine, rough = blocks["power"][members, 0], blocks["roughness"][members]
        # Take all blocks that are as flat as noise alone would be, at least the flatter half.
        flat = members[rough <= max(float(np.median(rough)), FLAT * float(np.median(fine)))]
        flat = flat[_without_hot_pixels(blocks["power"][flat, 0])]
        share = float(saturated[flat].mean())
        if share > MOST_SATURATED:
            continue
        powers = blocks["power"][flat]
        remaining, shift = _clipped_normal(share)
        variance = float(powers[:, 0].mean()) / remaining
        mean = float(blocks["mean"][flat].mean()) + shift * math.sqrt(variance)
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
    return _Levels(table[:, 0], table[:, 1], table[:, 5:] - rounding, rounding, *table[:, 2:5].T)


def _evenness(blocks: NDArray[Any]) -> float:
    power = power_at(blocks, 2, 2)
    power = power[np.isfinite(power)]
    if not len(power):
        return 1.0
    low, middle = np.quantile(power, [0.1, 0.5])
    return float(low / middle) if middle > 0 else 0.0


def _by_level(blocks: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Divide blocks into levels that are wider than the noise of a block's mean.

    In narrower levels noise would decide to which level a block belongs, and the variance would
    appear to grow less with the mean than it does.
    """
    order = np.argsort(blocks["mean"], kind="stable")
    mean, fine = blocks["mean"][order], blocks["power"][order, 0]
    least = max(ENOUGH, len(order) // LEVELS)
    groups, start = [], 0
    while start < len(order):
        error = math.sqrt(float(np.median(fine[start : start + ENOUGH])) / SIDE**2)
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


def _clipped_normal(share: float) -> tuple[float, float]:
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


def _ratio(levels: _Levels, spacing: tuple[int, int], finest: tuple[int, int] = (1, 1)) -> float:
    """Ratio of residual powers at a fine and a coarser spacing, for most levels.

    Structure is coarser than noise and can only lower the ratio, so whiter levels contain less of
    it.
    """
    fine, wide = (levels.powers[:, SPACINGS.index(s)] for s in (finest, spacing))
    good = wide > 0.3 * levels.rounding  # rounding may hide the finer residuals
    if not good.any():
        return 1.0
    return max(0.0, float(np.quantile(fine[good] / wide[good], 0.75)))


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


def _correlation_lengths(levels: _Levels) -> tuple[float, float]:
    """Correlation length of noise along y and x in pixels, assuming a Gaussian blur.

    The most informative spacing is used, because noise that is correlated over many pixels has the
    same power at 1 and 2 times a small spacing.
    """
    hidden = levels.powers[:, 0] < levels.rounding
    if hidden.mean() > 0.5 and _ratio(levels, (2, 2)) < CORRELATED**2:
        # Rounding hides the finest residuals and thus the difference between the axes.
        ratio = math.sqrt(_ratio(levels, (4, 4), (2, 2)))
        length = SUM * _width(ratio, 2, 4)
        return max(1.0, length), max(1.0, length)
    found = []
    for axis in (0, 1):
        width = 0.0
        for spacing in (2, 4):
            ratio = _ratio(levels, (spacing, 1) if axis == 0 else (1, spacing))
            if ratio < CORRELATED:
                width = max(width, _width(ratio, 1, spacing))
        found.append(max(1.0, SUM * width))
    return found[0], found[1]


def _width(ratio: float, fine: int, wide: int) -> float:
    """Standard deviation of the Gaussian that explains a ratio of powers at two spacings."""
    expected = _filter_power(fine, _WIDTHS) / _filter_power(wide, _WIDTHS)
    # The ratio falls from 1 as the width grows, until neither spacing sees the noise.
    falling = np.minimum.accumulate(expected)
    return float(np.interp(-ratio, -falling, _WIDTHS))


def _line(
    x: NDArray[Any], y: NDArray[Any], count: NDArray[Any]
) -> tuple[float, float, float, float]:
    """Fit intercept and slope, both at least 0, and their standard errors.

    Structure can only add to a variance, so levels far above the line have less weight.
    """
    if not y.any():  # a drawing, or equal rows, without any noise to fit
        return 0.0, 0.0, 0.0, 0.0
    # The residuals of a block determine its variance with a relative error of 0.35.
    error = np.hypot(0.35 * y / np.sqrt(count), TOLERANCE * (y + PART * float(y.mean()))) + 1e-300
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


def block_means(image: NDArray[Any], side: int = 8) -> NDArray[np.float64]:
    """Means of all complete blocks of ``side`` x ``side`` pixels in an image (h, w)."""
    height, width = (n // side for n in image.shape)
    cut = image[: height * side, : width * side].reshape(height, side, width, side)
    means: NDArray[np.float64] = cut.mean((1, 3), dtype=np.float64).ravel()
    return means
