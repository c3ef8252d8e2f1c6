"""HEIC and AVIF: pixels, rotation, bit depth, coded colours and metadata."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import opening, writing
from napari_dcr.io import tags as t
from napari_dcr.io.files import Picture
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.views import turned

from .conftest import dim_colour, shell

CORNERS = np.zeros((40, 60, 3), np.uint8)
CORNERS[:20, :20], CORNERS[:20, 40:] = 250, 120


def exif(orientation: int) -> bytes:
    block = PILImage.Exif()
    block[t.ORIENTATION], block[t.MAKE] = orientation, "Maker"
    return block.tobytes()


def write_heic(path: Path, pixels: NDArray[Any] = CORNERS, mode: str = "RGB", **how: Any) -> Path:
    size = pixels.shape[1::-1]
    pillow_heif.encode(mode, size, pixels.tobytes(), path, quality=-1, chroma=444, **how)
    return path


def in_heic(pixels: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Shift codes to the top of 16 bits, where pillow-heif expects them."""
    return pixels << (16 - bits)


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".hif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heic_of_8_bits(mode: str, suffix: str, tmp_path: Path) -> None:
    pixels = np.asarray(PILImage.fromarray(dim_colour(33, 47)).convert(mode))
    picture = opening.read(write_heic(tmp_path / f"in{suffix}", pixels, mode))
    assert picture.samples == {"L": "", "RGB": "rgb", "RGBA": "rgba"}[mode]
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 2  # by its YCbCr


def test_known_colours_are_kept(tmp_path: Path) -> None:
    for colour in ((200, 60, 40), (5, 9, 17), (250, 250, 250)):
        pixels = np.full((32, 48, 3), colour, np.uint8)
        for suffix in (".heic", ".avif"):
            path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
            writing.write(path, Picture(pixels, "yxs", samples="rgb"))
            assert shell(path, out, "--strength", "0", "--overwrite") == 0
            # Twice with YCbCr of 8 bits, by quality 95.
            assert np.abs(opening.read(out).pixels.astype(int) - pixels).max() <= 3


