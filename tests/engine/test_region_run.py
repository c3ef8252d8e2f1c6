"""Regions equal the same part of the whole result, and network results are cached."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_dcr import Enhancement, Options, enhance
from napari_dcr.engine import region_run
from napari_dcr.engine.region_run import CORE, UNCUT, RegionEnhancer, RegionStep
from napari_dcr.engine.regions import Region, cut_tiles
from napari_dcr.engine.tiles import Grid, Tile
from napari_dcr.io.opening import open_image
from napari_dcr.network import weights


def run_to_completion(steps: Any) -> tuple[Enhancement, list[RegionStep]]:
    steps_done = []
    while True:
        try:
            steps_done.append(next(steps))
        except StopIteration as finished:
            return finished.value, steps_done


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Depths of the network's runs so far."""
    depths: list[int] = []
    run = region_run.run_tile

    def counted(*arguments: Any) -> Any:
        depths.append(max(arguments[2]))
        return run(*arguments)

    monkeypatch.setattr(region_run, "run_tile", counted)
    return depths


IMAGES: dict[str, tuple[tuple[int, ...], str, str]] = {
    "grey": ((90, 75), "yx", "uint16"),
    "colour": ((90, 75, 3), "yxs", "uint8"),
    "alpha stack": ((2, 70, 75, 4), "tyxs", "uint8"),
    "channels": ((2, 3, 40, 50), "czyx", "float32"),
    "x before y": ((50, 3, 40), "xzy", "uint16"),
}


def dim(kind: str) -> tuple[NDArray[Any], str]:
    shape, axes, dtype = IMAGES[kind]
    noise = np.random.default_rng(3).random(shape)
    scale = 0.2 if dtype == "float32" else 60
    return (noise * scale).astype(dtype), axes


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("link_frames", [True, False])
def test_a_region_equals_the_same_part_of_the_whole(
    kind: str, link_frames: bool, lively_model: Path
) -> None:
    image, axes = dim(kind)
    settings: dict[str, Any] = {
        "model": lively_model, "axes": axes, "precision": "fp32", "device": "cpu",
        "link_frames": link_frames, "strength": 0.8, "exposure": 0.4, "depth": 2,
        "denoise": 0.3, "denoise_colour": 0.9, "saturation": 1.3,
    }  # fmt: skip
    region = tuple(
        slice(0, n) if a == "s" else slice(n // 3, n // 3 + max(1, n // 2))
        for n, a in zip(image.shape, axes, strict=True)
    )
    whole = enhance(image, **settings)
    steps = RegionEnhancer(open_image(image)).steps(Options(**settings), region, core=32)
    result, steps_done = run_to_completion(steps)
    np.testing.assert_allclose(
        result.image, whole[region], rtol=0, atol=1e-5 if image.dtype.kind == "f" else 1
    )
    assert (result.image != whole[region]).mean() < 0.01 or image.dtype.kind == "f"
    assert result.record["region"] == [[s.start, s.stop] for s in region]
    assert steps_done[-1].done == steps_done[-1].total > 0


@given(st.data())
def test_parts_cover_every_rectangle_exactly_once(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))

    def span(n: int) -> tuple[int, int]:
        start = data.draw(st.integers(0, n - 1))
        return start, data.draw(st.integers(start + 1, n))

    rectangle = span(size[0]), span(size[1])
    grid = Grid(*size, halo=data.draw(st.integers(0, 30)), stride=8)
    covered = np.zeros(size, int)
    for tile in cut_tiles(grid, rectangle, data.draw(st.integers(8, 64))):
        covered[slice(*tile.core_rows), slice(*tile.core_columns)] += 1
        for core, window, n in zip(
            (tile.core_rows, tile.core_columns), (tile.rows, tile.columns), size, strict=True
        ):
            assert window[0] % 8 == window[1] % 8 == 0
            assert window[0] <= max(0, core[0] - grid.halo)
            assert window[1] >= min(n, core[1] + grid.halo)
    expected = np.zeros(size, int)
    expected[tuple(slice(*span) for span in rectangle)] = 1
    assert (covered == expected).all()


