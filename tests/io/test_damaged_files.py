"""Damaged and missing files: messages of one line that name the file and say why in plain words."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.engine.file_errors import is_ours, reason_of
from napari_dcr.io import opening

from .conftest import dim, dim_colour
from .test_broken_files import FRAMES, WHOLE, place

PLAIN = re.compile(
    "cut off|damaged|incomplete|missing|is not an? |content is|holds|ends|of a kind|but not of|can be decoded"
)
"""Words that say what is wrong with a file; text of a library follows in parentheses."""


def png_of_16_bits(path: Path) -> None:
    PILImage.fromarray(dim(64, 72, "uint16", 0)).save(path)


def compressed(path: Path) -> None:
    tifffile.imwrite(path, FRAMES, photometric="minisblack", compression="zlib")


FAMILIES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    **{suffix[1:]: (suffix, write) for suffix, write in WHOLE.items()},
    "16-bit png": (".png", png_of_16_bits),
    "zlib tif": (".tif", compressed),
    "fits.gz": (".fits.gz", lambda path: fits.PrimaryHDU(FRAMES).writeto(path)),
}


def damaged(content: bytes) -> Iterator[bytes]:
    """Contents that are cut off, zeroed in part, or changed at random."""
    size = len(content)
    for share in (0.1, 0.5, 0.97):
        yield content[: int(share * size)]
    start = int(0.3 * size)
    yield content[:start] + bytes(size // 10) + content[start + size // 10 :]
    yield bytes(16) + content[16:]
    random, changed = np.random.default_rng(5), bytearray(content)
    for width in (64, 600, size):
        for byte in random.integers(0, min(size, width), 3):
            changed[byte] ^= int(random.integers(1, 256))
    yield bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_message_names_the_file_and_says_why_in_plain_words(
    family: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suffix, write = FAMILIES[family]
    whole = tmp_path / f"whole{suffix}"
    write(whole)
    messages = []
    for number, content in enumerate(damaged(whole.read_bytes())):
        path = place(tmp_path, str(number), suffix)
        path.write_bytes(content)
        capfd.readouterr()
        error = error_of(opening.open_whole, path)
        if error is not None:
            assert isinstance(error, ValueError)
            assert str(error).startswith(f"{path}: cannot be read as an image: ")
            messages.append(str(error).removeprefix(f"{path}: cannot be read as an image: "))
            assert capfd.readouterr().err == ""
        path.unlink()
    assert [text for text in messages if not PLAIN.search(re.split(r" \((?=[A-Z])", text)[0])] == []
    assert [text for text in messages if "\n" in text or len(text) > 300] == []
    assert len(messages) > 1


def error_of(function: Callable[..., Any], *arguments: Any) -> Exception | None:
    """Error that a function raises, or None."""
    try:
        function(*arguments)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("two\nlines"), "it is cut off or damaged (RuntimeError: two lines)"),
     (AttributeError("'NoneType' has no attribute 'x'"), "it is cut off or damaged (AttributeError: 'NoneType' has no attribute 'x')"),
     (KeyError("BITPIX"), "it is cut off or damaged (KeyError: 'BITPIX')"),
     (IndexError(), "it is cut off or damaged (IndexError)"),
     (NotImplementedError("JPEG XR"), "it is of a kind that is not supported, or damaged (NotImplementedError: JPEG XR)"),
     (OSError("/a/b.jpg: broken"), "it is cut off or damaged (OSError: broken)"),
     (OSError(errno.EROFS, os.strerror(errno.EROFS), "/a/b.jpg"), "read-only file system"),
     (OSError(errno.EROFS, os.strerror(errno.EROFS), "/a/c.jpg"), "/a/c.jpg: read-only file system")],
)  # fmt: skip
def test_errors_of_libraries_keep_their_type_and_text(error: Exception, reason: str) -> None:
    def library() -> None:  # this module is not of the package
        raise error

    raised = error_of(library)
    assert raised is not None
    assert reason_of(raised, "/a/b.jpg") == reason


def test_messages_of_this_package_are_recognised_by_where_they_are_raised() -> None:
    with pytest.raises(ValueError, match="empty path") as ours:
        opening.local_path("", "image")
    assert is_ours(ours.value)
    with pytest.raises(ValueError, match="invalid literal") as conversion:
        int("a")
    assert not is_ours(conversion.value)


def shell(*arguments: object) -> int:
    how = ["--depth", "0", "--device", "cpu", "-q"]
    return main(["enhance", *map(str, arguments), *how])


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_links_that_lead_to_themselves_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, loop = tmp_path / "in.png", tmp_path / "loop.png"
    PILImage.fromarray(np.full((24, 24), 40, np.uint8)).save(source)
    loop.symlink_to(loop)
    for arguments in ((source, "-o", loop), (loop, "-o", tmp_path / "out.png")):
        assert shell(*arguments) == 1
        (line,) = lines_of(capsys)
        assert f"got {loop}, which contains a symbolic link that leads to itself" in line
    for path in (loop, tmp_path / "a\0.png"):
        with pytest.raises(ValueError, match="^image: got "):
            napari_dcr.open_image(path)


def test_links_to_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    gone = tmp_path / "gone.png"
    links = [folder / name for name in ("a.png", "b.ser", "c.tif", "d.mp4")]
    for link in links:
        link.symlink_to(gone)
    reason = f"is a link to {gone}, which does not exist"
    assert shell(folder, "-o", tmp_path / "out") == 1
    printed = lines_of(capsys)
    for link in links:
        assert f"napari-dcr: {link}: {reason}" in printed
    assert shell(links[0], "-o", tmp_path / "out.png") == 1
    assert lines_of(capsys) == [f"napari-dcr: IN: {links[0]} {reason}"]
    for link in links:
        with pytest.raises(FileNotFoundError, match=re.escape(f"{link}: {reason}")):
            napari_dcr.enhance(link)
    with pytest.raises(FileNotFoundError, match=re.escape(f"{gone}: there is no such file")):
        napari_dcr.enhance(gone)


def test_a_name_that_is_too_long_is_an_error_without_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PILImage.fromarray(dim_colour(40, 50)).save(tmp_path / "a.png")
    for inputs in ([tmp_path / "a.png", "-o", tmp_path / f"{'n' * 300}.png"],
                   [tmp_path / f"{'n' * 300}.png", "-o", tmp_path / "b.png"]):  # fmt: skip
        assert shell(*inputs) == 1
        (line,) = lines_of(capsys)
        assert f"{tmp_path}/nnn" in line
        assert line.endswith(": file name too long")


@pytest.mark.parametrize("argument", ["--report", "-o"])
def test_folders_that_are_not_writable_are_found_before_the_run(
    argument: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PILImage.fromarray(dim_colour(40, 50)).save(tmp_path / "a.png")
    locked = tmp_path / "locked"
    locked.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and access(path, mode))
    monkeypatch.setattr(opening, "open_whole", lambda *_: pytest.fail("the run has begun"))
    paths = {"-o": tmp_path / "b.png", "--report": tmp_path / "r.json"}
    paths[argument] = locked / "new" / paths[argument].name
    given = [part for pair in paths.items() for part in pair]
    assert shell(tmp_path / "a.png", *given) == 1
    name = {"-o": "OUT"}.get(argument, argument)
    said = f"napari-dcr: {name}: got {paths[argument]}, but the folder {locked} is not writable"
    assert lines_of(capsys) == [said]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "locked"]


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("codec", ["zstd", "blosc", "gzip", "none", "crc32c", "sharding"])
def test_a_damaged_chunk_of_a_zarr_is_named(
    codec: str, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codecs = zarr.codecs
    how: dict[str, Any] = {
        "zstd": {"compressors": codecs.ZstdCodec()},
        "blosc": {"compressors": codecs.BloscCodec()},
        "gzip": {"compressors": codecs.GzipCodec()},
        "none": {"compressors": None},
        "crc32c": {"compressors": codecs.Crc32cCodec()},
        "sharding": {"shards": (2, 40, 60)},
    }[codec]
    pixels = np.stack([dim(40, 60, "uint16", seed) for seed in range(4)]).astype(dtype)
    source = tmp_path / "a.zarr"
    zarr.create_array(source, data=pixels, chunks=(1, 40, 30), **how)
    place = "c/1/0/0" if codec == "sharding" else "c/3/0/1"
    chunk = source.joinpath(*place.split("/"))
    chunk.write_bytes(b"\xa5" * (len(chunk.read_bytes()) // 2))
    start = f"{chunk}: cannot be read: it is cut off or damaged"
    with pytest.raises(ValueError, match=re.escape(start)):
        napari_dcr.enhance(source, axes="zyx", depth=0, device="cpu")
    assert shell(source, "-o", tmp_path / "o.zarr", "--axes", "zyx", "--model", "microscopy") == 1
    (line,) = [each for each in lines_of(capsys) if "warning" not in each]
    assert line.startswith(f"napari-dcr: {start} (")


def test_a_damaged_chunk_is_named_in_recordings_of_several_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        zarr.create_array(tmp_path / f"{name}.zarr", data=dim(40, 60), chunks=(40, 60))
    chunk = tmp_path / "b.zarr" / "c" / "0" / "0"
    chunk.write_bytes(b"\xa5" * 50)
    with pytest.raises(ValueError, match=re.escape(f"{chunk}: cannot be read: it is cut off")):
        napari_dcr.enhance(
            [tmp_path / "a.zarr", tmp_path / "b.zarr"], axes="yx", depth=0, device="cpu"
        )


def test_damaged_metadata_of_a_zarr_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.zarr"
    zarr.create_array(source, data=dim(40, 60))
    whole = json.loads((source / "zarr.json").read_text())
    for text in ("", "{", "[]", json.dumps({**whole, "data_type": "light"}), json.dumps({**whole, "shape": 3})):  # fmt: skip
        (source / "zarr.json").write_text(text)
        assert shell(source, "-o", tmp_path / "o.png") == 1
        (line,) = lines_of(capsys)
        words = (
            "cannot be opened as zarr: it holds no zarr array or group, or its metadata are damaged"
        )
        assert line.startswith(f"napari-dcr: image: {source} {words}")


def test_a_dng_with_another_suffix_is_named_as_a_dng(tmp_path: Path) -> None:
    WHOLE[".dng"](tmp_path / "a.dng")
    shutil.move(tmp_path / "a.dng", tmp_path / "a.png")
    with pytest.raises(ValueError, match="its content is that of a .dng file; rename it"):
        napari_dcr.enhance(tmp_path / "a.png")


def test_values_that_no_float_represents_are_named_without_nested_words(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.full((20, 30), 2**60 + 1, np.int64)).writeto(path)
    message = re.escape(f"{path}: cannot be read as an image: got a value of {2**60 + 1} in dtype")
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(path, depth=0, device="cpu")


def test_an_mrc_with_a_damaged_header_has_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mrc"
    WHOLE[".mrc"](path)
    path.write_bytes(bytes(16) + path.read_bytes()[16:])
    assert shell(path, "-o", tmp_path / "o.tif") == 1
    words = "cannot be read as an image: it holds no pixels, or its header is damaged"
    assert lines_of(capsys) == [f"napari-dcr: {path}: {words}"]
