"""Metadata are read back with a library other than the one that wrote the file."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import exifread
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

import napari_dcr
from napari_dcr.io import formats, opening, writing

from .conftest import FAST, dim, dim_colour, shell, three_ways

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf>night</rdf></x:xmpmeta>'


def exif_of_a_camera(orientation: int) -> PILImage.Exif:
    exif = PILImage.Exif()
    exif[274] = orientation
    exif[271], exif[315], exif[33432] = "A Camera", "A. Person", "2026 A. Person"
    exif[306] = "2026:01:02 03:04:05"
    exif[34665] = {33434: IFDRational(1, 30), 36867: "2026:01:02 03:04:05", 37500: b"makers' own"}
    exif[34853] = {1: "N", 2: (47.0, 22.0, 33.5), 3: "E", 4: (8.0, 32.0, 1.25)}
    return exif


def save(path: Path, dtype: str, orientation: int) -> None:
    """A picture of a camera in the format that the suffix names."""
    pixels, exif = dim_colour(40, 56, dtype), exif_of_a_camera(orientation)
    if path.suffix != ".png":
        how: dict[str, Any] = {"exif": exif, "icc_profile": PROFILE}
        if path.suffix == ".tif":
            info = ImageFileDirectory_v2()
            for code, value in exif.items():
                info[code] = value
            info[700] = XMP
            PILImage.fromarray(pixels).save(
                path, dpi=(150, 150), tiffinfo=info, icc_profile=PROFILE
            )
        elif path.suffix == ".webp":
            PILImage.fromarray(pixels).save(path, lossless=True, xmp=XMP, **how)
        else:
            PILImage.fromarray(pixels).save(path, dpi=(150, 150), xmp=XMP, **how)
        return
    chunks = [
        (b"iCCP", b"sRGB\0\0" + zlib.compress(PROFILE)),
        (b"pHYs", struct.pack(">IIB", 5906, 5906, 1)),
        (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP),
    ]
    content = imagecodecs.png_encode(pixels)
    beside = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )
    path.write_bytes(content[:33] + beside + content[33:])


def exif_read(path: Path) -> dict[str, Any]:
    """Read EXIF with the package ExifRead, which none of the writers uses."""
    with path.open("rb") as file:
        return dict(exifread.process_file(file, details=False))


@pytest.mark.parametrize("target", ["o.tif", "o.png", "o.jpg", "o.ome.tif"])
@pytest.mark.parametrize(
    ("source", "dtype", "orientation"),
    [
        ("a.jpg", "uint8", 6),
        ("a.png", "uint8", 3),
        ("a.png", "uint16", 8),
        ("a.tif", "uint8", 5),
        ("a.webp", "uint8", 2),
    ],
)
def test_what_a_camera_writes_is_kept(
    tmp_path: Path, source: str, dtype: str, orientation: int, target: str
) -> None:
    save(tmp_path / source, dtype, orientation)
    wide = target.endswith(".tif") or target == "o.png"
    assert (
        shell(tmp_path / source, tmp_path / target, *([] if wide else ["--output", "uint8"])) == 0
    )
    tags = exif_read(tmp_path / target)
    assert tags["Image Orientation"].values == [orientation]
    assert str(tags["Image Make"]) == "A Camera"
    assert str(tags["Image Artist"]) == "A. Person"
    assert str(tags["Image Copyright"]) == "2026 A. Person"
    assert str(tags["Image DateTime"]) == "2026:01:02 03:04:05"
    assert str(tags["EXIF ExposureTime"]) == "1/30"
    assert [float(v) for v in tags["GPS GPSLatitude"].values] == [47, 22, 33.5]
    content = (tmp_path / target).read_bytes()
    if target == "o.png":
        with PILImage.open(tmp_path / target) as file:
            assert file.info["icc_profile"] == PROFILE
            assert file.info["xmp" if "xmp" in file.info else "XML:com.adobe.xmp"] in (
                XMP,
                XMP.decode(),
            )
            resolution = file.info.get("dpi")
    elif target == "o.jpg":
        assert b"ICC_PROFILE\0\1\1" + PROFILE in content
        assert b"http://ns.adobe.com/xap/1.0/\0" + XMP in content
        with PILImage.open(tmp_path / target) as file:
            resolution = file.info["dpi"]
    else:
        with PILImage.open(tmp_path / target) as file:
            assert file.info["icc_profile"] == PROFILE
            assert file.tag_v2[700] == XMP
            resolution = file.info.get("dpi")
    if source != "a.webp":  # which holds none
        assert resolution == pytest.approx((150, 150), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", ["a.jpg", "a.tif"])
def test_orientation_is_kept_or_pixels_are_turned(
    tmp_path: Path, source: str, orientation: int
) -> None:
    save(tmp_path / source, "uint8", orientation)
    with PILImage.open(tmp_path / source) as file:
        upright = np.asarray(ImageOps.exif_transpose(file))
    stored = opening.read(tmp_path / source).pixels
    result = napari_dcr.enhance(stored, **FAST)
    # Viewers show the result as they show the source, but brighter.
    for target in ("o.tif", "o.png"):
        assert shell(tmp_path / source, tmp_path / target) == 0
        with PILImage.open(tmp_path / target) as file:
            shown = np.asarray(ImageOps.exif_transpose(file))
        assert shown.shape == upright.shape
        assert np.corrcoef(shown.ravel(), upright.ravel())[0, 1] > 0.85
    assert np.array_equal(tifffile.imread(tmp_path / "o.tif"), result)
    # An OME-Zarr image has no orientation.
    if shell(tmp_path / source, tmp_path / "o.ome.zarr") == 0:
        turned = zarr.open(tmp_path / "o.ome.zarr")["0"][...]
        again = napari_dcr.enhance(upright, **FAST)
        assert turned.shape == upright.shape
        assert (
            np.abs(turned.astype(int) - again).max() <= 12
        )  # the survey differs slightly for a rotated picture
    # An array has none either: the pixels stay, and a warning appears.
    if orientation > 1:
        with pytest.warns(napari_dcr.InputWarning, match=f"Orientation {orientation}"):
            assert np.array_equal(napari_dcr.enhance(tmp_path / source, **FAST), result)


@pytest.mark.parametrize("orientation", [4, 6])
def test_defects_of_a_sensor_follow_the_stored_order(tmp_path: Path, orientation: int) -> None:
    rng = np.random.default_rng(0)
    places = np.array([[0, 3, 50], [0, 30, 7]])
    known = napari_dcr.Defects(
        40, 60, columns=rng.normal(0, 20, (1, 1, 3, 60)).astype(int),
        offset=rng.normal(0, 9, (1, 40, 60)).astype(int), hot=places,
    )  # fmt: skip
    known.save(tmp_path / "map.npz")
    sources = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for source in sources:
        pixels = np.rint(np.nan_to_num(known.map(), nan=3000) + 500).astype(np.uint16)
        tag = (274, 3, 1, orientation, True)
        tifffile.imwrite(source, pixels, extratags=[tag], photometric="minisblack")
    how: dict[str, Any] = {"model": "microscopy", "depth": 0, "device": "cpu"}
    for name, image in (("one", sources[0]), ("two", sources)):
        result, found = napari_dcr.enhance(
            image, out=tmp_path / f"{name}.zarr", defects=tmp_path / "map.npz",
            return_defects=True, **how,
        )  # fmt: skip
        assert np.ptp(result[...]) == 0
        assert np.array_equal(found.hot, known.hot)
        assert np.allclose(found.map(), known.map(), equal_nan=True)
    if orientation == 6:
        wrong = napari_dcr.Defects(60, 40)
        with pytest.raises(ValueError, match="60 x 40 .* 40 x 60"):
            napari_dcr.enhance(sources[0], out=tmp_path / "o.zarr", defects=wrong, **how)
    tifffile.imwrite(sources[1], pixels, photometric="minisblack")
    if orientation == 4:
        with pytest.raises(ValueError, match="different values of Orientation"):
            napari_dcr.enhance(sources, out=tmp_path / "d.zarr", defects=known, **how)
        with pytest.warns(napari_dcr.InputWarning, match="different values of Orientation"):
            napari_dcr.enhance(sources, out=tmp_path / "e.zarr", defects="off", **how)


def test_a_large_rotated_tiff_is_read_by_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = dim(300, 420, "uint16")
    for orientation, how in ((6, {"compression": "zlib", "tile": (64, 96)}), (7, {})):
        tag = (274, 3, 1, orientation, True)
        source = tmp_path / f"{orientation}.tif"
        tifffile.imwrite(source, pixels, extratags=[tag], photometric="minisblack", **how)  # type: ignore[arg-type]
        out = tmp_path / f"{orientation}.zarr"
        turned = napari_dcr.enhance(source, out=out, tile=128, **FAST)[...]
        expected = {6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].T}[orientation]
        assert np.abs(turned.astype(int) - napari_dcr.enhance(expected.copy(), **FAST)).max() <= 300
        assert np.corrcoef(turned.ravel(), expected.ravel())[0, 1] > 0.95


def test_thumbnails_of_the_old_picture_are_cut_off(tmp_path: Path) -> None:
    exif = exif_of_a_camera(1)
    small = tmp_path / "small.jpg"
    PILImage.fromarray(dim_colour(20, 28)).save(small)
    block = exif.tobytes()
    # A directory after the first one, with a thumbnail behind it.
    body = bytearray(block[6:])
    order = "<" if body[:2] == b"II" else ">"
    first = struct.unpack(order + "I", body[4:8])[0]
    count = struct.unpack(order + "H", body[first : first + 2])[0]
    following, place = first + 2 + 12 * count, len(body)
    body[following : following + 4] = struct.pack(order + "I", place)
    thumbnail = small.read_bytes()
    data = place + 2 + 24 + 4
    body += struct.pack(order + "HHHII", 2, 513, 4, 1, data)
    body += struct.pack(order + "HHIII", 514, 4, 1, len(thumbnail), 0) + thumbnail
    PILImage.fromarray(dim_colour(40, 56)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + bytes(body))
    with (tmp_path / "a.jpg").open("rb") as file:
        assert "JPEGThumbnail" in exifread.process_file(file)
    assert shell(tmp_path / "a.jpg", tmp_path / "o.jpg") == 0
    with (tmp_path / "o.jpg").open("rb") as file:
        tags = exifread.process_file(file)
    assert "JPEGThumbnail" not in tags
    assert str(tags["EXIF ExposureTime"]) == "1/30"


GEO = {
    33550: ("d", (0.5, 0.5, 0.0)),
    33922: ("d", (0.0, 0.0, 0.0, 430000.0, 4580000.0, 0.0)),
    34735: ("H", (1, 1, 0, 1, 1024, 0, 1, 1)),
    34736: ("d", (6378137.0, 298.25)),
    34737: ("s", "WGS 84 / UTM zone 18N|"),
    42113: ("s", "-9999"),
}
STATISTICS = '<GDALMetadata>\n  <Item name="AREA">Point</Item>\n  <Item name="STATISTICS_MEAN" sample="0">7</Item>\n</GDALMetadata>'


@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        ("int16", {}),
        ("uint16", {"compression": "zlib", "tile": (16, 32)}),
        ("float32", {"bigtiff": True}),
    ],
)
def test_geotiff(tmp_path: Path, dtype: str, how: dict[str, Any]) -> None:
    tags = [
        (code, kind, len(value) * (kind != "s"), value, True) for code, (kind, value) in GEO.items()
    ]
    tags.append((42112, "s", 0, STATISTICS, True))
    tifffile.imwrite(
        tmp_path / "a.tif", dim(40, 56, dtype), photometric="minisblack", extratags=tags, **how
    )
    assert opening.read(tmp_path / "a.tif").metadata.nodata == -9999
    _, *files = three_ways(tmp_path / "a.tif")
    for path in files:
        with PILImage.open(path) as file:
            read = dict(file.tag_v2)
        for code, (_, value) in GEO.items():
            assert read[code] == value
        assert "AREA" in read[42112]
        assert "STATISTICS" not in read[42112]
        with tifffile.TiffFile(path) as file:
            assert file.pages.first.geotiff_tags["ModelPixelScale"] == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tags_of_other_pixels_are_not_copied(tmp_path: Path, dtype: str) -> None:
    """Layers of Photoshop, camera raw and scanners' offsets: they hold or describe other pixels."""
    theirs = {37724: "Adobe Photoshop Document Data Block", 50708: "A Raw Camera", 65000: "kept"}
    tifffile.imwrite(
        tmp_path / "a.tif", dim(40, 56, dtype), photometric="minisblack",
        extratags=[(code, "s", 0, text, True) for code, text in theirs.items()],
    )  # fmt: skip
    _, *files = three_ways(tmp_path / "a.tif")
    for path in files:
        with PILImage.open(path) as file:
            assert file.tag_v2.get(65000) == "kept"
            assert 37724 not in file.tag_v2
            assert 50708 not in file.tag_v2


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_finest_level_of_a_tiff_is_taken(tmp_path: Path, dtype: str) -> None:
    pixels = dim(64, 80, dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(pixels, subifds=1, tile=(32, 32), compression="zlib")
        writer.write(pixels[::2, ::2], subfiletype=1, tile=(32, 32), compression="zlib")
    result, *files = three_ways(tmp_path / "a.tif")
    assert np.array_equal(result, napari_dcr.enhance(pixels, **FAST))
    for path in files:
        with tifffile.TiffFile(path) as file:
            assert len(file.series[0].levels) == 1
            assert "SubIFDs" not in file.pages.first.tags


@pytest.mark.parametrize("target", ["o.tif", "o.png"])
def test_the_file_behind_a_link_is_replaced(tmp_path: Path, target: str) -> None:
    save(tmp_path / "a.png", "uint8", 1)
    suffix = Path(target).suffix
    (tmp_path / f"real{suffix}").write_bytes(b"old")
    (tmp_path / target).symlink_to(tmp_path / f"real{suffix}")
    assert shell(tmp_path / "a.png", tmp_path / target, "--overwrite") == 0
    assert (tmp_path / target).is_symlink()
    if suffix == ".tif":
        (tmp_path / f"real{suffix}").write_bytes(b"old")
        napari_dcr.enhance(tmp_path / "a.png", out=tmp_path / target, **FAST)
        assert (tmp_path / target).is_symlink()
    result = np.asarray(PILImage.open(tmp_path / f"real{suffix}"))
    assert np.array_equal(result, napari_dcr.enhance(tmp_path / "a.png", **FAST))


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_every_page_keeps_its_date_and_description(tmp_path: Path, how: dict[str, Any]) -> None:
    source = tmp_path / "a.tif"
    with tifffile.TiffWriter(source) as writer:
        for number in range(4):
            writer.write(
                dim(40, 56, "uint16", number), description=f"exposure {number}", metadata=None,
                datetime=f"2026:01:01 00:00:0{number}", software="a camera", contiguous=False, **how,
            )  # fmt: skip
    result, *files = three_ways(source)
    assert result.shape == (4, 40, 56)
    for path in files:
        with PILImage.open(path) as file:
            assert file.n_frames == 4
            for number in range(4):
                file.seek(number)
                assert file.tag_v2[306] == f"2026:01:01 00:00:0{number}"
                assert file.tag_v2[270] == f"exposure {number}"
                assert file.tag_v2[305] == "a camera"
                assert np.array_equal(np.asarray(file), result[number])


def test_a_description_beside_the_axes_is_kept(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([dim(40, 56), dim(40, 56, seed=2)]), photometric="minisblack",
        metadata={"axes": "TYX"}, description="lens cap on, 5 µm".encode(),
    )  # fmt: skip
    _, *files = three_ways(tmp_path / "a.tif")
    for path in files:
        with tifffile.TiffFile(path) as file:
            assert file.series[0].axes == "TYX"
            assert file.pages.first.description == "lens cap on, 5 µm"
        with PILImage.open(path) as file:
            assert "lens cap on" in str(file.tag_v2[270])


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA"])
@pytest.mark.parametrize("bits", [8, 16])
def test_chunks_of_png(tmp_path: Path, mode: str, bits: int) -> None:
    count = len(mode)
    pixels = np.dstack([dim(40, 56, f"uint{bits}", seed) for seed in range(count)])
    pixels = pixels[..., 0] if count == 1 else pixels
    texts = {"Title": "Night", "Author": "A. Person", "Comment": "with a µ"}
    chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"pHYs", struct.pack(">IIB", 3000, 4000, 1))]
    chunks += [(b"tEXt", k.encode() + b"\0" + v.encode("latin-1")) for k, v in texts.items()]
    content = imagecodecs.png_encode(np.ascontiguousarray(pixels))
    beside = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )
    (tmp_path / "a.png").write_bytes(content[:33] + beside + content[33:])
    assert shell(tmp_path / "a.png", tmp_path / "o.png") == 0
    with PILImage.open(tmp_path / "o.png") as file:
        assert {k: file.text[k] for k in texts} == texts
        assert file.info["gamma"] == pytest.approx(0.45455)
        assert file.info["dpi"] == pytest.approx((76.2, 101.6), abs=0.01)
        if bits == 8:
            assert file.mode == mode
    result = napari_dcr.enhance(tmp_path / "a.png", **FAST)
    assert result.dtype == f"uint{bits}"
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "o.png").read_bytes()), result)
    if "A" in mode:
        assert np.array_equal(result[..., -1], pixels[..., -1])
    assert shell(tmp_path / "a.png", tmp_path / "o.tif") == 0
    tags = exif_read(tmp_path / "o.tif")
    assert str(tags["Image Artist"]) == "A. Person"
    assert float(tags["Image XResolution"].values[0]) == pytest.approx(30)
    assert tags["Image ResolutionUnit"].values == [3]


