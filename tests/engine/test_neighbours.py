"""Neighbouring frames: every way of computing a stack gives the same, and each frame is computed once."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from scipy import ndimage

import napari_dcr
from napari_dcr import NoiseModel, Options
from napari_dcr.engine import frame_features, neighbours, networks, runner, windows
from napari_dcr.engine.frame_features import FrameCache
from napari_dcr.engine.neighbours import FrameMatches, Neighbourhood
from napari_dcr.engine.parts import Part, TileTask
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.engine.tiles import Grid
from napari_dcr.engine.transfer import AsynchronousTransfer
from napari_dcr.enhancement import enhance_steps, run_to_completion
from napari_dcr.io.opening import open_image
from napari_dcr.network import neighbours as network_neighbours
from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.neighbours import NeighbourStage
from tests.conftest import lively_cascade
from tests.engine.test_transfer import FakeAccelerator

FAST: dict[str, Any] = {
    "axes": "tyx", "device": "cpu", "precision": "fp32", "output": "float32", "depth": 1,
}  # fmt: skip

CLOSE: dict[str, float] = {"atol": 1e-5 * 400, "rtol": 0}
"""1e-5 of the range of the images."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "neighbours.safetensors"
    config = CascadeConfig(channels=1, base="counts", widths=(8, 8, 8), neighbours=(8, 8, 8))
    weights.save(lively_cascade(config=config), path, {})
    return path


@pytest.fixture(autouse=True)
def automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests are of "auto" that uses neighbours."""
    monkeypatch.setattr(neighbours, "AUTO", 2)


def drifting(frames: int = 5, shape: tuple[int, int] = (100, 130), step: int = 3) -> NDArray[Any]:
    """Structures that move by some pixels from frame to frame, under photon noise."""
    rng = np.random.default_rng(4)
    size = shape[0] + 40, shape[1] + 40
    scene = ndimage.gaussian_filter(rng.standard_normal(size), 2.5)
    scene = 60 + 25 * scene / scene.std()
    views = [scene[20 - step * k :, 20 + step * k :][: shape[0], : shape[1]] for k in range(frames)]
    return np.stack([2 * rng.poisson(view.clip(1)) + 100 for view in views]).astype(np.uint16)


@pytest.fixture(scope="module")
def stack() -> NDArray[Any]:
    return drifting()


@pytest.fixture(scope="module")
def fused(stack: NDArray[Any], model: Path) -> NDArray[Any]:
    return napari_dcr.enhance(stack, model=model, neighbours=2, **FAST)  # type: ignore[no-any-return]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels of every window of which features were computed."""
    areas: list[int] = []
    features = Cascade.frame_features

    def counted(self: Cascade, x: Any, *rest: Any) -> Any:
        areas.append(x.shape[2] * x.shape[3])
        return features(self, x, *rest)

    monkeypatch.setattr(Cascade, "frame_features", counted)
    return areas


def test_neighbours_help_frames_of_stacks(
    stack: NDArray[Any], fused: NDArray[Any], model: Path
) -> None:
    alone = napari_dcr.enhance(stack, model=model, neighbours=0, **FAST)
    assert np.abs(fused - alone).mean() > 0.1
    named_axis = napari_dcr.enhance(stack, model=model, neighbours=2, neighbour_axis="T", **FAST)
    np.testing.assert_array_equal(named_axis, fused)
    nearest = napari_dcr.enhance(stack, model=model, neighbours=1, **FAST)
    assert np.abs(nearest - fused).max() > 0.1
    assert np.abs(nearest - alone).max() > 0.1


@pytest.mark.parametrize(
    "stack",
    [drifting(2), drifting(1)[0], drifting(1)],
    ids=["two frames", "a picture", "one frame"],
)
def test_auto_leaves_short_stacks_and_z_alone(stack: NDArray[Any], model: Path) -> None:
    arguments = {**FAST, "axes": "tyx"[-stack.ndim :]}
    done = run_to_completion(enhance_steps(stack, Options(model=model, **arguments)))
    assert "neighbours" not in done.record
    deep = run_to_completion(
        enhance_steps(drifting(), Options(model=model, **{**FAST, "axes": "zyx"}))
    )
    assert "neighbours" not in deep.record


