"""Measure frame rate, latency, stalls and memory of live enhancement (512 x 512 pixels, uint16).

    python benchmarks/live.py frames [--count 300]
    xvfb-run -a python benchmarks/live.py window [--seconds 60] [--rate 60]

``frames`` calls `napari_dcr.LiveEnhancer` in a loop. It prints frames per second, the range of the
mean brightness of a constant scene relative to its mean, and the resident memory after a tenth of
the frames and at the end.

``window`` starts a thread that sends frames to a layer in napari while *Live* is on. Like a camera, it
drops a frame if the window has not taken the last one; otherwise frames would wait in the window's event
queue for ever longer times. It prints the frames that reached the layer and the displayed frames per
second, the latency from the arrival of a frame to its display, the longest time in which the window did
not respond, and the resident memory at the beginning and at the end. The first row is measured without
*Live*: faster than this, napari alone cannot draw the layer.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

SIDE = 512

CASES = [(model, depth) for model in ("photo", "microscopy") for depth in (1, 3)]


def camera(count: int = 16) -> list[NDArray[np.uint16]]:
    """Frames of a constant scene."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    light = 60 + 40 * np.sin(x / 30) * np.cos(y / 40)
    frames = rng.poisson(light, (count, SIDE, SIDE)) + rng.normal(100, 3, (count, SIDE, SIDE))
    return list(frames.clip(0).astype(np.uint16))


def endless(frames: list[NDArray[np.uint16]]) -> Iterator[NDArray[np.uint16]]:
    """Repeat the frames without end."""
    while True:
        yield from frames


def measure_frames(count: int) -> None:
    """Measure `LiveEnhancer` alone, and print a Markdown table."""
    import napari_dcr

    print("| model | depth | frames per second | brightness varies by | memory, MB |\n|---|---|---|---|---|")  # fmt: skip
    for model, depth in CASES:
        frames = endless(camera())
        with napari_dcr.LiveEnhancer(model=model, depth=depth, device="cpu") as live:
            for _ in range(16):
                live(next(frames))
            means, memory = [], []
            started = time.perf_counter()
            for number in range(count):
                means.append(float(live(next(frames)).mean()))
                if number in (count // 10, count - 1):
                    memory.append(f"{psutil.Process().memory_info().rss / 1e6:.0f}")
            seconds = time.perf_counter() - started
        varies = np.ptp(means) / np.mean(means)
        print(f"| {model} | {depth} | {count / seconds:.1f} | {varies:.2%} | {' to '.join(memory)} |", flush=True)  # fmt: skip


def measure_window(seconds: float, rate: float) -> None:
    """Measure *Live* in a window of napari, and print a Markdown table."""
    from qtpy.QtCore import QObject, Signal
    from qtpy.QtWidgets import QApplication
    from window import WIDGET, open_viewer, pause, wait

    class Camera(QObject):  # type: ignore[misc]
        arrived = Signal(object)

    viewer = open_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(*WIDGET)
    wait(lambda: len(widget.controls.device.choices) > 1)
    frames = camera()
    layer = viewer.add_image(frames[0], name="camera")
    source, taken = Camera(), threading.Event()
    counts = {"taken": 0, "drawn": 0, "shown": 0}

    def show(pixels: NDArray[np.uint16]) -> None:
        layer.data = pixels
        counts["taken"] += 1
        taken.set()

    def count_drawing(_: object) -> None:
        counts["drawn"] += 1

    def count_result(_: object) -> None:
        counts["shown"] += 1

    source.arrived.connect(show)
    # napari has no public event for a redrawn canvas.
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(count_drawing)
    follower = widget.view_panel.follower
    print(
        "| model | depth | taken per second | results per second | drawings per second | latency, ms |"
        " longest stall, ms | memory, MB |\n|---|---|---|---|---|---|---|---|"
    )
    for model, depth in [("none", None), *CASES]:
        if depth is not None:
            widget.controls.image.value = layer
            widget.controls.model.value, widget.controls.depth.value = model, depth
            widget.live.value = True
            wait(lambda: follower.layer is not None)
            follower.layer.events.set_data.connect(count_result)
        stop = threading.Event()

        def push(stop: threading.Event = stop) -> None:
            taken.set()
            for frame in endless(frames):
                if stop.wait(1 / rate):
                    return
                if taken.is_set():
                    taken.clear()
                    source.arrived.emit(frame)

        thread = threading.Thread(target=push)
        thread.start()
        pause(3)
        latencies, stall, memory = [], 0.0, [psutil.Process().memory_info().rss / 1e6]
        counts.update(taken=0, drawn=0, shown=0)
        started = last = reported_at = time.perf_counter()
        while last < started + seconds:
            QApplication.processEvents()
            now = time.perf_counter()
            stall, last = max(stall, now - last), now
            if now > reported_at + 1:
                if latency := follower.rates()[1]:  # 0 if no result was shown for five seconds
                    latencies.append(latency)
                reported_at = now
            time.sleep(0.001)
        took = last - started
        memory.append(psutil.Process().memory_info().rss / 1e6)
        stop.set()
        thread.join()
        widget.live.value = False
        rates = {key: count / took for key, count in counts.items()}
        of_results = ("", "")
        if depth is not None:
            of_results = f"{rates['shown']:.1f}", f"{1000 * np.mean(latencies):.0f}"
        print(
            f"| {model} | {'' if depth is None else depth} | {rates['taken']:.1f} |"
            f" {of_results[0]} | {rates['drawn']:.1f} | {of_results[1]} | {1000 * stall:.0f} | {memory[0]:.0f} to {memory[1]:.0f} |",
            flush=True,
        )
        pause(1)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    what: Any = parser.add_subparsers(required=True, dest="what")
    of_frames = what.add_parser("frames")
    of_frames.add_argument("--count", type=int, default=300)
    of_window = what.add_parser("window")
    of_window.add_argument("--seconds", type=float, default=60)
    of_window.add_argument("--rate", type=float, default=60)
    options = parser.parse_args()
    if options.what == "frames":
        measure_frames(options.count)
    else:
        measure_window(options.seconds, options.rate)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