@pytest.mark.parametrize("kind", ["apng", "mpo", "webp"])
def test_further_pictures_of_a_file_are_counted(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [PILImage.fromarray(dim_colour(40, 56) + np.uint8(n)) for n in range(3)]
    path = tmp_path / {"apng": "a.png", "mpo": "a.jpg", "webp": "a.webp"}[kind]
    how: dict[str, Any] = (
        {"format": "MPO"} if kind == "mpo" else {"lossless": True} if kind == "webp" else {}
    )
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **how)
    with pytest.warns(napari_dcr.InputWarning, match="holds 3 pictures; the first .* 2 are left"):
        result = napari_dcr.enhance(path, **FAST)
    with PILImage.open(path) as file:
        assert np.array_equal(result, napari_dcr.enhance(np.asarray(file.convert("RGB")), **FAST))
    assert shell(path, tmp_path / "o.png") == 0
    assert "2 are left out" in capsys.readouterr().err
    with PILImage.open(tmp_path / "o.png") as file:
        assert getattr(file, "n_frames", 1) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_bmp_is_read(tmp_path: Path, mode: str) -> None:
    picture = PILImage.fromarray(dim_colour(40, 56)).convert(mode)
    picture.save(tmp_path / "a.bmp", dpi=(96, 96))
    expected = np.asarray(picture.convert("RGB" if mode == "P" else mode))
    result = napari_dcr.enhance(tmp_path / "a.bmp", **FAST)
    assert np.array_equal(result, napari_dcr.enhance(expected, **FAST))
    assert shell(tmp_path / "a.bmp", tmp_path / "out/") == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


