"""Repeat the steps of the user guide: open a sample, tick Preview and Compare, press Run.

    python benchmarks/walk.py --times 10

Each combination of sample, model and *Compare* runs in a separate process with a real window (on Linux
without a display: ``xvfb-run -a python benchmarks/walk.py``). The exit status is the number of
combinations that failed.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable


def walk(sample: str, model: str, compare: bool, times: int, depth: int) -> None:
    """Take the steps in this process."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    application = QApplication.instance()
    assert application is not None

    def wait(done: Callable[[], bool], seconds: float = 1800) -> None:
        end = time.monotonic() + seconds
        while not done():
            application.processEvents()
            time.sleep(0.005)
            if time.monotonic() > end:
                raise TimeoutError

    def pause(seconds: float) -> None:
        end = time.monotonic() + seconds
        wait(lambda: time.monotonic() > end)

    _, widget = viewer.window.add_plugin_dock_widget("napari-dcr")
    wait(lambda: len(widget.controls.device.choices) > 1)
    widget.controls.model.value = model
    for _ in range(times):
        (layer,) = viewer.open_sample("napari-dcr", sample)[:1]
        pause(0.3)
        widget.controls.image.value = layer
        widget.controls.depth.value = depth
        widget.preview.value = True
        wait(
            lambda: (
                widget.view_panel.updater.layer is not None and not widget.view_panel.updater.busy
            )
        )
        widget.compare.value = compare
        pause(0.3)
        widget.run.native.click()
        wait(lambda: not widget.running)
        pause(0.4)
        widget.compare.value = False
        pause(0.3)
        while viewer.layers:
            viewer.layers.pop()
            pause(0.3)
    viewer.close()


def main() -> int:
    """Run all combinations, each in a process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--samples", nargs="+", default=["earth-at-night", "nuclei"])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sample, model, compare = options.one
        walk(sample, model, compare == "compare", options.times, options.depth)
        return 0
    failed = 0
    for one in itertools.product(options.samples, ("photo", "microscopy"), ("compare", "plain")):
        rest = ["--times", str(options.times), "--depth", str(options.depth)]
        ended = subprocess.run([sys.executable, __file__, "--one", *one, *rest], check=False)
        failed += ended.returncode != 0
        print(*one, f"{options.times} times:", "ok" if ended.returncode == 0 else ended.returncode)
    return failed


if __name__ == "__main__":
    sys.exit(main())
