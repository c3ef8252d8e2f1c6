"""Small DNG files for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dcr.io import tags as t
from napari_dcr.io.tags import Tag

MATRIX = np.array([[0.8, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])
"""Matrix that converts XYZ to the colours of a camera."""

NEUTRAL = (0.5, 1.0, 0.7)
"""Colours of white of that camera."""

RGGB, XTRANS = (
    np.array([[0, 1], [1, 2]]),
    np.array([
        [1, 1, 0, 1, 1, 2], [1, 1, 2, 1, 1, 0], [2, 0, 1, 0, 2, 1],
        [1, 1, 2, 1, 1, 0], [1, 1, 0, 1, 1, 2], [0, 2, 1, 2, 0, 1],
    ]),
)  # fmt: skip


def fractions(*values: float, signed: bool = False) -> Tag:
    pairs = [n for v in values for n in Fraction(v).limit_denominator(10_000).as_integer_ratio()]
    return Tag(10 if signed else 5, np.array(pairs, "<i4" if signed else "<u4").tobytes())


def write_dng(
    path: Path,
    pixels: Any,
    pattern: Any = RGGB,
    *,
    black: Any = 512,
    white: int | None = 16383,
    neutral: Any = NEUTRAL,
    orientation: int = 1,
    has_matrix: bool = True,
    tags: dict[int, Tag] | None = None,
    **how: Any,
) -> Path:
    """Write a mosaic (h, w), or all colours of each pixel (h, w, 3)."""
    is_mosaic = pixels.ndim == 2
    tifffile.imwrite(
        path, pixels, photometric=32803 if is_mosaic else 34892, metadata=None,
        planarconfig=None if is_mosaic else "contig", software=False, **how,
    )  # fmt: skip
    found: dict[int, Tag] = {
        50706: Tag(t.BYTE, bytes((1, 4, 0, 0))), t.ORIENTATION: t.short_tag(orientation),
        t.MAKE: t.text_tag("Maker"), t.MODEL: t.text_tag("Model 1"), 50708: t.text_tag("Maker Model 1"),
        t.EXIF: Tag(t.LONG, b"", {33434: fractions(0.05), 37500: Tag(7, b"private"), 40961: t.short_tag(2)}),
    }  # fmt: skip
    if is_mosaic and pattern is not None:
        found[33421] = t.short_tag(*pattern.shape)
        found[33422] = Tag(t.BYTE, bytes(pattern.astype(np.uint8).ravel()))
    if black is not None:
        found[50714] = t.short_tag(black) if isinstance(black, int) else fractions(*black)
    if white is not None:
        found[50717] = Tag(t.LONG, np.array([white], "<u4").tobytes())
    if neutral is not None:
        found[50728] = fractions(*neutral)
    if has_matrix:
        found[50721] = fractions(*MATRIX.ravel(), signed=True)
        found[50778] = t.short_tag(21)
    t.graft(path, {0: {**found, **(tags or {})}})
    return path


def mosaic_of(light: Any, pattern: Any = RGGB, black: float = 512, full: float = 4000) -> Any:
    """Mosaic that a sensor records of white light (h, w), in its units."""
    height, width = light.shape
    p, q = pattern.shape
    tiled = np.tile(pattern, (-(-height // p), -(-width // q)))[:height, :width]
    return black + full * light * np.array(NEUTRAL)[tiled]


def dim_mosaic(height: int = 64, width: int = 96, seed: int | None = 0, pattern: Any = RGGB) -> Any:
    """A dim grey scene, uint16, with photon and read noise, or without if there is no seed."""
    y, x = np.mgrid[:height, :width]
    light = 0.04 + 0.02 * np.sin(y / 9) + 0.03 * x / width
    clean = mosaic_of(light, pattern, 0)
    if seed is None:
        return np.rint(clean + 512).astype(np.uint16)
    rng = np.random.default_rng(seed)
    noisy = rng.poisson(clean) + rng.normal(0, 3, clean.shape) + 512
    return np.clip(np.rint(noisy), 0, 16383).astype(np.uint16)
