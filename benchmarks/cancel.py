"""Cancel a run into a zarr from another thread at random moments; measure how long that takes.

    python benchmarks/cancel.py [--cancels 8] [--side 4096] [--seed 0]

Fails if a cancel takes longer than the longest tile plus 0.2 s, or if resuming the last
cancelled run does not give the result of an uninterrupted run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from inputs import noisy_zarr

import napari_dcr

SLACK = 0.2
OPTIONS: dict[str, Any] = {"model": "photo", "device": "cpu", "precision": "fp32"}


class Cancelled(Exception):
    """Raised between two tiles."""


def resident() -> float:
    """Resident memory in MB."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def cancelled(image: Path, out: Path, wait: float) -> tuple[float, float, int]:
    """Start a run and cancel it after ``wait`` seconds.

    Returns
    -------
    seconds : float
        Time from the cancel until the run has returned.
    tile : float
        Longest time between two steps of the run, in seconds.
    pixels : int
        Number of pixels that were finished when the run was cancelled.
    """
    cancel, steps = threading.Event(), [time.perf_counter()]
    done = [0]

    def watch(step: napari_dcr.Progress) -> None:
        steps.append(time.perf_counter())
        done[0] = step.done
        if cancel.is_set():
            raise Cancelled

    def run() -> None:
        with contextlib.suppress(Cancelled):
            napari_dcr.enhance(image, out=out, progress=watch, **OPTIONS)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(wait)
    cancel.set()
    asked = time.perf_counter()
    thread.join()
    return time.perf_counter() - asked, float(np.diff(steps).max()), done[0]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cancels", type=int, default=8)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        image, out, whole = (Path(folder) / f"{n}.zarr" for n in ("in", "out", "whole"))
        noisy_zarr(image, options.side, 512, options.seed)
        started = time.perf_counter()
        expected = napari_dcr.enhance(image, out=whole, **OPTIONS)[...]
        seconds = time.perf_counter() - started
        waits = [generator.uniform(0.1, 0.8) * seconds for _ in range(options.cancels)]
        before = resident()
        print(
            "| cancelled after (s) | returned after (s) | longest tile (s) | pixels done |\n|---|---|---|---|"
        )
        late = 0
        for wait in waits:
            shutil.rmtree(out, ignore_errors=True)
            took, tile, done = cancelled(image, out, wait)
            late += took > tile + SLACK
            print(f"| {wait:.2f} | {took:.2f} | {tile:.2f} | {done} |", flush=True)
        print(f"\nresident memory: {before:.0f} MB before, {resident():.0f} MB after")
        result = napari_dcr.enhance(image, out=out, resume=True, **OPTIONS)[...]
        same = bool((result == expected).all())
    print(
        f"{late} cancels took too long; the resumed result is {'identical' if same else 'different'}"
    )
    if late or not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
