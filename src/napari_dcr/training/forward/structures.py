"""Synthetic structures under a microscope, as clean scenes for simulated cameras.

Filaments, puncta, nuclei, membranes and textures, alone or in cells, are blurred by a point spread
function, with haze from above and below the focus.  Real images that are licensed for any use are
reduced until their own noise is negligible.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy import ndimage, spatial

Scene = NDArray[np.float32]
"""Light per pixel, shape (h, w), background 0, largest value about 1."""

Rng = np.random.Generator


def fractal(shape: tuple[int, int], slope: float, rng: Rng) -> Scene:
    """Gaussian noise with a spectrum of ``frequency ** -slope`` and a standard deviation of 1."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    frequency = np.maximum(np.hypot(y, x), 1 / max(shape))
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * frequency**-slope
    field = np.fft.irfft2(spectrum, shape)
    return ((field - field.mean()) / field.std()).astype(np.float32)


def filaments(shape: tuple[int, int], rng: Rng) -> Scene:
    """Draw curves with a persistent direction, such as microtubules and actin."""
    count = int(np.exp(rng.uniform(np.log(8), np.log(400))))
    steps = int(rng.uniform(60, 700))
    stiffness = np.exp(rng.uniform(np.log(0.004), np.log(0.12)))
    turns = rng.standard_normal((count, steps)) * stiffness
    direction = rng.uniform(0, 2 * np.pi, (count, 1))
    if rng.random() < 0.3:  # bundles along one direction
        direction = rng.uniform(0, np.pi) + 0.25 * rng.standard_normal((count, 1))
    if rng.random() < 0.4:  # from an organising centre
        start = rng.uniform(0.2, 0.8, (2, 1, 1)) + 0.05 * rng.standard_normal((2, count, 1))
    else:
        start = rng.uniform(-0.2, 1.1, (2, count, 1))
    angle = direction + np.cumsum(turns, 1)
    y = start[0] * shape[0] + np.cumsum(np.sin(angle), 1) * 0.8
    x = start[1] * shape[1] + np.cumsum(np.cos(angle), 1) * 0.8
    weight = np.broadcast_to(rng.lognormal(0, 0.5, (count, 1)), y.shape)
    return splat(shape, y.ravel(), x.ravel(), weight.ravel())


