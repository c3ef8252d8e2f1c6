"""A napari window that a script drives: settings of its own, and ways to wait."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = tempfile.TemporaryDirectory()
# Not the user's own settings; napari reads this when it is imported.
os.environ["NAPARI_CONFIG"] = str(Path(SETTINGS.name) / "settings.yaml")

import napari
from qtpy.QtWidgets import QApplication

WIDGET = "napari-dcr", "Enhance a low-light image"


def open_viewer() -> Any:
    """A viewer on screen."""
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    pause(1)
    return viewer


def clear(viewer: Any) -> None:
    """Remove all layers."""
    viewer.layers.clear()
    # Mesa's software renderer crashes napari, with or without us, if layers follow without a frame.
    pause(0.5)


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until a condition holds."""
    end = time.monotonic() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.monotonic() > end:
            raise SystemExit("it took too long")


def pause(seconds: float = 1) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def settle(widget: Any) -> None:
    """Wait until the preview shows what the controls say."""
    wait(lambda: not widget._preview.busy)


def run(widget: Any) -> None:
    """Press Run and wait for the end."""
    widget.run.native.click()
    wait(lambda: not widget.running)
