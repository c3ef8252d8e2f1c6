"""Tests of OME-Zarr plates: one run enhances all fields, and keeps the metadata of the plate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main

FAST = ("--depth", "0", "--device", "cpu", "-q")
WELLS = ("A/1", "A/2", "B/1")


def pixels(number: int) -> NDArray[np.uint16]:
    return np.random.default_rng(number).poisson(30 + 10 * number, (2, 40, 56)).astype(np.uint16)


def attributes(version: str, own: dict[str, Any]) -> dict[str, Any]:
    if version == "0.5":
        return {"ome": {"version": version, **own}}
    return {key: [{"version": version, **v[0]}] if key == "multiscales" else {"version": version, **v} for key, v in own.items()}  # fmt: skip


def write_plate(path: Path, version: str, fields: int = 2) -> Path:
    """Write a plate with three wells of two fields with two channels."""
    how: dict[str, Any] = {"zarr_format": 3 if version == "0.5" else 2}
    names = [{"path": w, "rowIndex": "AB".index(w[0]), "columnIndex": int(w[2]) - 1} for w in WELLS]
    plate = {
        "name": "screen 7", "rows": [{"name": "A"}, {"name": "B"}], "field_count": fields,
        "columns": [{"name": "1"}, {"name": "2"}], "wells": names,
        "acquisitions": [{"id": 1, "name": "day 1", "maximumfieldcount": fields}],
    }  # fmt: skip
    root = zarr.open_group(path, mode="w", **how)
    root.update_attributes({**attributes(version, {"plate": plate}), "operator": "A. N."})
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": a, "type": "space", "unit": "micrometer"} for a in "yx"
    ]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    for number, well in enumerate(WELLS):
        zarr.open_group(path / well[0], mode="a", **how)
        group = zarr.open_group(path / well, mode="w", **how)
        images = [{"path": str(n), "acquisition": 1} for n in range(fields)]
        group.update_attributes(attributes(version, {"well": {"images": images}}))
        for field in range(fields):
            inner = zarr.open_group(path / well / str(field), mode="w", **how)
            inner.update_attributes(attributes(version, {"multiscales": [image]}))
            keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == "0.4" else {"dimension_names": list("cyx")}  # fmt: skip
            inner.create_array("0", data=pixels(2 * number + field), chunks=(1, 40, 56), **keys)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_field_of_a_plate_in_one_run(version: str, tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "in.ome.zarr", version)
    yaozarrs.validate_zarr_store(
        str(plate)
    )  # the input must be valid for the test to mean anything
    (plate / "OME").mkdir()
    (plate / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    out = tmp_path / "out.ome.zarr"
    assert main(["enhance", str(plate), "-o", str(out), *FAST]) == 0
    yaozarrs.validate_zarr_store(str(out))
    before, after = zarr.open_group(plate, mode="r"), zarr.open_group(out, mode="r")
    assert after.metadata.zarr_format == before.metadata.zarr_format
    assert dict(after.attrs) == dict(before.attrs)
    for well in WELLS:
        assert dict(after[well].attrs) == dict(before[well].attrs)
        for field in ("0", "1"):
            expected = napari_dcr.enhance(before[f"{well}/{field}/0"][...], axes="cyx", depth=0, device="cpu")  # fmt: skip
            assert np.array_equal(after[f"{well}/{field}/0"][...], expected)
    assert (out / "OME" / "METADATA.ome.xml").read_text() == "<OME/>"
    assert main(["enhance", str(plate), "-o", str(out), *FAST]) == 1
    shutil.rmtree(out / "B")
    assert main(["enhance", str(plate), "-o", str(out), "--resume", *FAST]) == 0
    yaozarrs.validate_zarr_store(str(out))


def test_every_field_of_a_well(tmp_path: Path) -> None:
    plate = write_plate(tmp_path / "in.zarr", "0.5")
    out = tmp_path / "well.ome.zarr"
    assert main(["enhance", str(plate / "A" / "2"), "-o", str(out), *FAST]) == 0
    yaozarrs.validate_zarr_store(str(out))
    assert sorted(zarr.open_group(out, mode="r").group_keys()) == ["0", "1"]


def test_plates_in_a_folder_and_wells_that_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "screens"
    source.mkdir()
    plate = write_plate(source / "one.zarr", "0.5", fields=1)
    tifffile.imwrite(source / "b.tif", pixels(0)[0])
    shutil.rmtree(plate / "A" / "2")
    assert main(["enhance", str(source), "-o", str(tmp_path / "out"), *FAST]) == 1
    error = capsys.readouterr().err
    assert "1 of 4 files failed" in error
    assert "A/2/0" in error
    found = zarr.open_group(tmp_path / "out" / "one.zarr", mode="r")
    assert "0" in found["A/1"] and "0" in found["B/1"]  # noqa: PT018
    assert not (tmp_path / "out" / "one.zarr" / "A" / "2").exists()
    assert (tmp_path / "out" / "b.tif").exists()


@pytest.mark.parametrize(
    "damaged",
    [
        {"plate": {"wells": [{"rowIndex": 0}]}},
        {"plate": {"wells": [3]}},
        {"plate": [1]},
        {"well": {"images": [{"acquisition": 1}]}},
        {"well": {"images": []}},
        {"well": 7},
    ],
)
def test_a_plate_with_damaged_metadata_does_not_stop_other_files(
    damaged: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    zarr.open_group(source / "a.zarr", mode="w").update_attributes(
        {"ome": {"version": "0.5", **damaged}}
    )
    tifffile.imwrite(source / "b.tif", pixels(0)[0])
    assert main(["enhance", str(source), "-o", str(tmp_path / "out"), *FAST]) == 1
    count, row = capsys.readouterr().err.splitlines()[-2:]
    assert count == "napari-dcr: 1 of 2 files failed:"
    assert row.endswith("holds no image, or its OME-Zarr metadata are damaged")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.tif"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_field_without_its_pixels_does_not_stop_the_others(
    version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = write_plate(tmp_path / "in.zarr", version)
    shutil.rmtree(plate / "A" / "1" / "1" / "0")
    out = tmp_path / "out.zarr"
    assert main(["enhance", str(plate), "-o", str(out), *FAST]) == 1
    count, row = capsys.readouterr().err.splitlines()[-2:]
    assert count == "napari-dcr: 1 of 6 files failed:"
    broken = plate / "A" / "1" / "1"
    assert row.split(None, 1) == [
        str(broken), "the array '0' of its finest level is missing: it is incomplete"
    ]  # fmt: skip
    assert not (out / "A" / "1" / "1").exists()
    found = zarr.open_group(out, mode="r")
    assert all(f"{well}/0/0" in found for well in WELLS)
    assert "B/1/1/0" in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.zarr", "-o", "out.tif"], "for the plate in.zarr; allowed is a .zarr"),
        (["in.zarr", "-o", "in.zarr/out.zarr"], "lies in the input"),
        (["in.zarr", "-o", "in.zarr", "--resume"], "is the input file itself"),
        (
            ["in.zarr", "-o", "out.zarr", "--as-one", "t"],
            "whose fields cannot be joined to one recording",
        ),
    ],
)
def test_arguments_that_plates_do_not_support_are_named(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_plate(tmp_path / "in.zarr", "0.5", fields=1)
    before = sorted(tmp_path.rglob("*"))
    assert main(["enhance", *arguments, *FAST]) == 1
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plate_is_replaced_field_by_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = write_plate(tmp_path / "in.zarr", "0.5", fields=1)
    command = ["enhance", str(plate), "-o", str(tmp_path / "out.zarr"), *FAST]
    assert main(command) == 0
    group = zarr.open_group(plate, mode="r+")
    group.update_attributes({"repeated": True})
    assert main(command) == 1
    assert "add --overwrite to replace it" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["repeated"]
    assert not list(tmp_path.rglob(".*"))
    foreign = write_plate(tmp_path / "foreign.zarr", "0.5", fields=1)
    command[3] = str(foreign)
    assert main([*command, "--overwrite"]) == 1
    assert "is not a result of napari-dcr" in capsys.readouterr().err
