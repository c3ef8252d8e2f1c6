"""A folder of forty odd files: one clear line for each, and nothing left behind by a signal."""

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

from napari_dcr.cli import main

from .conftest import dim, dim_colour
from .test_ome_tiff import write_set

Writer = Callable[[Path], Any]

SCENE, COLOUR = dim(64, 72), dim_colour(64, 72)


def pillow(mode: str = "RGB", **how: Any) -> Writer:
    return lambda path: PILImage.fromarray(COLOUR).convert(mode).save(path, **how)


def tiff(pixels: Any = SCENE, **how: Any) -> Writer:
    return lambda path: tifffile.imwrite(path, pixels, **how)


def cut(write: Writer, share: float) -> Writer:
    """The beginning of a file."""

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
    ("two kinds.tif", two_kinds, "holds 2 images of different kinds"),
    ("integers.tif", tiff(SCENE.astype(np.int32)), "got dtype int32"),
    ("complex.tif", tiff(SCENE.astype(np.complex64)), "got dtype complex64"),
    ("raw root.zarr", bioformats2raw, "holds images 0; give one"),
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
"""Name, how it is written, and what its line says."""


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
    """Files below a folder; of zarrs their own names alone."""
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
    assert lines[-1] == f"napari-dcr: {failures} of {len(KINDS) - 3 + 2} files failed"
    assert any("part_1.ome.tif is part of the image of part_0.ome.tif" in line for line in lines)
    assert any("companion part_1.ome.tif is missing" in line for line in lines)
    assert {p for p in files_of(out) if "partial" in p or p.startswith(".")} == set()
    assert len(files_of(out)) == len(KINDS) - 3 + 2 - failures


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_nothing_behind(
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
        # Files of random sizes would move nothing: the moment is what varies.
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
