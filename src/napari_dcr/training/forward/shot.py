"""Circumstances of a photograph taken with too little light, drawn at random.

The noise model follows Foi et al. 2008 (Poisson-Gaussian) and, for raw-like input, the ranges of
Brooks et al. 2019 ("Unprocessing images").
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from napari_dcr.image.tone import Pixels
from napari_dcr.network import global_net

LUMA = np.array(global_net.LUMA, np.float32)


@dataclass(frozen=True)
class LightField:
    """Light on the scene, as a smooth field of log2 values that are at most 0.

    Attributes
    ----------
    kind : str
        ``"even"``, ``"gentle"`` (planar shading), ``"lamp"`` (one part lit),
        ``"horizon"`` (one side lit) or ``"backlit"`` (a subject in front of a bright
        background: dark parts of the photograph get less light).
    range : float
        Range in EV between the brightest and the darkest position.
    centre, radius, angle : float
        Geometry, relative to the sides of the image; for ``"backlit"``, ``radius`` is the
        luma that gets half of the range.
    """

    kind: str
    range: float
    centre: tuple[float, float]
    radius: float
    angle: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> LightField:
        """Draw a light field; more than half are even or gently shaded, the others light only a part."""
        kinds = ["even", "gentle", "lamp", "horizon", "backlit"]
        kind = str(rng.choice(kinds, p=[0.38, 0.17, 0.21, 0.08, 0.16]))
        spans = {"even": 0, "gentle": rng.uniform(0.2, 1.2), "horizon": rng.uniform(1.5, 4)}
        span = spans.get(kind, rng.uniform(1.5, 5))
        centre = (float(rng.uniform(0, 1)), float(rng.uniform(0, 1)))
        return cls(
            kind, float(span), centre, float(rng.uniform(0.2, 0.55)), float(rng.uniform(0, 6.283))
        )

    @property
    def compression(self) -> float:
        """Share of the light's log range that the print keeps; gentle light is kept entirely."""
        return float(np.interp(self.range, [1.0, 3.0, 5.0], [1.0, 0.57, 0.45]))

    @property
    def parted(self) -> bool:
        """Whether one part of the scene is much better lit than the rest."""
        return self.kind in ("lamp", "horizon", "backlit")

    def __call__(self, y: Pixels, x: Pixels, luma: Pixels) -> Pixels:
        """Compute the light in EV at relative positions (h, 1) and (1, w) in [0, 1].

        ``luma`` is the luma of the clean photograph at these positions, shape (h, w).
        """
        if self.kind == "backlit":
            lit = np.clip((luma - self.radius) / 0.3 + 0.5, 0, 1)
            return (self.range * (lit * lit * (3 - 2 * lit) - 1)).astype(np.float32)
        if self.kind == "gentle":
            plane = (y - 0.5) * np.sin(self.angle) + (x - 0.5) * np.cos(self.angle)
            return (self.range * (plane / 1.42 - 0.5)).astype(np.float32)
        if self.kind == "horizon":
            side = (y - self.centre[0]) * np.sin(self.angle) + (x - self.centre[1]) * np.cos(
                self.angle
            )
            softness = 0.3 * self.radius**2
            return (self.range * (0.5 * np.tanh(side / softness) - 0.5)).astype(np.float32)
        if self.kind == "lamp":
            distance = ((y - self.centre[0]) ** 2 + (x - self.centre[1]) ** 2) / self.radius**2
            return (self.range * (np.exp(-0.5 * distance) - 1)).astype(np.float32)
        return np.zeros(np.broadcast_shapes(y.shape, x.shape), np.float32)


