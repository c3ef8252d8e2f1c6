"""Tests that every kind of input can be enhanced into every kind of output, and that errors name the format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine.tiles import Grid
from napari_dcr.io import opening, writing
from napari_dcr.io.files import Picture
from tests.io.conftest import random, write_ome_zarr

FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


SOURCES = ("memmap", "dask", "zarr", "zarr v2", "group", "tiles", "strips", "plain tif")


def stored(kind: str, stack: NDArray[Any], folder: Path) -> Any:
    """Store the stack in some format, and return it as an input."""
    if kind == "memmap":
        np.save(folder / "in.npy", stack)
        return np.load(folder / "in.npy", mmap_mode="r")
    if kind == "dask":
        return da.from_array(stack, chunks=(1, 77, 130))
    if kind.startswith("zarr"):
        array = zarr.create_array(
            folder / "in.zarr", data=stack, chunks=(1, 70, 50), zarr_format=2 if "v2" in kind else 3
        )
        return array if kind == "zarr" else folder / "in.zarr"
    if kind == "group":
        write_ome_zarr(folder / "in.zarr", stack)
        return str(folder / "in.zarr")
    how: dict[str, Any] = {
        "tiles": {"tile": (64, 96), "compression": "zlib"},
        "strips": {"rowsperstrip": 5, "compression": "zlib"},
        "plain tif": {},
    }[kind]
    tifffile.imwrite(
        folder / "in.tif", stack, photometric="minisblack", metadata={"axes": "TYX"}, **how
    )
    return folder / "in.tif"


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same(
    tmp_path: Path, stack: NDArray[np.uint16], expected: NDArray[np.uint16], kind: str
) -> None:
    source = stored(kind, stack, tmp_path)
    out = np.empty_like(stack)
    axes = None if kind in ("group", "tiles", "strips", "plain tif") else "tyx"
    result = napari_dcr.enhance(source, axes=axes, out=out, tile=128, **FAST)
    assert result is out
    assert (out == expected).all()


@pytest.mark.parametrize("tile", ["auto", 128])
@pytest.mark.parametrize("kind", ["path", "pyramid", "array", "shards", "memmap", "tif", "new"])
def test_every_sink_gets_the_same(
    tmp_path: Path,
    stack: NDArray[np.uint16],
    expected: NDArray[np.uint16],
    kind: str,
    tile: Any,
) -> None:
    source = zarr.create_array(tmp_path / "in.zarr", data=stack, chunks=(1, 64, 64))
    shape: dict[str, Any] = {"shape": stack.shape, "dtype": stack.dtype}
    out: Any = {
        "path": lambda: tmp_path / "out.zarr",
        "pyramid": lambda: tmp_path / "out.ome.zarr",
        "array": lambda: zarr.create_array(tmp_path / "a.zarr", chunks=(1, 90, 100), **shape),
        "shards": lambda: zarr.create_array(
            tmp_path / "a.zarr", chunks=(1, 50, 60), shards=(2, 200, 240), **shape
        ),
        "memmap": lambda: np.lib.format.open_memmap(tmp_path / "out.npy", "w+", **shape),
        "tif": lambda: tmp_path / "out.tif",
        "new": lambda: None,
    }[kind]()
    result = napari_dcr.enhance(source, axes="tyx", out=out, tile=tile, **FAST)
    pixels = {
        "pyramid": lambda: result["0"][...],
        "tif": lambda: tifffile.imread(result),
    }.get(kind, lambda: result[...])()
    assert (pixels == expected).all()
    if kind == "tif":
        with tifffile.TiffFile(result) as file:
            assert file.series[0].axes == "TYX"
            assert file.is_bigtiff
            assert file.pages.first.is_tiled
    assert not list(tmp_path.glob(".*partial*"))


@pytest.mark.parametrize("name", ["out.zarr", "new/out.ome.zarr", "out.tif"])
def test_folders_that_are_not_writable_are_named_before_the_image_is_read(
    tmp_path: Path, stack: NDArray[np.uint16], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    source = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(10**6, 10**6), dtype="uint16", chunks=(4096, 4096)
    )
    with pytest.raises(
        ValueError, match=f"^out: got .*, but the folder {tmp_path} is not writable"
    ):
        napari_dcr.enhance(source, out=tmp_path / name, **FAST)
    assert not list(tmp_path.iterdir())


def test_missing_and_unsuitable_arguments_are_named(
    tmp_path: Path, stack: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str, *arguments: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            napari_dcr.enhance(*arguments, **{**FAST, **options})

    zarr.open_group(tmp_path / "plain.zarr", mode="w").create_array("a", data=stack)
    refused("^image: the zarr group .* is not a multiscale image; .*: a$", tmp_path / "plain.zarr")
    refused("^image: .*nowhere.zarr cannot be opened as zarr", tmp_path / "nowhere.zarr")
    refused("^image: got the path 'a.xyz'; allowed are those of a .zarr or .tif", "a.xyz")
    refused("^out: .*plain.zarr exists", stack, out=tmp_path / "plain.zarr")
    refused("^out: got the path 'a.png'; allowed are those of a .zarr or .tif", stack, out="a.png")
    refused("^resume: got True; allowed with an out that is a .zarr", stack, resume=True)
    wrong = zarr.create_array(tmp_path / "w.zarr", shape=(2, 300, 420), dtype="uint8")
    refused("^out: got shape .* and dtype uint8; allowed are .* uint16", stack, out=wrong)
    closed = zarr.open(tmp_path / "plain.zarr" / "a", mode="r")
    refused("^out: got a read-only array", stack, out=closed)
    refused("^out: got the image itself", wrong, out=wrong)
    with pytest.raises(TypeError, match=r"^out: got Group; allowed are .* a zarr array"):
        napari_dcr.enhance(stack, out=zarr.open(tmp_path / "plain.zarr"))
    huge = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(10**6, 10**6), dtype="uint16", chunks=(4096, 4096)
    )
    # Before its half a million tiles are listed.
    monkeypatch.setattr(Grid, "cut", lambda *_: pytest.fail("tiles were listed"))
    with pytest.raises(MemoryError, match=r"^out: the result needs .* pass the path of a \.zarr"):
        napari_dcr.enhance(huge, **FAST)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("a.png", (9, 11), "uint8"),
        ("a.png", (9, 11, 3), "uint8"),
        ("a.png", (9, 11, 4), "uint8"),
        ("a.png", (9, 11), "uint16"),
        ("a.png", (9, 11, 3), "uint16"),
        ("a.png", (9, 11, 4), "uint16"),
        ("a.tif", (9, 11), "uint8"),
        ("a.tif", (9, 11, 3), "uint16"),
        ("a.tiff", (9, 11, 4), "uint8"),
        ("a.tif", (9, 11), "int16"),
        ("a.tif", (9, 11), "float32"),
        ("a.tif", (9, 11), "float64"),
        ("a.tif", (5, 9, 11), "uint16"),
        ("a.tif", (5, 9, 11, 3), "uint8"),
    ],
)
def test_lossless_round_trip(tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
    pixels = random(shape, dtype)
    axes = "zyxs"[4 - len(shape) :] if shape[-1] in (3, 4) else "zyx"[3 - len(shape) :]
    writing.write(tmp_path / name, Picture(pixels, axes))
    back = opening.read(tmp_path / name)
    assert back.pixels.dtype == pixels.dtype
    assert (back.pixels == pixels).all()
    assert back.axes[-len(axes.lstrip("z")) :] == axes.lstrip("z")
    assert len(back.axes) == len(axes)


def test_pixels_that_a_format_cannot_store_raise_an_error(tmp_path: Path) -> None:
    for name, pixels, axes, message in (
        ("a.jpg", random((9, 9), "uint16"), "yx", "holds uint8, not uint16"),
        ("a.png", random((9, 9), "float32"), "yx", "holds uint8 or uint16, not float32"),
        ("a.png", random((2, 9, 9)), "zyx", "holds one picture"),
        ("a.jpg", random((9, 9, 4)), "yxs", "JPEG holds no alpha"),
        ("a.bmp", random((9, 9)), "yx", "got suffix '.bmp'; allowed are .tif"),
    ):
        with pytest.raises(ValueError, match=message):
            writing.write(tmp_path / name, Picture(pixels, axes))
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("a.tif", "a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"this is not an image")
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as an image"):
            opening.read(tmp_path / name)


def test_the_table_of_formats_loads_no_package_of_a_format() -> None:
    code = "import sys, napari_dcr.io.formats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.split(".")[0] for name in done.stdout.split()}
    families = "astropy nd2 pylibCZIrw liffile oiffile mrcfile sif_parser h5py pandas zarr dask"
    assert roots.isdisjoint(families.split())
