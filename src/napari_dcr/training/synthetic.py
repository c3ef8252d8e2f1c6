"""Seeded dim renditions of clean photographs: a test set that anyone can make again."""

from __future__ import annotations

import dataclasses

import numpy as np

from napari_dcr.image.tone import Pixels
from napari_dcr.training.camera import LightField, Scene, Shot


def dim_rendition(photograph: Pixels, ev: float, seed: int) -> tuple[Pixels, Pixels]:
    """Take a photograph ``ev`` stops too dark, under even light.

    Parameters
    ----------
    photograph : ndarray, shape (h, w, 3)
        Clean display values in [0, 1].
    ev : float
        Stops below a normal exposure.
    seed : int
        Of everything random.

    Returns
    -------
    dim, print : ndarray, shape (h, w, 3)
        The 8-bit camera picture, and what a good photographer would print, in [0, 1].
    """
    rng = np.random.default_rng(seed)
    even = LightField("even", 0.0, (0.5, 0.5), 1.0, 0.0)
    shot = dataclasses.replace(Shot.sample(rng, ev), light=even, glare=1.0, bits=8, jpeg=0)
    scene = Scene(photograph, shot)
    height, width = photograph.shape[:2]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None]
    return scene.expose(photograph, y, x, rng), scene.print(photograph, y, x)
