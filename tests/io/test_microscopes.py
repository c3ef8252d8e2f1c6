"""Formats of microscopes and scientific cameras: axes, pixels, metadata, gaps, damage."""

from __future__ import annotations

import itertools
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from numpy.typing import NDArray
from pylibCZIrw import czi

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.enhancement import run_to_completion
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import opening
from tests.io.instruments import write_lif, write_nd2, write_oif, write_sif

UNCHANGED: dict[str, Any] = {"depth": 0, "strength": 0.0, "device": "cpu"}


def counts(shape: tuple[int, ...], dtype: str = "uint16", top: int = 4096) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


def opened(path: Path, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return napari_dcr.open_image(path, **how)


def pixels(path: Path, **how: Any) -> NDArray[Any]:
    array = opened(path, **how).array
    return array[(slice(None),) * array.ndim]


def write_czi(path: Path, planes: dict[tuple[int, int, int], NDArray[Any]], **how: Any) -> Path:
    """Planes by time, channel and z."""
    with czi.create_czi(
        str(path), exist_ok=True, compression_options=how.get("compression")
    ) as file:
        for (t, c, z), plane in planes.items():
            file.write(plane, plane={"T": t, "C": c, "Z": z})
        file.write_metadata(
            "cells",
            channel_names={0: "DAPI", 1: "GFP"},
            scale_x=0.2e-6,
            scale_y=0.3e-6,
            scale_z=1e-6,
        )
    return path


def write_ims(path: Path, stack: NDArray[Any]) -> Path:
    """Imaris 5.5 of t, c, z, y, x; chunks are padded with values outside the image."""
    times, channels, *shape = stack.shape
    with h5py.File(path, "w") as file:

        def text(group: Any, name: str, value: str) -> None:
            group.attrs[name] = np.frombuffer(value.encode(), "S1")

        info = file.create_group("DataSetInfo/Image")
        for axis, size, number, extent in zip("XYZ", shape[::-1], range(3), (5.0, 4.0, 6.0), strict=True):  # fmt: skip
            text(info, axis, str(size))
            text(info, f"ExtMin{number}", "1.0")
            text(info, f"ExtMax{number}", str(1.0 + extent))
        text(info, "Unit", "um")
        text(info, "Name", "embryo")
        clock = file.create_group("DataSetInfo/TimeInfo")
        for t in range(times):
            text(clock, f"TimePoint{t + 1}", f"2024-05-01 10:00:{3 * t:02}.000")
        for c in range(channels):
            group = file.create_group(f"DataSetInfo/Channel {c}")
            text(group, "Name", f"stain {c}")
            text(group, "Color", "1.0 0.5 0.0")
            for t in range(times):
                padded = np.full([-(-n // 16) * 16 for n in shape], 999, stack.dtype)
                padded[tuple(slice(n) for n in shape)] = stack[t, c]
                name = f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}/Data"
                file.create_dataset(name, data=padded, chunks=(16, 16, 16), compression="gzip")
    return path


def write_mrc(path: Path, stack: NDArray[Any]) -> Path:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(stack)
        file.voxel_size = 3.5
    return path


STACK = counts((2, 2, 3, 20, 24))  # t, c, z, y, x


def nd2_frames() -> NDArray[Any]:
    return np.moveaxis(STACK, 1, -1).reshape(6, 20, 24, 2)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "nd2": lambda path: write_nd2(path, nd2_frames(), {"T": 2, "Z": 3}, channels=2),
    "czi": lambda path: write_czi(path, {i: STACK[i] for i in np.ndindex(2, 2, 3)}),
    "lif": lambda path: write_lif(path, [
        {"name": "a", "pixels": STACK, "dims": "TCZYX", "steps": {"T": 0.5, "Z": 1e-6, "Y": 2e-7, "X": 2e-7}, "bits": 12},
    ]),
    "oif": lambda path: write_oif(path, STACK, "TCZ"),
    "ims": lambda path: write_ims(path, STACK),
}  # fmt: skip
"""Parameters of files with the same time series of two channels and three planes."""

SIZES = {
    "nd2": {"t": 0.75, "z": 0.5, "y": 0.25, "x": 0.25},
    "czi": {"z": 1.0, "y": 0.3, "x": 0.2},
    "lif": {"t": 0.5, "z": 1.0, "y": 0.2, "x": 0.2},
    "oif": {"t": 0.5, "z": 0.84, "y": 0.25, "x": 0.5},
    "ims": {"t": 3.0, "z": 2.0, "y": 0.2, "x": 0.208333333333},
}
"""Micrometres and seconds."""

NAMES = {
    "nd2": ["dye 0", "dye 1"], "czi": ["DAPI", "GFP"], "lif": ["Green", "Red"],
    "oif": ["CH1", "CH2 (transmitted light)"], "ims": ["stain 0", "stain 1"],
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_every_axis_and_pixel_is_read(kind: str, tmp_path: Path) -> None:
    found = opened(WRITERS[kind](tmp_path / f"a.{kind}"))
    assert found.axes == "tczyx"
    assert found.measured
    assert np.array_equal(np.asarray(found.array), STACK)
    window = found.array[1:2, :, 1:3, 3:17, 5:9]
    assert np.array_equal(window, STACK[1:2, :, 1:3, 3:17, 5:9])


@pytest.mark.parametrize("kind", WRITERS)
def test_an_ome_zarr_holds_every_bit_sizes_and_channels(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / f"a.{kind}")
    napari_dcr.enhance(path, out=tmp_path / "out.ome.zarr", **UNCHANGED)
    yaozarrs.validate_zarr_store(str(tmp_path / "out.ome.zarr"))
    group = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    assert np.array_equal(np.asarray(group["0"][:]), STACK)
    image = group.attrs["ome"]["multiscales"][0]
    scale = dict(zip("tczyx", image["datasets"][0]["coordinateTransformations"][0]["scale"], strict=True))  # fmt: skip
    units = {axis["name"]: axis.get("unit") for axis in image["axes"]}
    factor = {"nanometer": 1e-3, "millisecond": 1e-3}
    for axis, size in SIZES[kind].items():
        assert scale[axis] * factor.get(units[axis], 1) == pytest.approx(size)
    assert [c["label"] for c in group.attrs["ome"]["omero"]["channels"]] == NAMES[kind]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_becomes_ome_tiff_with_sizes_channels_and_bits(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    WRITERS[kind](tmp_path / "in" / f"a.{kind}")
    assert main(["enhance", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--depth", "0", "--strength", "0", "-q"]) == 0  # fmt: skip
    assert [p.name for p in (tmp_path / "out").rglob("*.*")] == ["a.ome.tif"]
    with tifffile.TiffFile(tmp_path / "out" / "a.ome.tif") as file:
        assert file.series[0].axes == "TCZYX"
        assert np.array_equal(file.asarray(), STACK)
        xml = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    size = xml["PhysicalSizeX"] * (1e-3 if xml["PhysicalSizeXUnit"] == "nm" else 1)
    assert size == pytest.approx(SIZES[kind]["x"])
    assert [c["Name"] for c in xml["Channel"]] == NAMES[kind]
    if kind in ("nd2", "lif", "oif"):
        assert xml["SignificantBits"] == 12


def test_saturation_is_that_of_the_files_bits(tmp_path: Path) -> None:
    frames = counts((1, 40, 48, 1), top=300)
    frames[0, :20, :24] = 4095
    path = write_nd2(tmp_path / "a.nd2", frames, {})
    options = napari_dcr.Options(depth=0, device="cpu", return_report=True)
    report = run_to_completion(napari_dcr.enhance_steps(path, options)).reports[0]
    assert report.saturated == pytest.approx(0.25)


class TestND2:
    def test_frames_that_were_not_recorded_are_no_signal(self, tmp_path: Path) -> None:
        path = write_nd2(tmp_path / "a.nd2", nd2_frames(), {"T": 2, "Z": 3}, channels=2, recorded=4)
        with pytest.warns(InputWarning, match="2 of its 6 frames were not recorded"):
            found = napari_dcr.open_image(path)
        window = found.array[:, :, :, :, :]
        assert np.ma.getmaskarray(window)[1, :, 1:].all()
        assert not np.ma.getmaskarray(window)[0].any()

    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize("width", [7, 8])
    def test_frames_that_were_not_recorded_may_have_padded_rows(
        self, width: int, channels: int, tmp_path: Path
    ) -> None:
        frames = counts((6, 5, width, channels))
        how: dict[str, Any] = {"recorded": 4, "channels": channels}
        if width == 7 and channels == 2:
            frames = frames.astype("uint8")
            how["bits"] = 8
        path = write_nd2(tmp_path / "a.nd2", frames, {"T": 6}, **how)
        window = pixels(path)
        expected = np.moveaxis(frames, -1, 1) if channels > 1 else frames[..., 0]
        assert np.array_equal(window[:4], expected[:4])
        assert np.ma.getmaskarray(window)[4:].all()
        assert not np.ma.getmaskarray(window)[:4].any()

    def test_rows_that_are_padded(self, tmp_path: Path) -> None:
        frames = counts((1, 5, 7, 1), "uint8", 256)
        assert np.array_equal(pixels(write_nd2(tmp_path / "a.nd2", frames, {})), frames[0, ..., 0])

    def test_positions_are_an_axis_or_chosen(self, tmp_path: Path) -> None:
        frames = counts((4, 5, 8, 1))
        path = write_nd2(tmp_path / "a.nd2", frames, {"P": 2, "Z": 2})
        assert opened(path).axes == "pzyx"
        assert np.array_equal(pixels(path, scene=1), frames[2:, ..., 0])
        with pytest.raises(ValueError, match="scene: got 2; allowed are 0, 1"):
            opened(path, scene=2)


class TestCZI:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    @pytest.mark.parametrize("compression", ["uncompressed:", "zstd1:ExplicitLevel=1"])
    def test_dtypes(self, dtype: str, compression: str, tmp_path: Path) -> None:
        plane = counts((30, 41), dtype, 250)
        path = write_czi(tmp_path / "a.czi", {(0, 0, 0): plane}, compression=compression)
        assert opened(path).axes == "yx"
        assert np.array_equal(pixels(path), plane)

    def test_red_is_red(self, tmp_path: Path) -> None:
        plane = np.zeros((10, 12, 3), np.uint8)
        plane[..., 2] = 255  # written as blue, green, red
        with czi.create_czi(str(tmp_path / "a.czi")) as file:
            file.write(plane)
        found = opened(tmp_path / "a.czi")
        assert (found.axes, found.samples) == ("yxs", "rgb")
        assert (np.asarray(found.array) == [255, 0, 0]).all()

    @pytest.mark.parametrize("scene", [0, 1])
    def test_scenes_gaps_and_recorded_zeros(self, scene: int, tmp_path: Path) -> None:
        tile = counts((16, 20)) + 1
        tile[:4] = 0  # recorded
        with czi.create_czi(str(tmp_path / "a.czi")) as file:
            file.write(tile, location=(0, 0), scene=0)
            file.write(tile, location=(30, 10), scene=0)
            file.write(tile, location=(200, 300), scene=1)
        with pytest.raises(ValueError, match="it holds 2 images; choose one by scene: 0, 1"):
            opened(tmp_path / "a.czi")
        window = pixels(tmp_path / "a.czi", scene=scene)
        expected = np.zeros((26, 50) if scene == 0 else (16, 20), np.uint16)
        covered = np.zeros(expected.shape, bool)
        for y, x in [(0, 0), (10, 30)] if scene == 0 else [(0, 0)]:
            expected[y : y + 16, x : x + 20], covered[y : y + 16, x : x + 20] = tile, True
        assert np.array_equal(np.ma.getdata(window), expected)
        assert np.array_equal(np.ma.getmaskarray(window), ~covered)

    def test_gaps_stay_zero_and_do_not_count(self, tmp_path: Path) -> None:
        tile = np.random.default_rng(0).poisson(500, (64, 64)).astype(np.uint16)
        with czi.create_czi(str(tmp_path / "a.czi")) as file:
            file.write(tile, location=(0, 0))
            file.write(tile, location=(100, 100))
        out = tmp_path / "out.tif"
        assert main(["enhance", str(tmp_path / "a.czi"), "-o", str(out), "--depth", "1", "-q"]) == 0
        result = tifffile.imread(out)
        assert (result[:64, 64:] == 0).all()
        assert abs(float(result[:64, :64].mean()) - float(tile.mean())) < 2
        assert result[:64, :64].min() > 300

    def test_planes_that_are_not_stored(self, tmp_path: Path) -> None:
        stored = {i: STACK[i] for i in np.ndindex(2, 2, 3) if i != (1, 0, 2)}
        window = pixels(write_czi(tmp_path / "a.czi", stored))
        mask = np.zeros(STACK.shape, bool)
        mask[1, 0, 2] = True
        assert np.array_equal(np.ma.getmaskarray(window), mask)
        assert np.array_equal(np.ma.getdata(window), np.where(mask, 0, STACK))

    def test_detector_phases_are_an_axis(self, tmp_path: Path) -> None:
        path = write_czi(tmp_path / "a.czi", {(h, 0, 0): STACK[0, 0, h] for h in range(3)})
        # The writer drops the axis H; in the directory of tiles each axis is a letter and a place.
        entry = re.compile(rb"T(\x00{3}[\x00-\x02]\x00{3}\x01\x00{3})")
        path.write_bytes(entry.sub(rb"H\1", path.read_bytes()))
        assert opened(path).axes == "hyx"
        assert np.array_equal(pixels(path), STACK[0, 0])

    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("axis", "TCZHVIRB")
    def test_axes_need_not_begin_at_0(self, axis: str, count: int, tmp_path: Path) -> None:
        written = axis if axis in "TCZ" else "T"
        path, planes = tmp_path / "a.czi", STACK[0, 0, :count]
        with czi.create_czi(str(path)) as file:
            for number, plane in enumerate(planes):
                file.write(plane, plane={written: number + 5})
        if axis != written:
            entry = re.compile(rb"T(\x00{3}[\x05-\x07]\x00{3}\x01\x00{3})")
            path.write_bytes(entry.sub(axis.encode() + rb"\1", path.read_bytes()))
        assert opened(path).axes == ("yx" if count == 1 else axis.lower() + "yx")
        window = pixels(path)
        assert not np.ma.is_masked(window)
        assert np.array_equal(window, planes[0] if count == 1 else planes)

    def test_channels_that_do_not_begin_at_0_keep_their_own_names(self, tmp_path: Path) -> None:
        path = write_czi(tmp_path / "a.czi", {(4, 1, 2): STACK[0, 0, 0]})
        assert np.array_equal(pixels(path), STACK[0, 0, 0])
        assert [c.name for c in opened(path).metadata.calibration.channels] == ["GFP"]

    def test_scenes_are_those_that_are_stored(self, tmp_path: Path) -> None:
        with czi.create_czi(str(tmp_path / "a.czi")) as file:
            for scene in (2, 5):  # the library takes them for four
                file.write(STACK[0, 0, scene // 2], location=(500 * scene, 0), scene=scene)
        for number, scene in enumerate((2, 5)):
            window = pixels(tmp_path / "a.czi", scene=number)
            assert np.array_equal(window, STACK[0, 0, scene // 2])
        with pytest.raises(ValueError, match="scene: got 2; allowed are 0, 1"):
            opened(tmp_path / "a.czi", scene=2)

    def test_pixel_types_that_are_mixed(self, tmp_path: Path) -> None:
        with czi.create_czi(str(tmp_path / "a.czi")) as file:
            file.write(counts((8, 9)), plane={"C": 0})
            file.write(counts((8, 9, 3), "uint8", 255), plane={"C": 1})
        with pytest.raises(ValueError, match="its pixels are Bgr24 and Gray16; allowed are"):
            opened(tmp_path / "a.czi")


class TestLIF:
    def test_the_scanned_axes_are_rows_and_columns(self, tmp_path: Path) -> None:
        xzy = {"name": "xzy", "pixels": STACK[0], "dims": "YZX", "steps": {}}
        xzy["pixels"] = counts((4, 6, 7), "uint8", 255)
        path = write_lif(tmp_path / "a.lif", [xzy])
        with pytest.warns(InputWarning, match="the rows and columns of xzy are its axes Z and X"):
            found = napari_dcr.open_image(path)
        assert found.axes == "vyx"
        assert np.array_equal(np.asarray(found.array), xzy["pixels"])

    def test_wavelengths_are_axes_and_no_lengths(self, tmp_path: Path) -> None:
        steps = {"λ": 5e-9, "Λ": 1e-9, "Y": 1e-7, "X": 1e-7}
        image = {"name": "l", "pixels": counts((2, 3, 5, 6)), "dims": "λΛYX", "steps": steps}
        found = opened(write_lif(tmp_path / "a.lif", [image]))
        assert sorted(found.axes[:2]) == ["e", "l"]
        assert found.metadata.calibration.sizes == {"y": 0.1, "x": 0.1}
        order = "leyx" if found.axes == "leyx" else "elyx"
        expected = image["pixels"] if order == "leyx" else image["pixels"].swapaxes(0, 1)
        assert np.array_equal(np.asarray(found.array), expected)

    @pytest.mark.parametrize("dims", ["ZTCYX", "CZTYX"])
    def test_time_may_be_stored_faster_than_z(self, dims: str, tmp_path: Path) -> None:
        stack = counts((2, 3, 2, 5, 6))
        steps = {"T": 1.0, "Z": 1e-6, "Y": 2e-7, "X": 2e-7}
        image = {"name": "xytz", "pixels": stack, "dims": dims, "steps": steps}
        found = opened(write_lif(tmp_path / "a.lif", [image]))
        order = [dims.lower().index(axis) for axis in found.axes]
        assert np.array_equal(np.asarray(found.array), stack.transpose(order))

    def test_one_of_several_images(self, tmp_path: Path) -> None:
        images = [
            {"name": f"field {n}", "pixels": counts((5 + n, 6)), "dims": "YX", "steps": {}}
            for n in range(3)
        ]
        path = write_lif(tmp_path / "a.lif", images)
        with pytest.raises(ValueError, match=r"choose one by scene: 0 \(field 0\), 1 \(field 1\)"):
            opened(path)
        for scene in (2, "field 2"):
            assert np.array_equal(pixels(path, scene=scene), images[2]["pixels"])

    def test_images_of_the_same_name_are_numbered(self, tmp_path: Path) -> None:
        names = ("cells", "cells #2", "cells", "cells")
        images = [
            {"name": name, "pixels": counts((5 + n, 6)), "dims": "YX", "steps": {}}
            for n, name in enumerate(names)
        ]
        path = write_lif(tmp_path / "a.lif", images)
        listed = r"0 \(cells\), 1 \(cells #2\), 2 \(cells #3\), 3 \(cells #4\)"
        with pytest.raises(ValueError, match=f"it holds 4 images; choose one by scene: {listed}"):
            opened(path)
        for scene in (2, "cells #3"):
            assert np.array_equal(pixels(path, scene=scene), images[2]["pixels"])

    def test_line_scans_are_not_pictures(self, tmp_path: Path) -> None:
        line = {"name": "xt", "pixels": counts((1, 9)), "dims": "YX", "steps": {}}
        with pytest.raises(ValueError, match="are not pictures|not all are known"):
            opened(write_lif(tmp_path / "a.lif", [line]))


class TestMRC:
    @pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float16"])
    @pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9), (2, 3, 7, 9)])
    def test_dtypes_and_axes(self, dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
        stack = counts(shape, dtype, 1000)
        path = write_mrc(tmp_path / "a.mrc", stack)
        found = opened(path)
        assert found.axes == {2: "yx", 3: "zyx", 4: "tzyx"}[len(shape)]
        assert np.array_equal(np.asarray(found.array), stack)
        assert found.metadata.calibration.sizes["x"] == 3.5
        assert found.metadata.calibration.units["x"] == "angstrom"

    def test_bytes_are_signed_unless_imod_says_otherwise(self, tmp_path: Path) -> None:
        stack = np.array([[-56, 3], [4, 5]], np.int8)
        path = write_mrc(tmp_path / "a.mrc", stack)
        assert opened(path).array.dtype == np.int16
        assert np.array_equal(pixels(path), stack)
        data = bytearray(path.read_bytes())
        data[152:160] = (1146047817).to_bytes(4, "little") + bytes(4)
        path.write_bytes(data)
        assert np.array_equal(pixels(path), stack.view(np.uint8))

    @pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9)])
    @pytest.mark.parametrize(
        "order", list(itertools.permutations((1, 2, 3)))
    )  # columns, rows, sections
    def test_axes_in_any_order_are_named_rightly(
        self, order: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path
    ) -> None:
        stack = counts(shape)
        with mrcfile.new(tmp_path / "a.mrc") as file:
            file.set_data(stack)
            file.header.mapc, file.header.mapr, file.header.maps = order
            file.header.mx, file.header.my, file.header.mz = 10, 10, 10
            file.header.cella = (10.0, 20.0, 30.0)
        if len(shape) == 2 and order[2] != 3:
            with pytest.raises(ValueError, match=r"lie along the axes \(\d, \d, \d\) of 1 .x.,"):
                opened(tmp_path / "a.mrc")
            return
        found = opened(tmp_path / "a.mrc")
        assert found.axes == "zyx"[-len(shape) :]
        expected = stack.transpose(np.argsort([-axis for axis in order[: len(shape)][::-1]]))
        assert np.array_equal(np.asarray(found.array), expected)
        assert found.metadata.calibration.sizes["y"] == 2.0

    def test_a_stack_of_pictures_is_no_volume(self, tmp_path: Path) -> None:
        with mrcfile.new(tmp_path / "a.mrcs") as file:
            file.set_data(counts((3, 7, 9)))
            file.set_image_stack()
        assert opened(tmp_path / "a.mrcs").axes == "tyx"


class TestSIF:
    @pytest.mark.parametrize("count", [1, 4])
    def test_frames(self, count: int, tmp_path: Path) -> None:
        frames = np.random.default_rng(0).normal(100, 5, (count, 8, 11)).astype("f4")
        path = write_sif(tmp_path / "a.sif", frames, cycle=0.05)
        found = opened(path)
        assert found.axes == ("tyx" if count > 1 else "yx")
        assert found.metadata.calibration.sizes == ({"t": 0.05} if count > 1 else {})
        out = napari_dcr.enhance(path, out=tmp_path / "out.tif", **UNCHANGED)
        assert np.array_equal(tifffile.imread(out).reshape(frames.shape), frames)

    def test_spectra_are_not_read_as_pictures(self, tmp_path: Path) -> None:
        path = write_sif(tmp_path / "a.sif", np.ones((5, 1, 64), "f4"))
        with pytest.raises(ValueError, match="it holds 5 spectra of 64 pixels"):
            opened(path)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_the_name_and_colour_of_a_single_channel_are_kept(suffix: str, tmp_path: Path) -> None:
    image = {"name": "a", "pixels": STACK[0, :1, 0], "dims": "CYX", "steps": {}, "bits": 12}
    path = write_lif(tmp_path / "a.lif", [image])
    out = tmp_path / f"out{suffix}"
    napari_dcr.enhance(path, out=out, **UNCHANGED)
    assert opened(out).axes == "yx"
    if suffix == ".ome.tif":
        (channel,) = opened(out).metadata.calibration.channels
        assert (channel.name, channel.colour) == ("Green", "00FF00")
    else:
        yaozarrs.validate_zarr_store(str(out))
        (shown,) = zarr.open_group(out, mode="r").attrs["ome"]["omero"]["channels"]
        assert (shown["label"], shown["color"]) == ("Green", "00FF00")


def test_warnings_are_given_once_and_large_scenes_are_read_by_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = {"pixels": STACK[0, 0], "dims": "ZYX", "steps": {}, "bits": 12}
    scan = {"pixels": STACK[0, 0], "dims": "YZX", "steps": {}, "bits": 12}
    images = [{"name": "a", **image}, {"name": "xz", **scan}]
    path = write_lif(tmp_path / "a.lif", images)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        assert not opening.is_large(path, scene="xz")
        assert given == []
        monkeypatch.setattr(opening, "free_memory", lambda device: 100)
        assert opening.is_large(path, scene="xz")
        assert not opening.is_large(path)  # there is an error when it is opened


def test_a_sif_that_ends_in_its_header_is_refused(tmp_path: Path) -> None:
    path = write_sif(tmp_path / "a.sif", STACK[0, 0].astype("f4"))
    content = path.read_bytes()
    for size in (39, 60, 200, 400):  # sif_parser would read on for ever
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"a\.sif: cannot be read as an image: "):
            opened(path)


def test_a_czi_with_a_tile_far_away_is_refused(tmp_path: Path) -> None:
    plane = STACK[0, 0, 0]
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(plane, location=(0, 0))
        file.write(plane, location=(5, 1_400_000_000))
    with pytest.raises(ValueError, match="its directory is damaged"):
        opened(tmp_path / "a.czi")


def test_missing_planes_of_an_oif(tmp_path: Path) -> None:
    path = write_oif(tmp_path / "a.oif", STACK, "TCZ", left_out=5)
    with pytest.raises(ValueError, match="1 of its 12 planes are missing"):
        opened(path)


def test_missing_parts_of_an_ims(tmp_path: Path) -> None:
    path = write_ims(tmp_path / "a.ims", STACK)
    with h5py.File(path, "r+") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 0/Data"]
    with pytest.raises(ValueError, match="time 1 of channel 0 is missing"):
        opened(path)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_counts_of_32_bits_are_enhanced_as_float64(dtype: str, tmp_path: Path) -> None:
    stack = STACK.astype(dtype) * 1000
    path = write_ims(tmp_path / "a.ims", stack)
    assert opened(path).counts == dtype
    with pytest.warns(InputWarning, match=f"the {dtype} counts are enhanced as float64"):
        out = napari_dcr.enhance(path, out=tmp_path / "out.ome.tif", **UNCHANGED)
    assert np.array_equal(tifffile.imread(out), stack)


@pytest.mark.parametrize("is_in_channel", [True, False])
def test_sizes_that_an_ims_does_not_state_for_the_image(
    is_in_channel: bool, tmp_path: Path
) -> None:
    path = write_ims(tmp_path / "a.ims", STACK)
    with h5py.File(path, "r+") as file:
        for axis, size in zip("ZYX", STACK.shape[2:], strict=True):
            del file["DataSetInfo/Image"].attrs[axis]
            if is_in_channel:
                group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
                group.attrs[f"ImageSize{axis}"] = np.frombuffer(str(size).encode(), "S1")
    if is_in_channel:
        assert np.array_equal(pixels(path), STACK)
    else:
        with pytest.raises(ValueError, match="its size along z is ''; allowed are whole numbers"):
            opened(path)


ALL: dict[str, Callable[[Path], Path]] = {
    **WRITERS,
    "mrc": lambda path: write_mrc(path, STACK[0, 0]),
    "sif": lambda path: write_sif(path, STACK[0, 0].astype("f4")),
}

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "first bytes": lambda data: data[:20],
    "half": lambda data: data[: len(data) // 2],
    "last bytes missing": lambda data: data[:-400],
    "another format": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "text": lambda data: b"these are notes, not an image\n" * 40,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ALL)
def test_damaged_files_are_refused_in_one_line(
    kind: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ALL[kind](tmp_path / f"a.{kind}")
    # Pixels of an OIF are in the TIFF files beside it.
    broken = next(path.parent.rglob("*.tif")) if kind == "oif" and damage in ("half", "last bytes missing") else path  # fmt: skip
    broken.write_bytes(DAMAGE[damage](broken.read_bytes()))
    before = sorted(tmp_path.iterdir())
    for out in ("out.tif", "out.ome.zarr"):
        assert main(["enhance", str(path), "-o", str(tmp_path / out), "--depth", "0", "-q"]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ALL)
def test_damage_of_any_extent_is_named_in_our_words(kind: str, tmp_path: Path) -> None:
    path = ALL[kind](tmp_path / f"a.{kind}")
    content, refused = path.read_bytes(), 0
    sizes = [8, 16, 40, 64, 100, 300, 1000, 1024, *np.linspace(0.001, 0.99, 12) * len(content)]
    damaged = [content[: int(size)] for size in sizes]
    for part in (0.01, 0.1, 0.5, 0.9):
        place = int(part * len(content))
        damaged.append(content[:place] + bytes(200) + content[place + 200 :])
    for number, data in enumerate(damaged):
        each = path.with_name(f"{number}{path.suffix}")
        each.write_bytes(data)
        if kind == "oif":
            shutil.copytree(f"{path}.files", f"{each}.files")
        try:
            pixels(each)
        except ValueError as error:
            refused += 1
            reason = str(error).removeprefix(f"{each}: cannot be read as an image: ")
            assert re.match("(it|its) ", reason), reason
            assert len(reason) < 120, reason
    assert refused > 10


@pytest.mark.parametrize("kind", ALL)
def test_the_error_names_what_to_install(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ALL[kind](tmp_path / f"a.{kind}")
    modules = {"nd2": "nd2", "czi": "pylibCZIrw.czi", "lif": "liffile", "oif": "oiffile", "ims": "h5py", "mrc": "mrcfile", "sif": "sif_parser"}  # fmt: skip
    monkeypatch.setitem(__import__("sys").modules, modules[kind], None)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.tif")]) == 1
    assert 'pip install "napari-dcr[microscopes]"' in capsys.readouterr().err


def test_files_of_other_kinds_are_left_out_of_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_mrc(folder / "volume.map", STACK[0, 0])
    (folder / "page.js.map").write_text('{"version": 3}')
    (folder / "state.ser").write_bytes(b"\xac\xed\x00\x05sr")
    assert main(["enhance", str(folder), "-o", str(tmp_path / "out"), "--depth", "0", "-q"]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["volume.ome.tif"]
    printed = capsys.readouterr().err
    for name in ("page.js.map", "state.ser"):
        assert f"{name} has the suffix" in printed


@pytest.mark.parametrize("damage", ["no compound file", "zeros", "circle", "cut off", "header"])
def test_a_damaged_oib_is_refused_before_its_chains_are_followed(
    damage: str, tmp_path: Path
) -> None:
    header = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0"))
    header[30:32], header[44:48] = (9).to_bytes(2, "little"), (1).to_bytes(4, "little")
    table = np.full(128, 0xFFFFFFFF, "<u4")
    table[:4] = 0xFFFFFFFD, 2, 3, 0xFFFFFFFE
    if damage == "zeros":
        table[:] = 0
    elif damage == "circle":
        table[3] = 2
    elif damage == "cut off":
        table[3] = 90
    elif damage == "header":
        header[30:32] = bytes(2)
    if damage == "no compound file":
        header[:8] = bytes(8)
    path = tmp_path / "a.oib"
    path.write_bytes(bytes(header) + table.tobytes() + bytes(4 * 512))
    with pytest.raises(ValueError, match="it is not an OIB|damaged|it is cut off"):
        opened(path)
