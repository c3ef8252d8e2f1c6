"""Which of the images of a TIFF is opened, and whether the file holds all of its pixels."""

from __future__ import annotations

import gc
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.io import files, opening

from .conftest import shell

SAME: dict[str, Any] = {"strength": 0, "defects": "off", "depth": 0, "device": "cpu"}


def counts(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).poisson(300, shape).astype(np.uint16)


def with_tags(path: Path, tags: dict[str, int], **how: Any) -> Path:
    """Write a TIFF, then change some of its tags."""
    tifffile.imwrite(path, counts(61, 83), **how)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages.first.tags[name].overwrite(value)
    return path


ABSURD = {"ImageWidth": 4_000_000_000, "ImageLength": 4_000_000_000}


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize(
    ("tags", "how", "message"),
    [
        ({"ImageLength": 610}, {}, "page 1 has 1 of its 10 strips: it is incomplete"),
        (ABSURD, {}, "page 1 has 1 of its 65573771 strips: it is incomplete"),
        ({"ImageLength": 610}, {"tile": (32, 32)}, "page 1 has 6 of its 60 tiles: it is incomplete"),
        (ABSURD, {"tile": (32, 32)}, "page 1 has 6 of its 15625000000000000 tiles: it is incomplete"),
    ],
)  # fmt: skip
def test_missing_strips_and_tiles_are_an_error_at_once(
    compression: str | None,
    tags: dict[str, int],
    how: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = with_tags(tmp_path / "in.tif", tags, compression=compression, **how)
    for call in (napari_dcr.open_image, napari_dcr.enhance):
        with pytest.raises(ValueError, match=message):
            call(source)
    assert shell(source, tmp_path / "out.tif") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


def test_a_strip_that_does_not_fit_into_memory_is_an_error_at_once(tmp_path: Path) -> None:
    tags = {**ABSURD, "RowsPerStrip": ABSURD["ImageLength"]}
    source = with_tags(tmp_path / "in.tif", tags, compression="deflate")
    with pytest.raises(ValueError, match=r"its 4000000000 x 4000000000 pixels need .* of memory"):
        napari_dcr.open_image(source)


def test_tiles_without_data_are_allowed(tmp_path: Path) -> None:
    tiles = [None if n in (1, 4) else np.full((32, 32), 100 + n, np.uint16) for n in range(6)]
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(
            iter(tiles), shape=(64, 96), dtype="uint16", tile=(32, 32), compression="deflate"
        )
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        assert 0 in file.pages.first.databytecounts
    opened = napari_dcr.open_image(tmp_path / "in.tif")
    expected = np.block([[np.zeros((32, 32)) if t is None else t for t in tiles[n : n + 3]] for n in (0, 3)])  # fmt: skip
    assert np.array_equal(opened.array[:, :], expected)


def test_one_uncompressed_strip_for_all_rows_is_allowed(tmp_path: Path) -> None:
    source = with_tags(tmp_path / "in.tif", {"RowsPerStrip": 1})
    assert np.array_equal(napari_dcr.enhance(source, **SAME), counts(61, 83))


def write_pages(path: Path, pages: Any, compressions: Any = (None,), **how: Any) -> Path:
    """Write each page by itself, as in a loop over the frames of a camera."""
    with tifffile.TiffWriter(path, **how) as file:
        for number, page in enumerate(pages):
            compression = compressions[number % len(compressions)]
            file.write(page, contiguous=False, compression=compression, description=f"page {number}")  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("compressions", "how"),
    [
        ((None,), {}),
        ((None,), {"byteorder": ">", "bigtiff": True}),
        (("deflate",), {}),
        ((None, "lzw", "deflate", "zstd"), {}),
    ],
)
@pytest.mark.parametrize("shape", [(31, 43), (31, 43, 3)])
def test_equal_pages_that_were_written_one_by_one_are_a_stack(
    shape: tuple[int, ...], compressions: Any, how: dict[str, Any], tmp_path: Path
) -> None:
    pixels = counts(4, *shape)
    source = write_pages(tmp_path / "in.tif", pixels, compressions, **how)
    with tifffile.TiffFile(source) as file:
        assert len(file.series) == 4
    opened = napari_dcr.open_image(source)
    assert (opened.axes, opened.array.shape) == ("iyxs"[: pixels.ndim], pixels.shape)
    assert np.array_equal(opened.array[(slice(None),) * pixels.ndim], pixels)
    assert np.array_equal(opened.array[2, 5:9], pixels[2, 5:9])
    assert shell(source, tmp_path / "out.tif", "--strength", "0", "--defects", "off") == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert np.array_equal(file.asarray(), pixels)
        assert [page.tags[270].value for page in file.pages] == [f"page {n}" for n in range(4)]


