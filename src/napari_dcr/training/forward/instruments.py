"""Simulate the cameras of microscopes, and the processing of images before they are saved.

A camera converts expected photons per pixel (of any shape that ends in y, x) to the numbers of an
image file; its `noise` describes how their variance grows with their mean.  A `Readout` simulates the
subsequent processing: averages, resampling, a subtracted black level, and conversion to 8 bits.  Both are in one file, because a readout computes the
effect of clipping from the noise of its camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.noise_model import NoiseModel

Photons = NDArray[Any]
"""Expected photons per pixel, as floats."""


class Camera(Protocol):
    """Interface of cameras, all of which are frozen dataclasses."""

    @property
    def noise(self) -> NoiseModel:
        """Noise model of the recorded values before rounding."""

    def expose(self, photons: Photons, rng: np.random.Generator) -> NDArray[np.float32]:
        """Record an image in the camera's numbers (ADU)."""


def _digital(values: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Round to whole numbers and saturate."""
    return np.clip(np.rint(values), 0, 2**bits - 1).astype(np.float32)


@dataclass(frozen=True)
class Scmos:
    """Scientific CMOS camera, in which every pixel has its own amplifier.

    Offset, gain and read noise differ from pixel to pixel, the latter with a heavy
    tail (Huang et al. 2013, Nature Methods 10, 653; Mandracchia et al. 2020, Nature
    Communications 11, 94).

    Attributes
    ----------
    offset : float
        Mean without light, in ADU.
    gain : float
        ADU per photo-electron.
    read : float
        Median read noise, in electrons.
    tail : float
        Standard deviation of the logarithm of the read noise; 0 for equal pixels.
    offset_spread : float
        Standard deviation of the offset between pixels, in ADU.
    gain_spread : float
        Standard deviation of the gain between pixels, relative to the gain.
    hot : float
        Share of hot pixels.
    bits : int
        Number of bits of the converter.

    Examples
    --------
    >>> import numpy as np
    >>> flat = Scmos().expose(np.full((200, 200), 50.0), np.random.default_rng(0))
    >>> round(float(flat.mean()))
    210
    """

    offset: float = 100.0
    gain: float = 2.2
    read: float = 1.4
    tail: float = 0.35
    offset_spread: float = 0.4
    gain_spread: float = 0.005
    hot: float = 0.0
    bits: int = 16

    @property
    def noise(self) -> NoiseModel:
        """Noise model; its read noise is the mean variance of the pixels, which is log-normal."""
        read = self.gain**2 * self.read**2 * np.exp(2 * self.tail**2)
        return NoiseModel(self.gain, self.offset, float(read + self.offset_spread**2 + 1 / 12))

    def expose(self, photons: Photons, rng: np.random.Generator) -> NDArray[np.float32]:
        """Record an image."""
        shape = photons.shape
        electrons = rng.poisson(photons).astype(np.float32)
        read = self.read * np.exp(self.tail * rng.standard_normal(shape, np.float32))
        values = electrons * (1 + self.gain_spread * rng.standard_normal(shape, np.float32))
        values = self.gain * (values + read * rng.standard_normal(shape, np.float32))
        values += self.offset + self.offset_spread * rng.standard_normal(shape, np.float32)
        if self.hot:
            hot = rng.random(shape, np.float32) < self.hot
            values[hot] += self.gain * rng.exponential(100.0, int(hot.sum()))
        return _digital(values, self.bits)


@dataclass(frozen=True)
class Emccd:
    """Electron-multiplying CCD: the multiplication makes read noise negligible, but adds noise.

    A register of gain ``em`` multiplies each electron by a random factor, so that the output is
    gamma-distributed (Basden, Haniff and Mackay 2003, MNRAS 345, 985).  This doubles the variance.
    Clocks inject spurious electrons (Hirsch et al. 2013, PLoS ONE 8, e53671).

    Attributes
    ----------
    offset : float
        Mean without light and without spurious charge, in ADU.
    em : float
        Mean number of output electrons of the register per input electron.
    adu : float
        Output electrons of the register per ADU.
    read : float
        Read noise after the register, electrons.
    spurious : float
        Clock-induced electrons per pixel, before the register.
    bits : int
        Number of bits of the converter.
    """

    offset: float = 200.0
    em: float = 300.0
    adu: float = 12.0
    read: float = 50.0
    spurious: float = 0.01
    bits: int = 16

    @property
    def noise(self) -> NoiseModel:
        """Noise model with twice the variance of photons; spurious charge counts as light."""
        gain = self.em / self.adu
        dark = (self.read / self.adu) ** 2 + 2 * gain**2 * self.spurious + 1 / 12
        return NoiseModel(2 * gain, self.offset + gain * self.spurious, dark, photon=gain)

    def expose(self, photons: Photons, rng: np.random.Generator) -> NDArray[np.float32]:
        """Record an image."""
        electrons = rng.poisson(photons + self.spurious)
        multiplied = self.em * rng.standard_gamma(np.maximum(electrons, 1e-9)).astype(np.float32)
        multiplied += self.read * rng.standard_normal(photons.shape, np.float32)
        return _digital(multiplied / self.adu + self.offset, self.bits)


@dataclass(frozen=True)
class Pmt:
    """Photomultiplier of a scanning microscope, without read noise, offset or negative values.

    Pulse heights vary, with mean 1 and variance ``pulse``, so the variance of the signal is
    ``1 + pulse`` times that of photons.  There are few dark counts.  The laser flickers from line to
    line (Pawley 2006, Handbook of Biological Confocal Microscopy, chapter 12).

    Attributes
    ----------
    gain : float
        ADU per photon.
    pulse : float
        Relative variance of a pulse's height.
    dark : float
        Dark counts per pixel.
    lines : float
        Standard deviation of the brightness of lines, relative to it.
    bits : int
        Number of bits of the converter.
    """

    gain: float = 12.0
    pulse: float = 0.25
    dark: float = 0.02
    lines: float = 0.0
    bits: int = 12

    @property
    def noise(self) -> NoiseModel:
        """Noise model that treats dark counts as light."""
        gain = self.gain * (1 + self.pulse)
        return NoiseModel(
            gain, self.gain * self.dark, self.gain * gain * self.dark + 1 / 12, photon=self.gain
        )

    def expose(self, photons: Photons, rng: np.random.Generator) -> NDArray[np.float32]:
        """Record an image."""
        if self.lines:
            height = photons.shape[-2]
            photons = photons * np.exp(self.lines * rng.standard_normal((height, 1)))
        counts = rng.poisson(photons + self.dark).astype(np.float32)
        pulses = counts + np.sqrt(self.pulse * counts) * rng.standard_normal(
            counts.shape, np.float32
        )
        return _digital(self.gain * pulses, self.bits)


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera of one of the three kinds, with settings as they vary between laboratories."""
    kind = rng.choice(3, p=[0.33, 0.35, 0.32])
    if kind == 0:
        return Scmos(
            offset=float(rng.uniform(50, 500)),
            gain=float(np.exp(rng.uniform(np.log(0.5), np.log(5)))),
            read=float(np.exp(rng.uniform(np.log(0.7), np.log(6)))),
            tail=float(rng.uniform(0.1, 0.5)),
            hot=float(rng.choice([0, 0, 1e-4])),
        )
    if kind == 1:
        em = float(rng.uniform(50, 600))
        return Emccd(
            offset=float(rng.uniform(100, 1000)),
            em=em,
            adu=float(rng.uniform(4, 20)),
            read=float(rng.uniform(20, 80)),
            spurious=float(np.exp(rng.uniform(np.log(0.002), np.log(0.05)))),
        )
    return Pmt(
        gain=float(np.exp(rng.uniform(np.log(1.5), np.log(200)))),
        pulse=float(rng.uniform(0.05, 0.5)),
        dark=float(np.exp(rng.uniform(np.log(0.001), np.log(0.1)))),
        lines=float(rng.choice([0, 0, 0.02])),
        bits=16,
    )


class Recorded(NamedTuple):
    """A recording and its expectation.

    Attributes
    ----------
    values : ndarray, shape (h, w), uint8 or uint16
        Values in the file.
    expected : ndarray, shape (h, w), float32
        Mean of many such recordings, including clipped values.
    """

    values: NDArray[Any]
    expected: NDArray[np.float32]


MILD = 0.4
"""Largest blur, in pixels, whose noise the estimate still treats as white."""

LEVELS, DRAWS = 48, 384
"""Number of levels at which the mean of clipped values is simulated, and of draws for each."""


@dataclass(frozen=True)
class Readout:
    """Processing between a camera and the file.

    Attributes
    ----------
    exposures : int
        Number of lines or frames to average.
    blur : tuple of float
        Standard deviations along y and x, in pixels, of a Gaussian that smooths image and noise, as
        slow electronics, resampling and filters do; 0 for none.
    enlarged : float
        Factor by which the recording is enlarged with splines of ``order``; 1 for none.
    order : {1, 3}
    fall_off : float
        Relative decrease of the gain in the corners of the field.
    line_offsets : float
        Standard deviation of the offsets of rows or columns that a correction leaves, in standard
        deviations of the darkest pixels' noise.
    columns : bool
        Whether these are columns.
    hot : float
        Share of pixels that are a few standard deviations of their noise too bright.
    black : float or None
        Share of the pixels that a subtracted black level clips at 0; None subtracts nothing.
    bits : int
        16, or 8 to stretch to 8 bits with rounding, and with gaps if the camera has fewer levels.
    saturated : float
        Share of the pixels that the stretch saturates.
    """

    exposures: int = 1
    blur: tuple[float, float] = (0.0, 0.0)
    enlarged: float = 1.0
    order: Literal[1, 3] = 1
    fall_off: float = 0.0
    line_offsets: float = 0.0
    columns: bool = False
    hot: float = 0.0
    black: float | None = None
    bits: int = 16
    saturated: float = 0.001

    def record(self, camera: Camera, photons: Photons, rng: np.random.Generator) -> Recorded:
        """Record an image with the shape of ``photons``; an enlarged one shows only part of the scene.

        Examples
        --------
        >>> import numpy as np
        >>> flat = np.full((64, 64), 20.0)
        >>> file = Readout(bits=8).record(Scmos(), flat, np.random.default_rng(0))
        >>> file.values.dtype, file.values.shape
        (dtype('uint8'), (64, 64))
        """
        shape = photons.shape
        if self.enlarged > 1:
            height, width = (int(np.ceil(n / self.enlarged)) for n in shape)
            photons = photons[:height, :width]
        noise = camera.noise
        expected = noise.offset + (noise.photon or noise.gain) * photons
        values: NDArray[Any] = self._average(camera, photons, rng)
        if self.fall_off:
            y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in photons.shape)
            gain = 1 - self.fall_off * (y[:, None] ** 2 + x**2) / 2
            values = noise.offset + gain * (values - noise.offset)
            expected = noise.offset + gain * (expected - noise.offset)
        values, expected = self._resampled(values, shape), self._resampled(expected, shape)
        darkest = np.sqrt(self._variance(camera, float(expected.min())))
        if self.line_offsets:
            line = (1, shape[1]) if self.columns else (shape[0], 1)
            values = values + self.line_offsets * darkest * rng.standard_normal(line, np.float32)
        if self.hot:
            where = rng.random(shape, np.float32) < self.hot
            sizes = np.sqrt(self._variance(camera, expected[where]))
            values[where] += rng.uniform(1, 6, sizes.shape) * sizes
        low, high = 0.0, 65535.0
        if self.bits == 8:
            low, high = (float(q) for q in np.quantile(values, [0, 1 - self.saturated]))
        if self.black is not None:
            low = float(np.quantile(values, self.black))
        high = max(high, low + 4.0)
        expected = expected + self._clipping_shift(camera, expected, low, high, rng)
        factor = 255 / (high - low) if self.bits == 8 else 1.0
        values = np.rint((np.clip(values, low, high) - low) * factor)
        return Recorded(
            values.astype(np.uint8 if self.bits == 8 else np.uint16),
            ((expected - low) * factor).astype(np.float32),
        )

    @property
    def is_correlated(self) -> bool:
        """Whether noise is correlated strongly enough for the engine to average pixels."""
        return max(self.blur) > MILD or self.enlarged > 1

    def _average(
        self, camera: Camera, photons: Photons, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        exposures = [camera.expose(photons, rng) for _ in range(self.exposures)]
        return np.asarray(np.mean(exposures, 0), np.float32)

    def _resampled(self, image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if max(self.blur) > 0:
            image = ndimage.gaussian_filter(image, self.blur)
        if self.enlarged > 1:
            # The spacing of samples follows the factor exactly, independent of the shape.
            places = [(np.arange(n) + 0.5) / self.enlarged - 0.5 for n in shape]
            grid = np.stack(np.meshgrid(*places, indexing="ij"))
            image = ndimage.map_coordinates(image, grid, order=self.order, mode="nearest")
        return image.astype(np.float32)

    @property
    def _kept(self) -> float:
        """Share of the variance that remains after blurring; enlargement changes it little."""
        kept = 1.0
        for width in self.blur:
            kernel = ndimage.gaussian_filter1d(np.eye(1, 33, 16)[0], width) if width else [1.0]
            kept *= float(np.sum(np.square(kernel)))
        return kept

    def _variance(self, camera: Camera, level: Any) -> Any:
        return self._kept * camera.noise.deviation(level) ** 2 / self.exposures

    def _clipping_shift(
        self, camera: Camera, expected: NDArray[Any], low: float, high: float, rng: Any
    ) -> NDArray[Any]:
        """Shift of the mean of pixels by clipping at ``low`` and ``high``.

        The shift is simulated at `LEVELS` levels; it is exactly 0 where nothing is clipped.
        """
        noise = camera.noise
        levels = np.quantile(expected, np.linspace(0, 1, LEVELS))
        photons = np.maximum(levels - noise.offset, 0) / (noise.photon or noise.gain)
        light = np.repeat(photons[:, None], DRAWS, 1)
        drawn = self._average(camera, light, rng)
        drawn = levels[:, None] + (drawn - levels[:, None]) * np.sqrt(self._kept)
        shift = (np.clip(drawn, low, high) - drawn).mean(1)
        return np.interp(expected, levels, shift)


def sample_readout(rng: np.random.Generator) -> Readout:
    """Draw processing steps as laboratories apply them: often none, often several."""
    blur, enlarged = (0.0, 0.0), 1.0
    correlated = rng.choice(5, p=[0.7, 0.04, 0.08, 0.06, 0.12])
    width = float(np.exp(rng.uniform(np.log(0.45), np.log(2.0))))
    if correlated == 1:  # along the lines of a scan, sometimes along the columns
        blur = (0.0, width) if rng.random() < 0.7 else (width, 0.0)
    elif correlated == 4:  # the limited bandwidth of detectors correlates neighbours a little
        blur = (0.0, float(rng.uniform(0.2, MILD)))
    elif correlated == 2:
        blur = (width, width * float(rng.uniform(0.8, 1.25)))
    elif correlated == 3:
        enlarged = float(rng.choice([1.5, 2.0]))
    narrow, many = rng.random() < 0.45, rng.random() < 0.25
    return Readout(
        exposures=int(rng.choice([1, 2, 4], p=[0.88, 0.08, 0.04])),
        blur=blur,
        enlarged=enlarged,
        order=1 if rng.random() < 0.5 else 3,
        fall_off=float(rng.uniform(0.1, 0.6)) * (rng.random() < 0.06),
        line_offsets=float(rng.uniform(0.02, 0.15)) * (rng.random() < 0.12),
        columns=bool(rng.random() < 0.5),
        hot=float(np.exp(rng.uniform(np.log(1e-4), np.log(2e-3)))) * (rng.random() < 0.1),
        black=float(rng.uniform(0.0, 0.95)) if rng.random() < 0.25 else None,
        bits=8 if narrow else 16,
        saturated=float(np.exp(rng.uniform(np.log(0.004), np.log(0.15)))) if many else 0.001,
    )
