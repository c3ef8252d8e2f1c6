"""Seeded dim renditions of clean photographs, as a reproducible test set."""

from __future__ import annotations

import dataclasses

import numpy as np

from napari_dcr.image.tone import Pixels
from napari_dcr.training.forward.camera import Scene
from napari_dcr.training.forward.shot import LightField, Shot


def dim_rendition(photograph: Pixels, ev: float, seed: int) -> tuple[Pixels, Pixels]:
    """Render a photograph ``ev`` stops too dark, under even light.

    Parameters
    ----------
    photograph : ndarray, shape (h, w, 3)
        Clean display values in [0, 1].
    ev : float
        Stops below a normal exposure.
    seed : int
        Seed of all random numbers.

    Returns
    -------
    dim, natural : ndarray, shape (h, w, 3)
        The 8-bit camera picture and its natural print (`Scene.natural`), in [0, 1].
    """
    scene, place, rng = _evenly_lit(photograph, ev, seed)
    return scene.expose(photograph, *place, rng), scene.natural(photograph)


def dim_stack(photograph: Pixels, ev: float, seed: int, frames: int) -> Pixels:
    """Render the picture of `dim_rendition` several times, with different noise.

    There is no row or column noise, because it would change the mean of a frame.

    Parameters
    ----------
    photograph, ev, seed
        See `dim_rendition`.
    frames : int
        Number of renditions.

    Returns
    -------
    ndarray, shape (frames, h, w, 3)
    """
    scene, place, rng = _evenly_lit(photograph, ev, seed)
    even = dataclasses.replace(scene.shot.noise, row=0.0, column=0.0)
    scene.shot = dataclasses.replace(scene.shot, noise=even)
    return np.stack([scene.expose(photograph, *place, rng) for _ in range(frames)])


def dim_sequence(
    views: Pixels, ev: float, seed: int, shot: float, read: float
) -> tuple[Pixels, Pixels]:
    """Render the frames of a moving picture like `dim_stack`, and without noise.

    Parameters
    ----------
    views : ndarray, shape (frames, h, w, 3)
        Clean frames, display values in [0, 1].
    ev, seed
        See `dim_rendition`.
    shot, read : float
        See `Noise`.

    Returns
    -------
    noisy, clean : ndarray, shape (frames, h, w, 3)
        8-bit camera pictures in [0, 1], with noise and without.
    """
    scene, place, rng = _evenly_lit(views[0], ev, seed)
    noise = dataclasses.replace(scene.shot.noise, row=0.0, column=0.0, shot=shot, read=read)
    both = []
    for kind in (noise, dataclasses.replace(noise, shot=0.0, read=0.0)):
        scene.shot = dataclasses.replace(scene.shot, noise=kind)
        both.append(np.stack([scene.expose(view, *place, rng) for view in views]))
    return both[0], both[1]


def _evenly_lit(
    photograph: Pixels, ev: float, seed: int
) -> tuple[Scene, tuple[Pixels, Pixels], np.random.Generator]:
    """Set up the scene, the relative positions of its pixels, and the random generator."""
    rng = np.random.default_rng(seed)
    even = LightField("even", 0.0, (0.5, 0.5), 1.0, 0.0)
    shot = dataclasses.replace(
        Shot.sample(rng, ev), light=even, glare=1.0, bits=8, jpeg=0, grey=False, electrons=0.0
    )
    height, width = photograph.shape[:2]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None]
    return Scene(photograph, shot), (y, x), rng
