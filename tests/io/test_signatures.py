"""Tests of files with a wrong suffix, and of files that are not images, for every format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from astropy.io import fits
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.io.formats import SUFFIXES

from .conftest import dim, dim_colour, shell


def encoded(kind: str) -> bytes:
    """Content of a file with a picture in the given format."""
    out = io.BytesIO()
    if kind == "heic":
        pillow_heif.encode("RGB", (56, 40), dim_colour(40, 56).tobytes(), out)
    elif kind == "fits":
        fits.PrimaryHDU(dim(40, 56, "uint16")).writeto(out)
    elif kind == "tif":
        tifffile.imwrite(out, dim(40, 56, "uint16"))
    else:
        PILImage.fromarray(dim_colour(40, 56)).save(out, kind)
    return out.getvalue()


NO_IMAGES: dict[str, tuple[bytes, str]] = {
    "zip": (b"PK\3\4" + bytes(500), "a ZIP archive"),
    "web page": (b"\n<!doctype html><html><body>404 not found</body></html>", "a web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "Git LFS"),
    "java": (b"\xac\xed\0\5sr\0" + bytes(900), ""),
    "zeros": (bytes(5000), ""),
    "random": (np.random.default_rng(1).bytes(5000), ""),
    "line": (b"\n", ""),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_no_image_gives_one_line_of_message(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, (content, kind) in NO_IMAGES.items():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        assert shell(path, tmp_path / "out.tif") == 1, name
        printed = capfd.readouterr().err
        assert printed.count("\n") == 1, (name, printed)
        assert f"{path}: cannot be read as an image: " in printed
        assert kind in printed, (name, printed)
        assert list(tmp_path.iterdir()) == [path], name


@pytest.mark.parametrize(
    ("content", "suffix"),
    [("heic", ".jpg"), ("heic", ".png"), ("heic", ".mp4"), ("fits", ".png"), ("tif", ".jpg"),
     ("tif", ".fits"), ("gif", ".png"), ("png", ".czi"), ("jpeg", ".tif"), ("webp", ".nd2")],
)  # fmt: skip
def test_the_message_names_the_kind_of_a_mislabelled_file(
    content: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(content))
    right = {"jpeg": "jpg"}.get(content, content)
    with pytest.raises(ValueError, match=f"its content is that of a .{right} file; rename it"):
        napari_dcr.enhance(path, depth=0, device="cpu")


def ftyp(*brands: bytes) -> bytes:
    """Content of a file of boxes with a brand, and brands that it is compatible with."""
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
    return (4 + len(body)).to_bytes(4, "big") + body + bytes(100)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [((b"abcd",), ""), ((b"abcd", b"efgh"), ""), ((b"MiHE", b"mif1", b"heic"), ".heic"),
     ((b"abcd", b"avif"), ".avif"), ((b"mp42", b"isom"), ".mp4"), ((b"abcd", b"isom"), ".mp4"),
     ((b"3gp5",), ".mp4"), ((b"qt  ",), ".mov"), ((b"crx ", b"isom"), ".cr3")],
)  # fmt: skip
def test_files_of_boxes_are_named_by_their_brands(
    brands: tuple[bytes, ...], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(ftyp(*brands))
    with pytest.raises(ValueError, match="cannot be read as an image") as raised:
        napari_dcr.open_image(path)
    hint = f"its content is that of a {kind} file; rename it" if kind else ""
    assert hint in str(raised.value)
    assert ("rename" in str(raised.value)) == bool(kind)


def test_a_series_of_an_electron_microscope_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.ser").write_bytes(b"II\x97\1\x20\2" + bytes(500))
    with pytest.raises(ValueError, match="a TIA series .*, which is not supported"):
        napari_dcr.open_image(tmp_path / "a.ser")


@pytest.mark.parametrize(("content", "suffix"), [("png", ".jpg"), ("webp", ".jpg"), ("jpeg", ".png")])  # fmt: skip
def test_pictures_with_the_suffix_of_another_picture_format_are_read(
    content: str, suffix: str, tmp_path: Path
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(encoded(content))
    found: Any = napari_dcr.enhance(tmp_path / f"a{suffix}", depth=0, device="cpu")
    assert found.shape == (40, 56, 3)