@dataclass(frozen=True)
class Noise:
    """Sensor noise in linear units: variance ``shot * x + read``.

    Attributes
    ----------
    shot, read : float
        Gain and read variance of the Poisson-Gaussian model.
    row, column : float
        Standard deviation of a common offset of each row and of each column, in standard
        deviations of the noise.
    correlation : float
        Blur in pixels by the camera's own processing; 0 for white noise.
    gains : tuple of float
        White balance of R, G, B that the camera applied to its noise too.
    floor : float
        Standard deviation of the noise that the camera clipped at black before it balanced
        and reduced the picture.  The mean of the clipped noise raises the blacks, most in the
        channels with the largest gain.
    """

    shot: float
    read: float
    row: float = 0.0
    column: float = 0.0
    correlation: float = 0.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    floor: float = 0.0

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        shot: tuple[float, float] = (1e-5, 6e-4),
        read: tuple[float, float] = (1e-8, 4e-6),
        most_floor: float = 0.0,
    ) -> Noise:
        """Draw the noise: of raw-like sensors or high gain in one case of four, else of 8-bit cameras.

        ``shot`` and ``read`` are the ranges of 8-bit cameras. A ``most_floor`` above 0 gives most cameras a floor and gains.
        """
        if rng.random() < 0.25:
            log_shot = rng.uniform(np.log(1e-4), np.log(1e-2))
            log_read = 2.18 * log_shot + 1.2 + rng.normal(0, 0.26)
        else:
            log_shot, log_read = (rng.uniform(*np.log(span)) for span in (shot, read))
        row = float(rng.uniform(0, 0.7)) if rng.random() < 0.3 else 0.0
        column = float(rng.uniform(0, 0.5)) if rng.random() < 0.12 else 0.0
        blur = float(rng.uniform(0.35, 1.3)) if rng.random() < 0.45 else 0.0
        gains, floor = (1.0, 1.0, 1.0), 0.0
        if most_floor:
            red, blue = rng.uniform(1.3, 2.3, 2)
            if rng.random() < 0.8:
                gains = (float(red), 1.0, float(blue))
            if rng.random() < 0.7:
                floor = float(np.exp(rng.uniform(np.log(most_floor / 10), np.log(most_floor))))
        shot_, read_ = float(np.exp(log_shot)), float(np.exp(log_read))
        return cls(shot_, read_, row, column, blur, gains, floor)

    def lifted(self, x: Pixels) -> Pixels:
        """Mean of (h, w, 3) linear values plus the floor's noise, clipped at 0.

        The mean of a rectified normal variable, ``x Phi(x / s) + s phi(x / s)``.
        """
        if not self.floor:
            return x
        deviation = np.asarray(self.gains, np.float32) * np.float32(self.floor)
        relative = x / deviation
        density = np.exp(-0.5 * relative**2) * np.float32(0.39894228)
        return (x * special.ndtr(relative) + deviation * density).astype(np.float32)

    def __call__(self, x: Pixels, rng: np.random.Generator) -> Pixels:
        """Add noise to (h, w, 3) linear values."""
        grain = rng.standard_normal(x.shape, np.float32)
        if self.correlation:
            grain = ndimage.gaussian_filter(grain, (self.correlation, self.correlation, 0))
            grain /= grain.std() + 1e-6
        if self.row:
            grain += self.row * rng.standard_normal((x.shape[0], 1, 1), np.float32)
        if self.column:
            grain += self.column * rng.standard_normal((1, x.shape[1], 1), np.float32)
        gains = np.asarray(self.gains, np.float32)
        variance = self.shot * gains * np.maximum(x, 0) + self.read * gains**2
        return self.lifted(x) + grain * np.sqrt(variance)


@dataclass(frozen=True)
class Conditions:
    """Ranges that shots are drawn from; training may widen them as it goes.

    Attributes
    ----------
    ev : tuple of float
        Least, most frequent and most stops of darkness.
    shot, read : tuple of float
        Ranges of `Noise` of 8-bit cameras.
    most_floor : float
        Largest `Noise.floor`; 0 for cameras that clip nothing.
    black : tuple of float
        Range of a black-level error that half of the inputs have in addition to a small
        one, in units of the value of a dim mid-tone.  Negative errors crush blacks, positive
        ones raise them, as clipped noise or a pedestal does.
    cast : float
        Standard deviation, in stops, of the camera's colour cast, which half of the inputs
        have; in good light it is a quarter of this.
    ambient : float
        Standard deviation, in stops, of the colour of the light, red against blue; less in the
        dark.  The print keeps part of it (`Scene.AMBIENT`).
    saturation : tuple of float
        Range of the camera's colour saturation in the dark, 1 for the scene's.
    bright_saturation : tuple of float
        The same in good light.  Values below 1 compensate for colour that highlights lose in
        the shoulder of the print.
    contrast : float or None
        Largest S-curve of a camera that differs from the print's; None for the same.
    key : float
        Mean display luma of a normal print.
    follow : float
        How much of a difference in the brightness of dim inputs the prints keep, in octaves of
        display values per octave, so that night scenes stay dark.
    """

    ev: tuple[float, float, float] = (0.7, 5.5, 7.0)
    shot: tuple[float, float] = (1e-5, 6e-4)
    read: tuple[float, float] = (1e-8, 4e-6)
    most_floor: float = 0.0
    black: tuple[float, float] = (0.0, 0.0)
    cast: float = 0.0
    saturation: tuple[float, float] = (1.0, 1.0)
    bright_saturation: tuple[float, float] = (1.0, 1.0)
    contrast: float | None = None
    ambient: float = 0.0
    key: float = 0.64
    follow: float = 0.45


