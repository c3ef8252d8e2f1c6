"""Images on disk and their expected results, for the tests of files and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import napari_dcr


@pytest.fixture(scope="module")
def expected(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    result: NDArray[np.uint16] = napari_dcr.enhance(
        stack, axes="tyx", depth=0, device="cpu", precision="fp32"
    )
    return result


def write_ome_zarr(path: Path, stack: NDArray[Any]) -> None:
    group = zarr.open_group(path, mode="w")
    group.create_array("fine", data=stack, chunks=(1, 64, 100))
    group.create_array("coarse", data=stack[:, ::2, ::2])
    scales = [[1.0, 0.5, 0.5], [1.0, 1.0, 1.0]]
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for name, scale in zip(("fine", "coarse"), scales, strict=True)
    ]
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    image = {"name": "cells", "axes": axes, "datasets": datasets}
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}})


def random(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)