def test_without_usable_neighbours_a_frame_is_enhanced_alone_bit_for_bit(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.BATCH_PIXELS, "cpu", 0)
    stack = drifting()
    stack[[0, 1, 4]] = 0
    stack[3] = 65535
    with pytest.warns(napari_dcr.InputWarning):
        fused = napari_dcr.enhance(stack, model=model, **FAST)
    with pytest.warns(napari_dcr.InputWarning):
        alone = napari_dcr.enhance(stack, model=model, neighbours=0, **FAST)
    np.testing.assert_array_equal(fused, alone)


def test_black_frames_and_frames_without_data_are_missing_neighbours(model: Path) -> None:
    stack = drifting().astype(np.float32)
    broken = stack.copy()
    broken[3] = np.nan
    with pytest.warns(napari_dcr.InputWarning):
        fused = napari_dcr.enhance(broken, model=model, input_range=(100, 400), **FAST)
    assert np.isnan(fused[3]).all()
    assert np.isfinite(fused[[0, 1, 2, 4]]).all()
    holes = stack.copy()
    holes[2, 30:60, 40:70] = np.nan
    part = napari_dcr.enhance(holes, model=model, **FAST)
    assert np.isfinite(part[[0, 1, 3, 4]]).all()
    tiled = napari_dcr.enhance(holes, model=model, tile=64, **FAST)
    np.testing.assert_allclose(tiled, part, **CLOSE)