@pytest.mark.parametrize("model", ["photo", "microscopy"])
@given(top=st.integers(0, 3000), left=st.integers(0, 3000))
def test_the_first_preview_computes_at_most_two_windows(model: str, top: int, left: int) -> None:
    network = weights.load(model).network
    grid = Grid(4096, 4096, network.receptive_field(network.stages), network.stride)
    view = (top, top + 1024), (left, left + 1024)

    def pixels(tile: Tile) -> int:
        return math.prod(stop - start for start, stop in (tile.rows, tile.columns))

    assert sum(map(pixels, cut_tiles(grid, view, CORE))) <= 2 * pixels(grid.tile(*view))


def test_a_small_view_is_one_window_and_a_thin_one_is_not() -> None:
    picture = Grid(1065, 1600, halo=101, stride=8)
    uncut = UNCUT * CORE**2
    whole = (0, 1065), (0, 1600)
    assert [tile.core for tile in cut_tiles(picture, whole, CORE, uncut)] == [whole]
    assert len(cut_tiles(picture, whole, CORE)) == 2
    line = Grid(4000, 60_000, halo=101, stride=8)  # its window has 209 times as many pixels
    assert len(cut_tiles(line, ((2000, 2001), (0, 60_000)), CORE, uncut)) > 50


def test_tiles_have_the_size_that_the_user_has_fixed(runs: list[int]) -> None:
    image = np.random.default_rng(0).integers(0, 60, (240, 40, 3), np.uint8)
    region = tuple(slice(0, n) for n in image.shape)
    for tile in ("auto", 128):
        options = Options(depth=1, device="cpu", tile=tile)
        run_to_completion(RegionEnhancer(open_image(image)).steps(options, region))
        assert runs == ([1] if tile == "auto" else [1, 1, 1])


def test_cached_results_need_no_network_run(runs: list[int]) -> None:
    image, axes = dim("colour")
    enhancer = RegionEnhancer(open_image(image))
    region: Region = (slice(10, 60), slice(5, 70), slice(0, 3))
    base = {"axes": axes, "device": "cpu"}
    run_to_completion(enhancer.steps(Options(**base), region))
    assert runs == [3]
    for change in (
        {"strength": 0.5}, {"exposure": 1.0}, {"output": "uint8"}, {"depth": 0}, {"denoise": 0.2},
        {"denoise_colour": 0.4}, {"saturation": 1.6},
    ):  # fmt: skip
        part = (slice(20, 50), slice(10, 60), slice(0, 3))
        result, _ = run_to_completion(enhancer.steps(Options(**base, **change), part))
        expected = enhance(image, **base, **change)[part]
        assert np.abs(result.image.astype(int) - expected).max() <= 1
    assert runs == [3]
    run_to_completion(enhancer.steps(Options(**base, detail=False), region))
    assert runs == [3, 3]
    _, steps_done = run_to_completion(enhancer.steps(Options(**base), region))
    assert not any("Analysing" in step.message for step in steps_done)


def test_each_depth_is_computed_once(runs: list[int]) -> None:
    image, axes = dim("colour")
    enhancer = RegionEnhancer(open_image(image))
    region: Region = (slice(10, 60), slice(5, 70), slice(0, 3))
    for depth in (3, 1, 3, 1, 0):
        options = Options(axes=axes, depth=depth, device="cpu")
        result, _ = run_to_completion(enhancer.steps(options, region))
        expected = enhance(image, axes=axes, depth=depth, device="cpu")[region]
        assert np.abs(result.image.astype(int) - expected).max() <= 1
    assert runs == [3, 1]
    options = Options(axes=axes, device="cpu")
    run_to_completion(enhancer.steps(options, region, stages=True))
    assert runs == [3, 1, 2]
    held = sum(p.nbytes for pictures in enhancer._pictures.values() for p in pictures.values())
    assert enhancer._bytes == held


def test_the_cache_stays_within_its_limit(runs: list[int]) -> None:
    image, axes = dim("colour")
    enhancer = RegionEnhancer(open_image(image), keep=0)
    region: Region = (slice(0, 64), slice(0, 64), slice(0, 3))
    options = Options(axes=axes, depth=1, device="cpu")
    run_to_completion(enhancer.steps(options, region, core=32))
    run_to_completion(enhancer.steps(options, region, core=32))
    assert len(runs) == 8
    assert len(enhancer._pictures) == 1


