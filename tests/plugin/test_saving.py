"""Scale, position and units in the file of a saved result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image

import napari_dcr
from napari_dcr.plugin.axes import layer_axes
from napari_dcr.plugin.run import Job, Product, work


def saved(layer: Image, folder: Path, axes: str | None = None) -> dict[str, Any]:
    """Multiscale metadata of the file that a run writes."""
    options = napari_dcr.Options(depth=0, axes=axes or layer_axes(layer), device="cpu")
    (product,) = (x for x in work([Job(layer, options, folder=folder)]) if isinstance(x, Product))
    group = zarr.open_group(product.enhancement.record["path"], mode="r")
    (image,) = group.attrs["ome"]["multiscales"]  # type: ignore[index, call-overload, misc]
    return dict(image)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("shape", "labels", "scale", "translate", "units", "written"),
    [
        ((40, 50), ("y", "x"), (0.25, 0.5), (0, 0), ("um", "um"), ["micrometer"] * 2),
        ((3, 40, 50), ("t", "y", "x"), (2.5, 1, 1), (1, 0, 7), ("s", "nm", "nm"),
         ["second", "nanometer", "nanometer"]),
        ((2, 3, 40, 50), ("c", "z", "y", "x"), (1, 3, -0.2, 0.2), (0, 9, 5, 5),
         ("pixel", "mm", "mm", "mm"), [None, *["millimeter"] * 3]),
    ],
)  # fmt: skip
def test_scale_position_and_units_of_a_layer_are_written(
    tmp_path: Path,
    shape: tuple[int, ...],
    labels: tuple[str, ...],
    scale: tuple[float, ...],
    translate: tuple[float, ...],
    units: tuple[str, ...],
    written: list[str | None],
) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, shape, np.uint8)
    layer = Image(
        da.from_array(pixels), contrast_limits=(0, 60), name="cells",
        axis_labels=labels, scale=scale, translate=translate, units=units,
    )  # fmt: skip
    image = saved(layer, tmp_path)
    assert [axis["name"] for axis in image["axes"]] == list(labels)
    assert [axis.get("unit") for axis in image["axes"]] == written
    changes = {c["type"]: c for c in image["datasets"][0]["coordinateTransformations"]}
    assert changes["scale"]["scale"] == list(scale)
    assert changes.get("translation", {"translation": [0] * len(shape)})["translation"] == list(
        translate
    )


def test_coarser_levels_have_coarser_scales_and_colours_none(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (40, 1100, 3), np.uint8)
    layer = Image(pixels, rgb=True, scale=(0.5, 0.2), units=("um", "um"))
    image = saved(layer, tmp_path)
    assert [axis.get("unit") for axis in image["axes"]] == ["micrometer", "micrometer", None]
    scales = [d["coordinateTransformations"][0]["scale"] for d in image["datasets"]]
    assert scales[:2] == [[0.5, 0.2, 1], [1, 0.4, 1]]


def test_metadata_of_an_ome_zarr_are_kept_where_the_layer_has_none(tmp_path: Path) -> None:
    source = tmp_path / "source.ome.zarr"
    pixels = np.random.default_rng(0).integers(0, 60, (40, 50), np.uint8)
    napari_dcr.enhance(pixels, depth=0, axes="yx", device="cpu", out=source)
    group = zarr.open_group(source)
    attributes: Any = dict(group.attrs)
    place = attributes["ome"]["multiscales"][0]
    place["datasets"][0]["coordinateTransformations"][0]["scale"] = [0.3, 0.4]
    place["axes"][0]["unit"] = "angstrom"
    group.update_attributes(attributes)
    bare = Image(zarr.open_array(source / "0", mode="r"), contrast_limits=(0, 60))
    image = saved(bare, tmp_path / "a", "yx")
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.3, 0.4]
    assert image["axes"][0]["unit"] == "angstrom"
    bare.scale = (7, 8)
    image = saved(bare, tmp_path / "b", "yx")
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [7, 8]


@pytest.mark.parametrize(
    "place", [{"rotate": 30}, {"shear": [0.2]}, {"affine": np.diag([2, 1, 1])}]
)
def test_a_warning_names_transforms_that_a_file_cannot_store(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    layer = Image(np.random.default_rng(0).integers(0, 60, (40, 50), np.uint8), **place)
    with pytest.warns(napari_dcr.InputWarning, match="rotation, shear and affine"):
        saved(layer, tmp_path)


def test_the_home_folder_is_no_folder_named_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 60, (40, 50), np.uint8)
    saved(Image(da.from_array(pixels), contrast_limits=(0, 60), name="cells"), Path("~/res"))
    assert (tmp_path / "res" / "cells DCR.ome.zarr").is_dir()
