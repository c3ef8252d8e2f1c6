"""Reading and writing of OME-Zarr: axes, scales and pyramids."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.batch.batch import Batch, Stepped
from napari_dcr.cli import main
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io.arrays import open_array
from napari_dcr.io.pyramids import build_pyramid, create_array, halve
from tests.io.conftest import dim, write_ome_zarr

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


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_coarse_levels_leave_out_pixels_without_data(dtype: str) -> None:
    fine = np.array([[-9, -9, -9, 4, 8, 8], [-9, -9, 2, 6, 8, 8]], dtype)
    coarse, _ = halve(fine, "yx", nodata=-9)
    assert coarse.tolist() == [[-9, 4, 8]]
    assert coarse.dtype == dtype


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_a_result_is_replaced_once_the_new_one_is_complete(name: str, tmp_path: Path) -> None:
    image, other, out = dim(40, 56), dim(40, 56, seed=1)[:, :50], tmp_path / name
    same: dict[str, Any] = {**FAST, "strength": 0, "out": out}
    napari_dcr.enhance(image, **same)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="overwrite=True to replace it, or resume=True"):
        napari_dcr.enhance(other, **same)

    def stop(progress: napari_dcr.Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        napari_dcr.enhance(other, overwrite=True, progress=stop, **same)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    result = napari_dcr.enhance(other, overwrite=True, **same)
    for node in (result, zarr.open(out, mode="r")):
        assert np.array_equal((node["0"] if name == "out.ome.zarr" else node)[...], other)
    assert list(tmp_path.iterdir()) == [out]


def test_only_results_are_replaced(tmp_path: Path) -> None:
    image = dim(40, 56)
    zarr.save_array(tmp_path / "own.zarr", image)
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "notes.txt").write_text("mine")
    result = napari_dcr.enhance(image, out=tmp_path / "result.ome.zarr", **FAST)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("own.zarr", "folder.zarr"):
        with pytest.raises(ValueError, match=f"^out: .*{name} exists and is not a result"):
            napari_dcr.enhance(image, out=tmp_path / name, overwrite=True, **FAST)
    place = tmp_path / "result.ome.zarr"
    for source in (place, place / "0", result, result["0"]):
        with pytest.raises(ValueError, match="^out: .* (input file itself|holds)"):
            napari_dcr.enhance(source, out=place, overwrite=True, **FAST)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_shell_replaces_results_in_zarr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    tifffile.imwrite(source / "a.tif", dim(40, 56))
    zarr.save_array(source / "b.zarr", dim(40, 56))
    command = ["enhance", str(source), "-o", str(out), "--device", "cpu", "--depth", "0", "-q"]
    assert main(command) == 0
    assert main(command) == 1
    advice = "b.zarr exists; add --resume to continue it, or add --overwrite to replace it"
    single = ["enhance", str(source / "b.zarr"), "-o", str(out / "b.zarr"), *command[4:]]
    assert main(single) == 1
    assert advice in capsys.readouterr().err
    zarr.open_array(source / "b.zarr", mode="r+").resize((40, 50))
    assert main([*command, "--overwrite", "--strength", "0"]) == 0
    assert np.array_equal(zarr.open_array(out / "b.zarr", mode="r")[...], dim(40, 56)[:, :50])
    assert {path.name for path in out.iterdir()} == {"a.tif", "b.zarr"}


def test_a_stopped_batch_keeps_an_earlier_result(tmp_path: Path) -> None:
    """The window *Enhance files...* removes incomplete results."""
    source, out = tmp_path / "a.zarr", tmp_path / "out.zarr"
    zarr.save_array(source, dim(40, 56))
    result = napari_dcr.enhance(source, out=out, **FAST)[...]
    batch = Batch(
        [str(source)], str(out), napari_dcr.Options(**FAST), overwrite=True, keep_unfinished=False
    )
    with contextlib.closing(batch.steps()) as steps:
        next(event for event in steps if isinstance(event, Stepped) and event.progress.done)
    assert np.array_equal(zarr.open_array(out, mode="r")[...], result)
    assert not batch.is_incomplete(batch.jobs[0])
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_plain_zarr_keeps_its_attributes_and_format(
    tmp_path: Path, zarr_format: int, dtype: str
) -> None:
    attributes = {"_ARRAY_DIMENSIONS": ["lat", "lon"], "exposure": 0.1, "napari_dcr": {"done": 1},
                  "actual_range": [0, 9], "STATISTICS_MEAN": 3}  # fmt: skip
    names = {} if zarr_format == 2 else {"dimension_names": ("lat", "lon")}
    source = zarr.create_array(
        tmp_path / "a.zarr", shape=(40, 50), dtype=dtype, chunks=(40, 50), zarr_format=zarr_format,
        attributes=attributes, fill_value=7, **names,
    )  # fmt: skip
    source[...] = np.random.default_rng(0).poisson(20, (40, 50))
    source[:4] = 7
    how: dict[str, Any] = {"model": "microscopy", "depth": 0, "device": "cpu", "defects": "off"}
    result = napari_dcr.enhance(
        tmp_path / "a.zarr", out=tmp_path / "o.zarr", strength=0, axes="yx", **how
    )
    assert np.array_equal(result[...], source[...])
    assert result.metadata.zarr_format == zarr_format
    assert getattr(result.metadata, "dimension_names", None) == names.get("dimension_names")
    kept = dict(result.attrs)
    assert kept.pop("napari_dcr")["record"]
    assert kept == {"_ARRAY_DIMENSIONS": ["lat", "lon"], "exposure": 0.1}
    if dtype == "uint16":
        assert result.fill_value == 7
        level = napari_dcr.enhance(
            tmp_path / "a.zarr", out=tmp_path / "o.ome.zarr", strength=0, axes="yx", **how
        )["0"]
        assert level.attrs["exposure"] == 0.1
        zarr.open(tmp_path / "a.zarr", mode="r+").attrs["exposure"] = 0.2
        sources = [tmp_path / "a.zarr", tmp_path / "o.zarr"]
        with pytest.warns(napari_dcr.InputWarning, match="attributes of the files differ"):
            both = napari_dcr.enhance(
                sources, out=tmp_path / "both.zarr", strength=0, axes="yx", **how
            )
        assert both.attrs["exposure"] == 0.2


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_an_interrupt_before_the_metadata_leaves_no_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, store: str = "", **__: object) -> None:
        (tmp_path / name).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(zarr, "create_array", interrupted)
    monkeypatch.setattr(zarr, "open_group", interrupted)
    with pytest.raises(KeyboardInterrupt):
        napari_dcr.enhance(dim(40, 56), out=tmp_path / name, **FAST)
    assert not list(tmp_path.iterdir())
