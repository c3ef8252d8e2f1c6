"""Settings that are remembered between sessions in napari's plugin settings (0.9 or later)."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-dcr"

SECTIONS = ("auto", "photo", "microscopy")
"""Models with a separate section in the manifest; all other weights share one section."""

GENERAL = ("model", "device")


def _section(name: str) -> Any | None:
    """Section of the plugin's settings, or None if napari has no such settings."""
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings(PLUGIN), name)
    except (ImportError, KeyError, AttributeError):
        return None  # napari before 0.9, or a plugin that was never installed


def section_of(model: str) -> str:
    """Name of the section for a model."""
    return model if model in SECTIONS else "own"


def load(section: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Remembered values by name; empty if napari has no plugin settings."""
    stored = _section(section)
    return {} if stored is None else {name: getattr(stored, name) for name in names}


def save(section: str, values: dict[str, Any]) -> None:
    """Remember values, if napari has plugin settings."""
    stored = _section(section)
    if stored is not None:
        for name, value in values.items():
            if getattr(stored, name) != value:
                setattr(stored, name, value)
