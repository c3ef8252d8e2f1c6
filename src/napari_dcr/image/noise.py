"""Noise of instruments: how the variance of pixels grows with their mean, and finding it."""

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
"""Most equally filled levels that the variance is taken at; the brightest are divided further."""

WIDTH = 4.0
"""Least width of a level in standard errors of a block's mean."""

FLAT = 2.5 * 0.128
"""Roughness of nearly all blocks that hold white noise alone, in units of its variance; it is
0.128 on average."""

ENOUGH = 24
"""Blocks that a level has at least."""

TOLERANCE = 0.1
"""Part of its variance by which a level may lie beside the line, as no model is perfect."""

WHITE = 0.5
"""Whiteness below which pixels are averaged before the network sees them."""

MILD = 0.75
"""Whiteness from which on noise is treated as white, as in training."""

MOST_SLOW = 4.0
"""Most that slow variations count for more than the finest ones."""

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
"""Values of constant areas that are looked at, the most frequent ones."""

MOST_SATURATED = 0.6
"""Share of saturated pixels beyond which a level says nothing."""

PART = 0.3
"""Part of the mean variance that counts with the level's own in `TOLERANCE`: the darkest
levels do not decide alone, nor do the brightest."""


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel of mean ``m``: ``dark + gain * (m - offset)``.

    The Poisson-Gaussian model (Foi et al. 2008, IEEE TIP 17, 1737, eq. 3); below the
    offset the variance stays ``dark``.

    Attributes
    ----------
    gain : float
        Variance per unit of signal: of a camera that adds no noise when it
        multiplies, its units (ADU) per photo-electron.
    offset : float
        Level that ``dark`` is meant for.
    dark : float
        Variance there: of the read noise, and of a background that is above the
        camera's own offset.
    photon : float, optional
        Units per detected photon where they differ from ``gain``.
    """

    gain: float
    offset: float
    dark: float
    photon: float | None = None

    @classmethod
    def of_camera(cls, gain: float, offset: float, read_noise: float) -> NoiseModel:
        """Take what data sheets of cameras say.

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
        """Read ``"GAIN,OFFSET,READ"``, what `of_camera` takes.

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
        """Plain values, which ``noise=`` takes too."""
        return {"gain": self.gain, "offset": self.offset, "dark": self.dark}

    def at(self, level: float) -> NoiseModel:
        """Describe the same noise from another level; below the offset at least a tenth is left."""
        dark = max(self.dark + self.gain * (level - self.offset), 0.1 * self.dark)
        return NoiseModel(self.gain, level, dark, self.photon)

    def scaled(self, factor: float) -> NoiseModel:
        """Multiply the variance at every level."""
        return replace(self, gain=self.gain * factor, dark=self.dark * factor)

    def in_unit(self, unit: float) -> NoiseModel:
        """Describe the same noise of pixels that were divided by ``unit``."""
        with np.errstate(all="ignore"):  # variances in extreme units are 0 or infinite
            dark = float(np.float64(self.dark) / np.float64(unit) ** 2)
        photon = None if self.photon is None else self.photon / unit
        return NoiseModel(self.gain / unit, self.offset / unit, dark, photon)

    def deviation(self, level: NDArray[Any] | float) -> NDArray[Any]:
        """Deviation of pixels of these means."""
        above = np.maximum(np.asarray(level) - self.offset, 0)
        return np.sqrt(self.dark + self.gain * above)

    @property
    def unit(self) -> float:
        """Deviation at the offset, with Anscombe's 3/8 of a photon (1948, Biometrika 35, 246)."""
        return float(np.sqrt(self.dark + 0.375 * self.gain**2))

    @property
    def curvature(self) -> float:
        """Gain in units of `unit`: that of `napari_dcr.network.variance_stabilization.Counts`."""
        return self.gain / self.unit


