"""The weights that are shipped with the package, and their cards; does not import torch."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path


def shipped() -> dict[str, Path]:
    """Paths of the weights that are shipped with the package, by name."""
    return dict(_found())


@functools.cache
def _found() -> dict[str, Path]:
    folder = Path(str(resources.files("napari_dcr") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def keeps_intensities(weights: Path) -> bool:
    """Whether the network of a weights file works in counts; False if it is not a weights file."""
    try:
        changed = weights.stat().st_mtime_ns
    except OSError:
        return False
    return _works_in_counts(weights, changed)


@functools.lru_cache(maxsize=16)
def _works_in_counts(weights: Path, changed: int) -> bool:
    """Read the kind of network from a weights file that was last changed at a time in nanoseconds.

    It is cached, because the widget needs it for every frame of a live camera.
    """
    try:
        with weights.open("rb") as file:
            # A safetensors file begins with the length of a JSON header.
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        network = json.loads(header["__metadata__"]["network"])
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return False
    return bool(network.get("base") == "counts")


def purpose(weights: Path) -> str:
    """Purpose of weights: the first paragraph of their card, or an empty string without a card."""
    card = weights.with_suffix(".md")
    if not card.is_file():
        return ""
    paragraphs = card.read_text(encoding="utf-8").split("\n\n")
    texts = (" ".join(paragraph.split()) for paragraph in paragraphs)
    return next((text for text in texts if text and not text.startswith("#")), "")
