"""DCIMG of Hamamatsu: both versions, the four pixels that are stored separately, times, damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.input_warnings import InputWarning
from tests.io.instruments import write_dcimg

SHAPES = {7: (3, 40, 50), 0x1000000: (3, 1030, 24)}


def frames(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


@pytest.mark.parametrize("version", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_pixel_is_read_and_four_are_inserted_again(
    version: int, dtype: str, tmp_path: Path
) -> None:
    pixels = frames(SHAPES[version], dtype)
    opened = napari_dcr.open_image(write_dcimg(tmp_path / "a.dcimg", pixels, version))
    assert opened.axes == "tyx"
    assert opened.measured
    assert np.array_equal(np.asarray(opened.array), pixels)
    line = 0 if version == 7 else 1023
    for window in (
        np.s_[1:2, line : line + 1, 0:2],
        np.s_[0:3, max(0, line - 5) : line + 4, 2:9],
        np.s_[0:1, 5:9, 0:9],
    ):
        assert np.array_equal(opened.array[window], pixels[window])
    assert opened.metadata.calibration.sizes == {"t": pytest.approx(0.05, rel=1e-6)}


@pytest.mark.parametrize(("top", "height"), [(1000, 40), (1024, 40), (0, 40)])
def test_cropped_frames_have_the_four_pixels_at_the_sensors_row(
    top: int, height: int, tmp_path: Path
) -> None:
    pixels = frames((2, height, 30))
    opened = napari_dcr.open_image(write_dcimg(tmp_path / "a.dcimg", pixels, top=top))
    assert np.array_equal(np.asarray(opened.array), pixels)


def test_one_frame_is_a_picture_that_the_shell_denoises(tmp_path: Path) -> None:
    pixels = frames((1, 64, 60))
    path = write_dcimg(tmp_path / "a.dcimg", pixels)
    out = tmp_path / "out.ome.tif"
    command = ["enhance", str(path), "-o", str(out), "--depth", "0", "--strength", "0"]
    assert main([*command, "--device", "cpu", "-q"]) == 0
    assert np.array_equal(tifffile.imread(out), pixels[0])


def test_a_long_frame_without_these_pixels_gives_a_warning(tmp_path: Path) -> None:
    pixels = frames((2, 1030, 12))
    path = write_dcimg(tmp_path / "a.dcimg", pixels, 7)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 100 + 132 + 2 * 1030 * 28 + 40, 4)  # the footer is too short
    path.write_bytes(data)
    with pytest.warns(InputWarning, match="does not contain the first four pixels"):
        napari_dcr.open_image(path)


def damage(kind: str, data: bytes) -> bytes:
    if kind == "empty":
        return b""
    if kind == "another kind":
        return b"II*\0" + data
    if kind == "version":
        return data[:8] + struct.pack("<I", 9) + data[12:]
    if kind == "sessions":
        return data[:32] + struct.pack("<I", 2) + data[36:]
    if kind == "depth":
        return data[:164] + struct.pack("<I", 4) + data[168:]
    if kind == "huge":
        return data[:160] + struct.pack("<I", 2**31) + data[164:]
    return data[: {"header": 90, "half": len(data) // 2, "footer": len(data) - 20}[kind]]


@pytest.mark.parametrize(
    "kind",
    ["empty", "another kind", "version", "sessions", "depth", "huge", "header", "half", "footer"],
)
def test_damage_gives_an_error_of_one_line_and_no_result(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_dcimg(tmp_path / "a.dcimg", frames((3, 40, 50)))
    path.write_bytes(damage(kind, path.read_bytes()))
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.tif"), "-q"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"napari-dcr: {path}: cannot be read as an image: ")
    assert [p.name for p in tmp_path.iterdir()] == ["a.dcimg"]
