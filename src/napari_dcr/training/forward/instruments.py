"""Cameras of microscopes: what they record of an expected number of photons.

Each turns photons per pixel (an expectation, any shape that ends in y, x) into the
numbers of an image file, and says by `noise` how their variance grows with their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.noise import NoiseModel

Photons = NDArray[Any]
"""Expected photons per pixel, float."""


class Camera(Protocol):
    """A camera; all of them are frozen dataclasses."""

    @property
    def noise(self) -> NoiseModel:
        """Mean and variance of what is recorded, before it is rounded."""

    def expose(self, photons: Photons, rng: np.random.Generator) -> NDArray[np.float32]:
        """Record an image in the camera's numbers (ADU)."""


def _digital(values: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Round to whole numbers and saturate."""
    return np.clip(np.rint(values), 0, 2**bits - 1).astype(np.float32)


@dataclass(frozen=True)
class Scmos:
    """Scientific CMOS: every pixel has an amplifier of its own.

    Offset, gain and read noise differ from pixel to pixel, the latter with a heavy
    tail (Huang et al. 2013, Nature Methods 10, 653; Mandracchia et al. 2020, Nature
    Communications 11, 94).

    Attributes
    ----------
    offset : float
        Mean of the dark, ADU.
    gain : float
        ADU per photo-electron.
    read : float
        Median read noise, electrons.
    tail : float
        Deviation of its logarithm: 0 for equal pixels.
    offset_spread : float
        Deviation of the offset between pixels, ADU.
    gain_spread : float
        The same of the gain, as a share of it.
    hot : float
        Share of hot pixels.
    bits : int
        Of the converter.

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
        """Read noise is the mean of the pixels' variances, that of a log-normal variable."""
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
    """Electron-multiplying CCD: read noise vanishes, the multiplication adds its own.

    A register of gain ``em`` makes a gamma-distributed number of electrons of each
    one that enters (Basden, Haniff and Mackay 2003, MNRAS 345, 985), which doubles
    the variance; clocks inject spurious electrons (Hirsch et al. 2013, PLoS ONE 8,
    e53671).

    Attributes
    ----------
    offset : float
        Mean of the dark without spurious charge, ADU.
    em : float
        Mean electrons out of the register for one that enters.
    adu : float
        Electrons out of the register per ADU.
    read : float
        Read noise after the register, electrons.
    spurious : float
        Clock-induced electrons per pixel, before the register.
    bits : int
        Of the converter.
    """

    offset: float = 200.0
    em: float = 300.0
    adu: float = 12.0
    read: float = 50.0
    spurious: float = 0.01
    bits: int = 16

    @property
    def noise(self) -> NoiseModel:
        """Twice the variance of photons; spurious charge counts as light."""
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
    """Photomultiplier of a scanning microscope: no read floor, nothing below 0, lines.

    Pulse heights vary (variance ``pulse`` of a mean of 1), so the variance is
    ``1 + pulse`` that of photons; dark counts are few; the laser flickers from line
    to line (Pawley 2006, Handbook of Biological Confocal Microscopy, chapter 12).

    Attributes
    ----------
    gain : float
        ADU per photon.
    pulse : float
        Relative variance of a pulse's height.
    dark : float
        Dark counts per pixel.
    lines : float
        Deviation of a line's brightness, as a share of it.
    bits : int
        Of the converter.
    """

    gain: float = 12.0
    pulse: float = 0.25
    dark: float = 0.02
    lines: float = 0.0
    bits: int = 12

    @property
    def noise(self) -> NoiseModel:
        """Dark counts count as light."""
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
    """Draw one of the three kinds, with the spread that laboratories have of them."""
    kind = rng.choice(3, p=[0.35, 0.4, 0.25])
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
