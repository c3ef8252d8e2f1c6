"""Largest difference between tiled and whole-image results in fp32, with the shipped weights.

    python benchmarks/exactness.py

Tests tiles of 128 to 1024 pixels, all depths, and both settings of the detail module, on an image whose
sides are not multiples of any tile size. Differences are in units of the full range.
"""

from __future__ import annotations

import numpy as np
import torch

import napari_dcr
from napari_dcr.network import weights

TILES = (128, 200, 256, 384, 512, 768, 1024)
SIZE = 1117, 1531


def main() -> None:
    """Print a Markdown table and fail if a difference is above 1e-5."""
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    image = (rng.random((*SIZE, 3), np.float32) ** 4).astype(np.float32)
    model = "photo"
    stages = weights.load(model).network.stages
    worst = 0.0
    print(f"{SIZE[1]} x {SIZE[0]} RGB float32, fp32; largest |tiled - whole|\n")
    print("| depth | detail | " + " | ".join(f"tile {t}" for t in TILES) + " |")
    print("|---" * (2 + len(TILES)) + "|")
    for depth in range(stages + 1):
        for detail in (True, False) if depth else (True,):

            def enhance(tile: int, depth: int = depth, detail: bool = detail) -> np.ndarray:
                return napari_dcr.enhance(
                    image, model=model, depth=depth, detail=detail, tile=tile,
                    device="cpu", precision="fp32",
                )  # fmt: skip

            whole = enhance(2048)
            row = [float(np.abs(enhance(tile) - whole).max()) for tile in TILES]
            worst = max(worst, *row)
            switch = "on" if detail else "off"
            print(
                f"| {depth} | {switch} | " + " | ".join(f"{d:.1e}" for d in row) + " |", flush=True
            )
    print(f"\nlargest difference: {worst:.1e}")
    if worst > 1e-5:
        raise SystemExit("above 1e-5")


if __name__ == "__main__":
    main()
