"""OME-Zarr in and out: axes, scales and pyramids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.io.arrays import open_array
from napari_dcr.io.ome_zarr import halve
from tests.io.conftest import write_ome_zarr

FAST: dict[str, Any] = {"depth": 0, "device": "cpu", "precision": "fp32"}


def test_ome_zarr_in_ome_zarr_out(
    tmp_path: Path, stack: NDArray[np.uint16], expected: NDArray[np.uint16]
) -> None:
    wide = np.concatenate([stack, stack[:, :, :301]], 2)
    write_ome_zarr(tmp_path / "in.zarr", wide)
    group = napari_dcr.enhance(tmp_path / "in.zarr", out=tmp_path / "out.zarr", **FAST)
    fine, coarse = group["0"][...], group["1"][...]
    assert fine.shape == (2, 300, 721)
    assert (coarse == halve(fine, "tyx")).all()
    (image,) = group.attrs["ome"]["multiscales"]
    assert [axis.get("unit") for axis in image["axes"]] == ["second", "micrometer", "micrometer"]
    assert image["name"] == "cells"
    first, second = (level["coordinateTransformations"] for level in image["datasets"])
    assert first == [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    assert second[0]["scale"] == [1, 1, 1]
    assert second[1] == {"type": "translation", "translation": [0, 0.25, 0.25]}
    # What was written is read again, and so is a level of it by its own path.
    again = open_array(group)
    assert (again.axes, again.array.shape) == ("tyx", fine.shape)
    level = napari_dcr.enhance(tmp_path / "out.zarr" / "1", **FAST)
    assert level.shape == coarse.shape


def test_halving_takes_means() -> None:
    plane = np.array([[0, 2, 8], [2, 4, 11]], np.uint8)
    assert halve(plane, "yx").tolist() == [[2, 10]]
    assert halve(plane.T.astype(np.float32), "xy").tolist() == [[2], [9.5]]