def splat(
    shape: tuple[int, int],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> Scene:
    """Add points with bilinear weights."""
    inside = (y >= 0) & (x >= 0) & (y < shape[0] - 1) & (x < shape[1] - 1)
    y, x, weight = y[inside], x[inside], weight[inside]
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, right = y - top, x - left
    out = np.zeros(shape[0] * shape[1])
    for dy, wy in ((0, 1 - down), (1, down)):
        for dx, wx in ((0, 1 - right), (1, right)):
            out += np.bincount(
                (top + dy) * shape[1] + left + dx, weight * wy * wx, shape[0] * shape[1]
            )
    return out.reshape(shape).astype(np.float32)


def puncta(shape: tuple[int, int], rng: Rng) -> Scene:
    """Draw spots below the resolution, alone or in clusters: vesicles, FISH, granules."""
    count = int(np.exp(rng.uniform(np.log(20), np.log(6000))))
    y, x = rng.uniform(0, shape[0], count), rng.uniform(0, shape[1], count)
    if rng.random() < 0.5:
        centres = rng.integers(0, max(2, count // 25), count)
        spread = rng.uniform(5, 40)
        y = y[centres] + spread * rng.standard_normal(count)
        x = x[centres] + spread * rng.standard_normal(count)
    return splat(shape, y, x, rng.lognormal(0, rng.uniform(0.1, 1.0), count))


def blobs(
    shape: tuple[int, int],
    rng: Rng,
    radius: float | None = None,
    cover: tuple[float, float] = (0.05, 0.6),
) -> Scene:
    """Draw bodies with a rugged outline and an inner texture: nuclei, cells, droplets."""
    radius = radius or float(np.exp(rng.uniform(np.log(5), np.log(60))))
    count = max(1, int(rng.uniform(*cover) * shape[0] * shape[1] / (np.pi * radius**2)))
    out = np.zeros(shape, np.float32)
    texture = np.exp(rng.uniform(0, 0.6) * fractal(shape, rng.uniform(0.8, 1.6), rng))
    for _ in range(min(count, 250)):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        r = radius * rng.lognormal(0, 0.2)
        reach = int(1.8 * r) + 2
        top, left = max(0, int(cy) - reach), max(0, int(cx) - reach)
        window = np.s_[top : int(cy) + reach, left : int(cx) + reach]
        height, width = out[window].shape
        if not height or not width:
            continue
        dy = np.arange(top, top + height)[:, None] - cy
        dx = np.arange(left, left + width)[None] - cx
        stretch, turn = rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        u, v = dy * np.cos(turn) + dx * np.sin(turn), dx * np.cos(turn) - dy * np.sin(turn)
        angle = np.arctan2(v, u)
        edge = r * (1 + 0.12 * np.cos(2 * angle + turn) + 0.08 * np.cos(3 * angle + 5 * turn))
        inside = np.clip((edge - np.hypot(u, v / stretch)) + 0.5, 0, 1)
        level = rng.lognormal(0, 0.35)
        out[window] = (
            np.maximum(out[window], level * inside)
            if rng.random() < 0.8
            else (out[window] + level * inside)
        )
    return (out * texture).astype(np.float32)


def membranes(shape: tuple[int, int], rng: Rng) -> Scene:
    """Draw outlines between neighbouring cells with different insides, as in an epithelium."""
    size = np.exp(rng.uniform(np.log(15), np.log(80)))
    count = max(8, int(1.6 * shape[0] * shape[1] / size**2))
    points = rng.uniform(-0.1, 1.1, (count, 2)) * shape
    warp = size * 0.12 * np.stack([fractal(shape, 1.5, rng) for _ in range(2)], -1)
    grid = np.moveaxis(np.indices(shape), 0, -1) + warp
    nearest = spatial.cKDTree(points).query(grid, 2)
    distance, index = (np.asarray(part) for part in nearest)
    wall = np.exp(-(((distance[..., 1] - distance[..., 0]) / rng.uniform(1.0, 3.0)) ** 2))
    inside = rng.lognormal(0, 0.6, count)[index[..., 0]] * rng.uniform(0, 0.4)
    return (wall * np.exp(0.4 * fractal(shape, 1.2, rng)) + inside).astype(np.float32)


def texture(shape: tuple[int, int], rng: Rng) -> Scene:
    """Draw cloudy matter without outlines: cytosol, tissue, out-of-focus light."""
    field = np.exp(rng.uniform(0.3, 1.2) * fractal(shape, rng.uniform(0.7, 2.0), rng))
    return np.minimum(field, np.quantile(field, 0.999)).astype(np.float32)


def worms(shape: tuple[int, int], rng: Rng) -> Scene:
    """Draw short thick threads: mitochondria, bacteria."""
    count, steps = int(np.exp(rng.uniform(np.log(20), np.log(600)))), int(rng.uniform(8, 60))
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(
        rng.standard_normal((count, steps)) * 0.15, 1
    )
    y = rng.uniform(0, shape[0], (count, 1)) + np.cumsum(np.sin(angle), 1)
    x = rng.uniform(0, shape[1], (count, 1)) + np.cumsum(np.cos(angle), 1)
    weight = np.broadcast_to(rng.lognormal(0, 0.4, (count, 1)), y.shape)
    thin = splat(shape, y.ravel(), x.ravel(), weight.ravel())
    return ndimage.gaussian_filter(thin, rng.uniform(0.5, 2.5))


KINDS: tuple[Callable[[tuple[int, int], Rng], Scene], ...] = (
    filaments, filaments, puncta, blobs, membranes, texture, worms,
)  # fmt: skip


def labelled(part: Scene, rng: Rng) -> Scene:
    """Replace a structure by randomly bound dyes, whose density shows the structure."""
    density = np.exp(rng.uniform(np.log(0.1), np.log(10)))
    return (rng.poisson(part * density) / density).astype(np.float32)


def normal(scene: Scene) -> Scene:
    """Scale so that the 99.9 percentile is 1."""
    return (scene / max(float(np.quantile(scene, 0.999)), 1e-6)).astype(np.float32)


def synthetic_scene(size: int, rng: Rng) -> Scene:
    """Draw one to three structures, often within cells, seen through a microscope."""
    shape = (size, size)
    scene = np.zeros(shape, np.float32)
    cells = None
    if rng.random() < 0.55:
        cells = normal(blobs(shape, rng, float(rng.uniform(50, 180)), (0.3, 1.5)))
        cells = ndimage.gaussian_filter(cells, rng.uniform(2, 12))
        cells *= np.exp(rng.uniform(0, 0.7) * fractal(shape, 1.5, rng))
    for _ in range(int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2]))):
        part = normal(KINDS[int(rng.integers(len(KINDS)))](shape, rng))
        if cells is not None and rng.random() < 0.85:
            part = part * cells
        if rng.random() < 0.5:
            part = labelled(part, rng)
        scene += part * np.float32(rng.uniform(0.15, 1))
    if cells is not None and rng.random() < 0.5:  # unbound dye remains in the cytosol
        scene += cells * np.float32(rng.uniform(0.05, 0.5))
    return normal(microscope(scene, rng))


