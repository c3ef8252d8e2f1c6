"""Forward model of photographs: simulate a dim picture and a well-exposed one of the same scene.

A clean photograph is converted to the light of a scene.  A camera with too little light records
the scene (the input), and a good photographer prints it (the target).
"""

from __future__ import annotations

import dataclasses
import io
from typing import Literal

import numpy as np
from PIL import Image as PILImage
from scipy import ndimage

from napari_dcr.image.tone import Pixels, brightest, linear_to_srgb, shoulder, srgb_to_linear
from napari_dcr.training.forward.shot import LUMA, Shot, dimness_of

Kind = Literal["photograph", "radiance", "graphics"]
"""Source of a scene: display values of a photograph, whose tone curve is undone; real radiance; or
display values of a drawing, whose brightness the print keeps."""


DISPLAY_EXPONENT = 2.4
"""Exponent of the power law of sRGB (IEC 61966-2-1)."""


def contrast(v: Pixels, amount: float) -> Pixels:
    """S-curve on display values: a share ``amount`` of smoothstep."""
    return ((1 - amount) * v + amount * v * v * (3 - 2 * v)).astype(np.float32)


def undo_contrast(v: Pixels, amount: float) -> Pixels:
    """Inverse of `contrast`, from a table of 1025 values."""
    grid = np.linspace(0, 1, 1025, dtype=np.float32)
    table = np.interp(grid, contrast(grid, amount), grid).astype(np.float32)
    return table[(v * np.float32(1024) + np.float32(0.5)).astype(np.intp)]


