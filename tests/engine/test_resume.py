"""Runs into a zarr that were stopped, killed or failed can be resumed, with the same result."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import resume
from napari_dcr.engine.runner import Part, TileQueue, TileRunner

FAST: dict[str, Any] = {
    "model": "photo",
    "depth": 1,
    "device": "cpu",
    "precision": "fp32",
    "tile": 64,
}

QUICK: dict[str, Any] = {**FAST, "denoise_first": "off"}

SHAPE = (2, 190, 260)

SCRIPT = """
import sys, time
import napari_dcr
from napari_dcr.engine import resume, runner
resume.SECONDS = 0.0
compute = runner.TileRunner._run_tiles
def slowly(self, *arguments):
    time.sleep(0.02)
    return compute(self, *arguments)
add = resume.RunRecord.add
def announced(self, part, region):
    add(self, part, region)
    print(part, flush=True)
runner.TileRunner._run_tiles = slowly
resume.RunRecord.add = announced
napari_dcr.enhance(sys.argv[1], out=sys.argv[2], resume=True, **OPTIONS)
""".replace("OPTIONS", repr(QUICK))
"""A slow run with the options of `QUICK` that prints the number of each part that it has recorded."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Two dim frames in a zarr, 3 x 5 tiles of 64 pixels each."""
    rng = np.random.default_rng(1)
    values = rng.integers(100, 900, SHAPE, np.uint16)
    array = zarr.create_array(
        tmp_path / "in.zarr", data=values, chunks=(1, 128, 128), dimension_names=tuple("tyx")
    )
    assert array.shape == values.shape
    return tmp_path / "in.zarr"


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a store."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def stop_after(image: Path, out: Path, tiles: int) -> None:
    """Begin a run and stop it."""
    options = napari_dcr.Options(**FAST)
    steps = napari_dcr.enhance_steps(image, options, out, resume=True)
    for step in steps:
        if step.done >= tiles * 64 * 64:
            break
    steps.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_a_run_killed_at_random_moments_ends_with_the_same_result(
    tmp_path: Path, image: Path, name: str
) -> None:
    out = tmp_path / name
    generator = random.Random(name)
    recorded: list[int] = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, image, out], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        # Waiting for finished parts, not for some time, makes sure that the run has begun to write
        # and has not ended, on fast and on slow machines.
        lines = [process.stdout.readline() for _ in range(generator.randint(1, 7))]
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        lines += process.stdout.readlines()
        assert process.wait() != 0
        process.stdout.close()
        recorded += map(int, lines)
    assert len(recorded) == len(set(recorded))  # no run repeats a finished part
    napari_dcr.enhance(image, out=out, resume=True, **QUICK)
    whole = tmp_path / f"whole.{name}"
    napari_dcr.enhance(image, out=whole, **QUICK)
    assert contents(out) == contents(whole)


def test_finished_parts_are_not_computed_again(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[Any] = []
    compute = TileRunner._run_tiles

    def counted(self: TileRunner, batch: Any, *sent: Any) -> Any:
        computed.extend(batch)
        return compute(self, batch, *sent)

    monkeypatch.setattr(TileRunner, "_run_tiles", counted)
    napari_dcr.enhance(image, out=tmp_path / "whole.zarr", **FAST)
    in_all = len(computed)
    assert in_all == 2 * 3 * 5
    stop_after(image, tmp_path / "out.zarr", 13)
    computed.clear()
    seen: list[napari_dcr.Progress] = []
    napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, progress=seen.append, **FAST)
    assert len(computed) <= in_all - 13
    assert seen[-1].done == seen[-1].total
    computed.clear()
    napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **FAST)
    assert not computed
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")


