"""SER recordings, made from their description."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io.ser import EPOCH, HEADER


def write(
    path: Path, frames: Any, bits: int, *, colour: int = 0, flag: int = 0, big: bool = False,
    times: bool = True,
) -> Path:  # fmt: skip
    count, height, width = frames.shape[:3]
    names = [n.encode().ljust(40) for n in ("Ada", "ASI290", "C11")]
    begin = EPOCH + 10_000_000 * 86400
    data = HEADER.pack(b"LUCAM-RECORDER", 0, colour, flag, width, height, bits, count, *names, begin, begin)  # fmt: skip
    data += frames.astype(frames.dtype.newbyteorder(">" if big else "<")).tobytes()
    if times:
        data += (begin + 250_000 * np.arange(count)).astype("<i8").tobytes()
    path.write_bytes(data)
    return path


def noisy(shape: tuple[int, ...], bits: int) -> Any:
    smooth = np.linspace(0.1, 0.5, shape[2])[None, None, :]
    values = (smooth + np.random.default_rng(0).uniform(0, 0.02, shape[:3])) * (2**bits - 1)
    return values.astype("u1" if bits <= 8 else "u2")


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("big", [False, True])
def test_pixels_determine_the_byte_order(
    bits: int, flag: int, big: bool, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    frames = noisy((3, 12, 40), bits)
    opened = napari_dcr.open_image(write(tmp_path / "in.ser", frames, bits, flag=flag, big=big))
    assert opened.axes == "tyx"
    assert np.array_equal(np.asarray(opened.array), frames)
    assert any("byte order is the opposite" in text for text in opened.warnings) == (
        bits > 8 and flag != big
    )


@pytest.mark.parametrize("level", [2, 20, 200, 300, 2000])
@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("big", [False, True])
def test_dim_pixels_determine_the_byte_order(
    level: int, flag: int, big: bool, tmp_path: Path
) -> None:
    frames = np.random.default_rng(0).poisson(level, (3, 31, 43)).astype("u2")
    frames[0] = 0  # closed shutter
    path = write(tmp_path / "in.ser", frames, 16, flag=flag, big=big)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        found = napari_dcr.open_image(path)
    assert np.array_equal(np.asarray(found.array), frames)
    assert ["byte order is the opposite" in str(each.message) for each in given] == [True] * (flag != big)  # fmt: skip


def test_the_flag_determines_the_byte_order_otherwise(tmp_path: Path) -> None:
    frames = np.full((1, 4, 5), 0x1234, "u2")
    for flag in (0, 1):
        path = write(tmp_path / f"{flag}.ser", frames, 16, flag=flag, big=bool(flag))
        with pytest.warns(
            InputWarning, match="do not show the byte order; that of its header is used"
        ):
            opened = napari_dcr.open_image(path)
        assert (np.asarray(opened.array) == 0x1234).all()
    black = napari_dcr.open_image(write(tmp_path / "black.ser", 0 * frames, 16))
    assert not black.warnings


def test_colours_and_mosaics(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 6, 7, 3)).astype("u1")
    for colour, expected in ((100, frames), (101, frames[..., ::-1])):
        opened = napari_dcr.open_image(write(tmp_path / "in.ser", frames, 8, colour=colour))
        assert (opened.axes, opened.samples) == ("tyxs", "rgb")
        assert np.array_equal(np.asarray(opened.array), expected)
    with pytest.warns(InputWarning, match="a mosaic of colours .GRBG."):
        napari_dcr.open_image(write(tmp_path / "in.ser", frames[..., 0], 8, colour=9))


def test_a_recording_becomes_a_fits_cube_with_its_times_and_names(tmp_path: Path) -> None:
    frames = noisy((4, 16, 20), 12)
    path = write(tmp_path / "in.ser", frames, 12)
    out = napari_dcr.enhance(path, out=tmp_path / "out.fits", strength=0.0, depth=0, device="cpu")
    with fits.open(out) as hdus:
        assert np.array_equal(hdus[0].data, frames)
        header = hdus[0].header
        assert (header["OBSERVER"], header["INSTRUME"], header["TELESCOP"]) == ("Ada", "ASI290", "C11")  # fmt: skip
        assert header["DATE-OBS"] == "1970-01-02T00:00:00"
        assert (header["CTYPE3"], header["CDELT3"]) == ("TIME", 0.025)
    opened = napari_dcr.open_image(path)
    assert opened.metadata.calibration.sizes == {"t": 0.025}


def test_a_recording_without_times(tmp_path: Path) -> None:
    opened = napari_dcr.open_image(write(tmp_path / "in.ser", noisy((2, 5, 6), 8), 8, times=False))
    assert not opened.metadata.calibration


DAMAGED = {
    "empty": lambda d: b"",
    "cut header": lambda d: d[:100],
    "cut frames": lambda d: d[:400],
    "a Java object": lambda d: b"\xac\xed\x00\x05sr" + d[6:],
    "no frames": lambda d: d[:38] + bytes(4) + d[42:],
    "negative width": lambda d: d[:26] + b"\xff" * 4 + d[30:],
    "32 bits": lambda d: d[:34] + b"\x20" + d[35:],
    "unknown colours": lambda d: d[:18] + b"\x05" + d[19:],
    "huge": lambda d: d[:26] + b"\xff\xff\xff\x7f" * 2 + d[34:],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_refused_in_one_line(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "in.ser", noisy((3, 9, 12), 8), 8, times=False)
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.fits"), "--depth", "0", "-q"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert "in.ser" in lines[0]
    assert list(tmp_path.iterdir()) == [path]
