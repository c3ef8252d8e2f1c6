"""Every file of a folder of unusual files gets one clear line, and signals leave nothing behind."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.cli import main

from .conftest import FAST, dim, dim_colour, shell
from .test_ome_tiff import write_set

Writer = Callable[[Path], Any]

SCENE, COLOUR = dim(64, 72), dim_colour(64, 72)


def pillow(mode: str = "RGB", **how: Any) -> Writer:
    return lambda path: PILImage.fromarray(COLOUR).convert(mode).save(path, **how)


def tiff(pixels: Any = SCENE, **how: Any) -> Writer:
    return lambda path: tifffile.imwrite(path, pixels, **how)


def cut(write: Writer, share: float) -> Writer:
    """Truncate a file."""

    def half(path: Path) -> None:
        write(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return half


def with_photometric(code: int) -> Writer:
    def write(path: Path) -> None:
        tifffile.imwrite(path, SCENE, photometric="minisblack")
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages.first.tags["PhotometricInterpretation"].overwrite(code)

    return write


def two_kinds(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(SCENE)
        writer.write(COLOUR)


def png_with_broken_data(path: Path) -> None:
    content = bytearray(imagecodecs.png_encode(COLOUR))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def png_chunk_from_nowhere(path: Path) -> None:
    content = imagecodecs.png_encode(COLOUR)
    body = b"zzTx" + b"private"
    chunk = struct.pack(">I", 7) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(content[:33] + chunk + content[33:])


def zarr_array(path: Path) -> None:
    zarr.create_array(path, data=SCENE, chunks=(20, 30))


def bioformats2raw(path: Path) -> None:
    group = zarr.open_group(path, mode="w")
    group.update_attributes({"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    image = group.create_group("0")
    image.create_array("0", data=SCENE)
    multiscales = [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}]
    image.update_attributes({"ome": {"version": "0.5", "multiscales": multiscales}})


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("zarr.json", "{}")


def orientation(path: Path) -> None:
    exif = PILImage.Exif()
    exif[274] = 6
    PILImage.fromarray(COLOUR).save(path, exif=exif)


LEFT_OUT, DONE = "is hidden; it is left out", " -> "

KINDS: list[tuple[str, Writer, str]] = [
    ("plain.png", pillow(), DONE),
    ("grey alpha.png", pillow("LA"), DONE),
    ("palette.png", pillow("P"), DONE),
    ("one bit.png", pillow("1"), DONE),
    ("Ünï cödé.jpg", pillow(), DONE),
    ("inks.jpg", pillow("CMYK"), DONE),
    ("portrait.jpg", orientation, DONE),
    ("upper.JPEG", lambda p: PILImage.fromarray(COLOUR).save(p, "JPEG"), DONE),
    ("bitmap.bmp", pillow(), DONE),
    ("web.webp", pillow(), DONE),
    ("no suffix inside.jpg", lambda p: PILImage.fromarray(COLOUR).save(p, "PNG"), DONE),
    ("private chunk.png", png_chunk_from_nowhere, DONE),
    ("animated.png", lambda p: PILImage.fromarray(COLOUR).save(
        p, save_all=True, append_images=[PILImage.fromarray(COLOUR // 2)]), "1 are left out"),
    ("negative.tif", tiff(255 - SCENE, photometric="miniswhite"), DONE),
    ("inks.tif", pillow("CMYK"), DONE),
    ("chroma.tif", pillow("YCbCr"), DONE),
    ("palette.tif", pillow("P"), DONE),
    ("five bands.tif", tiff(np.dstack([SCENE] * 5), photometric="minisblack", planarconfig="contig"), DONE),
    ("near infrared.tif", tiff(np.dstack([COLOUR, SCENE]), photometric="rgb", extrasamples=["unspecified"]), DONE),
    ("twelve bits.tif", tiff(SCENE.astype(np.uint16) * 60, bitspersample=12), DONE),
    ("big.tiff", tiff(SCENE.astype(">u2"), bigtiff=True, byteorder=">"), DONE),
    ("napari stack.tif", tiff(np.stack([SCENE] * 3), photometric="rgb", planarconfig="separate"), 'axes="zyx"'),
    ("deeper/imagej.tif", tiff(np.stack([SCENE] * 4), imagej=True, metadata={"axes": "ZYX"}), DONE),
    ("deeper/volume.zarr", zarr_array, DONE),
    ("raw.tif", with_photometric(32803), "colour filter array"),
    ("logluv.tif", with_photometric(32845), "LogLuv is not supported"),
    ("two kinds.tif", two_kinds, "holds 2 images; choose one by scene: 0 (64 x 72 uint8), 1 (64 x 72 x 3 uint8)"),
    ("integers.tif", tiff(SCENE.astype(np.int32)), DONE),
    ("signed bytes.tif", tiff((SCENE // 2).astype(np.int8)), "got dtype int8"),
    ("complex.tif", tiff(SCENE.astype(np.complex64)), "got dtype complex64"),
    ("raw root.zarr", bioformats2raw, "holds images 0; pass one"),
    ("zip.zarr", zipped, "is a zip, not a folder"),
    ("empty.zarr", lambda p: p.mkdir(), "cannot be opened as zarr"),
    ("empty.png", lambda p: p.write_bytes(b""), "cannot be read as an image"),
    ("empty.tif", lambda p: p.write_bytes(b""), "cannot be read as an image"),
    ("text.jpg", lambda p: p.write_text("this is no image"), "cannot be read as an image"),
    ("cut.jpg", cut(pillow(), 0.5), "cannot be read as an image"),
    ("cut.png", cut(pillow(), 0.7), "cannot be read as an image"),
    ("cut.tif", cut(tiff(SCENE), 0.6), "cannot be read as an image"),
    ("broken.png", png_with_broken_data, "cannot be read as an image"),
    ("._plain.png", lambda p: p.write_bytes(b"\0\5\x16\7"), LEFT_OUT),
    (".1234abcd.partial.plain.tif", cut(tiff(), 0.5), LEFT_OUT),
    (".old.12345678.partial.tif", tiff(), LEFT_OUT),
]  # fmt: skip
"""Name of each file, function that writes it, and text of its line."""


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name, write, _ in KINDS:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        write(path)
    write_set(folder / "set", "T", 3, "uint8")
    write_set(folder / "incomplete", "Z", 2, "uint16")
    (folder / "incomplete" / "part_1.ome.tif").unlink()
    return folder


def run(source: Path, out: Path, *arguments: str) -> int:
    return main(
        ["enhance", str(source), "-o", str(out), "--depth", "0", "--device", "cpu", *arguments]
    )


def files_of(folder: Path) -> set[str]:
    """Files in a folder and its subfolders; only the name of each zarr."""
    found = set()
    for path in folder.rglob("*"):
        zarrs = [p for p in (path, *path.parents) if p.suffix == ".zarr"]
        if zarrs or path.is_file():
            found.add(str((zarrs[-1] if zarrs else path).relative_to(folder)))
    return found


def test_every_file_has_one_clear_line(
    odd_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert len(KINDS) >= 40
    assert run(odd_files, out) == 1
    lines = [line.rpartition("\r")[2] for line in capsys.readouterr().err.splitlines()]
    closing = next(n for n, line in enumerate(lines) if line.endswith("files failed:"))
    lines, table = lines[: closing + 1], lines[closing + 1 :]
    failures = 1  # the incomplete set
    for name, _, says in KINDS:
        path = str(odd_files / name)
        about = [line for line in lines if path in line or f"warning: {Path(name).name}:" in line
                 or (Path(name).name in line and "warning: axes" in line)]  # fmt: skip
        assert any(says in line for line in about), (name, about)
        done = any(DONE in line for line in about)
        target = out / name.replace("bitmap.bmp", "bitmap.png").replace("web.webp", "web.png")
        assert target.exists() == done
        failures += not done and says != LEFT_OUT
        assert len(about) == 1 + (done and says != DONE) + (name == "portrait.jpg") * 0
    assert lines[-1] == f"napari-dcr: {failures} of {len(KINDS) - 3 + 2} files failed:"
    assert len(table) == failures
    assert any("part_1.ome.tif is part of the image of part_0.ome.tif" in line for line in lines)
    assert any("companion part_1.ome.tif is missing" in line for line in lines)
    assert {p for p in files_of(out) if "partial" in p or p.startswith(".")} == set()
    assert len(files_of(out)) == len(KINDS) - 3 + 2 - failures


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_leave_no_files_behind(
    odd_files: Path, tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """At ten random moments each."""
    whole = tmp_path / "whole"
    run(odd_files, whole, "-q")
    capsys.readouterr()
    expected = {p.relative_to(whole): p.read_bytes() for p in whole.rglob("*.*") if p.is_file()}
    moments = random.Random(int(number))
    for attempt in range(10):
        out = tmp_path / f"out {attempt}"
        # The moment of the signal varies, so the sizes of the files need not vary.
        timer = threading.Timer(moments.uniform(0.0, 1.5), os.kill, (os.getpid(), number))
        timer.start()
        try:
            status = run(odd_files, out, "-q")
        finally:
            timer.cancel()
            timer.join()
        error = capsys.readouterr().err
        assert status in (1, 128 + number)  # 1: the signal came too late
        if status != 1:
            word = "terminated" if number == signal.SIGTERM else "interrupted"
            assert f"napari-dcr: {word}; finished files are complete" in error
        for path in out.rglob("*"):
            assert "partial" not in path.name
            assert not path.is_dir() or any(path.iterdir())
            if path.is_file() and ".zarr" not in str(path):
                assert path.read_bytes() == expected[path.relative_to(out)]
        unfinished = [
            p for p in out.rglob("*.zarr") if "record" not in zarr.open(p).attrs["napari_dcr"]
        ]
        assert all(str(p) in error for p in unfinished)


COMPRESSIONS = [
    "none",
    "jpeg",
    "zlib",
    "zstd",
    "lzw",
    "lzma",
    "packbits",
    "png",
    "webp",
    "jpeg2000",
]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("how", [{"tile": (64, 64)}, {"rowsperstrip": 16}])
def test_a_half_written_tiff_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compression: str, how: dict[str, Any]
) -> None:
    # The directory comes first, as in files that are written while they are recorded.
    pixels = dim_colour(192, 200)
    source = tmp_path / "half.tif"
    given = None if compression == "none" else compression
    tifffile.imwrite(source, pixels, photometric="rgb", compression=given, **how)
    content = source.read_bytes()
    with tifffile.TiffFile(source) as file:
        starts = file.pages.first.dataoffsets
    source.write_bytes(content[: starts[len(starts) // 2] + 5])
    message = r"half\.tif: cannot be read as an image: .*(past the end|incomplete)"
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(source, **FAST)
    with pytest.raises(ValueError, match=message):
        napari_dcr.open_image(source)
    assert shell(source, tmp_path / "o.png") == 1
    assert shell(source, tmp_path / "o.zarr") == 1
    assert "Traceback" not in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["half.tif"]


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw", "lzma", "png", "webp", "jpeg2000"])
def test_a_damaged_tiff_is_named_by_region_too(tmp_path: Path, compression: str) -> None:
    source = tmp_path / "damaged.tif"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (200, 200, 3), np.uint8)
    tifffile.imwrite(source, pixels, photometric="rgb", compression=compression, tile=(64, 64))
    with tifffile.TiffFile(source) as file:
        page = file.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    content = bytearray(source.read_bytes())
    for offset, count in places[3:6]:
        content[offset : offset + count] = b"\xa5" * count
    source.write_bytes(bytes(content))
    message = r"damaged\.tif: cannot be read as an image: "
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(source, **FAST)
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(source, out=tmp_path / "o.zarr", **FAST)
    assert shell(source, tmp_path / "s.zarr") == 1


def test_a_damaged_zarr_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "damaged.zarr"
    zarr.create_array(source, data=SCENE, chunks=(20, 30))
    for chunk in (p for p in source.rglob("*") if p.is_file() and p.name != "zarr.json"):
        chunk.write_bytes(b"\xa5" * 50)
    assert shell(source, tmp_path / "o.png") == 1
    assert shell(source, tmp_path / "o.zarr") == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"II*\0garbage", b"", b"MM\0*\0\0\0\x08", b"II*\0" + b"\xff" * 40]
)
@pytest.mark.parametrize("companion", [False, True])
def test_a_damaged_companion_is_named_and_other_files_are_enhanced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, companion: bool
) -> None:
    write_set(tmp_path / "in", "C", 3, "uint16", 1, companion)
    pillow()(tmp_path / "in" / "z.png")
    (tmp_path / "in" / "part_1.ome.tif").write_bytes(content)
    assert shell(tmp_path / "in", tmp_path / "out") == 1
    lines = capsys.readouterr().err.splitlines()
    named = [line for line in lines if "part_0.ome.tif: " in line]
    assert len(named) == 1
    assert "companion part_1.ome.tif is damaged" in named[0]
    assert (tmp_path / "out" / "z.png").is_file()


@pytest.mark.parametrize("content", [b"\xff\xfe\0garbage", b"<OME", b""])
def test_a_damaged_file_of_metadata_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    write_set(tmp_path / "in", "C", 3, "uint16", 1, True)
    pillow()(tmp_path / "in" / "z.png")
    (tmp_path / "in" / "set.companion.ome").write_bytes(content)
    assert shell(tmp_path / "in", tmp_path / "out") == 1
    assert "companion set.companion.ome" in capsys.readouterr().err
    assert (tmp_path / "out" / "z.png").is_file()
