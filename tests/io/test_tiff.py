"""Reading and writing of TIFF: pixels, axes, metadata, and no incomplete files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import opening, writing
from napari_dcr.io.files import Picture
from tests.io.conftest import random, shell

FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


def test_a_stopped_run_leaves_no_half_tif(tmp_path: Path, stack: NDArray[np.uint16]) -> None:
    options = napari_dcr.Options(axes="tyx", tile=64, **FAST)
    steps = napari_dcr.enhance_steps(stack, options, tmp_path / "out.tif")
    for step in steps:
        if step.done:
            break
    assert list(tmp_path.iterdir())
    steps.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_black_tiles_and_frames_are_written(tmp_path: Path, name: str, dtype: str) -> None:
    pixels = random((3, 280, 300), dtype)
    pixels[1], pixels[2, :256, :256] = 0, 0
    options = {"model": "microscopy", "strength": 0.0, "axes": "tyx"}
    napari_dcr.enhance(pixels, out=tmp_path / name, **options)
    assert np.array_equal(tifffile.imread(tmp_path / name), pixels)


def test_imagej_stack_keeps_its_calibration(tmp_path: Path) -> None:
    pixels = random((4, 3, 2, 16, 18), "uint16")
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, imagej=True, resolution=(5.0, 5.0),
        metadata={"axes": "TZCYX", "spacing": 0.5, "unit": "um", "finterval": 2.0, "min": 3.0, "max": 9.0},
    )  # fmt: skip
    picture = opening.read(tmp_path / "in.tif")
    assert picture.axes == "tzcyx"
    writing.write(tmp_path / "out.tif", picture)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_imagej
        metadata = file.imagej_metadata
        assert file.series[0].axes == "TZCYX"
        assert (file.asarray() == pixels).all()
        assert file.pages.first.tags["XResolution"].value == (5, 1)
    assert metadata is not None
    assert (metadata["spacing"], metadata["unit"], metadata["finterval"]) == (0.5, "um", 2.0)
    assert "min" not in metadata


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_ome_metadata_is_kept(tmp_path: Path, dtype: str) -> None:
    pixels = random((2, 3, 16, 18), "uint16")
    tifffile.imwrite(
        tmp_path / "in.ome.tif", pixels,
        metadata={
            "axes": "CZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm",
            "Channel": {"Name": ["DAPI", "GFP"]}, "SignificantBits": 12,
        },
    )  # fmt: skip
    picture = opening.read(tmp_path / "in.ome.tif")
    assert picture.axes == "czyx"
    result = picture.pixels.astype(dtype)
    writing.write(tmp_path / "out.ome.tif", Picture(result, picture.axes, picture.metadata))
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == "CZYX"
        assert file.series[0].dtype == dtype
        assert (file.series[0].asarray() == result).all()
        xml = file.ome_metadata
    assert xml is not None
    for kept in ('PhysicalSizeX="0.25"', "DAPI", "GFP", "µm"):
        assert kept in xml


def test_description_and_resolution_of_a_plain_tiff_are_kept(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif", random((9, 11, 3)), photometric="rgb", metadata=None,
        description="camera 7, lens cap on", resolution=(300, 300), resolutionunit=2,
    )  # fmt: skip
    writing.write(tmp_path / "out.tif", opening.read(tmp_path / "in.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        page: Any = file.pages.first
        assert page.description == "camera 7, lens cap on"
        assert page.tags["XResolution"].value == (300, 1)
        assert page.photometric == tifffile.PHOTOMETRIC.RGB


def test_planar_tiff_round_trip(tmp_path: Path) -> None:
    pixels = random((3, 9, 11))
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="rgb", planarconfig="separate", metadata=None
    )
    picture = opening.read(tmp_path / "in.tif")
    assert picture.axes == "syx"
    writing.write(tmp_path / "out.tif", picture)
    assert (opening.read(tmp_path / "out.tif").pixels == pixels).all()


def test_tiles_are_read_without_zarr_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (64, 80)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 32), compression="zlib")
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert np.array_equal(napari_dcr.open_image(tmp_path / "a.tif").array, pixels)


def test_what_tifffile_logs_is_a_warning_about_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.tif"
    pixels = random((20, 30))
    tifffile.imwrite(path, pixels, software="a program that makes files", metadata=None)
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags["Software"]
    content = bytearray(path.read_bytes())
    content[tag.offset + 8 : tag.offset + 12] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.warns(InputWarning, match=r"in\.tif: tifffile says: .*invalid value offset"):
        opened = napari_dcr.open_image(path)
    assert np.array_equal(opened.array, pixels)
    assert shell(path, tmp_path / "out.tif", "--model", "photo") == 0
    printed = capfd.readouterr().err
    assert printed.count("\n") == printed.count("tifffile says") == 1, printed


def test_a_damaged_directory_gives_an_error_of_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, random((3, 20, 30)), photometric="minisblack", metadata=None)
    content = path.read_bytes()
    path.write_bytes(content[:4] + (1 << 30).to_bytes(4, "little") + content[8:])
    assert shell(path, tmp_path / "out.tif") == 1
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1, printed


def test_packed_bits_say_what_is_saturated(tmp_path: Path) -> None:
    pixels = (random((20, 30), "uint16") % 4096).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, bitspersample=12)
    opened = napari_dcr.open_image(tmp_path / "in.tif")
    assert opened.bits == 12
    assert np.array_equal(np.asarray(opened.array), pixels)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    assert napari_dcr.open_image(tmp_path / "in.tif").bits == 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((3, 40, 44), "CYX", "cyx"),
        ((4, 40, 44), "ZYX", "zyx"),
        ((3, 40, 44), "TYX", "tyx"),
        ((2, 3, 40, 44), "TCYX", "tcyx"),
        ((40, 44, 3), "YXC", "yxs"),
        ((2, 2, 40, 44, 3), "TZYXC", "tzyxs"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_axes_that_a_file_names_are_used_although_it_is_stored_as_rgb(
    tmp_path: Path, shape: tuple[int, ...], axes: str, expected: str, dtype: str
) -> None:
    source, pixels = tmp_path / "in.tif", random(shape, dtype)
    # tifffile interprets 3 or 4 planes as colours unless a photometric interpretation is given.
    photometric = "rgb" if 4 not in shape else None
    tifffile.imwrite(source, pixels, photometric=photometric, metadata={"axes": axes})
    opened = napari_dcr.open_image(source)
    assert opened.axes == expected
    assert opened.samples == ("rgb" if "s" in expected else "")
    assert np.array_equal(opened.array[(slice(None),) * pixels.ndim], pixels)
    picture = opening.read(source)
    assert picture.axes == expected
    writing.write(tmp_path / "out.tif", picture)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.series[0].axes == expected.upper()
        assert np.array_equal(file.asarray(), pixels)