def test_stages_are_the_depths(lively_model: Path) -> None:
    image, axes = dim("alpha stack")
    options = Options(model=lively_model, axes=axes, depth=2, precision="fp32", device="cpu")
    region = tuple(slice(0, n) for n in image.shape)
    result, _ = run_to_completion(
        RegionEnhancer(open_image(image)).steps(options, region, stages=True)
    )
    assert result.image.shape == (3, *image.shape)
    for depth, stage in enumerate(result.image):
        expected = enhance(
            image, model=lively_model, axes=axes, depth=depth, precision="fp32", device="cpu"
        )
        assert np.abs(stage.astype(int) - expected).max() <= 1


def test_coarse_first_shows_all_of_it_before_it_is_refined(runs: list[int]) -> None:
    image, axes = dim("colour")
    region = tuple(slice(0, n) for n in image.shape)
    options = Options(axes=axes, depth=2, device="cpu")
    enhancer = RegionEnhancer(open_image(image))
    steps = enhancer.steps(options, region, coarse_first=True, core=48)
    coarse = next(step.coarse for step in steps if step.coarse is not None)
    assert set(runs) == {0}
    assert coarse.record["depth"] == 0
    expected = enhance(image, axes=axes, depth=0, device="cpu")
    assert np.abs(coarse.image.astype(int) - expected).max() <= 1
    result, _ = run_to_completion(steps)
    expected = enhance(image, axes=axes, depth=2, device="cpu")
    assert np.abs(result.image.astype(int) - expected).max() <= 1
    assert result.image is coarse.image
    _, steps_done = run_to_completion(enhancer.steps(options, region, coarse_first=True, core=48))
    assert all(step.coarse is None for step in steps_done)  # nothing to wait for


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((slice(0, 5),), "region: got 1 slices; allowed are 3"),
        ((slice(0, 5), slice(3, 3), slice(0, 3)), "region: got 3:3 for axis x; allowed is a range"),
        ((slice(0, 5), slice(3, 9), slice(0, 1)), "region: got 0:1 for axis s; allowed is 0:3"),
    ],
)
def test_bad_regions_are_refused(region: Region, message: str) -> None:
    image, axes = dim("colour")
    with pytest.raises(ValueError, match=message):
        run_to_completion(RegionEnhancer(open_image(image)).steps(Options(axes=axes), region))


def test_out_of_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_dcr.network.cascade import Cascade

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(Cascade, "forward", full)
    image, axes = dim("colour")
    region = tuple(slice(0, n) for n in image.shape)
    with pytest.raises(MemoryError, match="choose smaller tiles or another device"):
        run_to_completion(
            RegionEnhancer(open_image(image)).steps(Options(axes=axes, device="cpu"), region)
        )


@pytest.mark.parametrize("kind", ["memory map", "dask"])
def test_what_changes_in_place_without_a_stamp_is_noticed(
    tmp_path: Path, kind: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_run, "QUICK", 60.0)
    rng = np.random.default_rng(0)
    pixels: Any = np.memmap(tmp_path / "pixels", np.uint16, "w+", shape=(2, 96, 112))
    pixels[:] = rng.poisson(3000, pixels.shape)
    image: Any = pixels
    if kind == "dask":
        store = zarr.create_array({}, data=np.array(pixels), chunks=(1, 40, 50))
        pixels, image = store, da.from_zarr(store)
    enhancer = RegionEnhancer(open_image(image))
    region = (slice(1, 2), slice(16, 80), slice(24, 100))
    for level in (3000, 40, 900):
        if level != 3000:
            pixels[:] = rng.poisson(level, pixels.shape).astype(np.uint16)
        for strength in (1.0, 0.5):
            options = Options(axes="zyx", depth=1, device="cpu", strength=strength)
            runs.clear()
            found, _ = run_to_completion(enhancer.steps(options, region))
            assert bool(runs) == (strength == 1)  # computed again only where pixels have changed
            whole = enhance(
                np.array(pixels[:]), axes="zyx", depth=1, device="cpu", strength=strength
            )
            np.testing.assert_allclose(found.image, whole[region], atol=1)
