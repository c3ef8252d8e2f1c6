"""Live frames: steady brightness, gradual changes, and the same results as for single images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr import LiveEnhancer
from napari_dcr.engine import runner
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.runner import TileRunner

FAST: dict[str, Any] = {"depth": 1, "device": "cpu", "precision": "fp32"}

MODELS = ("photo", "microscopy")


def camera(lamp: float = 1.0, seed: int = 0) -> Iterator[NDArray[np.uint16]]:
    """Frames of a constant scene."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :112]
    light = 60 + 40 * np.sin(x / 20) * np.cos(y / 15)
    while True:
        frame = rng.poisson(lamp * light) + 100 + rng.normal(0, 3, light.shape)
        yield frame.clip(0).astype(np.uint16)


def levels(live: LiveEnhancer, frames: Iterator[NDArray[Any]], count: int) -> NDArray[np.float64]:
    return np.array([live(next(frames)).mean() for _ in range(count)])


@pytest.mark.parametrize("model", MODELS)
def test_the_first_frame_equals_a_single_image(model: str) -> None:
    frame = next(camera())
    before = frame.copy()
    with LiveEnhancer(model=model, **FAST) as live:
        result = live(frame)
        assert (result == napari_dcr.enhance(frame, model=model, **FAST)).all()
        assert live.record["model"] == model
        assert live.record["ranges"]
    assert (frame == before).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_constant_scene_does_not_flicker(model: str) -> None:
    with LiveEnhancer(model=model, **{**FAST, "depth": 0}) as live:
        levels(live, camera(), 16)
        # At depth 0 the pixels of the result follow those of the frame; the same frame shows the tone.
        still = next(camera(seed=1))
        found = levels(live, iter([still] * 64), 64)
    assert np.ptp(found) / found.mean() < 0.003


def test_a_lamp_changes_the_tone_gradually() -> None:
    dark, bright = camera(), camera(lamp=8)
    with LiveEnhancer(model="photo", **{**FAST, "depth": 0}) as live:
        before = levels(live, dark, 20)[-1]
        found = levels(live, bright, 80)
    after = napari_dcr.enhance(next(bright), model="photo", **{**FAST, "depth": 0}).mean()
    # The first bright frame has the tone of the dark ones, the last one its own.
    assert found[0] > 1.3 * before
    assert abs(found[-1] / after - 1) < 0.03
    steps = np.abs(np.diff(found)) / found[:-1]
    assert steps.max() < 0.15
    assert steps[-20:].max() < 0.01


def test_results_depend_on_the_frames_alone() -> None:
    runs = []
    for _ in range(2):
        frames = camera()
        with LiveEnhancer(**FAST) as live:
            assert "grey" in (live(next(frames)) is not None and live.record["model_reason"])
            runs.append([live(next(frames)) for _ in range(12)])
    assert all((a == b).all() for a, b in zip(*runs, strict=True))


def test_the_buffer_of_a_camera_may_be_reused() -> None:
    apart, together = LiveEnhancer(**FAST), LiveEnhancer(**FAST)
    buffer = np.empty((96, 112), np.uint16)
    for frame, _ in zip(camera(), range(12), strict=False):
        buffer[:] = frame
        assert (together(buffer) == apart(frame)).all()
    apart.close()
    together.close()


