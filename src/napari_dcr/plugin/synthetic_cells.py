"""Synthetic fluorescence recording with a known scene and a known camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PLANES, SIDE = 9, 384
"""Planes of the stack, and rows and columns of each."""

SCALE = (0.5, 0.11, 0.11)
"""Distance of planes, rows and columns in micrometres."""

GAIN, OFFSET, READ_NOISE = 2.2, 100.0, 1.6
"""Counts per photon, counts in the dark, and standard deviation of the readout in photons."""

SIGNAL = (45.0, 25.0)
"""Photons per pixel at bright structures of the two channels."""

BACKGROUND = 1.0, 3.0
"""Photons per pixel elsewhere, at the left and the right edge."""


def photons(seed: int = 0) -> NDArray[np.float32]:
    """Expected photons per pixel of two channels: nuclei, and filaments around them.

    Parameters
    ----------
    seed : int
        Seed of the random scene.

    Returns
    -------
    ndarray, shape (2, planes, y, x)
        Expected number of photons.

    Examples
    --------
    >>> photons().shape
    (2, 9, 384, 384)
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    scene = np.zeros((2, PLANES, SIDE, SIDE), np.float32)
    for _ in range(14):
        centre = rng.uniform(20, SIDE - 20, 2)
        depth, radius = rng.uniform(1, PLANES - 2), rng.uniform(22, 34)
        angle, flat = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
        part = tuple(slice(max(0, int(c - 45)), min(SIDE, int(c + 45))) for c in centre)
        right, down = x[part] - centre[1], y[part] - centre[0]
        u = right * np.cos(angle) + down * np.sin(angle)
        v = (down * np.cos(angle) - right * np.sin(angle)) / flat
        texture = _smooth(rng, 5)[part]
        for plane in range(PLANES):
            size = radius * np.sqrt(max(0.0, 1 - ((plane - depth) / 4.5) ** 2))
            inside = 1 / (1 + np.exp(np.hypot(u, v) - size)) if size > 2 else 0.0
            nuclei = scene[0, plane][part]
            np.maximum(nuclei, inside * (0.75 + 0.25 * texture), out=nuclei)
        for _ in range(9):
            start = rng.uniform(0, 2 * np.pi)
            _filament(scene[1], centre, start, radius, depth, rng)
    scene[1] /= max(1e-6, float(np.quantile(scene[1], 0.999)))
    light = np.array(SIGNAL, np.float32)[:, None, None, None]
    elsewhere = np.linspace(*BACKGROUND, SIDE, dtype=np.float32)
    return elsewhere + light * np.clip(scene, 0, 1.2)


def recording(seed: int = 0) -> NDArray[np.uint16]:
    """Recording of the scene by a camera with shot noise and readout noise."""
    rng = np.random.default_rng(seed + 1)
    expected = photons(seed)
    electrons = rng.poisson(expected) + rng.normal(0, READ_NOISE, expected.shape)
    return np.clip(np.rint(OFFSET + GAIN * electrons), 0, 65535).astype(np.uint16)


def _smooth(rng: np.random.Generator, steps: int) -> NDArray[np.float32]:
    """Smooth noise in [-1, 1]: random values on a coarse grid, interpolated."""
    coarse = rng.uniform(-1, 1, (SIDE // 12 + 2, SIDE // 12 + 2))
    place = np.arange(SIDE) / 12
    low, rest = place.astype(int), place % 1
    rows = coarse[low] * (1 - rest[:, None]) + coarse[low + 1] * rest[:, None]
    field = rows[:, low] * (1 - rest) + rows[:, low + 1] * rest
    return np.tanh(steps / 3 * field).astype(np.float32)


def _filament(
    channel: NDArray[np.float32], centre: NDArray[np.float64], angle: float, radius: float,
    depth: float, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Add a curved line that starts at a nucleus, with a Gaussian profile of sigma 1.6 pixels."""
    place = centre + radius * np.array([np.sin(angle), np.cos(angle)])
    planes = np.arange(PLANES)[:, None, None]
    for step in range(90):
        angle += rng.normal(0, 0.09)
        place = place + 1.2 * np.array([np.sin(angle), np.cos(angle)])
        row, column = (int(n) for n in np.rint(place))
        if not (8 <= row < SIDE - 8 and 8 <= column < SIDE - 8):
            return
        y, x = np.mgrid[row - 7 : row + 8, column - 7 : column + 8]
        spot = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * 1.6**2))
        weight = np.exp(-((planes - depth - 0.01 * step) ** 2) / 2)
        channel[:, row - 7 : row + 8, column - 7 : column + 8] += weight * spot
