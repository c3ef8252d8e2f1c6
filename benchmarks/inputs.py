"""Input images that several benchmarks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr


def noisy_zarr(path: Path, side: int, chunk: int, seed: int = 0) -> None:
    """Write dim uint16 noise of any size to a zarr, one row of chunks at a time."""
    image = zarr.create_array(path, shape=(side, side), chunks=(chunk, chunk), dtype="uint16")
    rng = np.random.default_rng(seed)
    for y in range(0, side, chunk):
        image[y : y + chunk] = rng.integers(100, 900, (min(chunk, side - y), side), np.uint16)