def test_pages_that_differ_are_images_to_choose_from(tmp_path: Path) -> None:
    pages = [counts(31, 43), counts(31, 43), counts(20, 30)]
    source = write_pages(tmp_path / "in.tif", pages)
    listed = r"0 \(31 x 43 uint16\), 1 \(31 x 43 uint16\), 2 \(20 x 30 uint16\)"
    with pytest.raises(ValueError, match=f"it holds 3 images; choose one by scene: {listed}"):
        napari_dcr.enhance(source)
    assert np.array_equal(napari_dcr.enhance(source, scene=2, **SAME), pages[2])
    with pytest.raises(ValueError, match=f"scene: got 3; allowed are {listed}"):
        napari_dcr.open_image(source, scene=3)


def write_positions(folder: Path, sizes: tuple[float, float] = (0.5, 0.25)) -> list[NDArray[Any]]:
    """Write two positions of an acquisition, one in each file; the XML of both describes both."""
    pixels = [counts(3, 31, 43) + 1000 * number for number in range(2)]
    images = "".join(
        f'<Image ID="Image:{n}" Name="Pos{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT"'
        f' Type="uint16" SizeX="43" SizeY="31" SizeC="1" SizeZ="1" SizeT="3" PhysicalSizeX="{size}">'
        f'<Channel ID="Channel:{n}:0" Name="GFP{n}" SamplesPerPixel="1"/>'
        + "".join(
            f'<TiffData FirstT="{t}" IFD="{t}" PlaneCount="1">'
            f'<UUID FileName="a_Pos{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>'
            for t in range(3)
        )
        + "</Pixels></Image>"
        for n, size in enumerate(sizes)
    )
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    for number in range(2):
        xml = f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{space}" UUID="urn:uuid:{number}">{images}</OME>'
        tifffile.imwrite(
            folder / f"a_Pos{number}.ome.tif", pixels[number], photometric="minisblack",
            metadata=None, description=xml.encode(),
        )  # fmt: skip
    return pixels


@pytest.mark.parametrize("opened_by", [0, 1])
@pytest.mark.parametrize(("scene", "number"), [(0, 0), (1, 1), ("Pos0", 0), ("Pos1", 1)])
def test_a_position_is_chosen_by_number_or_name(
    opened_by: int, scene: int | str, number: int, tmp_path: Path
) -> None:
    pixels = write_positions(tmp_path)[number]
    source = tmp_path / f"a_Pos{opened_by}.ome.tif"
    with pytest.raises(ValueError, match=r"2 images; choose one by scene: 0 \(Pos0\), 1 \(Pos1\)"):
        napari_dcr.open_image(source)
    opened = napari_dcr.open_image(source, scene=scene)
    assert opened.axes == "tyx"
    assert np.array_equal(opened.array[:, :, :], pixels)
    calibration = opened.metadata.calibration
    assert (calibration.name, calibration.sizes["x"]) == (f"Pos{number}", (0.5, 0.25)[number])
    assert [channel.name for channel in calibration.channels] == [f"GFP{number}"]
    other = napari_dcr.open_image(source, scene=1 - number)
    assert other.fingerprint() != opened.fingerprint()
    out = tmp_path / "out.ome.tif"
    arguments = "--scene", str(scene), "--strength", "0", "--defects", "off"
    assert shell(source, out, *arguments) == 0
    with tifffile.TiffFile(out) as file:
        assert len(file.series) == 1
        assert np.array_equal(file.asarray(), pixels)
        assert f'Name="Pos{number}"' in file.ome_metadata
        assert f"Pos{1 - number}" not in file.ome_metadata


def test_a_missing_position_is_named(tmp_path: Path) -> None:
    write_positions(tmp_path)
    (tmp_path / "a_Pos1.ome.tif").unlink()
    with pytest.raises(ValueError, match=r"its companion a_Pos1\.ome\.tif is missing"):
        napari_dcr.open_image(tmp_path / "a_Pos0.ome.tif", scene="Pos0")


def test_compressed_files_are_closed_when_the_array_is_released(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    how: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": "TYX"}}
    tifffile.imwrite(source, counts(3, 61, 83), compression="deflate", **how)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        opened = napari_dcr.open_image(source)
        assert opened.array[0, :5, :5].shape == (5, 5)
        del opened
        gc.collect()
    assert not [each for each in found if issubclass(each.category, ResourceWarning)]


def test_differently_compressed_frames_must_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_pages(tmp_path / "in.tif", counts(4, 31, 43), (None, "deflate"))
    monkeypatch.setattr(files, "free_memory", lambda _: 8000)
    with pytest.raises(ValueError, match="its 4 x 31 x 43 pixels need .* of memory"):
        napari_dcr.open_image(source)


def write_strips(path: Path, pixels: NDArray[np.uint16], count: int) -> None:
    """Write pixels, then the directory, then the positions and sizes of the strips."""
    place = 8 + pixels.nbytes
    end = place + 2 + 9 * 12 + 4
    height, width = pixels.shape
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, count, end), (277, 3, 1, 1), (278, 4, 1, height // count),
        (279, 4, count, end + 4 * count),
    ]  # fmt: skip
    size = pixels.nbytes // count
    path.write_bytes(
        b"II*\0" + struct.pack("<I", place) + pixels.tobytes() + struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
        + struct.pack(f"<{2 * count}I", *(8 + n * size for n in range(count)), *[size] * count)
    )  # fmt: skip


