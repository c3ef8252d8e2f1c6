"""From every kind of storage into every other: zarr, OME-Zarr, dask, memory-mapped, TIFF."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import sources, survey
from napari_dcr.engine.sources import ChunkedSource
from napari_dcr.engine.survey import Subject, Surveyor
from napari_dcr.image.axes import Layout
from napari_dcr.io.arrays import open_array
from napari_dcr.io.ome_zarr import halve

FAST: dict[str, Any] = {"depth": 0, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def stack() -> NDArray[np.uint16]:
    """Two frames of 300 x 420."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :420]
    light = 300 + 200 * np.sin(x / 50) * np.cos(y / 40)
    return (light + rng.normal(0, 20, (2, 300, 420))).clip(0).astype(np.uint16)


@pytest.fixture(scope="module")
def expected(stack: NDArray[np.uint16]) -> NDArray[np.uint16]:
    result: NDArray[np.uint16] = napari_dcr.enhance(stack, axes="tyx", **FAST)
    return result


def write_ome_zarr(path: Path, stack: NDArray[Any]) -> None:
    group = zarr.open_group(path, mode="w")
    group.create_array("fine", data=stack, chunks=(1, 64, 100))
    group.create_array("coarse", data=stack[:, ::2, ::2])
    scales = [[1.0, 0.5, 0.5], [1.0, 1.0, 1.0]]
    datasets = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for name, scale in zip(("fine", "coarse"), scales, strict=True)
    ]
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    image = {"name": "cells", "axes": axes, "datasets": datasets}
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}})


SOURCES = ("memmap", "dask", "zarr", "zarr v2", "group", "tiles", "strips", "plain tif")


def stored(kind: str, stack: NDArray[Any], folder: Path) -> Any:
    """The stack as a source of some kind."""
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


