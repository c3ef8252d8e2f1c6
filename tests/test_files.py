"""Files in and out: pixels, axes, metadata; never half a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.io import formats
from napari_dcr.io.files import Picture


def random(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("a.png", (9, 11), "uint8"),
        ("a.png", (9, 11, 3), "uint8"),
        ("a.png", (9, 11, 4), "uint8"),
        ("a.png", (9, 11), "uint16"),
        ("a.png", (9, 11, 3), "uint16"),
        ("a.png", (9, 11, 4), "uint16"),
        ("a.tif", (9, 11), "uint8"),
        ("a.tif", (9, 11, 3), "uint16"),
        ("a.tiff", (9, 11, 4), "uint8"),
        ("a.tif", (9, 11), "int16"),
        ("a.tif", (9, 11), "float32"),
        ("a.tif", (9, 11), "float64"),
        ("a.tif", (5, 9, 11), "uint16"),
        ("a.tif", (5, 9, 11, 3), "uint8"),
    ],
)
def test_lossless_round_trip(tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    pixels = random(shape, dtype)
    axes = "zyxs"[4 - len(shape) :] if shape[-1] in (3, 4) else "zyx"[3 - len(shape) :]
    formats.write(tmp_path / name, Picture(pixels, axes))
    back = formats.read(tmp_path / name)
    assert back.pixels.dtype == pixels.dtype
    assert (back.pixels == pixels).all()
    assert back.axes[-len(axes.lstrip("z")) :] == axes.lstrip("z")
    assert len(back.axes) == len(axes)


def test_imagej_stack_keeps_its_calibration(tmp_path: Path) -> None:
    pixels = random((4, 3, 2, 16, 18), "uint16")
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, imagej=True, resolution=(5.0, 5.0),
        metadata={"axes": "TZCYX", "spacing": 0.5, "unit": "um", "finterval": 2.0, "min": 3.0, "max": 9.0},
    )  # fmt: skip
    picture = formats.read(tmp_path / "in.tif")
    assert picture.axes == "tzcyx"
    formats.write(tmp_path / "out.tif", picture)
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
    picture = formats.read(tmp_path / "in.ome.tif")
    assert picture.axes == "czyx"
    result = picture.pixels.astype(dtype)
    formats.write(tmp_path / "out.ome.tif", Picture(result, picture.axes, picture.metadata))
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
    formats.write(tmp_path / "out.tif", formats.read(tmp_path / "in.tif"))
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
    picture = formats.read(tmp_path / "in.tif")
    assert picture.axes == "syx"
    formats.write(tmp_path / "out.tif", picture)
    assert (formats.read(tmp_path / "out.tif").pixels == pixels).all()


def test_jpeg_keeps_exif_and_profile(tmp_path: Path) -> None:
    picture = PILImage.fromarray(random((16, 24, 3)))
    exif = PILImage.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010F] = "A Camera"
    picture.save(tmp_path / "in.jpg", exif=exif, icc_profile=b"a profile", dpi=(72, 72))
    formats.write(tmp_path / "out.jpg", formats.read(tmp_path / "in.jpg"))
    with PILImage.open(tmp_path / "out.jpg") as back:
        assert back.getexif()[0x0112] == 6
        assert back.getexif()[0x010F] == "A Camera"
        assert back.info["icc_profile"] == b"a profile"
        assert back.size == (24, 16)


@pytest.mark.parametrize("mode", ["P", "LA", "1", "CMYK"])
def test_unusual_modes_become_grey_or_colour(tmp_path: Path, mode: str) -> None:
    source = PILImage.fromarray(random((9, 11, 3))).convert(mode)
    name = tmp_path / ("in.jpg" if mode == "CMYK" else "in.png")
    source.save(name)
    picture = formats.read(name)
    assert picture.pixels.dtype == np.uint8
    assert picture.axes == ("yx" if mode == "1" else "yxs")


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    for name, pixels, axes, message in (
        ("a.jpg", random((9, 9), "uint16"), "yx", "holds uint8, not uint16"),
        ("a.png", random((9, 9), "float32"), "yx", "holds uint8 or uint16, not float32"),
        ("a.png", random((2, 9, 9)), "zyx", "holds one picture"),
        ("a.jpg", random((9, 9, 4)), "yxs", "JPEG holds no alpha"),
        ("a.bmp", random((9, 9)), "yx", "got suffix '.bmp'; allowed are .tif"),
    ):
        with pytest.raises(ValueError, match=message):
            formats.write(tmp_path / name, Picture(pixels, axes))
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("a.tif", "a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"this is not an image")
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as an image"):
            formats.read(tmp_path / name)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    formats.write(path, Picture(random((9, 9)), "yx"))
    before = path.read_bytes()

    def half(name: Path, *_: Any, **__: Any) -> None:
        Path(name).write_bytes(b"II*")
        raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(OSError, match="disk full"):
        formats.write(path, Picture(random((5, 5)), "yx"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
