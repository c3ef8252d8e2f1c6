"""Make the README's picture from the real window: open the sample, run, take a picture.

    xvfb-run -a -s "-screen 0 1600x1200x24" python docs/screenshot.py

Also walks through a cancelled run and a second run, and fails if they go wrong.
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"


def wait(until: object, seconds: float = 120) -> None:
    """Let the window live until a condition holds."""
    end = time.monotonic() + seconds
    while not until():  # type: ignore[operator]
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise SystemExit("it took too long")


def main() -> None:
    """Write ``docs/images/window.png``."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 860)
    _, widget = viewer.window.add_plugin_dock_widget("napari-dcr", "Enhance a low-light image")
    viewer.open_sample("napari-dcr", "earth-at-night")
    wait(lambda: "photo" in widget.model.choices)
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
    wait(lambda: True)
    for _ in range(50):
        QApplication.processEvents()
        time.sleep(0.02)
    IMAGES.mkdir(exist_ok=True)
    viewer.screenshot(str(IMAGES / "window.png"), canvas_only=False, flash=False)
    print(IMAGES / "window.png")
    viewer.close()


if __name__ == "__main__":
    main()