def test_every_row_of_the_table_has_its_test() -> None:
    """The table of the documentation names a test of this folder in every row."""
    tests = Path(__file__).parent
    known = set(re.findall(r"def (test_\w+)", "".join(p.read_text() for p in tests.glob("*.py"))))
    page = (tests.parents[1] / "docs" / "file-formats.md").read_text(encoding="utf-8")
    section = page.partition("\n## Metadata\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert len(rows) > 20
    assert all(named)
    assert {name for names in named for name in names} <= known


@pytest.mark.parametrize(("bits", "dtype"), [(8, "uint8"), (16, "uint16"), (8, "rgb")])
def test_no_data_of_converted_pixels(tmp_path: Path, bits: int, dtype: str) -> None:
    source = tmp_path / "a.tif"
    pixels = dim(40, 56, "uint8" if bits == 8 else "uint16")
    pixels[pixels == 7] = 8
    pixels[:8] = 7
    tags = [(42113, "s", 0, "7", True)]
    if dtype == "rgb":
        inks = np.stack([pixels] * 4, -1)
        tifffile.imwrite(source, inks, photometric="separated", extratags=tags)
        with pytest.warns(napari_dcr.InputWarning, match="no-data value 7 is left out"):
            napari_dcr.enhance(source, **FAST)
        return
    tifffile.imwrite(source, pixels, photometric="miniswhite", extratags=tags)
    white = 2**bits - 1
    assert opening.read(source).metadata.nodata == white - 7
    result, *files = three_ways(source)
    assert (result[:8] == white - 7).all()
    for path in files:
        with tifffile.TiffFile(path) as file:
            assert file.pages.first.tags[42113].value == str(white - 7)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_is_kept(tmp_path: Path, bits: int) -> None:
    levels = (np.arange(40 * 56).reshape(40, 56) % 2**bits).astype(np.uint8)
    rows = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :]).tobytes()
        for row in levels
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 56, 40, bits, 0, 0, 0, 0)), (b"tRNS", b"\0\1"),
        (b"IDAT", zlib.compress(rows)), (b"IEND", b""),
    )  # fmt: skip
    content = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    picture = opening.read(tmp_path / "a.png")
    assert picture.samples == "ya"
    assert np.array_equal(picture.pixels[..., 1] == 0, levels == 1)
    assert np.array_equal(picture.pixels[..., 0], levels * (255 // (2**bits - 1)))


@pytest.mark.parametrize("orientations", [(6, 1), (1, 3), (6, None), (6, 6)])
def test_pages_with_different_orientations(
    tmp_path: Path, orientations: tuple[int | None, ...]
) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for orientation in orientations:
            tags = [(274, 3, 1, orientation, True)] if orientation else []
            writer.write(dim(40, 56), extratags=tags, contiguous=False, metadata=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        napari_dcr.open_image(tmp_path / "a.tif", tmp_path / "o.zarr")
    has_warned = any("different values of Orientation" in str(w.message) for w in caught)
    assert has_warned == (orientations != (6, 6))


@pytest.mark.parametrize("name", ["o.tif", "o.png"])
def test_a_missing_folder_is_named(tmp_path: Path, name: str) -> None:
    out = tmp_path / "none" / name
    with pytest.raises(ValueError, match="there is no folder .*none; create it first"):
        writing.write(out, formats.Picture(dim(40, 56), "yx"))
    if name == "o.tif":
        with pytest.raises(ValueError, match="out: got .* there is no folder"):
            napari_dcr.enhance(dim(40, 56), out=out, **FAST)


@pytest.mark.parametrize(
    "url", ["sftp://h/r.zarr", "OSS://b/r.tif", "abfss:/c/r.zarr", "r2::x", "zip:/x.zarr"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_urls_of_any_scheme_are_refused(url: str, kind: type) -> None:
    for argument in ("image", "out"):
        with pytest.raises(ValueError, match=f"{argument}: got the URL"):
            formats.local_path(kind(url), argument)
    assert formats.local_path("a:b.tif", "image").name == "a:b.tif"
    assert formats.local_path("C:/r.tif", "image")


def test_urls_as_files_of_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", dim(40, 56))
    assert shell(tmp_path / "a.tif", tmp_path / "o.tif", "--defects", "sftp:/h/d.npz") == 1
    assert "--defects: got the URL" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["o.png", "o.jpg", "o.tif"])
@pytest.mark.parametrize("source", ["a.png", "a.jpg"])
def test_texts_beside_an_exif_block_are_kept(tmp_path: Path, source: str, target: str) -> None:
    exif = exif_of_a_camera(1)
    known = {270: "a comment", 315: "somebody", 33432: "all rights"}
    picture = PILImage.fromarray(dim_colour(40, 56))
    if source == "a.png":
        for code in known:
            exif.pop(code, None)
        info = PngInfo()
        for keyword, code in (("Description", 270), ("Author", 315), ("Copyright", 33432)):
            info.add_text(keyword, known[code])
        picture.save(tmp_path / source, exif=exif, pnginfo=info)
    else:
        known = {270: "a comment"}
        exif.pop(270, None)
        picture.save(tmp_path / source, exif=exif, comment=b"a comment")
    assert shell(tmp_path / source, tmp_path / target) == 0
    read = opening.read(tmp_path / target).metadata.tags
    assert {code: read[code].text for code in known} == known
    assert read[271].text == exif[271]
    with PILImage.open(tmp_path / target) as file:
        assert file.getexif()[271] == exif[271]
        if (source, target) != ("a.png", "o.png"):
            assert {code: file.getexif()[code] for code in known} == known


@pytest.mark.parametrize("what", ["XMP", "EXIF", "density"])
def test_what_a_jpeg_has_no_room_for_is_named(tmp_path: Path, what: str) -> None:
    tags: list[Any] = []
    how: dict[str, Any] = {}
    if what == "XMP":
        tags.append((700, "B", 70000, b"<x:xmpmeta/>" + b" " * 69988, True))
    elif what == "EXIF":
        tags.append((315, "s", 0, "x" * 70000, True))
    else:
        how = {"resolution": (100000, 100000), "resolutionunit": "INCH"}
    tifffile.imwrite(tmp_path / "a.tif", dim(40, 56), extratags=tags, **how)
    with pytest.warns(napari_dcr.InputWarning, match=rf"o\.jpg: left out its {what}"):
        writing.write(tmp_path / "o.jpg", opening.read(tmp_path / "a.tif"))
    with PILImage.open(tmp_path / "o.jpg") as file:
        assert file.size == (56, 40)
        assert "xmp" not in file.info
        assert file.info["jfif_density"] == (1, 1)


def test_iptc_is_lost(tmp_path: Path) -> None:
    PILImage.fromarray(dim_colour(40, 56)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05hello"
    segment = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
    (tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
    assert shell(tmp_path / "a.jpg", tmp_path / "o.jpg") == 0
    assert b"8BIM" not in (tmp_path / "o.jpg").read_bytes()


BLANK = -7
"""No-data value of the tests below."""


def _with_blanks(path: Path) -> NDArray[np.int16]:
    """An image with blank pixels, in a FITS file or in a TIFF with GDAL's tag."""
    pixels = dim(40, 56, "int16")
    pixels[:9, 5:30] = BLANK
    if path.suffix == ".fits":
        fits = pytest.importorskip("astropy.io.fits")
        hdu = fits.PrimaryHDU(pixels)
        hdu.header["BLANK"] = BLANK
        hdu.writeto(path)
    else:
        tifffile.imwrite(path, pixels, extratags=[(42113, 2, 0, str(BLANK), True)])
    return pixels


@pytest.mark.parametrize("target", ["out.tif", "out.ome.tif", "out.zarr", "out.ome.zarr"])
@pytest.mark.parametrize("source", ["in.fits", "in.tif", "array"])
def test_pixels_without_data_are_marked_in_the_result(
    source: str, target: str, tmp_path: Path
) -> None:
    """A second run ignores them again."""
    place, out = tmp_path / source, tmp_path / target
    pixels = _with_blanks(place if source != "array" else tmp_path / "in.tif")
    given: dict[str, Any] = {"nodata": BLANK} if source == "array" else {}
    image = pixels if source == "array" else place
    for output in ("same", "float32"):
        napari_dcr.enhance(image, out=out, overwrite=True, output=output, **given, **FAST)
        opened = napari_dcr.open_image(out)
        assert opened.nodata == BLANK
        result = np.asarray(opened.array[:, :])
        assert np.array_equal(result == BLANK, pixels == BLANK)


def test_the_shell_marks_pixels_without_data(tmp_path: Path) -> None:
    pixels = _with_blanks(tmp_path / "in.fits")
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    for name, given in (("in.fits", []), ("in.tif", ["--nodata", str(BLANK)])):
        out = tmp_path / "out" / f"{name}.tif"
        assert shell(tmp_path / name, out, *given) == 0
        assert napari_dcr.open_image(out).nodata == BLANK


def test_a_no_data_value_that_the_result_cannot_hold_is_named(tmp_path: Path) -> None:
    _with_blanks(tmp_path / "in.tif")
    for name in ("out.tif", "out.zarr"):
        with pytest.warns(napari_dcr.InputWarning, match=f"{name} cannot hold -7 as uint8"):
            napari_dcr.enhance(
                tmp_path / "in.tif",
                out=tmp_path / name,
                output="uint8",
                **{**FAST, "model": "photo"},
            )
        assert napari_dcr.open_image(tmp_path / name).nodata is None


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_xarray_reads_the_no_data_value(dtype: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pixels = dim(40, 56, "int16").astype(dtype)
    pixels[:9] = BLANK
    out = tmp_path / "out.ome.zarr"
    napari_dcr.enhance(pixels, out=out, nodata=BLANK, **FAST)
    found = xarray.open_zarr(out, consolidated=False)["0"]
    assert np.array_equal(np.isnan(found.values), pixels == BLANK)
