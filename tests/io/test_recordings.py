"""Tests of several files that are enhanced as one recording, into one file or one file for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.engine.sources import Opened
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import opening
from napari_dcr.io.recordings import Joined, _Target

FAST: dict[str, Any] = {"depth": 1, "device": "cpu", "model": "microscopy"}
SHELL = ("--depth", "1", "--device", "cpu", "--model", "microscopy", "-q")


def recording(frames: int = 6) -> NDArray[np.uint16]:
    """Frames that become dimmer, so that separate estimates for each file would differ."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:80, :96]
    light = 100 + 40 * np.sin(x / 9) * np.cos(y / 7) + 60
    fading = np.linspace(1, 0.5, frames)[:, None, None]
    return rng.poisson(light * fading).astype(np.uint16)


def write_pieces(folder: Path, whole: NDArray[Any], lengths: tuple[int, ...]) -> list[Path]:
    paths, start = [], 0
    for number, length in enumerate(lengths):
        path = (
            folder / f"rec_{8 + number}.tif"
        )  # names with 8 to 11, which do not sort alphabetically
        tifffile.imwrite(
            path, whole[start : start + length], metadata={"axes": "TYX", "finterval": 0.5},
            imagej=True,
        )  # fmt: skip
        paths.append(path)
        start += length
    return paths


@given(data=st.data())
def test_windows_of_pieces_equal_those_of_the_whole(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    axis = data.draw(st.integers(0, 2))
    flat = [n == 1 and data.draw(st.booleans()) for n in lengths]
    shape = [3, 4, 5]
    shape[axis] = sum(lengths)
    whole = np.arange(np.prod(shape)).reshape(shape)
    cuts = np.cumsum(lengths)[:-1]
    arrays = [
        a.squeeze(axis) if f else a for a, f in zip(np.split(whole, cuts, axis), flat, strict=True)
    ]
    joined = Joined([Opened(a, None, lambda: None) for a in arrays], axis, flat)
    assert joined.shape == whole.shape
    spans = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in shape]
    index = tuple(slice(a, b) for a, b in spans)
    assert np.array_equal(joined[index], whole[index])
    parts = [np.zeros_like(a) for a in arrays]
    target, copy = _Target(parts, joined), np.zeros_like(whole)
    where = tuple(
        span.start if span.start < n and data.draw(st.booleans()) else span
        for span, n in zip(index, shape, strict=True)
    )
    target[where] = whole[where]
    copy[where] = whole[where]
    assert np.array_equal(Joined([Opened(p, None, lambda: None) for p in parts], axis, flat), copy)


def test_pieces_share_the_estimate_of_the_whole(tmp_path: Path) -> None:
    whole = recording()
    paths = write_pieces(tmp_path, whole, (2, 1, 3))
    expected = napari_dcr.enhance(whole, axes="tyx", **FAST)
    assert np.array_equal(napari_dcr.enhance(paths, **FAST), expected)
    alone = napari_dcr.enhance(paths[2], **FAST)
    assert not np.array_equal(alone, expected[3:])  # a single file has another noise estimate
    outs = [tmp_path / f"out{n}.tif" for n in range(3)]
    assert napari_dcr.enhance(paths, out=outs, **FAST) == outs
    pieces = [tifffile.imread(p).reshape(-1, 80, 96) for p in outs]
    assert np.array_equal(np.concatenate(pieces), expected)


