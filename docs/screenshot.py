"""Make the pictures of the documentation from the real window.

    xvfb-run -a -s "-screen 0 1600x1200x24" python docs/screenshot.py

``window.png`` is the README's; the others are the user guide's.  Also walks through a
cancelled run and fails if it goes wrong.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = tempfile.TemporaryDirectory()
os.environ["NAPARI_CONFIG"] = str(Path(SETTINGS.name) / "settings.yaml")  # not the user's own

import napari
import numpy as np
from napari.settings import get_settings
from PIL import Image
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until a condition holds."""
    end = time.monotonic() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise SystemExit("it took too long")


def pause(seconds: float = 1) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def take(viewer: Any, name: str) -> None:
    """Take a picture of the window."""
    pause()
    IMAGES.mkdir(exist_ok=True)
    viewer.screenshot(str(IMAGES / name), canvas_only=False, flash=False)
    print(IMAGES / name)


def take_widget(dock: Any, widget: Any, width: int, name: str) -> None:
    """Take a picture of the widget alone, so wide."""
    dock.setFloating(True)
    dock.resize(width, widget.native.sizeHint().height() + 60)
    pause()
    dock.grab().save(str(IMAGES / name))
    print(IMAGES / name, dock.width())
    dock.setFloating(False)


def photograph(viewer: Any, widget: Any) -> None:
    """Preview, cancel, run, compare."""
    viewer.open_sample("napari-dcr", "earth-at-night")
    pause()
    widget.preview.value = True
    wait(lambda: not widget._preview.busy)
    widget.compare.value = True
    take(viewer, "preview.png")
    widget.compare.value = False
    widget.run.native.click()
    wait(lambda: widget.running)
    widget.cancel.native.click()
    wait(lambda: not widget.running)
    if widget.status.value != "cancelled" or len(viewer.layers) != 1:
        raise SystemExit("a cancelled run left something behind")
    widget.run.native.click()
    wait(lambda: not widget.running)
    if len(viewer.layers) != 2:
        raise SystemExit("the run gave no layer")
    viewer.grid.enabled = True
    viewer.grid.shape = (2, 1)
    viewer.reset_view()
    take(viewer, "window.png")
    viewer.grid.enabled = False
    frames = []
    widget.compare.value = True
    for share in np.concatenate([np.linspace(0.05, 0.95, 10), np.linspace(0.95, 0.05, 10)]):
        widget.wipe.value = float(share)
        pause(0.1)
        frames.append(Image.fromarray(viewer.screenshot(flash=False)).convert("RGB"))
    frames = [frame.resize((480, 480 * frame.height // frame.width)) for frame in frames]
    frames[0].save(
        IMAGES / "compare.gif", save_all=True, append_images=frames[1:], duration=120, loop=0
    )
    print(IMAGES / "compare.gif")
    widget.compare.value = False
    # Mesa's software renderer crashes napari, with or without us, if layers follow without a frame.
    viewer.layers.clear()
    pause()


def stages(viewer: Any, widget: Any) -> None:
    """Show what each sub-U-Net adds."""
    viewer.open_sample("napari-dcr", "nuclei")
    pause()
    widget.stages.native.click()
    wait(lambda: not widget.running)
    viewer.dims.set_current_step(0, 2)
    take(viewer, "stages.png")


def main() -> None:
    """Write into ``docs/images``."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dcr", "Enhance a low-light image")
    wait(lambda: len(widget.controls.device.choices) > 1)
    photograph(viewer, widget)
    stages(viewer, widget)
    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        for width in (350, 500):
            take_widget(dock, widget, width, f"widget-{theme}-{width}.png")
    get_settings().appearance.theme = "dark"
    viewer.close()


if __name__ == "__main__":
    main()
