"""Peak memory per pixel of a window: what the automatic tile size is chosen by.

    python benchmarks/memory.py

Every window is run in a fresh process; the slope of peak resident memory over
the window's pixels is printed for each precision.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

PROBE = """
import resource, sys
import torch
from napari_dcr.engine.devices import torch_dtype
from napari_dcr.network import weights
side, precision = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(2)
network = weights.load("photo").network.placed_on(torch.device("cpu"))
local = network.with_precision(torch_dtype(precision))
window = torch.rand(1, 3, side, side)
conditioning = network.condition(torch.rand(1, 3, 64, 64))
place = network.window_weights((0, side), (0, side), (side, side))
with torch.inference_mode():
    local(window, conditioning, place, network.stages)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""

SIDES = (512, 1024, 1536, 2048)


def main() -> None:
    """Print a Markdown table."""
    print("| precision | " + " | ".join(f"{s}^2: MB" for s in SIDES) + " | bytes per pixel |")
    print("|---" * (2 + len(SIDES)) + "|")
    for precision in ("fp32", "bf16"):
        peaks = []
        for side in SIDES:
            command = [sys.executable, "-c", PROBE, str(side), precision]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(int(done.stdout))
        slope = np.polyfit(np.square(SIDES), peaks, 1)[0]
        cells = " | ".join(f"{p / 1e6:.0f}" for p in peaks)
        print(f"| {precision} | {cells} | {slope:.0f} |", flush=True)


if __name__ == "__main__":
    main()
