"""Reading and writing of OME-Zarr: axes, scales and pyramids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io.arrays import open_array
from napari_dcr.io.pyramids import build_pyramid, create_array, halve
from tests.io.conftest import write_ome_zarr

FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


def test_ome_zarr_in_ome_zarr_out(
    tmp_path: Path, stack: NDArray[np.uint16], expected: NDArray[np.uint16]
) -> None:
    wide = np.concatenate([stack, stack[:, :, :301]], 2)
    write_ome_zarr(tmp_path / "in.zarr", wide)
    group = napari_dcr.enhance(tmp_path / "in.zarr", out=tmp_path / "out.zarr", **FAST)
    fine, coarse = group["0"][...], group["1"][...]
    assert fine.shape == (2, 300, 721)
    assert (coarse == halve(fine, "tyx")[0]).all()
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
    assert halve(plane, "yx")[0].tolist() == [[2, 10]]
    assert halve(plane.T.astype(np.float32), "xy")[0].tolist() == [[2], [9.5]]


@pytest.mark.parametrize("light", [1, 10, 1000])
@pytest.mark.parametrize("chunk", [512, 120])
def test_levels_keep_the_mean(light: int, chunk: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(light).poisson(light, (1500, 1301)).astype(np.uint16)
    layout = Layout(pixels.shape, "yx")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    create_array(group, "0", layout, pixels.dtype, (chunk, chunk))[...] = pixels
    for _ in build_pyramid(group, layout):
        pass
    # An odd last row or column is not averaged, so it would count twice in a mean of the whole.
    expected = pixels[:1496, :1296].mean()
    assert len(list(group.array_keys())) == 3
    for level in (1, 2):
        found = group[str(level)][: 1496 >> level, : 1296 >> level]
        assert found.mean() == pytest.approx(expected, rel=1e-3)
        exact = pixels[:1496, :1296].reshape(1496 >> level, 1 << level, 1296 >> level, 1 << level)
        assert np.abs(found - exact.mean((1, 3))).max() < 2
    assert np.array_equal(group["1"][...], halve(pixels, "yx")[0])  # for every size of the chunks


@pytest.mark.parametrize("axes", ["tyx", "cyx"])
def test_sharded_arrays_give_sharded_results(axes: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).poisson(40, (2, 600, 700)).astype(np.uint16)
    group = zarr.open_group(tmp_path / "in.zarr", mode="w")
    array = group.create_array(
        "0", shape=pixels.shape, dtype="uint16", chunks=(1, 64, 128), shards=(2, 256, 512),
        dimension_names=list(axes),
    )  # fmt: skip
    array[...] = pixels
    kinds = {"t": "time", "c": "channel", "y": "space", "x": "space"}
    image = {
        "axes": [{"name": a, "type": kinds[a]} for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * 3}]}],
    }  # fmt: skip
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}})
    expected = napari_dcr.enhance(pixels, axes=axes, **FAST)
    for source, name in ((tmp_path / "in.zarr", "image.zarr"), (tmp_path / "in.zarr" / "0", "level.zarr")):  # fmt: skip
        made = napari_dcr.enhance(source, out=tmp_path / name, **FAST)
        assert np.array_equal(made["0"][...], expected)
        assert made["0"].shards == (1, 256, 512)
        assert made["0"].chunks == (1, 64, 128)
        assert made["1"].shards == (1, 256, 512)
        assert np.array_equal(made["1"][...], halve(expected, axes)[0])
    array = zarr.create_array(tmp_path / "plain.zarr", data=pixels[0], chunks=(50, 100), shards=(300, 200))  # fmt: skip
    made = napari_dcr.enhance(tmp_path / "plain.zarr", out=tmp_path / "plain-out.zarr", **FAST)
    assert (made.shards, made.chunks) == ((300, 200), (50, 100))
    assert np.array_equal(made[...], napari_dcr.enhance(pixels[0], **FAST))


def test_an_order_of_axes_that_the_standard_does_not_allow_is_named(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).poisson(40, (2, 3, 40, 50)).astype(np.uint16)
    with pytest.warns(InputWarning, match="axes: zcyx is not an order that OME-Zarr allows"):
        made = napari_dcr.enhance(pixels, axes="zcyx", out=tmp_path / "a.ome.zarr", **FAST)
    assert made["0"].shape == pixels.shape
    with pytest.raises(ValueError, match="not in the required order"):
        yaozarrs.validate_zarr_store(str(tmp_path / "a.ome.zarr"))


@pytest.mark.parametrize("axes", ["xy", "yxz"])
def test_axes_of_space_may_have_any_order(
    tmp_path: Path, axes: str, recwarn: pytest.WarningsRecorder
) -> None:
    pixels = np.random.default_rng(0).poisson(40, (40, 50, 3)[: len(axes)]).astype(np.uint16)
    napari_dcr.enhance(pixels, axes=axes, out=tmp_path / "a.ome.zarr", **FAST)
    assert not [w for w in recwarn if "OME-Zarr" in str(w.message)]
    yaozarrs.validate_zarr_store(str(tmp_path / "a.ome.zarr"))


SCALE = {"type": "scale", "scale": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize(
    ("axes", "datasets", "message"),
    [
        ("zyx", [{"path": "1"}], "the array '1' of its finest level is missing"),
        ("zyx", [], "the list of its levels is missing"),
        ("zyx", None, "the list of its levels is missing"),
        ("zyx", [{}], "the list of its levels is missing"),
        ("yx", [{"path": "0"}], "its metadata describe 2 axes, but its array '0' has 3"),
        ("tczyx", [{"path": "0"}], "its metadata describe 5 axes, but its array '0' has 3"),
        ("zyx", [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0]}]}],
         "a scale of 1 values, but its array '0' has 3 axes"),
        ("zyx", [{"path": "0", "coordinateTransformations": [SCALE, {"type": "translation", "translation": [0.0] * 5}]}],
         "a translation of 5 values, but its array '0' has 3 axes"),
    ],
)  # fmt: skip
def test_metadata_that_do_not_describe_the_array_are_an_error(
    axes: str, datasets: Any, message: str, tmp_path: Path
) -> None:
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.random.default_rng(0).poisson(9, (2, 40, 30)).astype("u2"))
    image = {"version": "0.4", "axes": [{"name": a} for a in axes]}
    if datasets is not None:
        image["datasets"] = datasets
    group.update_attributes({"multiscales": [image]})
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        napari_dcr.enhance(tmp_path / "in.zarr", out=tmp_path / "out.zarr", **FAST)
    assert str(raised.value).startswith(f"image: {tmp_path / 'in.zarr'}: ")
    assert not (tmp_path / "out.zarr").exists()
    if "has 3" in message:  # the array can be read without its metadata, as the message says
        opened = open_array(zarr.open(store=str(tmp_path / "in.zarr" / "0"), mode="r"))
        assert (opened.array.shape, opened.axes) == ((2, 40, 30), None)


def test_any_error_of_damaged_metadata_names_the_zarr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((8, 8)))

    def open_damaged(**_: Any) -> None:
        raise KeyError("chunks")

    monkeypatch.setattr(zarr, "open", open_damaged)
    with pytest.raises(
        ValueError, match=r"a\.zarr cannot be opened as zarr: .*damaged \(KeyError: 'chunks'\)"
    ):
        napari_dcr.enhance(tmp_path / "a.zarr", **FAST)
