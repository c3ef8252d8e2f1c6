"""Files are replaced once they are complete."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_dcr.image.axes import Layout
from napari_dcr.io import files, opening, writing
from napari_dcr.io.files import Picture, replaced_when_complete
from tests.io.conftest import random, shell
from tests.io.dng_files import dim_mosaic, write_dng


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    writing.write(path, Picture(random((9, 9)), "yx"))
    before = path.read_bytes()

    def half(name: Path, *_: Any, **__: Any) -> None:
        Path(name).write_bytes(b"II*")
        raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(OSError, match="disk full"):
        writing.write(path, Picture(random((5, 5)), "yx"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jxl", ".exr", ".dng"])
def test_pictures_that_do_not_fit_into_memory_are_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of a file does not show how large its pixels are."""
    path = tmp_path / f"in{suffix}"
    if suffix == ".dng":
        write_dng(path, dim_mosaic(40, 60))
    else:
        dtype = "float32" if suffix == ".exr" else "uint8"
        writing.write(path, Picture(random((40, 60, 3), dtype), "yxs", samples="rgb"))
    assert opening.open_whole(path).array.shape == (40, 60, 3)
    monkeypatch.setattr(files, "free_memory", lambda device: 10_000)
    with pytest.raises(ValueError, match="its 40 x 60 pixels need 0.0 GiB of memory; allowed is"):
        opening.open_whole(path)


def test_the_longest_names_have_a_partial_file_too(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 123 + "night.tif")
    assert len(path.name.encode()) == 255
    with files.replaced_when_complete(path) as partial:
        assert partial.name.startswith(".")
        assert partial.name.endswith("night.tif")
        partial.write_bytes(b"pixels")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="there is no such call")
@pytest.mark.parametrize("name", ["out.fits", "out.tif"])
def test_a_full_disk_is_an_error_before_pixels_are_mapped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = tmp_path / "in.tif"
    tifffile.imwrite(source, random((3, 40, 50)), imagej=True)
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(opening, "is_large", lambda *_: True)  # so that it is written by region
    assert shell(source, tmp_path / name) == 1
    printed = capsys.readouterr().err
    assert printed == f"napari-dcr: {tmp_path / name} cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "name", ["out.tif", "out.png", "out.fits", "out.jxl", "out.jpg", "out.exr"]
)
def test_files_that_become_too_large_leave_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    source = tmp_path / "in.tif"
    pixels = random((200, 200))
    tifffile.imwrite(source, pixels.astype(np.float32) if name.endswith(".exr") else pixels)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        status = shell(source, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    printed = capsys.readouterr().err
    assert f"{tmp_path / name} cannot be written: " in printed
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


def test_no_message_names_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    errors = (
        lambda p: ValueError(f"{p}: wrong"),
        lambda p: OSError(errno.EACCES, "Permission denied", str(p)),
        lambda p: RuntimeError(f"cannot write {p.name}"),
        lambda p: KeyError(p),
    )
    for error in errors:
        with pytest.raises(Exception, match=r"a\.tif") as raised, replaced_when_complete(path) as place:  # fmt: skip
            raise error(place)
        assert ".partial" not in str(raised.value)
        assert type(raised.value) is type(error(path))


@pytest.mark.parametrize("name", ["a.tif", "a.fits", "a.mp4", "frame_%02d.png"])
def test_no_message_of_a_sink_names_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # The folder disappears after it has been checked.
    folder = tmp_path / "out"
    folder.mkdir()
    pixels = np.full((3, 64, 64), 40, np.uint8)
    opened = opening.open_image(pixels)
    sink = writing.create_sink(
        folder / name, opened, Layout((3, 64, 64), "tyx"), pixels.dtype, False
    )
    folder.rmdir()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out") as raised:
        sink.open((64, 64), {}, 1)[0, :, :] = pixels[0]
    assert ".partial" not in str(raised.value)
