"""Synthetic recordings, with fixed seeds, on which the correction of sensor defects is measured.

`scenes` are in photons, to be recorded by a simulated camera. `offsets` are added to such a
recording. `clean_images` are recordings without defects, in which nothing may be found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.training.evaluation.microscopy_checks import CAMERAS
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.forward.structures import synthetic_scene

SEED = 770_000
"""Seed of the test set; no training uses it."""

PHOTONS = 20
"""Photons at the 99.9 percentile of the brightness."""

Image = NDArray[Any]


def scenes(count: int, size: int = 384) -> Iterator[tuple[int, Image]]:
    """Scenes in photons: alternately structures of all kinds and cultured cells."""
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        scene = (synthetic_scene if number % 2 else cultured_scene)(size, rng)
        yield number, PHOTONS * (0.95 * scene + 0.05)


def digital(values: Image) -> Image:
    """Values that a 16-bit camera stores."""
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)


def offsets(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Offsets of 1 electron RMS with a mean of 0, because the mean cannot be distinguished from black."""
    height, width = shape
    columns, rows = rng.standard_normal(width), rng.standard_normal((height, 1))
    columns, rows = columns - columns.mean(), rows - rows.mean()
    pattern = columns * (kind != "rows") + rows * (kind != "columns")
    return Scmos().gain * np.broadcast_to(pattern, shape)


def stars(rng: np.random.Generator, sigma: float = 0.8, size: int = 384) -> Image:
    """A field of stars in photons."""
    y, x = np.mgrid[:size, :size]
    light = np.full((size, size), 10.0)
    for cy, cx in rng.uniform(0, size, (300, 2)):
        height = np.exp(rng.uniform(np.log(30), np.log(20_000)))
        light += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return light


def clean_images(count: int) -> Iterator[tuple[str, Image]]:
    """Recordings without defects."""
    y, x = np.mgrid[:384, :384]
    for number in range(count):
        rng = np.random.default_rng((SEED, number, 2))
        scene = synthetic_scene(384, rng)
        for name, camera in CAMERAS.items():
            for peak in (5, 20, 100):
                yield f"scenes, {name}", digital(camera.expose(peak * (0.95 * scene + 0.05), rng))
        camera = Scmos()
        yield "stars, sigma 0.8 px", digital(camera.expose(stars(rng), rng))
        yield "puncta, sigma 1.2 px", digital(camera.expose(stars(rng, 1.2) / 20, rng))
        for period in (2, 3, 5, 8, 13, 32):
            for axis in (y, x):
                bars = 20 + 15 * np.sign(np.sin(2 * np.pi * (axis + 0.25 + number) / period))
                yield "gratings along the axes", digital(camera.expose(bars, rng))
        wall = np.where(np.abs(x - 150) < 6, 60.0, 10.0) + 20 * (y > 200)
        yield "walls and a horizon", digital(camera.expose(wall, rng))
        gradient = 5 + 30 * (x / 384) ** 2 + 10 * y / 384
        yield "gradients", digital(camera.expose(gradient, rng))
        thread = np.where((x == 200) & (y < 250), 60.0, 10.0)
        yield "a thread of one pixel", digital(camera.expose(thread, rng))
