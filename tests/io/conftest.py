"""Images on disk and their expected results, for the tests of files and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main


@pytest.fixture(scope="module")
def expected(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    result: NDArray[np.uint16] = napari_dcr.enhance(stack, axes="tyx", **FAST)
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


FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


def dim(height: int, width: int, dtype: str = "uint8", seed: int = 1) -> NDArray[Any]:
    """A dim scene with Poisson noise; 12 bits of 16 where the dtype has them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    photons = rng.poisson(18 + 12 * np.sin(y / 6) * np.cos(x / 9)).astype(dtype)
    return photons if dtype == "uint8" else (photons * np.array(60, dtype)).astype(dtype)


def dim_colour(height: int, width: int, dtype: str = "uint8") -> NDArray[Any]:
    """A dim scene in colour."""
    grey = dim(height, width, dtype)
    return np.stack([grey, grey // 2 + 3, grey // 3 + 5], -1)


def shell(source: Path, target: Path, *arguments: str) -> int:
    """Run the shell's command on a file."""
    fast = ("--model", "photo", "--depth", "0", "--device", "cpu", "--precision", "fp32", "-q")
    return main(["enhance", str(source), "-o", str(target), *fast, *arguments])


def three_ways(source: Path) -> tuple[NDArray[Any], Path, Path]:
    """Enhance a TIFF in memory, by region and through the shell; all give the same pixels."""
    folder = source.parent
    regions, whole = folder / "by-region.tif", folder / "by-shell.tif"
    for path in (regions, whole):
        path.unlink(missing_ok=True)
    result: NDArray[Any] = napari_dcr.enhance(source, **FAST)
    assert napari_dcr.enhance(source, out=regions, **FAST) == regions
    assert shell(source, whole) == 0
    assert np.array_equal(tifffile.imread(regions), result)
    assert np.array_equal(tifffile.imread(whole), result)
    return result, regions, whole
