"""Walk through the widget in the real window; print how long it ever stood still.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/gui_walk.py --side 4096

Opens each sample, previews, changes the depth, runs, cancels, runs, compares, copies the
Python; then enhances a large picture while the GUI thread is watched; then closes the
window in the middle of a run.  Ends with status 1 if anything was warned about or raised.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

SETTINGS = tempfile.TemporaryDirectory()
os.environ["NAPARI_CONFIG"] = str(Path(SETTINGS.name) / "settings.yaml")  # not the user's own

import napari
import numpy as np
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

TICK_MS = 5


class Watch:
    """Longest time between two ticks of a timer in the GUI thread."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)

    def restart(self) -> None:
        """Forget what was."""
        self.longest, self._last = 0.0, time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last - TICK_MS / 1000)
        self._last = now


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until a condition holds."""
    end = time.monotonic() + seconds
    while not until():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.monotonic() > end:
            raise SystemExit("it took too long")


def pause(seconds: float) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def main() -> int:
    """Walk; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="of the large picture, in pixels")
    side = parser.parse_args().side
    troubles: list[str] = []
    logging.basicConfig(level=logging.WARNING)
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: troubles.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    warnings.showwarning = lambda message, *_: troubles.append(str(message))  # type: ignore[assignment]
    notification_manager.notification_ready.connect(
        lambda note: troubles.append(note.message) if note.severity > "info" else None
    )

    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    pause(1)
    watch = Watch()
    started = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget("napari-dcr", "Enhance a low-light image")
    print(f"opening the widget: {time.perf_counter() - started:.2f} s")
    wait(lambda: len(widget.controls.device.choices) > 1)
    print(f"PyTorch loaded after {time.perf_counter() - started:.2f} s")

    def reset() -> None:
        widget.controls.restore({"depth": 3, "strength": 1.0, "exposure": 0.0})

    def settled() -> bool:
        return not widget._preview.busy

    for sample in ("earth-at-night", "nuclei"):
        (layer,) = viewer.open_sample("napari-dcr", sample)
        pause(0.5)
        widget.controls.image.value = layer
        reset()
        started = time.perf_counter()
        widget.preview.value = True
        wait(settled)
        print(f"{sample}: first preview after {time.perf_counter() - started:.2f} s")
        for name, value in (("depth", 1), ("strength", 0.7), ("exposure", 0.3)):
            started = time.perf_counter()
            getattr(widget.controls, name).value = value
            wait(settled)
            print(f"{sample}: {name} followed after {time.perf_counter() - started:.2f} s")
        count = len(viewer.layers)
        widget.run.native.click()
        widget.cancel.native.click()
        wait(lambda: not widget.running)
        if widget.status.value != "cancelled" or len(viewer.layers) != count - 1:
            troubles.append("a cancelled run left something behind")
        widget.run.native.click()
        wait(lambda: not widget.running)
        widget.compare.value = True
        widget.wipe.value = 0.3
        pause(0.2)
        widget.compare.value = False
        widget.copy.native.click()
        if "napari_dcr.enhance(" not in QApplication.clipboard().text():
            troubles.append("nothing on the clipboard")
        # Mesa's software renderer crashes napari, with or without us, if layers follow without a frame.
        viewer.layers.clear()
        pause(0.5)
    print(f"longest stall so far: {1000 * watch.longest:.0f} ms")

    large = np.random.default_rng(0).integers(0, 60, (side, side, 3), np.uint8)
    viewer.add_image(large, name="large")
    reset()
    pause(1)
    watch.restart()
    started = time.perf_counter()
    widget.run.native.click()
    stall = 0.0
    while widget.running:
        QApplication.processEvents()
        time.sleep(0.001)
        if widget.bar.value < widget.bar.max and len(viewer.layers) == 1:
            stall = watch.longest
    seconds = time.perf_counter() - started
    pause(0.2)
    print(
        f"{side} x {side}: {seconds:.1f} s; longest stall of the GUI thread {1000 * stall:.0f} ms"
        f" while it runs, {1000 * watch.longest:.0f} ms with the result's layer being added"
    )

    count = len(viewer.layers)
    widget.run.native.click()
    wait(lambda: widget.bar.value > 0)
    run = widget._run
    started = time.perf_counter()
    viewer.close()
    print(f"closed in the middle of a run, {count} layers: {time.perf_counter() - started:.2f} s")
    wait(lambda: not run.is_alive)
    for trouble in troubles:
        print(f"TROUBLE: {trouble}")
    print("no warning, no error" if not troubles else f"{len(troubles)} troubles")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