@pytest.mark.parametrize("kind", ["colour", "alpha", "channels", "masked", "float", "list"])
def test_kinds_of_frames(kind: str) -> None:
    grey = next(camera())
    frame: Any = {
        "colour": np.stack([grey, grey // 2, grey], -1),
        "alpha": np.stack([grey, grey // 2, grey, np.full_like(grey, 65535)], -1),
        "channels": np.stack([grey, grey // 2]),
        "masked": np.ma.MaskedArray(grey, grey > 180),
        "float": (grey / 4095).astype(np.float32),
        "list": (grey / 4095).tolist(),
    }[kind]
    more = {"axes": "cyx"} if kind == "channels" else {}
    with LiveEnhancer(**FAST, **more) as live:
        for _ in range(3):
            result = live(frame)
        single = napari_dcr.enhance(np.asanyarray(frame), **FAST, **more)
    assert type(result) is type(single)
    assert (result.shape, result.dtype) == (single.shape, single.dtype)
    assert live.options.depth == 1


def test_frames_of_another_size_restart_the_estimate() -> None:
    frame = next(camera())
    with LiveEnhancer(**FAST) as live:
        live(frame)
        cut = frame[:64, :80]
        assert (live(cut) == napari_dcr.enhance(cut, **FAST)).all()
        live.restart()
        assert live.record == {}


def test_adjusted_options_keep_the_estimate() -> None:
    frames = camera()
    with LiveEnhancer(model="photo", **FAST) as live:
        levels(live, frames, 5)
        stream = live._stream
        live.options = napari_dcr.Options(model="photo", **{**FAST, "depth": 0}, strength=0.0)
        assert live._stream is stream
        frame = next(frames)
        assert (live(frame) == frame).all()
        live.options = napari_dcr.Options(model="microscopy", **FAST)
        assert live._stream is None


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="^options: got dict"):
        LiveEnhancer({"depth": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^return_report: got True"):
        LiveEnhancer(return_report=True)
    with pytest.raises(ValueError, match="^depth: got -1"):
        LiveEnhancer(depth=-1)
    live = LiveEnhancer(**FAST)
    with pytest.raises(TypeError, match="^frame: got dtype bool"):
        live(np.zeros((64, 64), bool))
    with pytest.raises(ValueError, match=r"^frame: got shape \(2, 64, 64\)"):
        live(np.zeros((2, 64, 64), np.uint8))
    live.close()
    with pytest.raises(ValueError, match="closed"):
        live(np.zeros((64, 64), np.uint8))


def test_dark_frames_are_returned_unchanged_until_there_is_light() -> None:
    dark = np.full((96, 112), 100, np.uint16)
    with LiveEnhancer(**FAST) as live:
        with pytest.warns(napari_dcr.InputWarning):
            assert (live(dark) == dark).all()
        frames = camera()
        results = [(live(frame), frame) for frame, _ in zip(frames, range(24), strict=False)]
    last, frame = results[-1]
    assert (last != frame).any()
    assert last.std() < frame.std()


def test_tiles_are_chosen_again_only_after_a_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    part_size = TileRunner.part_size

    def counted(runner: TileRunner, *arguments: Any) -> Any:
        asked.append(1)
        return part_size(runner, *arguments)

    monkeypatch.setattr(TileRunner, "part_size", counted)
    frames = [next(camera(seed=n)) for n in range(12)]
    with LiveEnhancer(model="microscopy", **{**FAST, "depth": 0}) as live:
        for each in frames:
            live(each)
        assert 1 <= len(asked) <= 3  # surveys begin at the frames 1, 3 and 8
        live.options = dataclasses.replace(live.options, depth=1)
        assert (live(frames[0]) != frames[0]).any()
    # A channel with correlated noise goes another route than one with white noise.
    correlated = np.repeat(np.repeat(frames[1][::2, ::2], 2, 0), 2, 1)
    pair = np.stack([frames[0], correlated])
    with LiveEnhancer(model="microscopy", axes="cyx", **FAST) as live:
        live(pair)
        together = live(pair)
        assert [each["binning"] for each in live.record["noise"]] == [[1, 1], [3, 3]]
    for channel, alone in zip(together, pair, strict=True):
        with LiveEnhancer(model="microscopy", **FAST) as live:
            live(alone)
            assert (live(alone) == channel).all()


def test_a_frame_in_one_tile_needs_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does one whose memory runs out, which continues in smaller tiles."""
    frames = [np.tile(next(camera(seed=n)), 2) for n in range(3)]
    options: dict[str, Any] = {"model": "microscopy", **FAST}
    with LiveEnhancer(**options) as live:
        expected = [live(each) for each in frames]

    def unexpected(*_: object) -> None:
        raise AssertionError("a thread was started")

    with LiveEnhancer(**options) as live:
        live(frames[0])
        monkeypatch.setattr(runner, "ThreadPoolExecutor", unexpected)
        assert (live(frames[1]) == expected[1]).all()
        to_working, calls = ArrayPlane.to_working, []

        def fails_once(*arguments: Any) -> None:
            calls.append(1)
            if len(calls) == 1:
                raise MemoryError
            to_working(*arguments)

        monkeypatch.setattr(ArrayPlane, "to_working", fails_once)
        difference = live(frames[2]).astype(int) - expected[2]
        assert len(calls) > 2
        assert abs(difference).max() <= 1  # the last bits depend on the tiles
        monkeypatch.setattr(ArrayPlane, "to_working", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            live(frames[0])