@pytest.mark.parametrize("large", [False, True])
def test_the_shell_writes_one_file_or_one_for_each(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recording()
    write_pieces(tmp_path, whole, (2, 1, 3))
    expected = napari_dcr.enhance(whole, axes="tyx", **FAST)
    monkeypatch.setattr(opening, "is_large", lambda *_: large)
    inputs = [str(p) for p in sorted(tmp_path.glob("*.tif"))]
    assert Path(inputs[0]).name == "rec_10.tif"
    report = tmp_path / "r.json"
    command = ["enhance", *inputs, "--as-one", "t", *SHELL, "--report", str(report)]
    assert main([*command, "-o", str(tmp_path / "one.tif")]) == 0
    with tifffile.TiffFile(tmp_path / "one.tif") as file:
        assert np.array_equal(file.asarray(), expected)
        assert file.series[0].axes == "TYX"
        assert 'TimeIncrement="0.5"' in (file.ome_metadata or "")
    (entry,) = json.loads(report.read_text())
    assert [Path(p).name for p in entry["input"]] == ["rec_8.tif", "rec_9.tif", "rec_10.tif"]
    folder = tmp_path / "each"
    report.unlink()
    assert main([*command, "-o", f"{folder}/"]) == 0
    for name, part in (("rec_8", expected[:2]), ("rec_9", expected[2]), ("rec_10", expected[3:])):
        with tifffile.TiffFile(folder / f"{name}.tif") as file:
            assert np.array_equal(file.asarray().reshape(part.shape), part)
            assert file.is_imagej
            assert (file.imagej_metadata or {})["finterval"] == 0.5
    assert len(list(folder.iterdir())) == 3


def test_pictures_become_a_recording_and_a_zarr(tmp_path: Path) -> None:
    whole = recording(3)
    paths = []
    for number, frame in enumerate(whole):
        paths.append(tmp_path / f"{number}.png")
        tifffile.imwrite(tmp_path / f"{number}.tif", frame)
        napari_dcr.io.writing.write(paths[-1], napari_dcr.io.opening.read(tmp_path / f"{number}.tif"))  # type: ignore[attr-defined]  # fmt: skip
    expected = napari_dcr.enhance(whole, axes="tyx", **FAST)
    out = tmp_path / "out.ome.zarr"
    napari_dcr.enhance(paths, out=out, **FAST)
    assert np.array_equal(zarr.open(out)["0"][...], expected)
    opened = napari_dcr.open_image(paths, as_one="z")
    assert opened.axes == "zyx"
    assert np.array_equal(napari_dcr.enhance(opened, **FAST), napari_dcr.enhance(whole, axes="zyx", **FAST))  # fmt: skip


def test_pages_without_a_name_become_the_axis(tmp_path: Path) -> None:
    whole = recording(4)
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", whole[2 * number :][:2], metadata=None)
    paths = [tmp_path / "0.tif", tmp_path / "1.tif"]
    with pytest.warns(
        InputWarning, match="does not name the axis of its 2 pages; it is treated as t"
    ):
        opened = napari_dcr.open_image(paths)
    assert (opened.axes, opened.array.shape) == ("tyx", whole.shape)
    assert len(opened.warnings) == 2
    named = napari_dcr.open_image(paths, axes="zyx")
    assert (named.axes, named.array.shape) == ("tzyx", (2, 2, 80, 96))


@pytest.mark.parametrize(
    ("second", "axis", "message"),
    [
        (np.zeros((2, 80, 90), np.uint16), "t", "has the shape (beside t) (80, 90) and rec_8.tif has (80, 96)"),
        (np.zeros((2, 80, 96), np.uint8), "t", "has the dtype uint8 and rec_8.tif has uint16"),
        (np.zeros((80, 96, 3), np.uint16), "t", "has the axes tyxs and rec_8.tif has tyx"),
        (np.zeros((2, 80, 96), np.uint16), "y", "as_one: got 'y'; allowed is the letter"),
        (np.zeros((2, 80, 96), np.uint16), "time", "as_one: got 'time'; allowed is the letter"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_match_the_first_is_named_in_the_message(
    tmp_path: Path, second: NDArray[Any], axis: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (first,) = write_pieces(tmp_path, recording(2), (2,))
    other = tmp_path / "rec_9.tif"
    is_rgb = second.ndim == 3 and second.shape[-1] == 3
    options: dict[str, Any] = {} if is_rgb else {"metadata": {"axes": "TYX"}}
    tifffile.imwrite(other, second, **options)
    out = tmp_path / "out.tif"
    assert main(["enhance", str(first), str(other), "--as-one", axis, "-o", str(out), *SHELL]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_outputs_never_overwrite_an_input(tmp_path: Path) -> None:
    paths = write_pieces(tmp_path, recording(4), (2, 2))
    before = [p.read_bytes() for p in paths]
    for outs in ([paths[1], tmp_path / "b.tif"], [tmp_path / "b.tif", paths[0]]):
        with pytest.raises(ValueError, match="inputs are never overwritten"):
            napari_dcr.enhance(paths, out=outs, **FAST)
    with pytest.raises(ValueError, match="got 1 paths for 2 files"):
        napari_dcr.enhance(paths, out=[tmp_path / "b.tif"], **FAST)
    names = [str(p) for p in paths]
    assert (
        main(["enhance", *names, "--as-one", "t", "-o", str(tmp_path), "--overwrite", *SHELL]) == 1
    )
    assert [p.read_bytes() for p in paths] == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("outs", "reason"),
    [
        (["x.tif", "x.tif"], "would both be written to"),
        (["x.tif", "./x.tif"], "would both be written to"),
        (["x.tif", "sub/../x.tif"], "would both be written to"),
        (["x.zarr", "x.zarr"], "would both be written to"),
        (["x.zarr", "x.zarr/y.zarr"], "lies in"),
        (["old.tif", "link.tif"], "would both be written to"),
        (["f_%d.png", "f_%04d.png"], "would both be written to"),
        (["f_%04d.png", "f_0000.png"], "is one of the files of"),
        (["x.tif", "a.tif"], "is the input file itself"),
        (["x.tif", "link_a.tif"], "is the input file itself"),
    ],
)
def test_two_results_have_two_outputs(
    outs: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.tif", "b.tif", "old.tif"):
        tifffile.imwrite(name, np.full((2, 40, 56), 99, "u2"), metadata={"axes": "TYX"})
    Path("link.tif").symlink_to("old.tif")
    Path("link_a.tif").symlink_to("a.tif")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.tif")}
    with pytest.raises(ValueError, match=f"^out: .*{reason}"):
        napari_dcr.enhance(["a.tif", "b.tif"], out=outs, **FAST)
    assert {path: path.read_bytes() for path in before} == before
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "sub"}