WHOLE: dict[str, Any] = {
    "strips": lambda path, pixels: write_strips(path, pixels[0], 8),
    "plain": lambda path, pixels: tifffile.imwrite(path, pixels, metadata=None, photometric="minisblack"),
    "shaped": lambda path, pixels: tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"}),
    "deflate": lambda path, pixels: tifffile.imwrite(path, pixels, compression="deflate", metadata={"axes": "ZYX"}),
    "imagej": lambda path, pixels: tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"}),
    "ome": lambda path, pixels: tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "TYX"}),
    "ome tiles": lambda path, pixels: tifffile.imwrite(path, pixels, ome=True, tile=(16, 16), metadata={"axes": "TYX"}),
    "loop": write_pages,
    "pillow": lambda path, pixels: PILImage.fromarray(pixels[0]).save(
        path, save_all=True, append_images=[PILImage.fromarray(p) for p in pixels[1:]]),
}  # fmt: skip
"""Functions that write a TIFF whose directories, tags and pixels are in different orders."""


def read_by_region(path: Path) -> Any:
    array = napari_dcr.open_image(path).array
    return array[(slice(None),) * array.ndim]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_tiff_that_was_cut_off_anywhere_is_an_error(kind: str, tmp_path: Path) -> None:
    pixels = counts(5, 24, 40)
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    WHOLE[kind](whole, pixels)
    expected = pixels[0] if kind == "strips" else pixels
    assert np.array_equal(read_by_region(whole), expected)
    content = whole.read_bytes()
    # tifffile and Pillow write up to 15 bytes of padding after the last page.
    last = (1, 10, 40, 70) if kind == "strips" else (17, 40, 70)
    ends = [len(content) - n for n in last]
    for end in (*range(200, len(content), 1 + len(content) // 5), *ends):
        cut.write_bytes(content[:end])
        for read in (read_by_region, lambda path: opening.read(path).pixels):
            with pytest.raises(ValueError, match="incomplete|cut off"):
                read(cut)


def test_a_cut_tiff_gives_one_line_and_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "cut.tif"
    for kind, end in (("strips", -10), ("strips", -40), ("imagej", 4000), ("ome", 4000)):
        WHOLE[kind](source, counts(5, 24, 40))
        source.write_bytes(source.read_bytes()[:end])
        for result in ("out.tif", "out.ome.zarr"):
            assert shell(source, tmp_path / result) == 1
            assert capsys.readouterr().err.count("\n") == 1
        assert list(tmp_path.iterdir()) == [source]


def test_planes_that_imagej_lists_without_directories_must_be_in_the_file(tmp_path: Path) -> None:
    source, pixels = tmp_path / "large.tif", counts(5, 24, 40)
    described = "ImageJ=1.53t\nimages=5\nframes=5\n"
    tifffile.imwrite(source, pixels[0], description=described, metadata=None)
    source.write_bytes(source.read_bytes() + pixels[1:3].tobytes())
    with pytest.raises(ValueError, match="it holds 1 of its 5 planes: it is incomplete"):
        napari_dcr.open_image(source)


def test_a_page_without_sizes_of_its_strips_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    write_strips(source, counts(24, 40), 8)
    content = source.read_bytes()
    entry = struct.pack("<HHI", 279, 4, 8)
    assert content.count(entry) == 1
    source.write_bytes(content.replace(entry, struct.pack("<HHI", 65000, 4, 8)))
    with pytest.raises(ValueError, match="the positions of 8 and the sizes of 1 strips, of 8"):
        napari_dcr.open_image(source)


def test_a_damaged_chain_of_pages_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    write_strips(source, counts(24, 40), 8)
    content = bytearray(source.read_bytes())
    place = 8 + 24 * 40 * 2 + 2 + 9 * 12
    content[place : place + 4] = struct.pack("<I", 8)  # pixels instead of a directory
    content[8:10] = b"\xff\xff"
    source.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="the directory at byte 8 lists 65535 tags: it is damaged"):
        napari_dcr.open_image(source)
