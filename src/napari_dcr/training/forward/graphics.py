"""Drawings for training: pages, slides, masks, even fields and rooms, which photographs do not cover.

All but rooms keep their brightness, because white paper is not an overexposed wall, and a black frame
is not a dark room. Rooms replace photographs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw
from scipy import ndimage

Drawing = NDArray[np.uint8]


def draw(rng: np.random.Generator, height: int, width: int) -> Drawing:
    """Draw a random picture of any kind, (height, width, 3)."""
    kinds = (_white, _black, _grey, _page, _slide, _mask, _specimen)
    shares = (0.18, 0.17, 0.05, 0.27, 0.12, 0.13, 0.08)
    kind = kinds[int(rng.choice(len(kinds), p=shares))]
    return np.clip(np.rint(kind(rng, height, width)), 0, 255).astype(np.uint8)


def draw_room(rng: np.random.Generator, height: int, width: int) -> Drawing:
    """Draw smoothly shaded walls, furniture and windows without texture, (height, width, 3).

    In most photographs some texture or noise covers even walls, so a network that is trained on
    them alone does not learn that even surfaces beside bright edges are even.
    """
    double = (height * 2, width * 2)  # drawn twice as large, then averaged, for smooth edges
    picture = PILImage.fromarray(np.uint8(_even(_paint(rng, 50, 215), *double)))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 9))):
        window = rng.random() < 0.25
        colour = tuple(int(v) for v in _paint(rng, *((200, 255) if window else (4, 235))))
        left, top = (int(rng.integers(-n // 4, n)) for n in double[::-1])
        w, h = (int(n * np.exp(rng.uniform(np.log(0.04), 0))) for n in double[::-1])
        kind = rng.random()
        if kind < 0.6:
            pen.rectangle([left, top, left + w, top + h], fill=colour)
        elif kind < 0.75:
            pen.ellipse([left, top, left + w, top + h], fill=colour)
        else:
            corners = [
                (left + int(rng.uniform(0, w)), top + int(rng.uniform(0, h))) for _ in range(4)
            ]
            pen.polygon(corners, fill=colour)
    drawn = np.asarray(picture.reduce(2), float)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    slope = rng.normal(0, 0.12, 2)
    shading = 1 + slope[0] * y + slope[1] * x - rng.uniform(0, 0.15) * (y**2 + x**2)
    return np.clip(np.rint(drawn * np.maximum(shading, 0.2)[..., None]), 0, 255).astype(np.uint8)


def _paint(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    """Draw a colour, mostly pale."""
    grey = rng.uniform(low, high)
    tint = rng.normal(0, 1, 3) * (6 if rng.random() < 0.7 else 40)
    return np.clip(grey + tint - tint.mean(), 0, 255)


def _even(colour: Any, height: int, width: int) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(colour, float), (height, width, 3)).copy()


def _white(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw an even white, sometimes with the tint of paper."""
    return _even(rng.uniform(236, 256) - rng.uniform(0, 4, 3) * (rng.random() < 0.3), height, width)


def _black(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw the picture of a covered lens."""
    return _even(0, height, width)


def _grey(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    return _even(rng.uniform(110, 236), height, width)


def _page(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw lines of text on paper."""
    paper = rng.uniform(238, 256) - rng.uniform(0, 12, 3) * (rng.random() < 0.3)
    picture = PILImage.fromarray(np.uint8(np.clip(_even(paper, height, width), 0, 255)))
    pen = ImageDraw.Draw(picture)
    ink = tuple(int(v) for v in rng.integers(0, 70, 3))
    size = int(rng.integers(9, 26))
    margin, line = int(rng.integers(6, 60)), int(size * rng.uniform(1.2, 2.2))
    for y in range(margin, height - margin, line):
        if rng.random() < 0.15:
            continue
        words = [
            "".join(chr(int(c)) for c in rng.integers(97, 123, int(rng.integers(1, 10))))
            for _ in range(int(rng.integers(2, max(3, (width - 2 * margin) // (3 * size)))))
        ]
        pen.text((margin, y), " ".join(words), fill=ink, font_size=size)
    return np.asarray(picture, float)


def _slide(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw figures of any colour on a white or black background."""
    ground = rng.uniform(240, 256) if rng.random() < 0.7 else rng.uniform(0, 16)
    picture = PILImage.fromarray(np.uint8(np.clip(_even(ground, height, width), 0, 255)))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 14))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(4, width // 2)), int(rng.integers(4, height // 3))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        shape = pen.rectangle if rng.random() < 0.6 else pen.ellipse
        filled = rng.random() < 0.6
        shape([x, y, x + w, y + h], fill=colour if filled else None, outline=colour, width=2)
    return np.asarray(picture, float)


def _mask(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw a mask of two levels, mostly black and white."""
    blobs = ndimage.gaussian_filter(rng.standard_normal((height, width)), rng.uniform(2, 24))
    inside = blobs > np.quantile(blobs, rng.uniform(0.15, 0.92))
    low, high = (0, 255) if rng.random() < 0.7 else (rng.uniform(0, 60), rng.uniform(180, 256))
    return np.repeat(np.where(inside, high, low)[..., None], 3, -1)


def _specimen(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Draw faint structures on an even bright background, as in phase contrast and brightfield."""
    structure = ndimage.gaussian_filter(rng.standard_normal((height, width)), rng.uniform(1, 8))
    structure *= rng.uniform(4, 25) / structure.std()
    return np.repeat((rng.uniform(110, 235) + structure)[..., None], 3, -1)
