"""What is remembered between sessions, in napari's plugin settings (0.9 or later)."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-dcr"

SECTIONS = ("auto", "photo", "microscopy")
"""Models with settings of their own in the manifest; all other weights share one section."""

GENERAL = ("model", "device")


def _section(name: str) -> Any | None:
    """One section of the plugin's settings, or None where napari has none."""
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings(PLUGIN), name)
    except (ImportError, KeyError, AttributeError):
        return None  # napari before 0.9, or a plugin that was never installed


def section_of(model: str) -> str:
    """Section for a model."""
    return model if model in SECTIONS else "own"


def load(section: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Remembered values by name; empty where nothing can be remembered."""
    found = _section(section)
    return {} if found is None else {name: getattr(found, name) for name in names}


def save(section: str, values: dict[str, Any]) -> None:
    """Remember values; without napari's settings there is nothing to do."""
    found = _section(section)
    if found is not None:
        for name, value in values.items():
            if getattr(found, name) != value:
                setattr(found, name, value)
