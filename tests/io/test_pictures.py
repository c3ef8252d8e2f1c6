"""Reading and writing of PNG and JPEG: modes and metadata."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PILImage

from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import files, opening, writing
from tests.io.conftest import random


def test_jpeg_keeps_exif_and_profile(tmp_path: Path) -> None:
    picture = PILImage.fromarray(random((16, 24, 3)))
    exif = PILImage.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010F] = "A Camera"
    picture.save(tmp_path / "in.jpg", exif=exif, icc_profile=b"a profile", dpi=(72, 72))
    writing.write(tmp_path / "out.jpg", opening.read(tmp_path / "in.jpg"))
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
    picture = opening.read(name)
    assert picture.pixels.dtype == np.uint8
    assert picture.axes == ("yx" if mode == "1" else "yxs")


def test_the_error_names_hdr_of_png(tmp_path: Path) -> None:
    """A dim value of PQ is dark where one of sRGB is not."""
    path = tmp_path / "in.png"
    content = imagecodecs.png_encode(np.full((8, 9, 3), 3000, np.uint16))
    for transfer, name in ((16, "PQ"), (18, "HLG"), (13, "")):
        body = b"cICP" + bytes((9 if name else 1, transfer, 0, 1))
        chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(content[:33] + chunk + content[33:])
        if name:
            with pytest.raises(ValueError, match=name):
                opening.read(path)
        else:
            assert opening.read(path).pixels.max() == 3000


def with_chunks(content: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    found = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )
    return content[:33] + found + content[33:]


def chunks_of(path: Path) -> dict[bytes, bytes]:
    return dict(opening.read(path).metadata.chunks)


GAMMA_1 = b"gAMA", struct.pack(">I", 100000)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [0, 2, 3, 4])
@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([GAMMA_1], "linear light"),
        ([(b"cICP", bytes((1, 8, 0, 1)))], "linear light"),
        ([(b"cICP", bytes((1, 8, 0, 1))), (b"gAMA", struct.pack(">I", 45455))], "linear light"),
        ([(b"cICP", bytes((1, 13, 0, 0)))], "narrow range"),
        ([(b"cICP", bytes((1, 13, 0, 0))), GAMMA_1], "narrow range"),
        ([(b"cICP", bytes((1, 8, 0, 0)))], "narrow range.* linear light"),
    ],
)
def test_values_of_png_become_display_values(
    tmp_path: Path, chunks: list[tuple[bytes, bytes]], kind: str, samples: int, dtype: str
) -> None:
    path, back = tmp_path / "in.png", tmp_path / "out.png"
    pixels = random((8, 9, samples) if samples else (8, 9)).astype(dtype)
    top = 255
    if dtype == "uint16":
        pixels, top = pixels * np.uint16(256) + np.uint16(7), 65535
    path.write_bytes(with_chunks(imagecodecs.png_encode(pixels), *chunks))
    with pytest.warns(InputWarning, match=kind):
        picture = opening.read(path)
    values = pixels / top
    own = slice(samples - 1) if samples in (2, 4) else slice(None)
    light = values[..., own] if samples else values
    if "narrow" in kind:
        light = np.clip((light * top / (top + 1) * 256 - 16) / 219, 0, 1)
    if "linear" in kind:
        light = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    expected = values.copy()
    expected[(..., own) if samples else ...] = light
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels / 65535 - expected).max() < 1e-4
    writing.write(back, picture)  # its chunks state the values that it holds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(opening.read(back).pixels, picture.pixels)
    found = chunks_of(back)
    assert found.get(b"cICP", b"\0\15\0\1")[1:] == b"\15\0\1"


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 45455))],
        [(b"gAMA", struct.pack(">I", 55556))],
        [(b"gAMA", bytes(4))],
        [GAMMA_1, (b"sRGB", b"\0")],
        [GAMMA_1, (b"iCCP", b"name\0\0" + zlib.compress(b"a profile"))],
        [GAMMA_1, (b"cICP", bytes((1, 13, 0, 1)))],
    ],
)
def test_display_values_of_png_are_kept(tmp_path: Path, chunks: list[tuple[bytes, bytes]]) -> None:
    path = tmp_path / "in.png"
    pixels = random((8, 9, 3))
    path.write_bytes(with_chunks(imagecodecs.png_encode(pixels), *chunks))
    assert np.array_equal(opening.read(path).pixels, pixels)
    assert dict(chunks) == chunks_of(path)


def test_pictures_of_telephones_with_200_megapixels_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 50)  # of Pillow: 89 million
    PILImage.fromarray(random((16, 24, 3))).save(tmp_path / "in.jpg")
    with pytest.raises(PILImage.DecompressionBombError):
        PILImage.open(tmp_path / "in.jpg")
    assert opening.read(tmp_path / "in.jpg").pixels.shape == (16, 24, 3)
    assert PILImage.MAX_IMAGE_PIXELS == 50


def test_pictures_that_need_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PILImage.fromarray(random((16, 24, 3))).save(tmp_path / "in.png")
    monkeypatch.setattr(files, "free_memory", lambda device: 1000)
    with pytest.raises(ValueError, match="16 x 24 pixels need"):
        opening.read(tmp_path / "in.png")