@pytest.mark.parametrize("kind", ["NaN", "mask", "nodata"])
def test_holes_of_neighbours_do_not_count(
    kind: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels without data are filled for the network; in other frames, they must change nothing."""
    stack: NDArray[Any] = drifting(3, step=0).astype(np.float32)
    stack[1, 34:50, 40:66] = np.nan
    options = {"model": model, "neighbours": 1, **FAST}
    if kind == "mask":
        stack = np.ma.MaskedArray(np.nan_to_num(stack, nan=150), np.isnan(stack))
    elif kind == "nodata":
        stack, options["nodata"] = np.nan_to_num(stack, nan=-1), -1
    gates: list[NDArray[Any]] = []
    open_gate = NeighbourStage.open_gate

    def kept(self: NeighbourStage, *compared: Any) -> Any:
        result = open_gate(self, *compared)
        gates.append(result[0][0, 0].numpy())
        return result

    monkeypatch.setattr(NeighbourStage, "open_gate", kept)
    # All gates are open, independent of the network.
    monkeypatch.setattr(network_neighbours, "_agreement", torch.ones_like)
    monkeypatch.setattr(network_neighbours, "CLOSED", -1.0)
    result = napari_dcr.enhance(stack, **options)
    first, _, _, last = gates  # frames 0 and 2 have the same neighbour
    for gate in (first, last):
        assert (gate[17:25, 20:33] == 0).all()
        gate[17:25, 20:33] = 1
        assert gate[:50, :65].all()
    tiled = napari_dcr.enhance(stack, **{**options, "tile": 64})
    np.testing.assert_allclose(tiled, result, **CLOSE)
    if kind == "nodata":
        gates.clear()
        region = (slice(0, 1), slice(20, 60), slice(30, 80))
        own = Options(**options)
        part = run_to_completion(RegionEnhancer(open_image(stack)).steps(own, region)).image  # type: ignore[arg-type]
        np.testing.assert_allclose(part, result[region], **CLOSE)
        assert any((gate == 0).any() for gate in gates)


@pytest.mark.parametrize("link_frames", [True, False])
def test_tiles_regions_and_lazy_results_equal_the_whole_image(
    stack: NDArray[Any], fused: NDArray[Any], model: Path, link_frames: bool
) -> None:
    arguments = {"model": model, "link_frames": link_frames, **FAST}
    whole = fused if link_frames else napari_dcr.enhance(stack, **arguments)
    np.testing.assert_allclose(napari_dcr.enhance(stack, tile=64, **arguments), whole, **CLOSE)
    region = slice(1, 3), slice(20, 90), slice(41, 120)
    steps = RegionEnhancer(open_image(stack)).steps(Options(**arguments), region, core=64)
    np.testing.assert_allclose(run_to_completion(steps).image, whole[region], **CLOSE)  # type: ignore[arg-type]
    for chunks in ((1, 60, 130), (3, 100, 80)):
        lazily = napari_dcr.enhance(da.from_array(stack, chunks=chunks), **arguments)
        np.testing.assert_allclose(lazily.compute(), whole, **CLOSE)


def test_several_axes_and_channels(model: Path) -> None:
    stack = np.stack([drifting(4, (64, 72), 2), drifting(4, (64, 72), 0)], 1)  # t, z
    stack = np.stack([stack, stack[:, ::-1]], 1)  # t, c, z
    arguments = {**FAST, "model": model, "axes": "tczyx"}
    whole = napari_dcr.enhance(stack, **arguments)
    one = napari_dcr.enhance(stack[:, :1, 1:], **arguments)
    own = napari_dcr.enhance(stack, neighbours=1, neighbour_axis="z", **arguments)
    assert np.abs(own - whole).max() > 0.1
    assert one.shape == (4, 1, 1, 64, 72)
    apart = napari_dcr.enhance(stack, link_frames=False, **arguments)
    region = slice(1, 3), slice(1, 2), slice(0, 2), slice(9, 40), slice(20, 60)
    for options, expected in (({}, whole), ({"link_frames": False}, apart)):
        steps = RegionEnhancer(open_image(stack)).steps(Options(**arguments, **options), region)  # type: ignore[arg-type]
        np.testing.assert_allclose(run_to_completion(steps).image, expected[region], **CLOSE)  # type: ignore[arg-type]
    lazily = napari_dcr.enhance(da.from_array(stack, chunks=(2, 1, 1, 64, 72)), **arguments)
    np.testing.assert_allclose(lazily.compute(), whole, **CLOSE)


def test_features_of_every_frame_are_computed_once(
    stack: NDArray[Any], model: Path, computed: list[int]
) -> None:
    napari_dcr.enhance(stack, model=model, **FAST)
    assert len(computed) == 5
    computed.clear()
    napari_dcr.enhance(stack, model=model, link_frames=False, **FAST)
    assert len(computed) == 5
    computed.clear()
    napari_dcr.enhance(stack, model=model, tile=64, **FAST)
    assert len(computed) == 5 * 2 * 3


def test_changes_of_the_light_are_the_same_for_tiles_blocks_and_previews(
    stack: NDArray[Any], model: Path
) -> None:
    lamp = np.array([1, 0.8, 1.2, 0.95, 1.1])[:, None, None]
    flickering = np.rint(100 + lamp * (stack - 100.0)).astype(np.uint16)
    arguments = {**FAST, "model": model}
    done = run_to_completion(enhance_steps(flickering, Options(**arguments)))
    assert "was scaled" in done.reports[0].neighbours  # type: ignore[operator]
    whole = np.asarray(done.image)
    tiled = napari_dcr.enhance(flickering, tile=64, **arguments)
    np.testing.assert_allclose(tiled, whole, **CLOSE)
    lazily = napari_dcr.enhance(da.from_array(flickering, chunks=(2, 64, 72)), **arguments)
    np.testing.assert_allclose(lazily.compute(), whole, **CLOSE)
    region = slice(2, 3), slice(20, 60), slice(41, 90)
    steps = RegionEnhancer(open_image(flickering)).steps(Options(**arguments), region)
    np.testing.assert_allclose(run_to_completion(steps).image, whole[region], **CLOSE)  # type: ignore[arg-type]


def test_a_frame_that_does_not_match_is_left_out(stack: NDArray[Any], model: Path) -> None:
    mixed = stack.copy()
    mixed[3] = drifting(1)[0][::-1, ::-1]
    arguments = {**FAST, "model": model, "noise": NoiseModel(2, 100, 4)}
    done = run_to_completion(enhance_steps(mixed, Options(**arguments)))
    assert "left out, because they did not match" in done.reports[0].neighbours  # type: ignore[operator]
    alone = napari_dcr.enhance(mixed, neighbours=0, **arguments)
    np.testing.assert_allclose(np.asarray(done.image)[3], alone[3], **CLOSE)
    assert np.abs(np.asarray(done.image)[1] - alone[1]).mean() > 0.1


def test_what_does_not_fit_is_computed_again(
    stack: NDArray[Any], fused: NDArray[Any], model: Path, computed: list[int],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    free = runner.devices.free_memory
    monkeypatch.setattr(networks, "FEATURE_BYTES", 1)
    monkeypatch.setattr(runner, "FEATURE_BYTES", free("cpu"))
    out = zarr.create_array(
        tmp_path / "out.zarr", shape=stack.shape, chunks=(1, 128, 192), dtype="f4"
    )
    napari_dcr.enhance(stack, model=model, tile=64, out=out, **FAST)
    np.testing.assert_allclose(out[:], fused, **CLOSE)
    # Of the six tiles of a frame, one is kept, and five are computed with all their neighbours.
    assert len(computed) == 5 + 5 * (3 + 4 + 5 + 4 + 3)


def test_a_preview_reads_the_frames_beside_it_only(
    model: Path, monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    stack = drifting(9, step=0)
    enhancer = RegionEnhancer(open_image(stack))
    region = slice(4, 5), slice(20, 60), slice(41, 90)
    arguments = Options(model=model, **FAST)
    first = run_to_completion(enhancer.steps(arguments, region)).image  # type: ignore[arg-type]
    assert len(computed) == 5
    read: Counter[int] = Counter()
    own = ArrayPlane.read

    def counted(self: ArrayPlane, *place: Any) -> Any:
        read[self.frame[0]] += 1
        return own(self, *place)

    monkeypatch.setattr(ArrayPlane, "read", counted)
    next_frame = slice(5, 6), *region[1:]
    run_to_completion(enhancer.steps(arguments, next_frame))  # type: ignore[arg-type]
    assert set(read) == {5, 7}
    assert len(computed) == 6
    run_to_completion(enhancer.steps(Options(model=model, strength=0.5, **FAST), region))  # type: ignore[arg-type]
    assert len(computed) == 6
    again = run_to_completion(enhancer.steps(arguments, region)).image  # type: ignore[arg-type]
    np.testing.assert_array_equal(first, again)


def test_stages_of_a_preview_are_those_of_runs(stack: NDArray[Any], model: Path) -> None:
    arguments = {**FAST, "model": model, "depth": 2}
    region = slice(2, 3), slice(20, 60), slice(41, 90)
    steps = RegionEnhancer(open_image(stack)).steps(Options(**arguments), region, stages=True)
    stages = run_to_completion(steps).image  # type: ignore[arg-type]
    for depth in range(3):
        whole = napari_dcr.enhance(stack, **{**arguments, "depth": depth})
        np.testing.assert_allclose(stages[depth], whole[region], **CLOSE)


def test_a_resumed_run_with_neighbours_gives_the_same(
    stack: NDArray[Any], fused: NDArray[Any], model: Path, tmp_path: Path
) -> None:
    steps = enhance_steps(stack, Options(model=model, tile=64, **FAST), out=tmp_path / "out.zarr")
    while True:
        progress = next(steps)
        if progress.done > 0.4 * progress.total:
            break
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]
    with pytest.raises(ValueError, match="resume"):
        napari_dcr.enhance(
            stack,
            model=model,
            tile=64,
            out=tmp_path / "out.zarr",
            resume=True,
            neighbours=1,
            **FAST,
        )
    done = napari_dcr.enhance(
        stack, model=model, tile=64, out=tmp_path / "out.zarr", resume=True, **FAST
    )
    whole = napari_dcr.enhance(stack, model=model, tile=64, out=tmp_path / "whole.zarr", **FAST)
    np.testing.assert_array_equal(done[:], whole[:])
    np.testing.assert_allclose(done[:], fused, **CLOSE)


def test_when_memory_runs_out_smaller_tiles_give_the_same(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = drifting(4, (64, 760))
    whole = napari_dcr.enhance(stack, model=model, **FAST)
    fuse, calls = Cascade.fuse, []

    def limited(self: Cascade, centre: Any, *rest: Any) -> Any:
        calls.append(centre.x.shape[3])
        if len(calls) > 2 and calls[-1] > 650:
            raise MemoryError
        return fuse(self, centre, *rest)

    monkeypatch.setattr(Cascade, "fuse", limited)
    messages: list[str] = []
    result = napari_dcr.enhance(
        stack, model=model, progress=lambda step: messages.append(step.message), **FAST
    )
    np.testing.assert_allclose(result, whole, **CLOSE)
    assert any("out of memory: continuing with tiles of" in message for message in messages)
    assert calls[-1] <= 650


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_gpu_gets_each_frame_once(
    stack: NDArray[Any],
    fused: NDArray[Any],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Any,
) -> None:
    fake = FakeAccelerator()
    monkeypatch.setattr(windows, "transfer_for", lambda _: AsynchronousTransfer(fake))  # type: ignore[arg-type]
    result = napari_dcr.enhance(stack.astype(dtype), model=model, tile=64, **FAST)
    np.testing.assert_allclose(result, fused, **CLOSE)


def test_correlated_noise_is_binned_with_neighbours(model: Path) -> None:
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.standard_normal((200, 190)), 3)
    scene = 300 + 60 * scene / scene.std()
    noise = np.stack(
        [ndimage.gaussian_filter(rng.standard_normal(scene.shape), 1.2) for _ in "1234"]
    )
    views = [scene[6 * k : 6 * k + 170, 10:170] for k in range(4)]
    stack = np.stack(views) + 40 * noise[:, :170, :160] / noise.std()
    arguments = {**FAST, "model": model}
    done = run_to_completion(enhance_steps(stack.astype(np.float32), Options(**arguments)))
    whole = np.asarray(done.image)
    assert done.record["noise"][0]["binning"] != [1, 1]
    tiled = napari_dcr.enhance(stack.astype(np.float32), tile=64, **arguments)
    np.testing.assert_allclose(tiled, whole, **CLOSE)
    alone = napari_dcr.enhance(stack.astype(np.float32), neighbours=0, **arguments)
    assert np.abs(alone - whole).mean() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 3}, "neighbours: got 3; allowed are 'auto', 0, 1, 2"),
        ({"neighbours": True}, "neighbours: got True"),
        ({"neighbours": 1, "depth": 0}, "neighbours: got 1 with depth 0"),
        ({"neighbours": 2, "model": "photo", "depth": 0}, "neighbours: got 2 with depth 0"),
        ({"neighbour_axis": "z"}, "neighbour_axis: got 'z' for an image with axes 'tyx'"),
        ({"neighbour_axis": "x"}, "neighbour_axis: got 'x'"),
        ({"neighbours": 1, "axes": "qyx"}, "has no axis t or z of two frames or more"),
    ],
)
def test_neighbours_that_are_not_possible_raise_an_error(
    stack: NDArray[Any], model: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        napari_dcr.enhance(stack[:, :64, :64], **{"model": model, **FAST, **options})


def test_auto_uses_no_neighbours_if_the_constant_is_0(
    stack: NDArray[Any], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "AUTO", 0)
    auto = napari_dcr.enhance(stack, model=model, **FAST)
    np.testing.assert_array_equal(
        auto, napari_dcr.enhance(stack, model=model, neighbours=0, **FAST)
    )


def test_the_cache_holds_few_frames_however_long_the_series() -> None:
    cache, grid = FrameCache(10**9), Grid(64, 64, 8, 8)
    (tile,) = grid.cut((64, 64))
    loaded: Counter[int] = Counter()
    for number in range(1000):
        around = [
            n if 0 <= n < 1000 else None for n in range(number - 2, number + 3) if n != number
        ]
        neighbourhood = Neighbourhood((0, ()), number, tuple(around), {}, FrameMatches())
        plan = cache.plan(TileTask(Part(None, None, tile, neighbourhood=neighbourhood), tile))  # type: ignore[arg-type]
        loaded.update(plan.new)
        for frame in plan.new:
            plan.state.features[frame] = ()
        for frame in plan.state.features.keys() - plan.keep:
            del plan.state.features[frame]
        assert len(plan.state.features) <= 4
    assert set(loaded.values()) == {1}


def test_the_memory_of_previews_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = frame_features.FeatureMemory()
    monkeypatch.setattr(frame_features, "_size", lambda _: frame_features.KEPT_BYTES // 3)
    for key in range(10):
        memory.put(key, ())
    assert [key for key in range(10) if memory.get(key) is not None] == [7, 8, 9]
