"""Sequences of frames for the stage of neighbouring frames: what moves, blinks, bleaches and changes.

A sequence is the expected light of a few frames, shape (frames, h, w), in units in which the scene
has a maximum of about 1. Noise comes later, from the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.training.forward.structures import Rng, Scene, fractal

Light = NDArray[np.float32]
"""Expected light of the frames, shape (frames, h, w)."""

Field = float | NDArray[np.float64]
"""Displacement in pixels along one axis: one for all pixels, or one for each."""


class Stage:
    """Window of a scene that a camera sees, which may be displaced and deformed.

    Parameters
    ----------
    scene : ndarray, shape (H, W)
    size : int
        Side of the window in pixels.
    rng : Generator
        Draws the place of the window: the brighter of two.
    """

    def __init__(self, scene: Scene, size: int, rng: Rng) -> None:
        if missing := max(0, size + 16 - min(scene.shape)):
            scene = np.pad(scene, (missing + 1) // 2, "symmetric")
        self.size = size
        self._scene = torch.from_numpy(np.ascontiguousarray(scene, np.float32))[None, None]
        places = rng.integers(0, [n - size + 1 for n in scene.shape], (2, 2))
        light = [scene[y : y + size, x : x + size].mean() for y, x in places]
        self._top, self._left = (int(n) for n in places[int(np.argmax(light))])

    def seen(self, dy: Field = 0.0, dx: Field = 0.0) -> Scene:
        """Window whose contents come from ``(y + dy, x + dx)``, by bicubic interpolation."""
        height, width = self._scene.shape[2:]
        y, x = np.mgrid[: self.size, : self.size].astype(np.float64)
        y, x = y + self._top + dy, x + self._left + dx
        where = np.stack([x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1], -1)
        sampled = F.grid_sample(
            self._scene, torch.from_numpy(where).float()[None], "bicubic", "reflection", True
        )
        return np.asarray(sampled[0, 0].clamp(min=0).numpy())


def _times(frames: int) -> NDArray[np.float64]:
    return np.arange(frames, dtype=np.float64) - frames // 2


def drift(stage: Stage, frames: int, rng: Rng, speed: float, jitter: float = 0.0) -> Light:
    """Uniform drift in a random direction, in pixels per frame, with random displacements."""
    angle = rng.uniform(0, 2 * np.pi)
    steps = _times(frames)[:, None] * speed * np.array([np.sin(angle), np.cos(angle)])
    steps = steps + jitter * rng.standard_normal((frames, 2))
    return np.stack([stage.seen(dy, dx) for dy, dx in steps])


def flow(stage: Stage, frames: int, rng: Rng, speed: float) -> Light:
    """Smooth local motion with a standard deviation of ``speed`` pixels per frame along each axis."""
    shape, slope = (stage.size, stage.size), rng.uniform(2.0, 3.0)
    fields = [speed * fractal(shape, slope, rng).astype(np.float64) for _ in range(2)]
    return np.stack([stage.seen(t * fields[0], t * fields[1]) for t in _times(frames)])


def _mask(size: int, rng: Rng) -> Scene:
    """Smooth parts of a window, from a few spots to most of it."""
    rough = fractal((size, size), rng.uniform(0.8, 2), rng) > rng.uniform(-0.5, 1.6)
    mask = ndimage.gaussian_filter(rough.astype(np.float32), rng.uniform(0.8, 5))
    return np.asarray(mask / max(float(mask.max()), 1e-6), np.float32)


def objects(stage: Stage, other: Stage, frames: int, rng: Rng) -> Light:
    """Objects that move over a background at rest: they hide it, or add to it."""
    mask, speed = _mask(stage.size, rng), float(np.exp(rng.uniform(np.log(0.5), np.log(12))))
    cut = Stage(other.seen() * mask, stage.size, rng)
    outline = Stage(mask, stage.size, rng)
    state = rng.bit_generator.state
    moving = drift(cut, frames, rng, speed)
    rng.bit_generator.state = state  # the same direction
    hidden = drift(outline, frames, rng, speed) * float(rng.random() < 0.5)
    return stage.seen() * (1 - np.minimum(hidden, 1)) + moving


def transients(frames: int, rng: Rng) -> NDArray[np.float64]:
    """Factor of each frame: steps up and down, or sudden rises of 20 to 300 % that decay."""
    trace = np.ones(frames)
    if rng.random() < 0.4:  # photoswitching
        level = float(np.exp(rng.uniform(-2.5, 1.2)))
        switched = np.cumsum(rng.random(frames) < rng.uniform(0.1, 0.6)) % 2 == 1
        return np.where(switched, level, trace)
    for _ in range(int(rng.integers(1, 3))):
        onset, decay = int(rng.integers(0, frames)), rng.uniform(0.3, 6)
        after = np.arange(frames) - onset
        height = float(np.exp(rng.uniform(np.log(0.2), np.log(3))))
        trace += np.where(after >= 0, height * np.exp(-np.maximum(after, 0) / decay), 0)
    return trace


def blinking(light: Light, rng: Rng) -> Light:
    """Give parts of a sequence traces of their own."""
    for _ in range(int(rng.integers(1, 4))):
        trace = transients(len(light), rng)[:, None, None].astype(np.float32)
        light = light * (1 + _mask(light.shape[1], rng) * (trace - 1))
    return light


def focus_series(stage: Stage, other: Stage, frames: int, rng: Rng, step: float) -> Light:
    """Steps through a thick specimen, in depths of field: each layer is sharp in one place only."""
    layers = [stage.seen(), other.seen(), stage.seen()[::-1, ::-1] * _mask(stage.size, rng)]
    depths = rng.uniform(-1, 1, 3) * step * frames / 2
    light = np.zeros((frames, stage.size, stage.size), np.float32)
    for layer, depth in zip(layers, depths, strict=True):
        for t, place in enumerate(_times(frames) * step):
            light[t] += ndimage.gaussian_filter(layer, 1.3 * abs(place - depth))
    return light


def changed(
    light: Light,
    other: Stage,
    rng: Rng,
    kinds: Sequence[int] = (0, 1, 2, 3),
    kept: int | None = None,
) -> Light:
    """Cut to another scene (kind 0), or replace frames by unrelated (1), black (2) or saturated ones (3).

    The frame ``kept`` is not replaced, but may be that before the cut.
    """
    kind, count = int(rng.choice(kinds)), len(light)
    light = light.copy()
    if kind == 0:
        light[int(rng.integers(1 if kept is None else kept + 1, count)) :] = other.seen()
        return light
    allowed = [t for t in range(count) if t != kept]
    which = rng.choice(allowed, int(rng.integers(1, 3)), replace=False)
    contents = {1: other.seen(), 2: np.float32(0), 3: light.max() * np.float32(rng.uniform(5, 100))}
    light[which] = contents[kind]
    return light


KINDS: dict[str, float] = {
    "static": 0.17, "drift": 0.2, "fast": 0.1, "flow": 0.18, "objects": 0.08,
    "blinking": 0.13, "changed": 0.07, "focus": 0.07,
}  # fmt: skip
"""Kinds of sequences and their shares."""


def draw_sequence(scene: Scene, other: Scene, size: int, frames: int, rng: Rng) -> Light:
    """Draw a sequence of any kind; half of them also bleach."""
    stage, second = Stage(scene, size, rng), Stage(other, size, rng)
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    jitter = float(rng.uniform(0, 0.5) * rng.integers(0, 2))
    slow = float(rng.uniform(0, 1.7))
    fast = float(np.exp(rng.uniform(np.log(1.5), np.log(14))))
    local = float(np.exp(rng.uniform(np.log(0.3), np.log(5))))
    motion: dict[str, Callable[[], Light]] = {
        "drift": lambda: drift(stage, frames, rng, slow, jitter),
        "fast": lambda: drift(stage, frames, rng, fast, jitter),
        "flow": lambda: flow(stage, frames, rng, local),
        "objects": lambda: objects(stage, second, frames, rng),
        "focus": lambda: focus_series(
            stage, second, frames, rng, float(np.exp(rng.uniform(np.log(0.2), np.log(2))))
        ),
    }
    if kind in motion:
        light = motion[kind]()
    elif kind != "static" and rng.random() < 0.3:
        light = drift(stage, frames, rng, slow, jitter)
    else:
        light = np.repeat(stage.seen()[None], frames, 0)
    if kind == "blinking" or rng.random() < 0.06:
        light = blinking(light, rng)
    if rng.random() < 0.5:
        bleaching = (1 - rng.uniform(0, 0.06)) ** _times(frames)
        light = light * bleaching[:, None, None].astype(np.float32)
    if kind == "changed":
        light = changed(light, second, rng)
    return np.ascontiguousarray(light, np.float32)