LARGEST = 6.0
"""Largest factor by which real images are reduced."""


def airy(scene: Scene, cutoff: float) -> Scene:
    """Blur like a perfect lens, which transmits nothing above a cutoff frequency.

    Parameters
    ----------
    scene : ndarray, shape (h, w)
        Scene, which is mirrored at its edges.
    cutoff : float
        ``2 NA / wavelength``, in cycles per pixel.

    Returns
    -------
    ndarray, shape (h, w)
        Scene filtered by the transfer function of a circular pupil under incoherent light (Goodman
        2005, Introduction to Fourier Optics, eq. 6-32).
    """
    margin = 32
    light = np.pad(scene, margin, "symmetric")
    height, width = light.shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ratio = np.minimum(frequency / cutoff, 1)
    transfer = 2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2))
    blurred = np.fft.irfft2(np.fft.rfft2(light) * transfer, light.shape)
    inside = blurred[margin:-margin, margin:-margin]
    return np.maximum(inside, 0).astype(np.float32)


def microscope(scene: Scene, rng: Rng) -> Scene:
    """Blur by a point spread function, and add out-of-focus light."""
    core = np.exp(rng.uniform(np.log(0.7), np.log(2.6)))
    # 0.42 / cutoff is the standard deviation of the Gaussian closest to an Airy disk
    # (Zhang, Zerubia and Olivo-Marin 2007, Applied Optics 46, 1819).
    perfect = rng.random() < 0.6
    sharp = airy(scene, 0.42 / core) if perfect else ndimage.gaussian_filter(scene, core)
    skirt = rng.uniform(0, 0.5) * ndimage.gaussian_filter(scene, core * rng.uniform(2, 4))
    haze = (
        rng.uniform(0, 1.2)
        * rng.integers(0, 2)
        * ndimage.gaussian_filter(
            np.roll(scene, tuple(rng.integers(-20, 20, 2)), (0, 1)), rng.uniform(5, 30)
        )
    )
    return (sharp + skirt + haze).astype(np.float32)


def real_scene(picture: NDArray[np.uint8] | NDArray[np.uint16], size: int, rng: Rng) -> Scene:
    """Reduce a real image until its noise is negligible, and blur it by a point spread function.

    Parameters
    ----------
    picture : ndarray, shape (h, w)
    size : int
        Side of the result in pixels; pictures too small for it are mirrored.
    rng : Generator
    """
    largest = min(LARGEST, max(1.0, min(picture.shape) / size))
    factor = rng.uniform(min(1.5, largest), largest)
    side = int(np.ceil(size * factor)) + 2
    top, left = (int(rng.integers(0, max(n - side, 0) + 1)) for n in picture.shape)
    picture = picture[top : top + side, left : left + side]
    # The less an image is reduced, the more of its own noise must be removed by blurring.
    pixels = ndimage.gaussian_filter(picture.astype(np.float32), 1.6 / factor)
    height, width = (round(n / factor) for n in pixels.shape)
    reduced = PILImage.fromarray(pixels).resize((width, height), PILImage.Resampling.BOX)
    pixels = np.asarray(reduced)
    room = [max(0, size - n) for n in pixels.shape]
    pixels = np.pad(pixels, [(0, n) for n in room], "symmetric")
    top, left = (int(rng.integers(0, n - size + 1)) for n in pixels.shape)
    pixels = pixels[top : top + size, left : left + size]
    pixels = ndimage.gaussian_filter(pixels, rng.uniform(0.3, 1.5))
    return normal(pixels - np.quantile(pixels, 0.002).astype(np.float32)).clip(0, 3)
