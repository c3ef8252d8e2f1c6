"""Reading and writing of PNG and JPEG: modes and metadata."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as PILImage

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
