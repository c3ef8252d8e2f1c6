"""Noise model of an instrument, and the estimate of it for an image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise_blocks import ENOUGH

WHITE = 0.5
"""Whiteness below which pixels are averaged for the network."""

UNCERTAIN = 0.5
"""Share of the residuals treated as structure above which the estimate is reported as uncertain."""

SUM = 2 * math.sqrt(math.pi)
"""Sum of a Gaussian's autocorrelation function, in units of its standard deviation."""


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

        Raises
        ------
        ValueError
            If a number is not finite, the gain is not above 0, or the read noise is negative.

        Examples
        --------
        >>> NoiseModel.of_camera(gain=2.0, offset=100.0, read_noise=-1.0)
        Traceback (most recent call last):
        ...
        ValueError: noise: got gain 2.0, offset 100.0, read noise -1.0; allowed are finite numbers, a gain above 0 and a read noise from 0
        """
        numbers = gain, offset, read_noise
        is_allowed = all(isinstance(n, Real) and math.isfinite(n) for n in numbers)
        # Squares may overflow or vanish, and a square hides the sign of the read noise.
        if is_allowed and gain > 0 and read_noise >= 0:
            deviation = float(gain) * float(read_noise)
            if math.isfinite(dark := deviation * deviation):
                return cls(gain, offset, dark)
        raise ValueError(
            f"noise: got gain {gain!r}, offset {offset!r}, read noise {read_noise!r}; allowed are"
            " finite numbers, a gain above 0 and a read noise from 0"
        )

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
        """Same noise at another offset; at least a tenth of ``dark`` remains below the old offset."""
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
        Number of blocks that were ignored, because they have a single value or lie beside such
        an area: padding, masks, a clipped black level.
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
    structure : float
        Share of the finest residuals that was treated as structure of the image, between 0 and 1.  It is
        only estimated for images of few blocks; in others, flat blocks are used.
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
    structure: float = 0.0

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
            is_given=True, structure=0.0,
        )  # fmt: skip

    @property
    def is_uncertain(self) -> bool:
        """Whether most of the residuals may be either structure or noise."""
        return self.structure > UNCERTAIN

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
            return f"{found}; processed pixel by pixel, because averaging would remove detail"
        return f"{found}; processed at {self.binning[0]} x {self.binning[1]}"

    def describe_blocks(self) -> str:
        """Describe how many blocks the estimate ignored; empty if it ignored none.

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
            "structure": self.structure,
        }


DISAGREES = 1.3
"""Ratio of standard deviations above which a model does not fit an image."""


def describe_disagreement(
    given: NoiseModel, found: NoiseEstimate, table: NDArray[Any], unit: float = 1.0
) -> str:
    """Describe where the residuals of an image disagree with a model; empty if they agree.

    Parameters
    ----------
    given : NoiseModel
    found : NoiseEstimate
        Estimate for the image.
    table : ndarray
        Result of `block_statistics`.
    unit : float
        Number of image units in one unit of ``table``.
    """
    means = table["mean"][(table["low"] < table["high"]) & (table["binning"] == 1).all(1)]
    if found.blocks < ENOUGH:
        return ""
    worst, text = 1.0, ""
    for level in np.quantile(means, [0.1, 0.5, 0.95]):
        residual, known = float(found.model.deviation(level)), float(given.deviation(level))
        ratio = residual / max(known, 1e-30)
        # Differences within the error of the estimate are ignored.
        error = math.hypot(found.dark_error, found.gain_error * (level - found.model.offset))
        certain = 1 + error / max(residual, 1e-30) ** 2
        if max(ratio, 1 / max(ratio, 1e-30)) > max(worst, DISAGREES * certain):
            worst = max(ratio, 1 / ratio)
            text = (
                f"noise: the image's residual has a standard deviation of {unit * residual:.3g} at"
                f" the level {unit * level:.4g}, where noise= says {unit * known:.3g}"
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
