"""Pictures of the gallery: an example that sets `before` and `after` gets a slider between them."""

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
    """An 8-bit picture of an array that holds bytes or floats from 0 to 1."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * np.clip(pixels.astype(np.float64), 0, 1)).astype(np.uint8)
    return Image.fromarray(pixels)


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save `before` and `after` of a block of an example, and return the slider that shows them.

    `labels` of the example, two words, name the sides; without it they are "Before" and "After".
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
    """Nothing to register: the gallery finds `scrape` by its name."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
