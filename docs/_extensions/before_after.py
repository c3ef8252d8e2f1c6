"""Sliders of the gallery: for each example that sets `before` and `after`, a slider compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sphinx.application import Sphinx

TEMPLATE = """
.. container:: before-after

   .. image:: /{folder}/{before}
      :alt: {before_label}
   .. image:: /{folder}/{after}
      :alt: {after_label}
"""


def picture(pixels: Any) -> Image.Image:
    """Convert an array of bytes, or of floats from 0 to 1, to an 8-bit picture."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * np.clip(pixels.astype(np.float64), 0, 1)).astype(np.uint8)
    return Image.fromarray(pixels)


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save `before` and `after` of a block of an example, and return the slider that compares them.

    `labels` of the example are the captions of the two sides, by default "Before" and "After".
    """
    names = block_vars["example_globals"]
    if "before" not in names or "after" not in names:
        return ""
    labels = names.pop("labels", ("Before", "After"))
    paths = []
    for side in ("before", "after"):
        path = Path(next(block_vars["image_path_iterator"]))
        picture(names.pop(side)).save(path)
        paths.append(path)
    folder = paths[0].parent.relative_to(gallery_conf["src_dir"]).as_posix()
    return TEMPLATE.format(
        folder=folder,
        before=paths[0].name,
        after=paths[1].name,
        before_label=labels[0],
        after_label=labels[1],
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register nothing, because the gallery finds `scrape` by its name."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
