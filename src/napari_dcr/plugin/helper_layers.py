"""Temporary layers: the preview, and the source in a comparison."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

HELPER = "napari_dcr_helper"
"""Key in the metadata of temporary layers; its value is their purpose."""

SETTLE_MS = 150
"""Time in milliseconds for the canvas to redraw before the next layer is removed."""


def is_helper(layer: Any) -> bool:
    """Whether a layer is a temporary one, which cannot be enhanced."""
    return HELPER in layer.metadata


class HelperLayers:
    """Adds and removes helper layers of a viewer.

    Layers are removed one at a time, because napari 0.9.2 with software OpenGL crashed when several
    layers disappeared between two redraws of the canvas.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._leaving: list[Image] = []
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._remove_next)
        viewer.layers.events.removed.connect(self._on_removed)

    def add(self, pixels: Any, state: dict[str, Any], purpose: str) -> Image:
        """Add a layer on top without changing the selection."""
        metadata = {**state.get("metadata", {}), HELPER: purpose}
        selected = set(self._viewer.layers.selection)
        layer = self._viewer.add_image(pixels, **{**state, "metadata": metadata})
        self._viewer.layers.selection = selected
        return layer

    def remove(self, layer: Image | None) -> None:
        """Remove a layer, immediately or after the layers that are already being removed."""
        if layer is None or layer not in self._viewer.layers:
            return
        if not self._timer.isActive():
            self._viewer.layers.remove(layer)
        elif layer not in self._leaving:
            layer.name = f"{layer.name} (closing)"  # so that the next layer can use the name
            self._leaving.append(layer)

    def abandon(self) -> None:
        """Disconnect from the viewer, whose window has been closed."""
        self._leaving.clear()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        with contextlib.suppress(RuntimeError):  # at interpreter exit Qt has deleted the timer
            self._timer.stop()

    def _on_removed(self, _: object = None) -> None:
        self._timer.start()

    def _remove_next(self) -> None:
        while self._leaving:
            layer = self._leaving.pop(0)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
                return
