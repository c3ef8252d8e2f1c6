"""Use the widget in a real window, and measure for how long the window does not respond.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/gui_walk.py --side 4096

The script opens each sample, previews it, moves the controls, runs, cancels, runs again, compares, and
copies the Python code; it previews and enhances large pictures, and closes the window during a run.
Meanwhile it measures the longest time between two events in the GUI thread ("stall").  For comparison,
it prints the time that napari needs for an empty dock widget and for a layer of the same size; the
longest pause of Python's garbage collector, which stops all threads and which napari starts whenever a
layer is removed ("collector"); and the longest delay of another process that only sleeps ("beside"),
because no window can respond faster than that.  The exit status is 1 if a warning, an error or any log
message occurred.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QWidget
from window import WIDGET, clear, open_viewer, pause, run, settle, wait

TICK_MS = 5

LONG_MS = 100
"""Longest allowed time in milliseconds without a response of the window while an image is processed."""

LIMITS = {"contrast_limits": (0, 1000)}

START = {"depth": 3, "detail": True, "strength": 1.0, "exposure": 0.0}


BESIDE = """
import mmap, struct, sys, time
with open(sys.argv[1], "r+b") as file:
    longest = mmap.mmap(file.fileno(), 8)
last = time.perf_counter()
while True:
    time.sleep(0.005)
    now = time.perf_counter()
    longest[:] = struct.pack("d", max(struct.unpack("d", longest[:])[0], now - last - 0.005))
    last = now