def test_heic_of_10_bits_fills_16(tmp_path: Path) -> None:
    codes = np.tile(np.arange(1024, dtype=np.uint16), (4, 1))
    pixels = in_heic(codes, 10)
    path = write_heic(tmp_path / "in.hif", pixels, "I;16L")
    assert np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False)).max() == 65472
    found = opening.read(path).pixels
    assert found.dtype == np.uint16
    assert (found.min(), found.max()) == (0, 65535)
    assert np.array_equal(np.rint(found / 65535 * 1023), codes)
    writing.write(tmp_path / "out.heic", Picture(found, "yx"))
    again = opening.read(tmp_path / "out.heic").pixels.astype(int)
    assert np.abs(again - found).max() <= 3 * 65  # three codes of 10 bits, by the quality


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_rotated_once(orientation: int, tmp_path: Path) -> None:
    path = write_heic(tmp_path / "in.heic", exif=exif(orientation))
    picture = opening.read(path)
    expected = turned(CORNERS, "yxs", orientation)
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 2
    assert picture.metadata.orientation == 1
    assert t.from_exif(picture.metadata.exif)[t.ORIENTATION].numbers == [1]
    for suffix in (".jpg", ".heic", ".avif", ".jxl", ".png"):
        out = tmp_path / f"out{suffix}"
        writing.write(out, picture)
        again = opening.read(out)
        assert again.metadata.orientation == 1
        assert again.metadata.tags[t.MAKE].text == "Maker"
        assert np.abs(again.pixels.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jxl"])
def test_a_rotated_jpeg_is_written_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    PILImage.fromarray(CORNERS).save(source, quality=100, subsampling=0, exif=exif(orientation))
    assert shell(source, tmp_path / f"out{suffix}", "--strength", "0") == 0
    found = opening.read(tmp_path / f"out{suffix}")
    expected = turned(CORNERS, "yxs", orientation)
    assert np.abs(found.pixels.astype(int) - expected).mean() < 2
    assert found.metadata.orientation == 1


def test_orientation_of_xmp_does_not_rotate_a_second_time(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    path = write_heic(tmp_path / "in.heic", exif=exif(6), xmp=xmp)
    picture = opening.read(path)
    assert b'Orientation="1"' in picture.metadata.xmp
    writing.write(tmp_path / "out.heic", picture)
    assert opening.read(tmp_path / "out.heic").pixels.shape == (60, 40, 3)


def test_the_primary_picture_of_several_is_taken(tmp_path: Path) -> None:
    file = pillow_heif.from_bytes("RGB", (60, 40), (CORNERS // 5).tobytes())
    for share in (1, 2):
        file.add_frombytes("RGB", (60, 40), (CORNERS // share).tobytes())
    file.save(tmp_path / "burst.heic", primary_index=2, quality=-1)
    with pytest.warns(InputWarning, match="3 pictures; the primary one is taken and 2 are left"):
        opened = napari_dcr.open_image(tmp_path / "burst.heic")
    assert abs(int(np.asarray(opened.array).max()) - 125) <= 2


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (8, "linear light")])
def test_the_error_names_hdr(
    transfer: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.full((40, 60, 3), 47, np.uint16)
    heic = write_heic(
        tmp_path / "in.hif", in_heic(pixels, 10), "RGB;16", color_primaries=9,
        transfer_characteristics=transfer, matrix_coefficients=9, full_range_flag=1,
    )  # fmt: skip
    avif = tmp_path / "in.avif"
    avif.write_bytes(imagecodecs.avif_encode(pixels, bitspersample=10, primaries=9, transfer=transfer, matrix=9))  # fmt: skip
    for path in (heic, avif):
        assert shell(path, tmp_path / "out.png") == 1
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert name in text
        assert not (tmp_path / "out.png").exists()


def test_other_primaries_are_named(tmp_path: Path) -> None:
    path = write_heic(
        tmp_path / "in.heic", color_primaries=12, transfer_characteristics=13,
        matrix_coefficients=6, full_range_flag=1,
    )  # fmt: skip
    with pytest.warns(InputWarning, match="primaries Display P3; they are treated as sRGB"):
        napari_dcr.open_image(path)


def test_profile_exif_and_xmp_are_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = tmp_path / "in.jpg"
    PILImage.fromarray(CORNERS).save(source, exif=exif(1), icc_profile=profile, xmp=b"<x>1</x>")
    for suffix in (".heic", ".avif"):
        out = tmp_path / f"out{suffix}"
        assert shell(source, out) == 0
        found = opening.read(out).metadata
        assert (found.icc_profile, found.xmp) == (profile, b"<x>1</x>")
        assert found.tags[t.MAKE].text == "Maker"
    with PILImage.open(tmp_path / "out.avif") as file:  # the family's own library
        assert file.getexif()[t.MAKE] == "Maker"
    info = pillow_heif.open_heif(tmp_path / "out.heic").info
    assert info["icc_profile"] == profile
    assert b"Maker" in info["exif"]


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 3), (33, 47, 4)])
def test_avif_of_any_bits_fills_its_dtype(
    shape: tuple[int, ...], bits: int, tmp_path: Path
) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, shape, "u1" if bits == 8 else "u2")
    codes.flat[:2] = 0, 2**bits - 1
    coded = imagecodecs.avif_encode(
        codes, level=100, bitspersample=bits, pixelformat="400" if len(shape) == 2 else "444"
    )
    (tmp_path / "in.avif").write_bytes(coded)
    picture = opening.read(tmp_path / "in.avif")
    top = np.iinfo(picture.pixels.dtype).max
    assert picture.samples == {2: "", 3: "rgb", 4: "rgba"}[shape[-1] if len(shape) == 3 else 2]
    assert np.array_equal(np.rint(picture.pixels / top * (2**bits - 1)), codes)
    writing.write(tmp_path / "out.avif", picture)
    stored = imagecodecs.avif_decode((tmp_path / "out.avif").read_bytes())
    assert stored.max() <= 2**bits - 1  # as many bits as before
    assert np.abs(stored.astype(int) - codes).mean() < 0.04 * 2**bits


def test_metadata_that_avif_of_more_bits_does_not_keep_are_named(tmp_path: Path) -> None:
    metadata = Metadata({t.MAKE: t.text_tag("Maker")})
    pixels = np.full((8, 9, 3), 30000, np.uint16)
    with pytest.warns(InputWarning, match="left out its EXIF, which is kept in an AVIF of 8 bits"):
        writing.write(tmp_path / "out.avif", Picture(pixels, "yxs", metadata, "rgb"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("has_exif", [False, True])
def test_avif_is_rotated_once(orientation: int, has_exif: bool, tmp_path: Path) -> None:
    path = tmp_path / "in.avif"
    PILImage.fromarray(CORNERS).save(path, quality=100, exif=exif(orientation))
    if not has_exif:  # the container alone says how it is turned
        content = path.read_bytes()
        path.write_bytes(content.replace(b"ExifExif", b"exixExif"))
    assert imagecodecs.avif_decode(path.read_bytes()).shape == CORNERS.shape
    picture = opening.read(path)
    assert picture.metadata.orientation == orientation
    assert shell(path, tmp_path / "out.jpg", "--strength", "0") == 0
    shown = np.asarray(_shown(tmp_path / "out.jpg"))
    expected = turned(CORNERS, "yxs", orientation)
    assert np.abs(shown.astype(int) - expected).mean() < 3


def _shown(path: Path) -> Any:
    from PIL import ImageOps

    with PILImage.open(path) as file:
        return ImageOps.exif_transpose(file)


def test_the_first_picture_of_an_avif_sequence_is_taken(tmp_path: Path) -> None:
    frames = np.stack([CORNERS, CORNERS // 2, CORNERS // 3])
    (tmp_path / "in.avif").write_bytes(imagecodecs.avif_encode(frames, level=100))
    with pytest.warns(InputWarning, match="3 pictures; the first is taken and 2 are left out"):
        opened = napari_dcr.open_image(tmp_path / "in.avif")
    assert np.abs(np.asarray(opened.array).astype(int) - CORNERS).max() <= 2


def coded(kind: str) -> bytes:
    if kind == "heic":
        out = io.BytesIO()
        pillow_heif.encode("RGB", (60, 40), CORNERS.tobytes(), out)
        return out.getvalue()
    return bytes(imagecodecs.avif_encode(CORNERS))


@pytest.mark.parametrize("kind", ["heic", "avif"])
@pytest.mark.parametrize("fault", ["empty", "text", "head", "half", "end", "other", "jpeg"])
def test_damaged_files_give_one_line(
    kind: str, fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, other = coded(kind), coded("avif" if kind == "heic" else "heic")
    jpeg = io.BytesIO()
    PILImage.fromarray(CORNERS).save(jpeg, "JPEG")
    path = tmp_path / f"in.{kind}"
    path.write_bytes({
        "empty": b"", "text": b"no picture" * 20, "head": content[:40],
        "half": content[: len(content) // 2], "end": content[:-9], "other": other,
        "jpeg": jpeg.getvalue(),
    }[fault])  # fmt: skip
    assert shell(path, tmp_path / "out.png") == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1, text
    assert str(path) in text
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_flat_colours_survive_an_avif(tmp_path: Path) -> None:
    """Colours are neither subsampled nor converted with another matrix or range."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 60, 40], [5, 2, 9], [255, 255, 255]])  # fmt: skip
    pixels = np.repeat(colours.astype(np.uint8)[None], 24, 0).repeat(24, 1)
    writing.write(tmp_path / "out.avif", Picture(pixels, "yxs", Metadata({}), "rgb"))
    found = opening.read(tmp_path / "out.avif").pixels
    assert np.abs(found.astype(int) - pixels).max() <= 2
