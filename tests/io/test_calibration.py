"""Size of a pixel, units, channels and further metadata between ImageJ, OME-TIFF and OME-Zarr."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

import napari_dcr
from napari_dcr.image.axes import Layout
from napari_dcr.io.calibration import UNITS, Calibration, Channel, unit_named

from .conftest import FAST, dim, shell

SAME: dict[str, Any] = {"strength": 0, **FAST}

SIZES = {"x": 0.2, "y": 0.25, "z": 0.7}


def write_microscope(path: Path, kind: str, dtype: str, axes: str = "TZCYX", **how: Any) -> Any:
    """A calibrated stack with two channels, as ImageJ or an OME-TIFF."""
    lengths = {"T": 2, "Z": 3, "C": 2, "Y": 40, "X": 56}
    shape = tuple(lengths[a] for a in axes)
    pixels = np.stack([dim(40, 56, dtype, n) for n in range(int(np.prod(shape[:-2])))]).reshape(
        shape
    )
    if kind == "imagej":
        luts = [np.zeros((3, 256), np.uint8) for _ in range(2)]
        luts[0][1], luts[1][0] = np.arange(256), np.arange(256)
        tifffile.imwrite(
            path, pixels, imagej=True, resolution=(1 / 0.2, 1 / 0.25),
            metadata={"axes": axes, "spacing": 0.7, "unit": "um", "finterval": 1.5, "LUTs": luts,
                      "mode": "composite", "Ranges": (0, 9, 0, 9)}, **how,
        )  # fmt: skip
        return pixels
    tifffile.imwrite(
        path, pixels, ome=True, photometric="minisblack",
        metadata={
            "axes": axes, "Name": "cells", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 0.7,
            **{f"PhysicalSize{a}Unit": "µm" for a in "XYZ"}, "TimeIncrement": 1.5, "TimeIncrementUnit": "s",
            "Channel": {"Name": ["DAPI", "GFP"], "Color": [16711935, -16776961]},
        }, **how,
    )  # fmt: skip
    return pixels


def multiscale_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    own: Any = attributes.get("ome", attributes)
    return own["multiscales"][0], own.get("omero", {})


@pytest.mark.parametrize(
    ("kind", "dtype", "axes"),
    [("imagej", "uint8", "TZCYX"), ("imagej", "uint16", "ZCYX"), ("ome", "uint16", "TZCYX"),
     ("ome", "float32", "CZYX")],
)  # fmt: skip
def test_tiff_to_ome_zarr_keeps_the_calibration(
    tmp_path: Path, kind: str, dtype: str, axes: str
) -> None:
    source = tmp_path / "a.tif"
    pixels = write_microscope(source, kind, dtype, axes)
    napari_dcr.enhance(source, out=tmp_path / "python.ome.zarr", **FAST)
    assert shell(source, tmp_path / "shell.ome.zarr") == 0
    for name in ("python.ome.zarr", "shell.ome.zarr"):
        image, omero = multiscale_of(tmp_path / name)
        assert "".join(a["name"] for a in image["axes"]) == axes.lower()
        units = {a["name"]: a.get("unit") for a in image["axes"]}
        assert {a: units[a] for a in "xyz"} == dict.fromkeys("xyz", "micrometer")
        scale = dict(
            zip(
                axes.lower(),
                image["datasets"][0]["coordinateTransformations"][0]["scale"],
                strict=True,
            )
        )
        assert {a: scale[a] for a in "xyz"} == pytest.approx(SIZES, rel=1e-5)
        if "T" in axes:
            assert (scale["t"], units["t"]) == (1.5, "second")
        channels = omero["channels"]
        assert [c["color"] for c in channels] == ["00FF00", "FF0000"]
        if kind == "ome":
            assert [c["label"] for c in channels] == ["DAPI", "GFP"]
            assert image["name"] == "cells"
        for c in channels:
            assert c["window"]["start"] < c["window"]["end"] <= c["window"]["max"]
        assert zarr.open(tmp_path / name)["0"].shape == pixels.shape


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("target", ["o.tif", "o.ome.tif"])
def test_ome_zarr_to_tiff_keeps_the_calibration(tmp_path: Path, version: str, target: str) -> None:
    write_microscope(tmp_path / "a.tif", "ome", "uint16")
    napari_dcr.enhance(tmp_path / "a.tif", out=tmp_path / "a.ome.zarr", **FAST)
    if version == "0.4":
        own = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
        group = zarr.open_group(tmp_path / "b.ome.zarr", mode="w", zarr_format=2)
        group.create_array("0", data=own["0"][...], chunks=(1, 1, 1, 40, 56))
        attributes: Any = own.attrs["ome"]
        image = {"version": "0.4", **attributes["multiscales"][0]}
        group.update_attributes({"multiscales": [image], "omero": attributes["omero"]})
    source = tmp_path / ("b.ome.zarr" if version == "0.4" else "a.ome.zarr")
    napari_dcr.enhance(source, out=tmp_path / target, **FAST)
    with tifffile.TiffFile(tmp_path / target) as file:
        assert file.is_ome
        assert file.series[0].axes == "TZCYX"
        found = Calibration.of_ome_xml(file.ome_metadata or "")
        xml = file.ome_metadata or ""
    assert 'PhysicalSizeXUnit="µm"' in xml
    assert found.sizes == pytest.approx({**SIZES, "t": 1.5})
    assert found.channels == (Channel("DAPI", "00FF00"), Channel("GFP", "FF0000"))
    assert found.name == "cells"


def test_every_axis_of_ome_xml_has_its_own_unit(tmp_path: Path) -> None:
    metadata = {
        "axes": "TYX", "PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.1,
        "PhysicalSizeYUnit": "µm", "TimeIncrement": 500, "TimeIncrementUnit": "ms",
    }  # fmt: skip
    source, target = tmp_path / "a.ome.tif", tmp_path / "o.ome.tif"
    tifffile.imwrite(source, dim(40, 56, "uint16")[None].repeat(2, 0), ome=True, metadata=metadata)
    napari_dcr.enhance(source, out=target, **FAST)
    for path in (source, target):
        with tifffile.TiffFile(path) as file:
            found = Calibration.of_ome_xml(file.ome_metadata or "")
        assert found.sizes == pytest.approx({"t": 500, "y": 0.1, "x": 100})
        assert found.units == {"t": "millisecond", "y": "micrometer", "x": "nanometer"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_imagej_files_written_by_region_stay_imagej_files(
    tmp_path: Path, dtype: str, compression: str | None
) -> None:
    source = tmp_path / "a.tif"
    write_microscope(source, "imagej", dtype, compression=compression)
    result = napari_dcr.enhance(source, **FAST)
    napari_dcr.enhance(source, out=tmp_path / "region.tif", **FAST)
    assert shell(source, tmp_path / "shell.tif") == 0
    for name in ("region.tif", "shell.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_imagej
            assert np.array_equal(file.asarray(), result)
            assert file.series[0].axes == "TZCYX"
            assert file.pages.first.tags["XResolution"].value == (5, 1)
            metadata = dict(file.imagej_metadata or {})
        assert (metadata["spacing"], metadata["unit"], metadata["finterval"]) == (0.7, "um", 1.5)
        assert len(metadata["LUTs"]) == 2
        assert "Ranges" not in metadata


def test_imagej_of_other_dtypes_becomes_ome_tiff(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    write_microscope(source, "imagej", "uint16")
    assert shell(source, tmp_path / "o.tif", "--output", "float64") == 0
    assert shell(source, tmp_path / "o.ome.tif") == 0
    for name in ("o.tif", "o.ome.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_ome
            found = Calibration.of_ome_xml(file.ome_metadata or "")
        assert found.sizes == pytest.approx({**SIZES, "t": 1.5}, rel=1e-5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_keeps_version_omero_labels_and_own_attributes(
    tmp_path: Path, version: str
) -> None:
    source = tmp_path / "a.ome.zarr"
    form = 2 if version == "0.4" else 3
    group = zarr.open_group(source, mode="w", zarr_format=form)
    pixels = np.stack([dim(600, 700, "uint16", n) for n in range(2)])
    group.create_array("fine", data=pixels, chunks=(1, 200, 300))
    group.create_array("coarse", data=pixels[:, ::2, ::2])
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": a, "type": "space", "unit": "micrometer"} for a in "yx"
    ]
    levels = [
        {"path": p, "coordinateTransformations": [{"type": "scale", "scale": [1.0, s, s]},
                                                  {"type": "translation", "translation": [0.0, 5.0, 7.0]}]}
        for p, s in (("fine", 0.5), ("coarse", 1.0))
    ]  # fmt: skip
    image = {"name": "cells", "axes": axes, "datasets": levels, "own": {"lens": "63x"}}
    omero = {"id": 1, "rdefs": {"model": "color"}, "channels": [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 0, "end": 99, "min": 0, "max": 255}},
        {"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 99, "min": 0, "max": 255}},
    ]}  # fmt: skip
    mine = {"acquired_by": {"name": "A. Person"}}
    if version == "0.4":
        group.update_attributes(
            {"multiscales": [{"version": version, **image}], "omero": omero, **mine}
        )
    else:
        group.update_attributes(
            {"ome": {"version": version, "multiscales": [image], "omero": omero}, **mine}
        )
    masks = (pixels[0] > 1000).astype(np.uint32)
    axes = [{"name": a, "type": "space"} for a in "yx"]
    levels = [
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [step, step]}]}
        for path, step in (("0", 1.0), ("1", 2.0))
    ]
    label = {"axes": axes, "datasets": levels}
    listed: Any = {"labels": ["nuclei"]}
    if version == "0.4":
        described: Any = {"multiscales": [{"version": version, **label}], "image-label": {}}
    else:
        listed = {"ome": {"version": version, **listed}}
        described = {"ome": {"version": version, "multiscales": [label], "image-label": {}}}
    labels = group.create_group("labels", attributes=listed)
    names = {} if version == "0.4" else {"dimension_names": ["y", "x"]}
    nuclei = labels.create_group("nuclei", attributes=described)
    nuclei.create_array("0", data=masks, **names)
    nuclei.create_array("1", data=np.ascontiguousarray(masks[::2, ::2]), **names)
    result = napari_dcr.enhance(source, out=tmp_path / "o.ome.zarr", **FAST)
    out = zarr.open_group(tmp_path / "o.ome.zarr", mode="r")
    assert out.metadata.zarr_format == form
    own: Any = out.attrs if version == "0.4" else out.attrs["ome"]
    found = own["multiscales"][0]
    assert (found["version"] if version == "0.4" else own["version"]) == version
    assert (found["name"], found["own"]) == ("cells", {"lens": "63x"})
    assert out.attrs["acquired_by"] == mine["acquired_by"]
    first = found["datasets"][0]["coordinateTransformations"]
    assert first[0]["scale"] == [1.0, 0.5, 0.5]
    assert first[1]["translation"] == [0.0, 5.0, 7.0]
    assert [c["label"] for c in own["omero"]["channels"]] == ["DAPI", "GFP"]
    assert own["omero"]["rdefs"] == {"model": "color"}
    window = own["omero"]["channels"][0]["window"]
    assert window["end"] > 99  # the old limits would show the result as white
    assert window["max"] == 65535
    assert np.array_equal(out["labels/nuclei/0"][...], masks)
    assert dict(out["labels"].attrs) == listed
    assert result["0"].shape == pixels.shape
    assert len(found["datasets"]) == 2


def test_what_is_left_out_of_an_ome_zarr_is_named(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=dim(40, 56))
    image = {"version": "0.2", "axes": ["y", "x"], "datasets": [{"path": "0"}]}
    group.update_attributes({"multiscales": [image, {**image, "name": "another"}]})
    with pytest.warns(napari_dcr.InputWarning) as caught:
        napari_dcr.enhance(tmp_path / "a.zarr", out=tmp_path / "o.zarr", **FAST)
    messages = " ".join(str(w.message) for w in caught)
    assert "holds 2 multiscale images; the first is taken and 1 left out" in messages
    assert "version 0.2 is written as 0.4" in messages


def _with_delta_t(
    path: Path, times: list[float], unit: str, axes: str = "TYX", **others: Any
) -> Path:
    """OME-TIFF that lists the time of each plane, as Micro-Manager and Bio-Formats write it."""
    shape = {"TYX": (len(times), 40, 56), "TCYX": (len(times) // 2, 2, 40, 56)}[axes]
    planes = {"DeltaT": times, "DeltaTUnit": [unit] * len(times)}
    pixels = np.broadcast_to(dim(40, 56), shape)
    tifffile.imwrite(path, pixels, metadata={"axes": axes, "Plane": planes, **others})
    return path


def _scale_of(path: Path) -> tuple[Any, Any]:
    """Scale and unit of the first axis of an OME-Zarr image."""
    image: Any = zarr.open_group(path, mode="r").attrs["ome"]
    image = image["multiscales"][0]
    (change,) = image["datasets"][0]["coordinateTransformations"]
    return change["scale"][0], image["axes"][0].get("unit")


def test_the_times_of_planes_are_frame_times(tmp_path: Path) -> None:
    """Every plane has a time; a frame begins with the first of its channels."""
    listed = [500.0, 600, 1500, 1600, 2500, 2600]
    source = _with_delta_t(tmp_path / "a.ome.tif", listed, "ms", "TCYX")
    calibration = napari_dcr.open_image(source).metadata.calibration
    assert calibration.times == (0.5, 1.5, 2.5)
    assert (calibration.sizes["t"], calibration.units["t"]) == (1.0, "second")
    napari_dcr.enhance(source, out=tmp_path / "o.ome.zarr", **SAME)
    assert _scale_of(tmp_path / "o.ome.zarr") == (1.0, "second")
    napari_dcr.enhance(source, out=tmp_path / "o.ome.tif", **SAME)
    assert napari_dcr.open_image(tmp_path / "o.ome.tif").metadata.calibration == calibration


def test_uneven_frame_times_are_kept_or_named(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 0.9]
    source = _with_delta_t(tmp_path / "a.ome.tif", times, "s", TimeIncrement=0.1)
    with pytest.warns(
        napari_dcr.InputWarning, match="mean of 0.3 s is written for those of 0.1 to 0.7 s"
    ):
        napari_dcr.enhance(source, out=tmp_path / "o.ome.zarr", **SAME)
    assert _scale_of(tmp_path / "o.ome.zarr") == (0.3, "second")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        napari_dcr.enhance(source, out=tmp_path / "o.mkv", **SAME)
    with av.open(str(tmp_path / "o.mkv")) as file:
        shown = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
    assert shown == pytest.approx(times, abs=1e-3)
    # A recording of several files gets new OME-XML.
    napari_dcr.enhance([source, source], out=tmp_path / "two.ome.tif", **SAME)
    joined = napari_dcr.open_image(tmp_path / "two.ome.tif").metadata.calibration
    assert joined.times == pytest.approx([*times, *(1.0 + time for time in times)])


def test_a_video_of_slow_frames_states_their_interval(tmp_path: Path) -> None:
    source = _with_delta_t(tmp_path / "a.ome.tif", [0.0, 10, 20], "s")
    with pytest.warns(napari_dcr.InputWarning, match="states intervals of 10 s between frames"):
        napari_dcr.enhance(source, out=tmp_path / "o.mkv", **SAME)


@pytest.mark.parametrize("times", [[0.0, 0, 0], [0.0, float("nan"), float("inf")]])
def test_times_that_do_not_increase_are_ignored(times: list[float], tmp_path: Path) -> None:
    source = _with_delta_t(tmp_path / "a.ome.tif", times, "s", TimeIncrement=2.0)
    calibration = napari_dcr.open_image(source).metadata.calibration
    assert (calibration.times, calibration.sizes["t"]) == ((), 2.0)


@given(
    st.dictionaries(st.sampled_from("xyz"), st.floats(1e-3, 1e4), min_size=1),
    st.sampled_from(["nanometer", "micrometer", "millimeter"]),
    st.lists(
        st.builds(Channel, st.sampled_from(["", "DAPI", "GFP µ"]), st.just("00FF80")), max_size=3
    ),
)
def test_calibration_survives_every_form(
    sizes: dict[str, float], unit: str, channels: list[Channel]
) -> None:
    own = Calibration(sizes, dict.fromkeys(sizes, unit), {}, tuple(channels), "cells")
    image, omero = own.to_ngff("czyx")
    back = Calibration.of_ngff("czyx", image, "0", omero)
    assert back.sizes == pytest.approx({**own.sizes})
    assert back.units == own.units
    assert back.channels == own.channels
    words = own.to_ome(Layout((2, 40, 50), "zyx", ""), np.dtype("uint16"))
    assert all(words[f"PhysicalSize{a.upper()}"] == size for a, size in sizes.items())


@pytest.mark.parametrize(
    ("text", "name"),
    [("um", "micrometer"), ("µm", "micrometer"), ("micron", "micrometer"), ("\\u00B5m", "micrometer"),
     ("nm", "nanometer"), ("sec", "second"), ("inch", "inch"), ("pixel", ""), ("", "")],
)  # fmt: skip
def test_units_have_one_name(text: str, name: str) -> None:
    assert unit_named(text) == name
    assert name == "" or name in UNITS