def test_a_run_cancelled_from_another_thread_can_be_resumed(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, third = threading.Event(), threading.Event()
    begun: list[bool] = []
    compute, store, take = TileRunner._run_tiles, TileRunner._store, TileQueue.take

    def watched(self: TileRunner, *sent: Any) -> Any:
        begun.append(cancel.is_set())
        if len(begun) == 3:
            third.set()
            assert cancel.wait(60)
        return compute(self, *sent)

    # The first two tiles are written before the next one begins, the third one is not.
    def unhurried(self: TileQueue, *limits: int) -> Any:
        time.sleep(0.1)
        return take(self, *limits)

    def slowly(self: TileRunner, *sent: Any) -> bool:
        time.sleep(0.5 if cancel.is_set() else 0)
        return store(self, *sent)

    def on_progress(step: napari_dcr.Progress) -> None:
        if cancel.is_set():
            raise InterruptedError

    def run() -> None:
        with pytest.raises(InterruptedError):
            napari_dcr.enhance(image, out=tmp_path / "out.zarr", progress=on_progress, **QUICK)

    monkeypatch.setattr(TileRunner, "_run_tiles", watched)
    monkeypatch.setattr(TileRunner, "_store", slowly)
    monkeypatch.setattr(TileQueue, "take", unhurried)
    thread = threading.Thread(target=run)
    thread.start()
    assert third.wait(60)
    cancel.set()
    thread.join()
    monkeypatch.undo()
    assert begun == [False] * 3  # the tile in progress was the last one
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is Part]  # nor the windows they hold
    done: Any = zarr.open(tmp_path / "out.zarr")
    assert done[0, :64, :128].any()
    napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **QUICK)
    napari_dcr.enhance(image, out=tmp_path / "whole.zarr", **QUICK)
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 2}, "depth was 1 and is now 2"),
        ({"strength": 0.5}, "strength was 1.0 and is now 0.5"),
        ({"tile": 128}, "tile was 64 and is now 128"),
        ({"input_range": (0, 5)}, "input_range was 'auto' and is now .0.0, 5.0."),
        (
            {"depth": 0, "detail": False},
            "denoise_first was .*, depth was 1 and is now 0, detail was True and is now False",
        ),
    ],
)
def test_another_run_is_refused(
    tmp_path: Path, image: Path, change: dict[str, Any], message: str
) -> None:
    stop_after(image, tmp_path / "out.zarr", 5)
    before = contents(tmp_path / "out.zarr")
    with pytest.raises(
        ValueError, match=f"^resume: the interrupted run in out used other arguments: {message}"
    ):
        napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **{**FAST, **change})
    assert contents(tmp_path / "out.zarr") == before


def test_other_weights_are_refused(tmp_path: Path, image: Path, lively_model: Path) -> None:
    stop_after(image, tmp_path / "out.zarr", 5)
    with pytest.raises(
        ValueError, match="^resume: the interrupted run in out used other arguments: sha256"
    ):
        napari_dcr.enhance(
            image, out=tmp_path / "out.zarr", resume=True, **{**FAST, "model": lively_model}
        )


def test_another_image_is_refused(tmp_path: Path, image: Path) -> None:
    stop_after(image, tmp_path / "out.zarr", 5)
    zarr.open(image)[1, 189, 259] += 1
    with pytest.raises(ValueError, match="^resume: the image.s pixels differ from those"):
        napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **FAST)


def test_without_resume_nothing_is_overwritten(tmp_path: Path, image: Path) -> None:
    stop_after(image, tmp_path / "out.zarr", 5)
    with pytest.raises(ValueError, match="^out: .*out.zarr exists; pass overwrite=True"):
        napari_dcr.enhance(image, out=tmp_path / "out.zarr", **FAST)