"""
"""Program of a separate process that sleeps repeatedly, and stores its longest delay in a file."""


class Lap(NamedTuple):
    """Longest times since the previous lap, in milliseconds.

    Attributes
    ----------
    stall : float
        Time between two ticks of a timer in the GUI thread.
    collected : float
        Pause of the garbage collector.
    beside : float
        Delay of a process that only sleeps.
    """

    stall: float
    collected: float
    beside: float

    def __str__(self) -> str:
        return " ".join(f"{value:6.0f} ms" for value in self)


class Watch:
    """Measures delays of the GUI thread, of the garbage collector and of another process."""

    def __init__(self) -> None:
        self._longest, self._last = 0.0, time.perf_counter()
        self._collected, self._began = 0.0, 0.0
        gc.callbacks.append(self._note_collection)
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(8))
            file.flush()
            self._beside = mmap.mmap(file.fileno(), 8)
            self._process = subprocess.Popen([sys.executable, "-c", BESIDE, file.name])
            atexit.register(self._process.kill)
            while not any(self._beside[:]):  # the process has started
                time.sleep(0.01)
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)

    def lap(self) -> Lap:
        """Return the longest times since the last lap."""
        self._tick()
        beside: float = struct.unpack("d", self._beside[:])[0]
        lap = Lap(*(1000 * value for value in (self._longest, self._collected, beside)))
        self._longest = self._collected = 0.0
        self._beside[:] = bytes(8)
        return lap

    @contextmanager
    def phase(self, name: str) -> Iterator[list[Lap]]:
        """Context manager that prints the times of a phase, and appends them to the list it returns."""
        laps: list[Lap] = []
        self.lap()
        started = time.perf_counter()
        yield laps
        seconds = time.perf_counter() - started
        laps.append(self.lap())
        print(f"{name:<58}{seconds:8.2f} s {laps[-1]}", flush=True)

    def _note_collection(self, phase: str, _: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self._collected = max(self._collected, now - self._began)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._longest = max(self._longest, now - self._last - TICK_MS / 1000)
        self._last = now


def walk_samples(viewer: Any, widget: Any, watch: Watch) -> None:
    """Preview, run, cancel and compare each sample."""
    controls = widget.controls
    samples = PluginManifest.from_distribution(WIDGET[0]).contributions.sample_data or []
    for sample in samples:
        key = sample.key
        with watch.phase(f"{key}: opened"):
            (layer,) = viewer.open_sample(WIDGET[0], key)
            pause(0.5)
        controls.image.value = layer
        controls.restore(START)
        with watch.phase(f"{key}: first preview"):
            widget.preview.value = True
            settle(widget)
        for name, value in (("depth", 1), ("strength", 0.7), ("exposure", 0.3), ("detail", False)):
            with watch.phase(f"{key}: {name} moved"):
                getattr(controls, name).value = value
                settle(widget)
        with watch.phase(f"{key}: cancelled"):
            widget.run.native.click()
            widget.cancel.native.click()
            wait(lambda: not widget.running)
        expect(widget.status.value == "Cancelled.", "the run did not say that it was cancelled")
        widget.preview.value = False  # it came back after the run
        expect(len(viewer.layers) == 1, "a cancelled run left something behind")
        with watch.phase(f"{key}: run"):
            run(widget)
        expect(len(viewer.layers) == 2, "the run gave no layer")
        with watch.phase(f"{key}: compared"):
            widget.compare.value = True
            for share in (0.3, 0.7):
                widget.divider.value = share
                pause(0.1)
            widget.compare.value = False
        with watch.phase(f"{key}: stages"):
            widget.stages.native.click()
            wait(lambda: not widget.running)
        widget.copy.native.click()
        copied = QApplication.clipboard().text()
        expect("napari_dcr.enhance(" in copied, "nothing on the clipboard")
        clear(viewer)


def walk_large(viewer: Any, widget: Any, watch: Watch, side: int) -> float:
    """Preview and enhance large pictures; returns the longest stall during processing."""
    rng = np.random.default_rng(0)
    pictures = {
        "RGB": (rng.integers(0, 60, (side, side, 3), np.uint8), {}),
        "uint16": (rng.integers(0, 600, (side, side), np.uint16), LIMITS),
    }
    worst = 0.0
    for kind, (pixels, shown) in pictures.items():
        name = f"{side} x {side} {kind}"
        viewer.add_image(pixels, **shown)
        widget.controls.restore(START)
        pause(1)
        with watch.phase(f"{name}: napari alone: a layer of that size added"):
            plain = viewer.add_image(pixels.copy(), **shown)
            pause(0.5)
        with watch.phase(f"{name}: napari alone: a layer removed"):
            viewer.layers.remove(plain)
            pause(0.5)
        viewer.scene.camera.zoom *= 1.5
        pause(0.5)
        with watch.phase(f"{name}: napari alone: the data of a layer replaced"):
            viewer.layers[0].data = pixels.copy()
            pause(0.5)
        with watch.phase(f"{name}: preview of {1 / 1.5**2:.0%}"):
            widget.preview.value = True
            settle(widget)
        with watch.phase(f"{name}: strength moved"):
            widget.controls.strength.value = 0.5
            settle(widget)
        widget.controls.strength.value = 1
        widget.preview.value = False
        viewer.reset_view()
        pause(0.5)
        with watch.phase(f"{name}: Run pressed") as laps:
            widget.run.native.click()
        note = viewer.layers.events.inserting.connect(lambda _: laps.append(watch.lap()))
        with watch.phase(f"{name}: run; its layer added"):
            wait(lambda: not widget.running)
            pause(0.5)
        viewer.layers.events.inserting.disconnect(note)
        pressed, ran = laps
        print(f"{name + ': while it ran':<68} {ran}", flush=True)
        worst = max(worst, pressed.stall, ran.stall)
        clear(viewer)
    return worst


def expect(truth: bool, otherwise: str) -> None:
    """Log an error unless a condition holds."""
    if not truth:
        print(otherwise, file=sys.stderr)


def walk(side: int) -> None:
    """Everything."""
    from napari.utils.notifications import notification_manager

    notification_manager.notification_ready.connect(
        lambda note: expect(note.severity <= "info", f"{note.severity}: {note.message}")
    )
    viewer = open_viewer()
    watch = Watch()
    print(f"{'':<58}{'time':>10} {'stall':>9} {'collector':>9} {'beside':>9}")
    with watch.phase("napari alone: the first layer added"):
        viewer.add_image(np.zeros((64, 64), np.uint8))
        pause(0.5)
    clear(viewer)
    with watch.phase("napari alone: an empty dock widget opened"):
        nothing = viewer.window.add_dock_widget(QWidget(), name="nothing")
        QApplication.processEvents()
    viewer.window.remove_dock_widget(nothing)
    pause(0.5)
    with watch.phase("the widget opened"):
        _, widget = viewer.window.add_plugin_dock_widget(*WIDGET)
        QApplication.processEvents()
    print(f"status line: {widget.status.value!r}")
    with watch.phase("PyTorch loaded"):
        wait(lambda: len(widget.controls.device.choices) > 1)
    walk_samples(viewer, widget, watch)
    worst = walk_large(viewer, widget, watch, side)
    expect(worst < LONG_MS, f"the window did not respond for {worst:.0f} ms")

    viewer.add_image(np.zeros((side, side), np.uint16), contrast_limits=(0, 1000))
    widget.run.native.click()
    wait(lambda: widget.bar.value > 0)
    going = widget.run_panel.current
    started = time.perf_counter()
    viewer.close()
    print(f"closed in the middle of a run after {time.perf_counter() - started:.2f} s")
    wait(lambda: not going.is_alive)


def main() -> int:
    """Run all phases; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="of large pictures, in pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryFile("w+") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
        walk(arguments.side)
        sys.stderr.flush()
        log.seek(0)
        troubles = log.read()
    print(troubles or "no warning, no error")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
