"""Measure how quickly the napari window responds: first preview, and runs on a busy machine.

    xvfb-run -a python benchmarks/responsiveness.py

The time of the first preview in a new window is divided by that of enhance() for the same 1600 x 1065
pixels.  The processor time of all threads, including those that draw the window, is less affected by
other processes than the elapsed time.  Then two channels of 8 x 256 x 256 are enhanced, first on the
idle machine, then while another process keeps two threads busy; the second time is divided by the
first.  Each row also contains the longest time in which the window did not respond.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from qtpy.QtWidgets import QApplication
from window import WIDGET, clear, open_viewer, pause, wait

import napari_dcr

LOAD = "import torch; torch.set_num_threads(2); a = torch.rand(1500, 1500)\nwhile True: a @ a"


def process_events(until: Callable[[], bool]) -> tuple[float, float]:
    """Process events until a condition holds; returns the duration and the longest stall in seconds."""
    started = last = time.perf_counter()
    stall = 0.0
    while not until():
        QApplication.processEvents()
        now = time.perf_counter()
        stall, last = max(stall, now - last), now
        time.sleep(0.001)
    return time.perf_counter() - started, stall


def main() -> None:
    """Measure and print a Markdown table."""
    viewer = open_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(*WIDGET)
    wait(lambda: len(widget.controls.device.choices) > 1)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 50, (1065, 1600, 3), np.uint8)
    print(
        "| what | seconds | quotient | longest stall, ms | processor seconds |\n|---|---|---|---|---|"
    )

    viewer.add_image(picture, name="picture")
    pause(1)
    processor = time.process_time()
    widget.preview.value = True
    preview, stall = process_events(lambda: widget.status.value == "Preview ready")
    of_preview = time.process_time() - processor
    widget.preview.value = False
    napari_dcr.enhance(picture[:64, :64], device="cpu")
    started, processor = time.perf_counter(), time.process_time()
    napari_dcr.enhance(picture + np.uint8(1), device="cpu")
    seconds = time.perf_counter() - started
    processor = time.process_time() - processor
    print(f"| enhance(), 1600 x 1065, RGB | {seconds:.2f} | | | {processor:.2f} |")
    print(
        f"| first preview of the same picture | {preview:.2f} | {preview / seconds:.2f} |"
        f" {1000 * stall:.0f} | {of_preview:.2f} |"
    )
    clear(viewer)

    recording = rng.poisson(30, (2, 8, 256, 256)).astype(np.uint16) + 100
    idle = 0.0
    for name in ("idle", "busy"):
        layer = viewer.add_image(recording, axis_labels=("c", "z", "y", "x"), name=name)
        widget.controls.image.value = layer
        load = subprocess.Popen([sys.executable, "-c", LOAD]) if name == "busy" else None
        pause(8 if load else 1)
        try:
            widget.start()
            seconds, stall = process_events(lambda: not widget.running)
        finally:
            if load is not None:
                load.kill()
        idle = idle or seconds
        print(
            f"| run of 2 x 8 x 256 x 256, {name} | {seconds:.2f} | {seconds / idle:.2f} |"
            f" {1000 * stall:.0f} | |",
            flush=True,
        )
        clear(viewer)
    sys.stdout.flush()
    os._exit(0)  # skip the slow shutdown of napari


if __name__ == "__main__":
    main()