def test_arrays_without_a_run_are_not_resumed(tmp_path: Path, image: Path) -> None:
    """In particular, the image itself is never written to."""
    before = contents(image)
    ours = zarr.open_group(tmp_path / "in.ome.zarr", mode="w")
    ours.create_array("0", data=np.zeros(SHAPE, np.uint16))
    zarr.open_group(tmp_path / "group.ome.zarr", mode="w").attrs["somebody"] = "else"
    with pytest.raises(ValueError, match="^out: .* is the input file itself"):
        napari_dcr.enhance(image, out=image, resume=True, **FAST)
    for out in (tmp_path / "in.ome.zarr", tmp_path / "group.ome.zarr"):
        with pytest.raises(ValueError, match="^resume: .* does not hold an interrupted run"):
            napari_dcr.enhance(image, out=out, resume=True, **FAST)
    assert contents(image) == before


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_a_run_without_finished_parts_is_resumed(tmp_path: Path, image: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    napari_dcr.enhance(image, out=tmp_path / name, resume=True, **{**FAST, "depth": 0})
    (tmp_path / f"2.{name}").mkdir()
    if "ome" in name:
        zarr.open_group(tmp_path / f"2.{name}", mode="a")
    napari_dcr.enhance(image, out=tmp_path / f"2.{name}", resume=True, **{**FAST, "depth": 0})
    assert contents(tmp_path / name) == contents(tmp_path / f"2.{name}")


def test_a_run_into_the_callers_array_is_resumed(tmp_path: Path, image: Path) -> None:
    """Its chunks do not coincide with tiles; each chunk is written once, when it is complete."""
    given = zarr.create_array(
        tmp_path / "out.zarr", shape=SHAPE, chunks=(1, 70, 90), dtype="uint16"
    )
    given.attrs["mine"] = "kept"
    options = napari_dcr.Options(**QUICK)
    steps = napari_dcr.enhance_steps(image, options, given)
    for step in steps:
        if step.done > 30_000:
            break
    steps.close()
    result = napari_dcr.enhance(image, out=given, resume=True, **QUICK)
    assert result is given
    expected: NDArray[Any] = napari_dcr.enhance(image, **QUICK)
    assert np.abs(given[...].astype(int) - expected).max() <= 1  # other windows, other rounding
    assert given.attrs["mine"] == "kept"
    kept: Any = zarr.open(tmp_path / "out.zarr").attrs[resume.KEY]
    assert kept["record"]["model"] == "photo"


def test_memory_running_out_leaves_whole_chunks(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiles of a chunk become smaller than it; it is still written once."""
    options = {**QUICK, "tile": "auto"}
    expected = napari_dcr.enhance(image, **options)
    compute = TileRunner._run_tiles

    def limited(self: TileRunner, batch: Any, windows: Any, *beside: Any) -> Any:
        if windows.shape[2] * windows.shape[3] > 40_000:
            raise MemoryError
        return compute(self, batch, windows, *beside)

    monkeypatch.setattr(TileRunner, "_run_tiles", limited)
    result = napari_dcr.enhance(image, out=tmp_path / "out.zarr", **options)
    assert np.abs(result[...].astype(int) - expected).max() <= 1
    assert result.chunks == (1, 192, 260) or result.chunks[1] >= 190


def damage(path: Path, kind: str) -> None:
    """Damage a stored chunk or shard."""
    stored = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "deleted":
        path.write_bytes({"cut": stored[:-7], "empty": b"", "other bytes": b"x" * 500}[kind])


@pytest.mark.parametrize("kind", ["cut", "other bytes", "deleted", "folder"])
@pytest.mark.parametrize("store", ["shards", "chunks of two frames"])
def test_stored_parts_that_cannot_be_read_are_written_again(
    tmp_path: Path, kind: str, store: str
) -> None:
    """Zarr reads a shard, or a chunk of several frames, before it writes a part of it."""
    options = {**QUICK, "depth": 0}
    pixels = np.random.default_rng(1).integers(100, 900, (2, 128, 192), np.uint16)
    chunks = (2 if "two" in store else 1, 64, 64)
    shards = (1, 128, 128) if store == "shards" else None
    outs = [
        zarr.create_array(
            tmp_path / name, shape=pixels.shape, dtype="u2", chunks=chunks, shards=shards
        )
        for name in ("whole.zarr", "out.zarr")
    ]
    napari_dcr.enhance(pixels, out=outs[0], **options)
    steps = napari_dcr.enhance_steps(pixels, napari_dcr.Options(**options), outs[1])
    for step in steps:
        if step.done >= pixels.size / 2:
            break
    steps.close()
    first = next(p for p in sorted((tmp_path / "out.zarr" / "c").rglob("*")) if p.is_file())
    damage(first, kind)
    with pytest.warns(napari_dcr.InputWarning, match="missing or damaged"):
        napari_dcr.enhance(pixels, out=outs[1], resume=True, **options)
    np.testing.assert_array_equal(outs[1][...], outs[0][...])


def test_nan_as_the_nodata_value_is_the_same_argument(tmp_path: Path, image: Path) -> None:
    pixels = np.asarray(zarr.open_array(image)[...]).astype(np.float32)
    options = {**QUICK, "depth": 0, "nodata": np.nan}
    steps = napari_dcr.enhance_steps(pixels, napari_dcr.Options(**options), tmp_path / "out.zarr")
    next(step for step in steps if step.done)
    steps.close()
    result = napari_dcr.enhance(pixels, out=tmp_path / "out.zarr", resume=True, **options)
    np.testing.assert_array_equal(result[...], napari_dcr.enhance(pixels, **options))


def test_a_damaged_record_is_refused(tmp_path: Path, image: Path) -> None:
    stop_after(image, tmp_path / "out.zarr", 1)
    array: Any = zarr.open(tmp_path / "out.zarr")
    kept: Any = array.attrs[resume.KEY]
    parts = [[0, 0], [50, 70], "64", None]
    damaged: list[Any] = ["text", {**kept, "identity": None}, {**kept, "identity": {}}]
    damaged += [{**kept, "identity": {**kept["identity"], "part": part}} for part in parts]
    damaged += [{**kept, "sources": None}, {**kept, "done": None}]
    damaged += [{**kept, "done": text} for text in ("!!!", "4A==")]
    damaged += [{**kept, "stamps": text} for text in ("AAAA", "AAAAA")]
    for record in damaged:
        array.attrs[resume.KEY] = record
        before = contents(tmp_path / "out.zarr")
        with pytest.raises(ValueError, match=r"^resume: the record .* is damaged; remove out"):
            napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **FAST)
        assert contents(tmp_path / "out.zarr") == before


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
@pytest.mark.parametrize("kind", ["cut", "empty", "deleted", "file"])
def test_damaged_metadata_are_refused(tmp_path: Path, image: Path, name: str, kind: str) -> None:
    out = tmp_path / name
    if kind == "file":
        out.write_text("text")
    else:
        stop_after(image, out, 1)
        metadata = out / "zarr.json"
        stored = metadata.read_text()
        metadata.unlink()
        if kind != "deleted":
            metadata.write_text(stored[:40] if kind == "cut" else "")
    message = rf"^resume: .*{name}.*(are damaged|does not hold an interrupted run)"
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(image, out=out, resume=True, **FAST)


STORED = {
    "identity": {
        "strength": 1.0, "exposure": 0.0, "input_range": "auto", "link_frames": True,
        "output": "same", "tile": 64, "axes": "yx",
        "sha256": "ea401a11d1d0017189910bd2107ce25f2ae8f3be790252aaadcbc46b52893f55",
        "depth": 1, "detail": True, "precision": "fp32", "version": "0.1.0", "part": [64, 64],
    },
    "sources": {"0": "aacae9969a4f37e6025182217dad31a8f15f6a8f39bb43c5b77881e44c54953c"},
    "done": "4AA=",
}  # fmt: skip
"""Attribute of a run that an earlier version began: 192 x 240, the first three parts finished."""


@pytest.mark.parametrize("same_weights", [False, True])
def test_a_run_of_an_earlier_version_is_resumed_or_the_error_gives_the_reason(
    tmp_path: Path, same_weights: bool
) -> None:
    y, x = np.mgrid[:192, :240]
    image = (600 + 300 * np.sin(y / 9) * np.cos(x / 13)).astype(np.uint16)
    expected = napari_dcr.enhance(image, **FAST)
    fresh = tmp_path / "fresh.zarr"
    napari_dcr.enhance(image, out=fresh, **FAST)
    ours: Any = zarr.open(fresh).attrs[resume.KEY]
    stored = {**STORED, "identity": dict(STORED["identity"])}  # type: ignore[call-overload]
    if same_weights:
        stored["identity"]["sha256"] = ours["identity"]["sha256"]
    partial = zarr.create_array(
        tmp_path / "out.zarr", shape=(192, 240), dtype="u2", chunks=(64, 64)
    )
    partial[:64, :192] = expected[:64, :192]
    partial.attrs[resume.KEY] = stored
    different = {
        name
        for name in stored["identity"].keys() | ours["identity"].keys()
        if stored["identity"].get(name) != ours["identity"].get(name)
    }
    if different:
        with pytest.raises(ValueError, match=f"resume: .*{min(different)} was"):
            napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **FAST)
        assert not partial[64:].any()
    else:
        napari_dcr.enhance(image, out=tmp_path / "out.zarr", resume=True, **FAST)
        np.testing.assert_array_equal(partial[...], expected)
