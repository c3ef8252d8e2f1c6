"""Check that memory, threads and open files of a process do not grow with the number of calls.

    python benchmarks/steady.py [--calls 500]

The script calls enhance() with images of random size and kind. After every 50 calls it prints the
resident memory and the numbers of Python objects, threads and open files.

PyTorch caches compiled convolutions for each size of image, up to a number of them.  To see the memory
without these caches, set ONEDNN_PRIMITIVE_CACHE_CAPACITY=8 and LRU_CACHE_CAPACITY=8.
"""

from __future__ import annotations

import argparse
import gc
import threading
import warnings
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

import napari_dcr


def image(rng: np.random.Generator) -> tuple[NDArray[Any], dict[str, Any]]:
    """Draw a random image and its options."""
    height, width = (int(n) for n in rng.integers(40, 400, 2))
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 60, (height, width, 3), np.uint8), {}
    if kind == 1:
        return rng.poisson(30, (height, width)).astype(np.uint16), {}
    if kind == 2:
        return rng.poisson(30, (4, height // 4 + 16, width)).astype(np.uint16), {"axes": "tyx"}
    if kind == 3:
        return rng.random((height, width, 4), np.float32), {"depth": 1}
    return rng.poisson(9, (2, height, width)).astype(np.float32), {"axes": "cyx", "model": "photo"}


def main() -> None:
    """Call enhance() repeatedly, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--calls", type=int, default=500)
    calls = parser.parse_args().calls
    rng, process = np.random.default_rng(0), psutil.Process()
    print("| calls | resident, MB | objects | threads | files |\n|---|---|---|---|---|")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(1, calls + 1):
            pixels, options = image(rng)
            napari_dcr.enhance(pixels, device="cpu", **options)
            if number % 50 == 0 or number == calls:
                gc.collect()
                print(
                    f"| {number} | {process.memory_info().rss / 1e6:.0f} | {len(gc.get_objects())} |"
                    f" {threading.active_count()} | {process.num_fds()} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
