"""Broken files of every format: one clear line each, exit status 1, and nothing left behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image as PILImage

from napari_dcr.cli import main
from napari_dcr.io import pictures
from napari_dcr.io.formats import SUFFIXES

from .conftest import dim, dim_colour
from .dng_files import dim_mosaic, write_dng
from .instruments import write_dcimg, write_lsm, write_sif, write_stk
from .test_camera_files import write_deltavision, write_spe
from .test_exr import write as write_exr
from .test_heif import write_heic
from .test_microscopes import STACK, WRITERS, write_mrc
from .test_ser import write as write_ser
from .videos import moving, of_rgb
from .videos import write as write_video

FRAMES = np.stack([dim(64, 72, "uint16", seed) for seed in range(4)])


def picture(path: Path) -> Any:
    PILImage.fromarray(dim_colour(64, 72)).save(path)


def jxl(path: Path) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.jpegxl_encode(dim_colour(64, 72)))


def video(codec: str = "libx264") -> Callable[[Path], Any]:
    return lambda path: write_video(path, [of_rgb(p, "yuv420p") for p in moving(9)], codec)


WHOLE: dict[str, Callable[[Path], Any]] = {
    ".tif": lambda path: tifffile.imwrite(path, FRAMES, photometric="minisblack"),
    ".png": picture, ".jpg": picture, ".bmp": picture, ".webp": picture, ".avif": picture,
    ".heic": write_heic, ".jxl": jxl,
    ".exr": lambda path: write_exr(path, {"RGB": dim_colour(64, 72).astype(np.float32) / 255}),
    ".dng": lambda path: write_dng(path, dim_mosaic()),
    ".fits": lambda path: fits.PrimaryHDU(FRAMES).writeto(path),
    ".ser": lambda path: write_ser(path, FRAMES, 16),
    ".lsm": lambda path: write_lsm(path, np.repeat(FRAMES[:, None], 3, 1)),
    ".stk": lambda path: write_stk(path, FRAMES),
    ".mrc": lambda path: write_mrc(path, FRAMES),
    ".sif": lambda path: write_sif(path, FRAMES),
    ".dcimg": lambda path: write_dcimg(path, FRAMES),
    ".dv": lambda path: write_deltavision(path, STACK),
    ".spe": lambda path: write_spe(path, FRAMES),
    ".nd2": WRITERS["nd2"], ".czi": WRITERS["czi"], ".lif": WRITERS["lif"],
    ".ims": WRITERS["ims"],
    ".mp4": video(), ".mkv": video(), ".mov": video(), ".avi": video("mpeg4"),
    ".webm": video("libvpx-vp9"),
}  # fmt: skip
"""Functions that write a whole file of each family."""


TIFF_LIKE = (".tif", ".lsm", ".stk", ".dng")
"""Suffixes of formats that are based on TIFF."""


def huge_png() -> bytes:
    """A PNG whose header states 10^10 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 16, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + bytes(200)


def huge_bmp() -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 300, 0, 0, 54, 40, 200_000, 200_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(246)  # fmt: skip


def huge_fits() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2", "NAXIS1  =               900000", "NAXIS2  =               900000", "END"]  # fmt: skip
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)


def huge_ser() -> bytes:
    head = b"LUCAM-RECORDER" + struct.pack("<7I", 0, 0, 0, 1 << 30, 1 << 30, 16, 1 << 30)
    return head + bytes(178 - len(head) + 1000)


def huge_y4m() -> bytes:
    return b"YUV4MPEG2 W16000 H16000 F10:1 C420jpeg\nFRAME\n" + bytes(1000)


HUGE = {".png": huge_png, ".bmp": huge_bmp, ".fits": huge_fits, ".ser": huge_ser, ".y4m": huge_y4m}
"""Short files whose headers state that they are large."""


def place(folder: Path, kind: str, suffix: str) -> Path:
    """Path of a broken file; results of files with equal stems could have the same path."""
    return folder / f"{kind} {suffix.replace('.', '')}{suffix}"


def write_broken(folder: Path) -> list[Path]:
    """Write broken files of all formats; an OIF, whose pixels are in other files, is left out."""
    for suffix in SUFFIXES:
        if suffix == ".oif":
            continue
        place(folder, "empty", suffix).write_bytes(b"")
        place(folder, "text", suffix).write_bytes(b"Dear reader, this is no image.\n" * 40)
        place(folder, "zeros", suffix).write_bytes(bytes(5000))
    for suffix, write in WHOLE.items():
        whole = folder / f"whole{suffix}"
        write(whole)
        content = whole.read_bytes()
        whole.unlink()
        place(folder, "half", suffix).write_bytes(content[: len(content) // 2])
        place(folder, "start", suffix).write_bytes(content[:40])
        if suffix not in TIFF_LIKE:
            # A file of quite another format.
            tifffile.imwrite(place(folder, "mislabelled", suffix), FRAMES, photometric="minisblack")
    for suffix, content in HUGE.items():
        place(folder, "huge", suffix).write_bytes(content())
    return sorted(folder.iterdir())


def test_broken_files_of_all_formats_get_one_clear_line_each(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    broken = write_broken(source)
    assert len(broken) > 200
    before = {path: path.read_bytes() for path in broken}
    command = ["enhance", str(source), "-o", str(out), "--depth", "0", "--device", "cpu", "-q"]
    assert main(command) == 1
    said = capfd.readouterr().err
    assert not [word for word in ("Traceback", "Errno", "unpack requires", "mmap") if word in said]
    lines = said.splitlines()
    unclear = {}
    for path in broken:
        starts = (f"napari-dcr: {path}: ", f"napari-dcr: {path} has the suffix ")
        about = [line for line in lines if line.startswith(starts)]
        if len(about) != 1 or len(about[0]) - len(str(path)) > 300:
            unclear[path.name] = about
    assert unclear == {}
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert sorted(source.iterdir()) == broken
    assert {path: path.read_bytes() for path in broken} == before


def test_the_file_is_named_if_memory_runs_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow's decoders raise it for some sizes that damaged files state.
    def fail(file: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(pictures, "_plain", fail)
    picture(tmp_path / "in.bmp")
    assert main(["enhance", str(tmp_path / "in.bmp"), "-o", str(tmp_path / "out.png")]) == 1
    said = capfd.readouterr().err
    assert said.startswith(f"napari-dcr: {tmp_path / 'in.bmp'}: its pixels do not fit into memory")
    assert said.count("\n") == 1