@dataclass(frozen=True)
class NoiseEstimate:
    """What an image says about its noise.

    Attributes
    ----------
    model : NoiseModel
        Of single pixels. Its offset is the image's darkest level, which need not be the
        camera's.
    gain_error, dark_error : float
        Standard errors of the model's gain and dark variance.
    whiteness : float
        Variance of the finest residuals over that of residuals at twice their
        spacing: 1 for noise that is independent from pixel to pixel, less where a
        camera or a resampling has blurred it.
    blocks : int
        Blocks of 8 x 8 pixels that went into it; 0 for an image of a single value.
    left_out : int
        Blocks that tell nothing of the noise, as they have a single value or lie beside such an
        area: padding, masks, a black level that was clipped.
    correlation_length : (float, float)
        Pixels along y and x over which the noise is correlated: the sum of its
        autocorrelation function, 1 for white noise.
    saturated : float
        Share of the pixels that have the largest value, where the values are clipped there.
    binning : (int, int)
        Pixels along y and x whose means have noise that is nearly white; 1 and 1 for white
        noise, and where the image has detail that averaging would take away.
    binned : NoiseModel
        Noise of those means as it counts for denoising: the power of its slow variations,
        which for white noise is its variance.
    is_given : bool
        Whether the model was given rather than found.
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
        """Take a model that is known instead; only the correlation stays as it was found.

        Parameters
        ----------
        model : NoiseModel
        level : float
            A usual level of the image, at which binning has its usual effect.
        """
        left = float((self.binned.deviation(level) / self.model.deviation(level)) ** 2)
        return replace(
            self, model=model, binned=model.scaled(left), gain_error=0.0, dark_error=0.0,
            is_given=True,
        )  # fmt: skip

    @property
    def is_white(self) -> bool:
        """Whether it is independent from pixel to pixel."""
        return self.correlation_length == (1.0, 1.0) or self.whiteness >= WHITE

    def neighbour_correlation(self) -> float:
        """Correlation with the next pixel, the mean of both axes."""
        if self.is_white:
            return 0.0
        widths = np.array(self.correlation_length) / SUM
        return float(np.where(widths > 1 / SUM, np.exp(-1 / (4 * widths**2)), 0).mean())

    def describe_correlation(self) -> str:
        """Say over how many pixels it is correlated, and what was done; empty for white noise.

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
        """Describe the same noise of pixels that were divided by ``unit``."""
        with np.errstate(all="ignore"):
            dark_error = float(np.float64(self.dark_error) / np.float64(unit) ** 2)
        return replace(
            self, model=self.model.in_unit(unit), binned=self.binned.in_unit(unit),
            gain_error=self.gain_error / unit, dark_error=dark_error,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
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
    Blocks of a single value, such as padding, do not count.

    Parameters
    ----------
    image : ndarray, shape (h, w), or several of them
        One channel, in its own units; what is not finite is left out. Small images are
        allowed; their blocks count together.
    floor : float, optional
        Least standard deviation to report; that of rounding for integers, else 1e-6 of the
        range.

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
    """Estimate from the rows that `block_statistics` gives; see `estimate_noise`."""
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
        # Sparse counts, which are whole anyway.
        floor = 0.1 * math.sqrt(levels.variance.min())
    # Noise of the blocks' means carries the darkest ones that far below the darkest level.
    error = 2.58 * math.sqrt(levels.variance[0]) / SIDE
    darkest = float(np.quantile(varied["mean"], 0.005))
    offset = max(darkest, min(float(levels.mean[0]), darkest + error))
    fine = _fit(levels, offset, floor)
    # What varies from block to block as noise never does is structure.
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
    """Say where the residuals of an image vary otherwise than a model says; empty if nowhere.

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
        # What the estimate does not know for certain does not count.
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
    """Check the option ``noise``: None, a model, or its values by name."""
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
    """Leave out blocks near hot pixels, and those that a constant area reaches into.

    Padding has no noise, and blocks at its edge have too little, or a step. Not where little
    would remain: in a sparse image most blocks border on an empty one.

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
    """Power of the slow variations of noise over that of its finest ones.

    For noise whose neighbouring pixels have a small correlation r these are the variance
    times (1 + 2 r)^2 and times about (1 - 4/3 r)^2, which is the whiteness.

    Parameters
    ----------
    whiteness : float
    enough : float
        Whiteness from which on noise is taken as white.
    """
    return min(max((enough / max(whiteness, 1e-3)) ** 2, 1.0), MOST_SLOW)


def _with_variance_of_correlated(levels: _Levels, lengths: tuple[float, float]) -> _Levels:
    """Put the variance of single pixels in place of the power of the finest residuals.

    From residuals at spacings of 2 and 4 pixels: the first ones know less of the noise, the
    second ones more of the image.
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
    """Find binning that makes correlated noise nearly white, and the noise that is left.

    None if averaging would take away more of the image than of its noise.
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
    # By theory; noise with long tails has more, and so have images with structure.
    least = model.deviation(levels.mean) ** 2 * math.prod(lengths) / math.prod(binning)
    levels = levels._replace(variance=np.clip(slow, least, MOST_SLOW * least))
    left = _fit(levels, model.offset, floor / math.sqrt(math.prod(binning)))
    return (binning[0], binning[1]), left.model


class _Fit(NamedTuple):
    """A line through the levels' variances."""

    model: NoiseModel
    gain_error: float
    dark_error: float


def _fit(levels: _Levels, offset: float, floor: float) -> _Fit:
    dark, gain, dark_error, gain_error = _line(
        np.maximum(levels.mean - offset, 0), levels.variance, levels.blocks
    )
    return _Fit(NoiseModel(gain, offset, max(dark, floor**2)), gain_error, dark_error)


def _saturated_share(blocks: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each block's pixels at the largest value of all, if values were clipped there.

    They were if more pixels have it than have the value below it, and that is near: padding
    may be far above all else.
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
    """The flatter blocks of each level.

    Attributes
    ----------
    mean, variance : ndarray, shape (n,)
        Corrected for saturated pixels.
    powers : ndarray, shape (n, spacings)
        Without that of rounding.
    rounding : float
    blocks : ndarray, shape (n,)
        How many.
    roughness : ndarray, shape (n,)
        Mean of the blocks'.
    evenness : ndarray, shape (n,)
        Tenth percentile of the powers at a spacing of 2 pixels over their median: noise is
        much the same in all blocks of a level, structure is not.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    powers: NDArray[np.float64]
    rounding: float
    blocks: NDArray[np.float64]
    roughness: NDArray[np.float64]
    evenness: NDArray[np.float64]

    def part(self, chosen: NDArray[np.bool_]) -> _Levels:
        """Some of the levels."""
        arrays = {name: value[chosen] for name, value in self._asdict().items() if np.ndim(value)}
        return self._replace(**arrays)


def _levels(blocks: NDArray[Any], saturated: NDArray[np.float64]) -> _Levels:
    """Gather blocks by their means, and take the flatter ones of each level."""
    rows = []
    for members in _by_level(blocks):
        fine, rough = blocks["power"][members, 0], blocks["roughness"][members]
        # All that is as flat as noise lets it look, at least the flatter half.
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

    In narrower ones noise alone would decide which level a block is in, and the variance
    would seem to grow less with the mean than it does.
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
        elif left < least:  # few blocks are bright, and they tell the gain
            least = max(ENOUGH, left // 2)
        groups.append(order[start:stop])
        start = stop
    return groups


def _without_hot_pixels(fine: NDArray[Any]) -> NDArray[np.bool_]:
    """Which blocks are not spoiled by a hot pixel: a few at most, far above all others."""
    usual = fine <= np.quantile(fine, 0.985)
    return np.asarray(usual | (fine <= 4 * fine[usual].mean()))


def _column_means(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over its finite values; NaN where there are none."""
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
        What is left of the variance.
    shift : float
        By how many of its own standard deviations the mean has fallen.
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
    """Power of residuals at a fine spacing over that at another one, at most levels.

    Structure is coarser than noise and only ever lowers it: the whiter levels have less
    of it.
    """
    fine, wide = (levels.powers[:, SPACINGS.index(s)] for s in (finest, spacing))
    good = wide > 0.3 * levels.rounding  # of the finer residuals nothing may be seen
    if not good.any():
        return 1.0
    return max(0.0, float(np.quantile(fine[good] / wide[good], 0.75)))


_WIDTHS = np.linspace(0, 6, 241)
"""Standard deviations, in pixels, of Gaussians that white noise may have been blurred by."""


def _filter_power(spacing: int, widths: NDArray[Any]) -> NDArray[np.float64]:
    """Power of second differences along one axis of white noise that was blurred.

    Parameters
    ----------
    spacing : int
        Of the differences, in pixels.
    widths : ndarray
        Standard deviations of the Gaussian, in pixels.
    """
    with np.errstate(divide="ignore"):
        one, two = (np.exp(-((n * spacing) ** 2) / (4 * widths**2)) for n in (1, 2))
    power: NDArray[np.float64] = 1 - 4 / 3 * one + 1 / 3 * two
    return power


def _correlation_lengths(levels: _Levels) -> tuple[float, float]:
    """Pixels along y and x over which noise is correlated, as if blurred by a Gaussian.

    The spacing that tells most is taken: noise that is correlated over many pixels has the
    same power at 1 and 2 times a small spacing.
    """
    hidden = levels.powers[:, 0] < levels.rounding
    if hidden.mean() > 0.5 and _ratio(levels, (2, 2)) < CORRELATED**2:
        # Rounding hides the finest residuals, and with them the difference of the axes.
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
    """Standard deviation of the Gaussian that gives a ratio of powers at two spacings."""
    expected = _filter_power(fine, _WIDTHS) / _filter_power(wide, _WIDTHS)
    # The ratio falls from 1 as the width grows, until both are blind to the noise.
    falling = np.minimum.accumulate(expected)
    return float(np.interp(-ratio, -falling, _WIDTHS))


def _line(
    x: NDArray[Any], y: NDArray[Any], count: NDArray[Any]
) -> tuple[float, float, float, float]:
    """Fit intercept and slope, both at least 0, and their standard errors.

    Structure only ever adds to a variance, so levels far above the line count less.
    """
    if not y.any():  # a drawing, rows that are all alike: there is no noise to fit
        return 0.0, 0.0, 0.0, 0.0
    # A block's residuals say its variance to a part of 0.35.
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
    """Intercept and slope of least weighted squares, both at least 0."""
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
    """Means of the complete blocks of ``side`` x ``side`` pixels of an image (h, w)."""
    height, width = (n // side for n in image.shape)
    cut = image[: height * side, : width * side].reshape(height, side, width, side)
    means: NDArray[np.float64] = cut.mean((1, 3), dtype=np.float64).ravel()
    return means
