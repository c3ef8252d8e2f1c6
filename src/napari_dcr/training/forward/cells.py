"""Synthetic adherent cells in culture under a microscope, as in most fluorescence images.

The cells are flat and wide, with fibres along a common direction, winding mitochondria around the
nucleus, membranes that rise at the outline, vesicles, and unbound dye.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from napari_dcr.training.forward.structures import (
    Rng,
    Scene,
    fractal,
    labelled,
    microscope,
    normal,
    splat,
)


class Cell:
    """Adherent cell in culture, flat except for its nucleus; it may be larger than the field.

    Attributes
    ----------
    inside : ndarray, shape (h, w)
        1 within the outline.
    edge : ndarray, shape (h, w)
        Distance to the outline in pixels, positive within.
    thickness : ndarray, shape (h, w)
        From 0 at the outline to about 1.
    nucleus : ndarray, shape (h, w)
        1 within the nucleus.
    flow : ndarray, shape (h, w)
        Angle along which fibres lie.
    """

    def __init__(self, shape: tuple[int, int], rng: Rng) -> None:
        self.shape = shape
        radius = shape[0] * np.exp(rng.uniform(np.log(0.25), np.log(1.1)))
        cy, cx = rng.uniform(0, 1, 2) * shape
        stretch, turn = rng.uniform(0.3, 1), rng.uniform(0, np.pi)
        dy, dx = np.arange(shape[0])[:, None] - cy, np.arange(shape[1])[None] - cx
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
        along = dy * np.sin(turn) + dx * np.cos(turn)
        angle = np.arctan2(across, along)
        outline = radius * (1 + 0.02 * fractal(shape, 2.0, rng) * rng.integers(0, 2))
        for wave in range(2, 7):
            outline = outline * (
                1 + rng.uniform(0, 0.5 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
            )
        distance = np.hypot(across, along)
        self.edge = ((outline - distance) * (0.5 + 0.5 * stretch)).astype(np.float32)
        self.inside = np.clip(self.edge + 0.5, 0, 1)
        ramp = radius * rng.uniform(0.03, 0.5)
        self.thickness = self.inside * (1 - np.exp(-np.maximum(self.edge, 0) / ramp))
        away = np.hypot(across - rng.uniform(-0.15, 0.15) * radius, along)
        fade = rng.uniform(0.01, 0.06) * radius  # it is round, and fades towards its own outline
        self.nucleus = special.expit((radius * rng.uniform(0.2, 0.35) - away) / fade)
        bend = rng.uniform(0.05, 0.5)
        self.flow = turn + bend * fractal(shape, rng.uniform(2.0, 2.8), rng)

    def places(self, count: int, likely: NDArray[Any], rng: Rng) -> tuple[Any, Any]:
        """Draw places (y, x), each where ``likely`` is large."""
        total = np.cumsum(likely, dtype=np.float64)
        index = np.searchsorted(total, rng.uniform(0, max(total[-1], 1e-9), count))
        y, x = np.unravel_index(np.minimum(index, likely.size - 1), likely.shape)
        return y + rng.uniform(0, 1, count), x + rng.uniform(0, 1, count)

    def fibres(self, rng: Rng) -> Scene:
        """Stress fibres or microtubules: long threads along the flow."""
        count, steps = int(np.exp(rng.uniform(np.log(60), np.log(1500)))), int(rng.uniform(60, 500))
        likely = self.inside * np.exp(rng.uniform(0, 1) * fractal(self.shape, 1.5, rng))
        wobble = np.exp(rng.uniform(np.log(0.005), np.log(0.08)))
        return self._threads(count, steps, likely, wobble, rng.uniform(0.6, 1), rng)

    def mitochondria(self, rng: Rng) -> Scene:
        """Winding threads of some width, densest around the nucleus."""
        count, steps = int(np.exp(rng.uniform(np.log(60), np.log(900)))), int(rng.uniform(15, 150))
        patches = np.exp(rng.uniform(0.3, 1.2) * fractal(self.shape, 1.8, rng))
        likely = self.thickness * (1 - self.nucleus) * patches
        thin = self._threads(count, steps, likely, rng.uniform(0.06, 0.3), rng.uniform(0, 0.5), rng)
        width = rng.uniform(0.7, 2.2)
        thick = ndimage.gaussian_filter(thin, width)
        # Saturate, so that threads do not become brighter where many of them overlap.
        level = float(np.quantile(thick[thick > 1e-3 * thick.max()], 0.5)) if thick.any() else 1.0
        return (thick / (thick + rng.uniform(1, 6) * level)).astype(np.float32)

    def _threads(
        self, count: int, steps: int, likely: NDArray[Any], wobble: float, bound: float, rng: Rng
    ) -> Scene:
        y, x = self.places(count, likely, rng)
        aside = 0.15 * rng.standard_normal(count)
        sense = rng.choice([0, np.pi], count)
        length = rng.uniform(0.2, 1, count) * steps
        brightness = rng.lognormal(0, 0.6, count)
        path = []
        for step in range(steps):
            at = (
                np.clip(y.astype(int), 0, self.shape[0] - 1),
                np.clip(x.astype(int), 0, self.shape[1] - 1),
            )
            aside = aside + wobble * rng.standard_normal(count) - 0.02 * bound * aside
            angle = bound * self.flow[at] + aside + sense
            y, x = y + 0.8 * np.sin(angle), x + 0.8 * np.cos(angle)
            path.append(np.stack([y, x, brightness * (step < length)]))
        y, x, weight = (part.ravel() for part in np.stack(path, 1))
        return splat(self.shape, y, x, weight)

    def membrane(self, rng: Rng) -> Scene:
        """Membrane: the raised outline, ruffles beside it, and folds on top."""
        width = rng.uniform(1, 6)
        rim = np.exp(-((self.edge / width) ** 2))
        rim = rim * np.exp(rng.uniform(0.5, 1.5) * fractal(self.shape, 2, rng))
        folds = np.abs(fractal(self.shape, rng.uniform(1.5, 2.2), rng)) * rng.uniform(5, 30)
        folds = np.exp(-(folds**2)) * rng.uniform(0, 0.5) * np.exp(fractal(self.shape, 2, rng))
        return ((rim + folds * self.inside) / 3).astype(np.float32)

    def vesicles(self, rng: Rng) -> Scene:
        """Vesicles: spots all over the cell, from a few up to a dense grain."""
        count = int(np.exp(rng.uniform(np.log(30), np.log(20000))))
        y, x = self.places(count, self.thickness * (1 - 0.7 * self.nucleus), rng)
        spots = splat(self.shape, y, x, rng.lognormal(0, rng.uniform(0.1, 1), count))
        return ndimage.gaussian_filter(spots, rng.uniform(0.3, 1.5))

    def cytosol(self, rng: Rng) -> Scene:
        """Cytosol that fills the cell, with a brighter or darker nucleus."""
        grain = np.exp(rng.uniform(0, 0.35) * fractal(self.shape, rng.uniform(0.9, 1.8), rng))
        nucleus = 1 + rng.uniform(-0.8, 0.8) * self.nucleus
        return (self.thickness * grain * nucleus).astype(np.float32)


def cultured_scene(size: int, rng: Rng) -> Scene:
    """Draw adherent cells with one or two of their structures labelled, through a microscope."""
    shape = (size, size)
    scene = np.zeros(shape, np.float32)
    first, second = rng.choice(4, 2, p=[0.35, 0.35, 0.2, 0.1])
    both, grainy = rng.random() < 0.3, rng.random() < 0.4
    free = rng.uniform(0, 0.6) * rng.integers(0, 2) + rng.uniform(0, 0.1)
    covered = 0.0
    for _ in range(6):
        cell = Cell(shape, rng)
        covered += float(cell.inside.mean())
        parts = (cell.fibres, cell.mitochondria, cell.membrane, cell.vesicles)
        light = normal(parts[first](rng)) * (0.3 + 0.7 * cell.inside)
        if both:
            light = light + np.float32(rng.uniform(0.1, 0.8)) * normal(parts[second](rng))
        if grainy:
            light = labelled(light, rng)
        light = light + np.float32(free) * cell.cytosol(rng)
        scene = scene * (1 - 0.5 * cell.inside) + light * np.float32(rng.lognormal(0, 0.4))
        if covered > 0.3 and rng.random() < 0.6:
            break
    return normal(microscope(scene, rng))
