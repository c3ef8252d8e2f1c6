"""Layers that are shown for a while: the preview, and the image before a result."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

HELPER = "napari_dcr_helper"
"""Key in the metadata of such layers; its value is their purpose."""

SETTLE_MS = 150
"""Time for the canvas to draw without a layer before the next one is removed."""


def is_helper(layer: Any) -> bool:
    """Whether a layer is shown for a while only, and nothing to enhance."""
    return HELPER in layer.metadata


class HelperLayers:
    """Adds and removes helper layers of a viewer.

    They are removed one at a time: with software OpenGL, napari 0.9.2 ended with a segmentation
    fault when layers had disappeared between two drawings of the canvas.

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
        """Add a layer on top; the selection stays as it is."""
        metadata = {**state.get("metadata", {}), HELPER: purpose}
        selected = set(self._viewer.layers.selection)
        layer = self._viewer.add_image(pixels, **{**state, "metadata": metadata})
        self._viewer.layers.selection = selected
        return layer

    def remove(self, layer: Image | None) -> None:
        """Remove a layer, now or after those that were removed just before it."""
        if layer is None or layer not in self._viewer.layers:
            return
        if not self._timer.isActive():
            self._viewer.layers.remove(layer)
        elif layer not in self._leaving:
            layer.name = f"{layer.name} (closing)"  # its name is free for the next one
            self._leaving.append(layer)

    def abandon(self) -> None:
        """Forget the viewer: its window is gone."""
        self._leaving.clear()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        with contextlib.suppress(RuntimeError):  # at the interpreter's end Qt's timer is gone too
            self._timer.stop()

    def _on_removed(self, _: object = None) -> None:
        self._timer.start()

    def _remove_next(self) -> None:
        while self._leaving:
            layer = self._leaving.pop(0)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
                return