@dataclass(frozen=True)
class Shot:
    """Random parameters of one pair, from which any part of it can be rendered.

    Attributes
    ----------
    ev : float
        How many stops too dark the input is.
    light : LightField
    noise : Noise
    contrast : float
        S-curve undone from the clean picture and applied to the print.
    camera_contrast : float
        S-curve of the camera that takes the input.
    glare : float
        Radiance of clipped white, in units of white.
    balance, black : tuple of float
        Gains of R, G, B and black-level errors (linear) of the input.
    bits : int
        Bit depth of the input.
    jpeg : int
        Quality of the input's JPEG compression, 0 for none.
    identity : float
        Random number in [0, 1).  If it is below the probability that `Scene` computes for the
        photograph, the pair's target is its input.
    white : float
        Display value of white in such a picture.
    key : float
        Mean display luma of a normal print; prints are moved half of the way towards it.
    follow : float
        Exponent of the input's brightness in that of the print.
    saturation : float
        Colour saturation of the input, 1 for the scene's.
    ambient : tuple of float
        Colour of the light: gains of R, G, B, of mean luma 1 for grey.
    grey : bool
        Whether the camera has no colours, so that all channels have the same noise.
    electrons : float
        Number of electrons at full scale if the stored values have shot noise, as in linear files
        and pictures of few photons; 0 for none.
    """

    ev: float
    light: LightField
    noise: Noise
    contrast: float
    camera_contrast: float
    glare: float
    balance: tuple[float, float, float]
    black: tuple[float, float, float]
    bits: int
    jpeg: int
    identity: float = 1.0
    white: float = 1.0
    key: float = 0.64
    follow: float = 0.45
    saturation: float = 1.0
    ambient: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grey: bool = False
    electrons: float = 0.0

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        ev: float | None = None,
        conditions: Conditions | None = None,
    ) -> Shot:
        """Draw the parameters of a pair; ``ev`` fixes the darkness."""
        conditions = conditions or Conditions()
        light = LightField.sample(rng)
        mixed = light.parted and rng.random() < 0.6
        stops = rng.triangular(0, 0, 2) if mixed else rng.triangular(*conditions.ev)
        if not mixed and rng.random() < 0.2:
            stops = rng.uniform(0.7, 2.5)  # daylight, underexposed by one or two stops
        noise = Noise.sample(rng, conditions.shot, conditions.read, conditions.most_floor)
        if noise.shot > 1.5e-3:  # otherwise no signal would be above the noise
            stops = min(stops, rng.uniform(0.5, 4.5))
        # In brighter pictures, cameras balance colours better and reproduce saturation better.
        dimness = dimness_of(float(stops if ev is None else ev))
        tint = rng.normal(0, 0.03)
        balance = 2 ** np.array([tint + rng.normal(0, 0.02), 0, -tint + rng.normal(0, 0.02)])
        # The black level drifts by a fraction of the value of a dim mid-tone.
        dim_grey = 0.18 * 2.0 ** -(stops if ev is None else ev)
        drift = 0.015 + 0.03 * dimness
        black = dim_grey * (rng.normal(0, 0.05) + rng.normal(0, drift, 3))
        contrast = camera_contrast = float(rng.uniform(0, 0.6))
        least, most = conditions.black
        if most > least and rng.random() < 0.5:
            error = dim_grey * (most - (most - least) * rng.random())
            black = black + min(error, 0.004)  # noise that lifts blacks is drawn separately
        if conditions.cast and rng.random() < 0.5:
            cast = conditions.cast * (0.25 + 0.75 * dimness)
            balance = balance * 2 ** rng.normal(0, [cast, cast / 3, cast])
        ambient = np.ones(3)
        if conditions.ambient and rng.random() < 0.5:
            spread = conditions.ambient * (1 - 0.6 * dimness)
            warm = rng.normal(0, spread)
            ambient = 2 ** np.array([warm, rng.normal(0, spread / 4), -warm])
            ambient /= ambient @ LUMA
        grey = bool(rng.random() < 0.12)
        if grey:
            balance, black = np.ones(3), np.repeat(black[1], 3)
            ambient = np.ones(3)
            noise = dataclasses.replace(noise, gains=(1.0, 1.0, 1.0))
        electrons = float(np.exp(rng.uniform(np.log(60), np.log(4000))))
        if rng.random() > 0.1:
            electrons = 0.0
        if conditions.contrast is not None:
            camera_contrast = float(rng.uniform(0, conditions.contrast))
        dull, vivid = (
            (1 - dimness) * bright + dimness * dark
            for bright, dark in zip(
                conditions.bright_saturation, conditions.saturation, strict=True
            )
        )
        saturation = float(rng.uniform(dull, vivid)) if vivid > dull else 1.0
        return cls(
            ev=float(stops if ev is None else ev),
            light=light,
            noise=noise,
            contrast=contrast,
            camera_contrast=camera_contrast,
            glare=float(20 ** rng.uniform(0, 1)) if rng.random() < 0.5 else 1.0,
            balance=(float(balance[0]), float(balance[1]), float(balance[2])),
            black=(float(black[0]), float(black[1]), float(black[2])),
            bits=int(rng.choice([8, 8, 8, 10, 12, 16])),
            jpeg=int(rng.integers(60, 98)) if rng.random() < 0.3 else 0,
            identity=float(rng.random()) if ev is None else 1.0,
            white=float(rng.uniform(0.9, 1)) if rng.random() < 0.5 else 1.0,
            key=conditions.key,
            follow=conditions.follow,
            saturation=saturation,
            ambient=(float(ambient[0]), float(ambient[1]), float(ambient[2])),
            grey=grey,
            electrons=electrons,
        )


def dimness_of(ev: float) -> float:
    """Share of dark-scene defects, which rises from 2 to 5.5 stops below a normal exposure."""
    return float(np.clip((ev - 2) / 3.5, 0, 1))
