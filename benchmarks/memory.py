"""Peak memory of whole runs, and memory per pixel of a window.

    python benchmarks/memory.py runs [--sides 4096 16384] [--depth 3] [--precision fp32] [--model photo]
    python benchmarks/memory.py windows

``runs`` enhances a uint16 zarr to another zarr, each in a fresh process, and prints by how much the peak
of resident memory exceeds its value after all imports. ``windows`` fits peak memory as a function of the
number of pixels in a window, for networks of several widths (channels at half resolution). The automatic
window size is derived from this slope.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from inputs import noisy_zarr

PROBE = """
import resource, sys
import torch
from napari_dcr.engine import allocator
from napari_dcr.engine.devices import torch_dtype
from napari_dcr.network.cascade import Cascade, CascadeConfig
side, precision, width = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(2)
config = CascadeConfig(widths=(width, 2 * width, 4 * width))
network = Cascade(config).eval().placed_on(torch.device("cpu"))
local = network.with_precision(torch_dtype(precision))
window = torch.rand(1, 3, side, side)
conditioning = network.condition(torch.rand(1, 3, 64, 64))
place = network.window_weights((0, side), (0, side), (side, side))
with allocator.keep_mapped(), torch.inference_mode():
    for _ in range(4):  # memory that stays mapped has holes from the second window on
        local(window, conditioning, place, network.stages)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""

RUN = """
import resource, sys, time
import numpy, zarr
import napari_dcr
from napari_dcr.network import weights
import torch
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
source, result, depth, precision, model = sys.argv[1:]
weights.load(model)
before, started = peak(), time.perf_counter()
napari_dcr.enhance(
    source, out=result, model=model, depth=int(depth), device="cpu", precision=precision
)
print(before, peak(), time.perf_counter() - started)
"""

SIDES = (512, 1024, 1536, 2048)
WIDTHS = (16, 32, 64)


def run_in_fresh_process(code: str, *arguments: object) -> list[float]:
    """Run a program in a fresh process and return the numbers that it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measure_windows() -> None:
    """Print a Markdown table of peak memory by precision, width of the network and side of the window."""
    print(
        "| precision | width | " + " | ".join(f"{s}^2: MB" for s in SIDES) + " | bytes per pixel |"
    )
    print("|---" * (3 + len(SIDES)) + "|")
    for precision in ("fp32", "bf16"):
        for width in WIDTHS:
            peaks = [run_in_fresh_process(PROBE, side, precision, width)[0] for side in SIDES]
            slope = np.polyfit(np.square(SIDES), peaks, 1)[0]
            cells = " | ".join(f"{p / 1e6:.0f}" for p in peaks)
            print(f"| {precision} | {width} | {cells} | {slope:.0f} |", flush=True)


def measure_runs(sides: list[int], depth: int, precision: str, model: str) -> None:
    """Print a Markdown table of peak memory and time by side of the image."""
    print("| side | after imports (MB) | peak above that (MB) | minutes |\n|---|---|---|---|")
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            noisy_zarr(Path(folder) / "in.zarr", side, 1024)
            source, result = f"{folder}/in.zarr", f"{folder}/out.zarr"
            before, peak, seconds = run_in_fresh_process(
                RUN, source, result, depth, precision, model
            )
        print(
            f"| {side} | {before / 1e6:.0f} | {(peak - before) / 1e6:.0f} | {seconds / 60:.1f} |",
            flush=True,
        )


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["runs", "windows"])
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--model", default="photo")
    options = parser.parse_args()
    if options.what == "runs":
        measure_runs(options.sides, options.depth, options.precision, options.model)
    else:
        measure_windows()


if __name__ == "__main__":
    main()