class Scene:
    """Scene that one camera records under the circumstances of a `Shot`.

    Parameters
    ----------
    photograph : ndarray, shape (h, w, 3)
        Clean display values in [0, 1], or radiance where 1 is white in a normal exposure.  The
        whole image, or a regular sample of it: exposure and levels of the print are measured on it.
    shot : Shot
        Random parameters of the pair.
    kind : {"photograph", "radiance", "graphics"}
        What the pixels are.
    """

    WHITE = 0.972
    """Largest display value of the brightest channel of a print, to avoid clipping."""

    SHARPENING = (0.3, 0.6)
    """Amount, and standard deviation in pixels, of the unsharp mask that compensates for the reduction."""

    AMBIENT = 0.85
    """Exponent of the colour of the light in a print; 1 keeps all of it."""

    FADE = 0.02
    """Squared light, relative to the variance of the noise, at which shadows have half of their
    light in the print.  Deeper shadows fade to black, because their content cannot be determined."""

    CHANCE, LOW_KEY_CHANCE, LOW_KEY, DRAWN_CHANCE = 0.25, 0.42, 0.42, 0.7
    """Probabilities that the target is the input: for a well-exposed photograph; for one whose mean
    luma is below ``LOW_KEY``; ``LOW_KEY`` itself; and the probability for graphics."""

    DIM = 12 / 255
    """Mean luma of an input whose print is as bright as without `Conditions.follow`."""

    LEAST_DIM, MOST_DIM = 0.25, 1.5
    """Range of the mean luma of inputs, relative to ``DIM``, that makes a difference to the print."""

    MOST_GAIN = 1.5
    """Largest exposure of a lit part in the print, relative to its exposure in the photograph."""

    def __init__(self, photograph: Pixels, shot: Shot, kind: Kind = "photograph") -> None:
        self.shot, self.kind = shot, kind
        height, width = photograph.shape[:2]
        luma = self._luma(photograph)
        self._mean = float(luma.mean())
        # Pictures that are dim or flat by nature must not count as well exposed;
        # low-key pictures must occur more often, to be distinguished from dim ones.
        chance = self.LOW_KEY_CHANCE if self._mean < self.LOW_KEY else self.CHANCE
        exposed = 0.18 < self._mean < 0.75 and np.ptp(luma) > 0.5 and kind == "photograph"
        if kind == "graphics":
            exposed, chance = True, self.DRAWN_CHANCE
        self.identity = bool(exposed and shot.identity < chance)
        # Pictures that are hardly too dark are printed without a change of exposure.
        self._darkness = float(np.clip((shot.ev + shot.light.range / 2) / 2.5, 0, 1))
        self._gain, self._peak, self._scale, self._black, self._most = 1.0, 1.0, 1.0, 0.0, 1.0
        self._followed = 1.0
        if self.identity or kind == "graphics":
            return
        step = max(1, int(np.sqrt(height * width / 1600)))
        y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[::step, None]
        x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, ::step]
        sample = photograph[::step, ::step]
        recorded = self._radiance(sample) * np.exp2(self._light(sample, y, x) - shot.ev)
        dim = float((linear_to_srgb(np.clip(recorded, 0, 1)) @ LUMA).mean()) / self.DIM
        self._followed = float(np.clip(dim, self.LEAST_DIM, self.MOST_DIM) ** shot.follow)
        printed = self._printed(sample, y, x)
        if self._is_natural:
            self._fit_natural(printed)
        else:
            self._fit_print(printed, self._followed)

    @property
    def kept(self) -> bool:
        """Whether the target is the picture itself, as for well-exposed pictures and all drawings."""
        return self.identity or self.kind == "graphics"

    def _luma(self, photograph: Pixels) -> Pixels:
        if self.kind == "radiance":
            photograph = linear_to_srgb(np.clip(photograph, 0, 1))
        return photograph @ LUMA

    def _radiance(self, photograph: Pixels) -> Pixels:
        """Scene-linear light under even light."""
        if self.kind == "radiance":
            return photograph
        linear = srgb_to_linear(undo_contrast(photograph, self.shot.contrast))
        if self.kind == "graphics":
            return linear
        largest = brightest(linear, -1)
        clipped = np.clip((largest - 0.75) / 0.25, 0, 1) ** 2
        return linear * (1 + (self.shot.glare - 1) * clipped)

    def _light(self, photograph: Pixels, y: Pixels, x: Pixels) -> Pixels:
        """Log2 of the light on the scene."""
        return self.shot.light(y, x, self._luma(photograph))[..., None]

    def _printed(self, photograph: Pixels, y: Pixels, x: Pixels) -> Pixels:
        """Light of the print before its exposure, without shadows that the camera cannot record."""
        shot, noise = self.shot, self.shot.noise
        radiance, light = self._radiance(photograph), self._light(photograph, y, x)
        recorded = (radiance * np.exp2(light - shot.ev)) @ LUMA
        if self._is_natural:
            radiance = self._photographed(photograph)
        step = 1 / (12.92 * (2**shot.bits - 1))  # of the darkest levels
        variance = noise.shot * recorded + noise.read + noise.floor**2 + step**2 / 12
        left = recorded**2 / (recorded**2 + self.FADE * variance)
        printed = radiance * np.exp2(shot.light.compression * light) * self._ambient
        return (printed * left[..., None]).astype(np.float32)

    def _tone(self, linear: Pixels) -> Pixels:
        display = linear_to_srgb(np.clip(linear, 0, 1))
        return display if self._is_natural else contrast(display, self.shot.contrast)

    def _fit_print(self, sample: Pixels, followed: float) -> None:
        """Choose exposure, shoulder and levels of the print; ``followed`` is a factor of its brightness."""
        darkness = self._darkness
        share = 0.5 * darkness
        wanted = float(self._mean ** (1 - share) * self.shot.key**share)
        wanted = min(wanted * followed**darkness, max(wanted, 0.68))
        # Do not overexpose the lit part of a scene to brighten the rest.
        low, high = 0.25, self.MOST_GAIN if self.shot.light.parted else 16.0
        for _ in range(8):
            self._gain = float(np.sqrt(low * high))
            self._peak = float(np.quantile(brightest(sample, -1) * self._gain, 0.999))
            bright = (self._tone(shoulder(sample * self._gain, self._peak)) @ LUMA).mean()
            low, high = (self._gain, high) if bright < wanted else (low, self._gain)
        display = self._tone(shoulder(sample * self._gain, self._peak))
        # In dark scenes the deepest shadow cannot be determined.
        dimness = dimness_of(self.shot.ev)
        deepest = 0.003 + 0.035 * dimness**2
        black, white = np.quantile(display @ LUMA, [0.013 - 0.009 * dimness, 0.996])
        brightest_white = np.quantile(brightest(display, -1), 0.997)
        # Stretch to a real black and full contrast without clipping a channel; a foggy scene is stretched
        # by half at most, a night scene by less.
        scale = min(
            0.96 / max(white - black, 1e-3), self.WHITE / max(brightest_white - black, 1e-3)
        )
        most = 1 + 0.5 * min(followed, 1.0) ** 2
        self._scale = 1 + darkness * (float(np.clip(scale, 0.85, most)) - 1)
        self._black = darkness * float(np.clip(black - deepest / self._scale, 0, 0.16))
        self._most = self.WHITE + 0.005

    def _fit_natural(self, sample: Pixels) -> None:
        """Choose the exposure of a natural print, and the shoulder of its highlights."""
        self._gain = self._night * 2 ** (self.shot.light.range / 2)
        self._peak = max(float(np.quantile(brightest(sample, -1) * self._gain, 0.999)), 1.0)

    def print(self, photograph: Pixels, y: Pixels, x: Pixels, sharpened: bool = True) -> Pixels:
        """Print pixels at relative positions (h, 1) and (1, w): display values in [0, 1].

        Without ``sharpened``, the unsharp mask is left out.
        """
        if self.identity:
            return (photograph * np.float32(self._paper)).astype(np.float32)
        linear = self._printed(photograph, y, x) * self._gain
        if self.kind == "graphics":
            return linear_to_srgb(np.clip(linear, 0, 1))
        display = self._tone(shoulder(linear, self._peak))
        display = np.clip((display - self._black) * self._scale, 0, self._most)
        if not sharpened:
            return display.astype(np.float32)
        amount, width = self.SHARPENING
        soft = ndimage.gaussian_filter(display, (width, width, 0))
        sharp = display + self._darkness * amount * (display - soft)
        return np.clip(sharp, 0, self._most).astype(np.float32)

    def natural(self, photograph: Pixels) -> Pixels:
        """Natural print of the whole picture: the photograph in the colour of its light.

        It is what the photographer made of the scene, so no setting decides what looks right.  Night
        stays night: below ``DIM`` the print becomes darker with the input, as in `print`.  Gentle
        shading is left out.  Uneven light is an error, because the photograph does not show how it
        should be printed.

        Parameters
        ----------
        photograph : ndarray, shape (h, w, 3)
            As for `Scene`.

        Returns
        -------
        ndarray of float32, shape (h, w, 3)
            Display values in [0, 1].
        """
        if self.shot.light.parted:
            raise ValueError(
                f"light: got {self.shot.light.kind!r}; the natural print needs 'even' or 'gentle' light"
            )
        linear = self._photographed(photograph) * self._ambient * np.float32(self._night)
        linear = linear.astype(np.float32)
        peak = float(np.quantile(brightest(linear, -1), 0.999))
        return linear_to_srgb(np.clip(shoulder(linear, max(peak, 1.0)), 0, 1))

    def _photographed(self, photograph: Pixels) -> Pixels:
        """Linear light of the display values that the photographer chose."""
        return photograph if self.kind == "radiance" else srgb_to_linear(photograph)

    @property
    def _is_natural(self) -> bool:
        """Whether the print is the photograph, as in even or gentle light."""
        return self.kind != "graphics" and not self.shot.light.parted

    @property
    def _night(self) -> float:
        """Exposure of a natural print: below 1 for scenes darker than `DIM`."""
        return min(self._followed, 1.0) ** DISPLAY_EXPONENT

    @property
    def _ambient(self) -> Pixels:
        """Colour of the light in a print."""
        return np.asarray(self.shot.ambient, np.float32) ** np.float32(self.AMBIENT)

    @property
    def _paper(self) -> float:
        """Display value of white in a picture whose target is its input; nearly 1 for graphics."""
        return self.shot.white if self.kind == "photograph" else 1 - (1 - self.shot.white) / 8

    def expose(
        self, photograph: Pixels, y: Pixels, x: Pixels, rng: np.random.Generator, jpeg: bool = True
    ) -> Pixels:
        """Record the same pixels as the dim input, in display values between 0 and 1."""
        shot = self.shot
        if self.identity:
            display = self.print(photograph, y, x)
            if shot.jpeg or shot.grey:
                noise = dataclasses.replace(shot.noise, floor=0.0)
                display = linear_to_srgb(np.clip(noise(srgb_to_linear(display), rng), 0, 1))
        else:
            light = np.exp2(self._light(photograph, y, x) - shot.ev)
            colour = np.multiply(shot.balance, shot.ambient, dtype=np.float32)
            linear = self._radiance(photograph) * light * colour
            linear = shot.noise(linear + np.asarray(shot.black, np.float32), rng)
            if shot.saturation != 1:
                grey = (linear @ LUMA)[..., None]
                linear = grey + np.float32(shot.saturation) * (linear - grey)
            display = contrast(linear_to_srgb(np.clip(linear, 0, 1)), shot.camera_contrast)
        if shot.electrons:
            deviation = np.sqrt(np.maximum(display, 0) / np.float32(shot.electrons))
            display = display + deviation * rng.standard_normal(display.shape, np.float32)
        if shot.grey:
            display = np.repeat(display[..., 1:2], 3, -1)
        levels = np.float32(2**shot.bits - 1)
        display = np.round(np.clip(display, 0, 1) * levels) / levels
        if shot.jpeg and jpeg:
            display = _jpeg(display, shot.jpeg)
        return display.astype(np.float32)


def _jpeg(display: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    PILImage.fromarray(np.round(display * 255).astype(np.uint8)).save(
        buffer, "JPEG", quality=quality
    )
    return np.asarray(PILImage.open(buffer), np.float32) / 255
