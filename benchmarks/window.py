"""Helpers for scripts that drive a napari window: separate settings, and waiting."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = tempfile.TemporaryDirectory()
# Keeps the user's settings unchanged; napari reads this variable when it is imported.
os.environ["NAPARI_CONFIG"] = str(Path(SETTINGS.name) / "settings.yaml")

import napari
from qtpy.QtWidgets import QApplication

WIDGET = "napari-dcr", "Enhance"


def open_viewer() -> Any:
    """Open a viewer on screen."""
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    pause(1)
    return viewer


def clear(viewer: Any) -> None:
    """Remove all layers."""
    viewer.layers.clear()
    # Without a drawn frame in between, Mesa's software renderer crashes napari (also without this plugin).
    pause(0.5)


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Process events until a condition holds."""
    end = time.monotonic() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.monotonic() > end:
            raise SystemExit(f"the condition did not hold within {seconds:g} s")


def pause(seconds: float = 1) -> None:
    """Process events for some seconds."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def settle(widget: Any) -> None:
    """Wait until the preview matches the controls."""
    wait(lambda: not widget.view_panel.updater.busy)


def run(widget: Any) -> None:
    """Press Run and wait until it has finished."""
    widget.run.native.click()
    wait(lambda: not widget.running)