def test_ome_zarr_in_ome_zarr_out(
    tmp_path: Path, stack: NDArray[np.uint16], expected: NDArray[np.uint16]
) -> None:
    wide = np.concatenate([stack, stack[:, :, :301]], 2)
    write_ome_zarr(tmp_path / "in.zarr", wide)
    group = napari_dcr.enhance(tmp_path / "in.zarr", out=tmp_path / "out.zarr", **FAST)
    fine, coarse = group["0"][...], group["1"][...]
    assert fine.shape == (2, 300, 721)
    assert (coarse == halve(fine, "tyx")).all()
    (image,) = group.attrs["ome"]["multiscales"]
    assert [axis.get("unit") for axis in image["axes"]] == ["second", "micrometer", "micrometer"]
    assert image["name"] == "cells"
    first, second = (level["coordinateTransformations"] for level in image["datasets"])
    assert first == [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    assert second[0]["scale"] == [1, 1, 1]
    assert second[1] == {"type": "translation", "translation": [0, 0.25, 0.25]}
    # What was written is read again, and so is a level of it by its own path.
    again = open_array(group)
    assert (again.axes, again.array.shape) == ("tyx", fine.shape)
    level = napari_dcr.enhance(tmp_path / "out.zarr" / "1", **FAST)
    assert level.shape == coarse.shape


def test_halving_takes_means() -> None:
    plane = np.array([[0, 2, 8], [2, 4, 11]], np.uint8)
    assert halve(plane, "yx").tolist() == [[2, 10]]
    assert halve(plane.T.astype(np.float32), "xy").tolist() == [[2], [9.5]]


def test_each_chunk_is_decoded_once(
    tmp_path: Path, stack: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the survey, and by the tiles, whose windows overlap."""
    monkeypatch.setattr(sources, "UNIT_PIXELS", 1)
    decoded: Counter[tuple[int, ...]] = Counter()
    fetch = sources.Opened._read

    def counted(self: Any, index: tuple[slice, ...]) -> Any:
        decoded[tuple(i.start for i in index)] += 1
        return fetch(self, index)

    monkeypatch.setattr(sources.Opened, "_read", counted)
    image = zarr.create_array(tmp_path / "in.zarr", data=stack[0], chunks=(64, 70))
    monkeypatch.setattr(survey, "SURVEYS", None)
    monkeypatch.setattr("napari_dcr.engine.conditioning.SURVEYS", survey.SurveyCache())
    napari_dcr.enhance(image, **{**FAST, "depth": 1}, tile=96)
    assert len(decoded) == 5 * 6
    assert set(decoded.values()) <= {1, 2}
    # Without room for it the result is the same.
    monkeypatch.setattr(sources, "CACHE_BYTES", 1)
    small = napari_dcr.enhance(image, **{**FAST, "depth": 1}, tile=96)
    assert (small == napari_dcr.enhance(stack[0], **{**FAST, "depth": 1}, tile=96)).all()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    chunks=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    data=st.data(),
)
def test_any_window_of_any_chunks(
    shape: tuple[int, ...], chunks: tuple[int, ...], data: st.DataObject
) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    source = ChunkedSource(values, lambda index: values[index], chunks)
    index: list[int | slice] = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        index.append(data.draw(st.sampled_from([start, slice(start, stop), slice(None)])))
    assert (source[tuple(index)] == values[tuple(index)]).all()


def test_a_failed_read_may_be_tried_again() -> None:
    values = np.arange(12).reshape(3, 4)
    errors = [MemoryError()]

    def fetch(index: tuple[slice, ...]) -> NDArray[Any]:
        if errors:
            raise errors.pop()
        return values[index]

    source = ChunkedSource(values, fetch, (3, 4))
    with pytest.raises(MemoryError):
        source[0, slice(0, 2)]
    assert source[0, slice(0, 2)].tolist() == [0, 1]


@settings(max_examples=20)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    chunks=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    block=st.integers(5, 100),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]),
    seed=st.integers(0, 9),
)
def test_survey_is_independent_of_chunking(
    height: int, width: int, chunks: tuple[int, int], block: int, dtype: str, seed: int
) -> None:
    """To the last bit; for integers, of the blocks as well."""
    values = np.random.default_rng(seed).random((height, width)) * 200
    image = values.astype(dtype)

    def surveyed(array: Any, block: int) -> survey.Survey:
        opened = open_array(array)
        layout = Layout.resolve(array.shape)
        source = opened.source(layout)
        surveyor = Surveyor(Subject(1, height, width, image.dtype, True))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(survey, "BLOCK", block)
            list(surveyor.add_planes([lambda rows, columns: source[rows, columns][None]]))
        return surveyor.finish()

    whole = surveyed(image, 40)
    chunked = surveyed(da.from_array(image, chunks=chunks), 40)
    assert whole.histogram is not None
    assert chunked.histogram is not None
    assert (whole.thumbnail == chunked.thumbnail).all()
    assert (whole.histogram.counts == chunked.histogram.counts).all()
    assert whole.digest == chunked.digest
    if image.dtype.kind != "f":
        assert (surveyed(image, block).thumbnail == whole.thumbnail).all()


def test_a_second_run_needs_no_survey(
    tmp_path: Path, stack: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    look = Subject.look

    def counted(self: Subject, *arguments: Any) -> Any:
        looked.append(arguments)
        return look(self, *arguments)

    monkeypatch.setattr(Subject, "look", counted)
    image = stack.copy() + np.uint16(1)
    on_disk = zarr.create_array(tmp_path / "in.zarr", data=image, chunks=(1, 64, 64))
    for source in (image, on_disk):
        looked.clear()
        first = napari_dcr.enhance(source, axes="tyx", **FAST)
        assert looked
        looked.clear()
        napari_dcr.enhance(source, axes="tyx", **FAST, strength=0.5)
        assert not looked
        # Changed in place: what was found before is no longer true.
        source[0, :50] = 9
        changed = napari_dcr.enhance(source, axes="tyx", **FAST)
        assert looked
        assert (first != changed)[1].any()


def test_what_is_not_there_or_does_not_fit_is_named(
    tmp_path: Path, stack: NDArray[np.uint16]
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
    refused("^resume: got True; it takes an out that is a .zarr", stack, resume=True)
    wrong = zarr.create_array(tmp_path / "w.zarr", shape=(2, 300, 420), dtype="uint8")
    refused("^out: got shape .* and dtype uint8; needed are .* uint16", stack, out=wrong)
    closed = zarr.open(tmp_path / "plain.zarr" / "a", mode="r")
    refused("^out: got a read-only array", stack, out=closed)
    refused("^out: got the image itself", wrong, out=wrong)
    with pytest.raises(TypeError, match=r"^out: got Group; allowed are .* a zarr array"):
        napari_dcr.enhance(stack, out=zarr.open(tmp_path / "plain.zarr"))
    huge = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(10**6, 10**6), dtype="uint16", chunks=(4096, 4096)
    )
    with pytest.raises(MemoryError, match=r"^out: the result needs .* give the path of a \.zarr"):
        napari_dcr.enhance(huge, **FAST)


def test_a_stopped_run_leaves_no_half_tif(tmp_path: Path, stack: NDArray[np.uint16]) -> None:
    options = napari_dcr.Options(axes="tyx", tile=64, **FAST)
    steps = napari_dcr.enhance_steps(stack, options, tmp_path / "out.tif")
    for step in steps:
        if step.done:
            break
    assert list(tmp_path.iterdir())
    steps.close()
    assert not list(tmp_path.iterdir())
