"""DeltaVision and SPE: the order of planes, sizes, dtypes, damage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.io.deltavision import ORDERS

STACK = np.random.default_rng(0).integers(0, 4096, (2, 3, 4, 20, 24)).astype(np.uint16)  # t, c, z
FAST = ("--depth", "0", "--strength", "0", "--device", "cpu", "-q")


def write_deltavision(
    path: Path, pixels: NDArray[Any], sequence: int = 0, order: str = "<", behind: int = 512
) -> Path:
    """Pixels of t, c, z, y, x, and a further header."""
    times, waves, depth, height, width = pixels.shape
    kind = {"u1": 0, "i2": 1, "f4": 2, "u2": 6, "i4": 7}[pixels.dtype.str[1:]]
    head = bytearray(1024)
    struct.pack_into(order + "4i", head, 0, width, height, times * waves * depth, kind)
    struct.pack_into(order + "3f", head, 40, 0.1, 0.2, 0.35)
    struct.pack_into(order + "ih", head, 92, behind, -16224)
    struct.pack_into(order + "2h", head, 180, times, sequence)
    struct.pack_into(order + "6h", head, 196, waves, 457, 528, 617, 0, 0)
    planes = pixels.transpose(*("tcz".index(a) for a in ORDERS[sequence]), 3, 4)
    path.write_bytes(
        bytes(head) + bytes(behind) + planes.astype(pixels.dtype.newbyteorder(order)).tobytes()
    )
    return path


def write_spe(
    path: Path, frames: NDArray[Any], regions: int = 1, between: int = 0, xml: str = "<SpeFormat/>"
) -> Path:
    """Frames of WinSpec; with bytes between them, those of LightField."""
    count, height, width = frames.shape
    head = bytearray(4100)
    struct.pack_into("<H", head, 42, width)
    struct.pack_into("<H", head, 656, height)
    struct.pack_into("<i", head, 1446, count)
    kinds = {"f4": 0, "i4": 1, "i2": 2, "u2": 3, "f8": 5, "u1": 6, "u4": 8}
    struct.pack_into("<h", head, 108, kinds[frames.dtype.str[1:]])
    struct.pack_into("<h", head, 1510, regions)
    head[2996:3000] = b"\x67\x45\x23\x01"
    body = b"".join(frame.tobytes() + bytes(between) for frame in frames)
    if between:
        struct.pack_into("<f", head, 1992, 3.0)
        struct.pack_into("<Q", head, 678, 4100 + len(body))
        body += xml.encode()
    path.write_bytes(bytes(head) + body)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sequence", ORDERS)
def test_planes_of_deltavision_are_in_the_order_of_the_header(
    sequence: int, order: str, tmp_path: Path
) -> None:
    path = write_deltavision(tmp_path / "a.dv", STACK, sequence, order)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.ome.tif"), *FAST]) == 0
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert np.array_equal(file.asarray(), STACK)
        assert file.series[0].axes == "TCZYX"
        for text in ('SizeX="0.1"', 'SizeY="0.2"', 'SizeZ="0.35"', 'Name="528 nm"'):
            assert text in (file.ome_metadata or "")
    opened = napari_dcr.open_image(path)
    assert np.array_equal(opened.array[1:2, 1:3, 2:4, 5:9, 3:8], STACK[1:2, 1:3, 2:4, 5:9, 3:8])
    assert napari_dcr.open_image(path.rename(tmp_path / "a.mrc")).axes == "tczyx"


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "u2", "i4"])
def test_values_of_every_type_are_read(dtype: str, tmp_path: Path) -> None:
    pixels = (STACK % 250).astype(dtype)
    found = napari_dcr.open_image(write_deltavision(tmp_path / "a.dv", pixels)).array
    assert found.dtype == ("f8" if dtype == "i4" else dtype)
    assert np.array_equal(np.asarray(found), pixels)
    found = napari_dcr.open_image(write_spe(tmp_path / "a.spe", pixels[0, 0])).array
    assert found.dtype == ("f8" if dtype == "i4" else dtype)
    assert np.array_equal(np.asarray(found), pixels[0, 0])


@pytest.mark.parametrize("between", [0, 16])
def test_frames_of_spe(between: int, tmp_path: Path) -> None:
    path = write_spe(tmp_path / "a.spe", STACK[0, 0], between=between)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.tif"), *FAST]) == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert np.array_equal(file.asarray(), STACK[0, 0])
        assert file.series[0].axes == "TYX"
    one = napari_dcr.open_image(write_spe(tmp_path / "one.spe", STACK[0, 0, :1]))
    assert one.axes == "yx"


DAMAGE: dict[str, Any] = {
    "empty": lambda data: b"",
    "first bytes": lambda data: data[:500],
    "header": lambda data: data[:4000],
    "half": lambda data: data[: len(data) // 2],
    "last byte": lambda data: data[:-1],
    "text": lambda data: b"$SPEC_ID:\nNo sample description was entered.\n" * 200,
    "no pixels": lambda data: bytes(42) + data[42:] if data[2996:2998] == b"gE" else bytes(8) + data[8:],
    "huge": lambda data: data[:42] + b"\xff\xff" + data[44:1446] + b"\xff\xff\xff\x7f" + data[1450:]
    if data[2996:2998] == b"gE" else b"\xff\xff\xff\x7f" * 3 + data[12:],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["dv", "spe"])
def test_damaged_camera_files_give_an_error_of_one_line(
    kind: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "dv":
        write_deltavision(path, STACK, behind=0)
    else:
        write_spe(path, STACK[0, 0])
    data = DAMAGE[damage](path.read_bytes())
    path.write_bytes(data[: len(data) - 1] if damage == "no pixels" and kind == "spe" else data)
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.tif"), *FAST]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{path}: cannot be read as an image: it" in printed
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "regions", "reason"),
    [(STACK[0, 0, :, :1], 1, "it holds 4 spectra of 24"), (STACK[0, 0], 2, "it holds 2 regions")],
)
def test_spectra_and_regions_are_refused(
    frames: NDArray[Any], regions: int, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        napari_dcr.open_image(write_spe(tmp_path / "a.spe", frames, regions))


@pytest.mark.parametrize("count", [1, 2])
def test_regions_of_lightfield_are_those_in_its_xml(count: int, tmp_path: Path) -> None:
    region = '<DataBlock type="Region" count="1" width="24" height="20" stride="960"/>'
    xml = (
        '<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009"><DataFormat>'
        f'<DataBlock type="Frame" count="4">{count * region}</DataBlock></DataFormat></SpeFormat>'
    )
    between = 16 if count == 1 else STACK[0, 0, 0].nbytes
    path = write_spe(tmp_path / "a.spe", STACK[0, 0], 0, between, xml)
    if count == 1:
        assert np.array_equal(np.asarray(napari_dcr.open_image(path).array), STACK[0, 0])
    else:
        with pytest.raises(ValueError, match="it holds 2 regions"):
            napari_dcr.open_image(path)


def test_digital_video_and_spectra_are_left_out_of_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, order in enumerate("<>"):
        write_deltavision(folder / f"{number}.dv", STACK[:1, :1], order=order)
    (folder / "tape.dv").write_bytes(b"\x1f\x07\x00\x3f" * 900)
    (folder / "gamma.spe").write_text("$SPEC_ID:\n")
    assert main(["enhance", str(folder), "-o", str(tmp_path / "out"), *FAST]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.ome.tif", "1.ome.tif"]
    printed = capsys.readouterr().err
    for name in ("tape.dv", "gamma.spe"):
        assert f"{name} has the suffix" in printed
