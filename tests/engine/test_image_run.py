"""Tiled equals whole: for every depth, detail setting, size and window."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_dcr
from napari_dcr import Options
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.engine.survey import Surveyor
from napari_dcr.enhancement import run_to_completion
from napari_dcr.io.opening import open_image


@settings(max_examples=40)
@given(
    height=st.integers(1, 260),
    width=st.integers(1, 260),
    depth=st.integers(0, 3),
    detail=st.booleans(),
    tile=st.integers(64, 200),
    channels=st.sampled_from([None, 3, 4]),
    seed=st.integers(0, 99),
)
def test_tiled_equals_whole(
    lively_model: Path,
    height: int,
    width: int,
    depth: int,
    detail: bool,
    tile: int,
    channels: int | None,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width) if channels is None else (height, width, channels)
    image = rng.random(shape, np.float32) ** 3

    def enhanced(side: int) -> np.ndarray:
        return napari_dcr.enhance(
            image, model=lively_model, depth=depth, detail=detail, tile=side,
            precision="fp32", rgb=channels is not None, device="cpu",
        )  # fmt: skip

    whole, tiled = enhanced(512), enhanced(tile)
    assert np.abs(whole - tiled).max() <= 1e-5


@settings(max_examples=25)
@given(
    height=st.integers(16, 260),
    width=st.integers(16, 260),
    depth=st.integers(0, 3),
    detail=st.booleans(),
    tile=st.integers(64, 200),
    seed=st.integers(0, 99),
)
def test_tiled_counts_equal_whole_ones(
    lively_counts: Path, height: int, width: int, depth: int, detail: bool, tile: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = (100 + 2 * rng.poisson(rng.uniform(1, 60), (height, width))).astype(np.uint16)

    def enhanced(side: int) -> tuple[np.ndarray, np.ndarray]:
        return napari_dcr.enhance(
            image, model=lively_counts, depth=depth, detail=detail, tile=side, output="float32",
            precision="fp32", device="cpu", return_uncertainty=True,
        )  # fmt: skip

    for whole, tiled in zip(enhanced(512), enhanced(tile), strict=True):
        assert np.abs(whole - tiled).max() <= 1e-5 * np.ptp(image)


SIDES = st.tuples(*[st.sampled_from([0, 3, 13, 40, 117])] * 4).filter(any)
"""Padding above, below, on the left and on the right of a scene, in pixels."""


def quietly(call: Any, *arguments: Any, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        return call(*arguments, **settings)


def padded(scene: np.ndarray, sides: tuple[int, int, int, int], value: float) -> np.ndarray:
    """Pad the last two axes."""
    around = [(0, 0)] * (scene.ndim - 2) + [sides[:2], sides[2:]]
    return np.pad(scene, around, constant_values=value)


def inside(scene: np.ndarray, sides: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Rows and columns of a scene that was padded."""
    height, width = scene.shape[-2:]
    return slice(sides[0], sides[0] + height), slice(sides[2], sides[2] + width)


@settings(max_examples=12)
@given(
    size=st.tuples(*[st.integers(60, 130)] * 2),
    sides=SIDES,
    tile=st.integers(64, 200),
    counts=st.booleans(),
    missing=st.booleans(),
    hole=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_width_of_padding_changes_nothing(
    lively_model: Path, lively_counts: Path, size: tuple[int, int], sides: tuple[int, int, int, int],
    tile: int, counts: bool, missing: bool, hole: bool, seed: int,
) -> None:  # fmt: skip
    """Only the scene is surveyed, and its border is that of an image, however wide the padding is."""
    rng = np.random.default_rng(seed)
    scene = (100 + 20 * rng.poisson(rng.uniform(5, 40), size)).astype(np.float32)
    if hole:
        scene[20:35, -2:] = np.nan
    image = padded(scene, sides, np.nan if missing else 7)
    options: dict[str, Any] = {
        "model": lively_counts if counts else lively_model, "depth": 1, "tile": tile,
        "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    result = quietly(napari_dcr.enhance, image, **options)
    outside = np.ones(image.shape, bool)
    outside[inside(scene, sides)] = False
    np.testing.assert_array_equal(result[outside], image[outside])
    whole = quietly(napari_dcr.enhance, scene, **options)
    most = {"rtol": 0, "atol": 1e-5 * np.nanmax(scene)}
    np.testing.assert_allclose(result[inside(scene, sides)], whole, **most)
    lazy = quietly(napari_dcr.enhance, da.from_array(image, chunks=(70, 64)), **options)
    np.testing.assert_allclose(lazy, result, **most)
    part = np.s_[max(0, sides[0] - 5) : sides[0] + 50, max(0, sides[2] - 20) : sides[2] + 40]
    steps = RegionEnhancer(open_image(image)).steps(Options(**options), part)
    np.testing.assert_allclose(quietly(run_to_completion, steps).image, result[part], **most)


@pytest.mark.parametrize("link_frames", [True, False])
@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("kind", ["array", "dask", "zarr"])
def test_padding_changes_nothing_in_a_stack(
    tmp_path: Path, link_frames: bool, neighbours: int, kind: str
) -> None:
    rng = np.random.default_rng(3)
    scene = np.stack([(100 + rng.poisson(80, (70, 90))).astype(np.uint16) for _ in range(5)])
    scene[:, 30:50, 20:60] += 200
    sides = 11, 140, 70, 5
    options: dict[str, Any] = {
        "model": "microscopy", "depth": 1, "tile": 64, "output": "float32", "axes": "tyx",
        "link_frames": link_frames, "neighbours": neighbours, "device": "cpu", "precision": "fp32",
    }  # fmt: skip
    expected = quietly(napari_dcr.enhance, scene, **options)
    image: Any = padded(scene, sides, 0)
    if kind == "dask":
        image = da.from_array(image, chunks=(2, 64, 50))
    if kind == "zarr":
        options["out"] = tmp_path / "out.zarr"
    result = np.asarray(quietly(napari_dcr.enhance, image, **options))
    own = (slice(None), *inside(scene, sides))
    np.testing.assert_allclose(result[own], expected, rtol=0, atol=1e-2)
    assert (result == 0).sum() == result.size - scene.size


def test_padding_changes_neither_the_defects_nor_the_uncertainty(lively_counts: Path) -> None:
    rng = np.random.default_rng(5)
    offsets = rng.normal(0, 15, 110)
    scene = (300 + rng.poisson(120, (90, 110)) + offsets).astype(np.uint16)
    scene[0, 80] = scene[50, 60] = scene[89, 109] = 9000
    sides = 90, 41, 13, 120
    options: dict[str, Any] = {
        "model": lively_counts, "depth": 1, "output": "float32", "device": "cpu",
        "return_uncertainty": True, "return_residual": True, "return_defects": True,
    }  # fmt: skip
    *expected, defects = quietly(napari_dcr.enhance, scene, **options)
    *results, placed = quietly(napari_dcr.enhance, padded(scene, sides, 0), **options)
    own = inside(scene, sides)
    for result, whole in zip(results, expected, strict=True):
        np.testing.assert_allclose(result[own], whole, rtol=0, atol=1e-2)
    assert np.std(defects.columns) > 7
    np.testing.assert_array_equal(placed.map()[own], defects.map())
    assert len(placed.hot) == len(defects.hot) == 3
    # Found defects can be given again.
    again, *_ = quietly(
        napari_dcr.enhance, padded(scene, sides, 0), **{**options, "defects": placed}
    )
    np.testing.assert_allclose(again[own], expected[0], rtol=0, atol=1e-2)


@pytest.mark.parametrize("model", ["photo", "microscopy"])
def test_a_padded_image_is_surveyed_twice(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    scene = (100 + rng.poisson(80, (70, 90))).astype(np.uint16)
    image = padded(scene, (9, 11, 0, 30), 0)
    passes = []
    measure = Surveyor.add_planes

    def counting(self: Surveyor, *arguments: Any) -> Any:
        passes.append(self.request.area)
        return measure(self, *arguments)

    monkeypatch.setattr(Surveyor, "add_planes", counting)
    quietly(napari_dcr.enhance, image, model=model, depth=1, device="cpu", denoise_first="off")
    assert passes == [((0, 90), (0, 120)), ((9, 79), (0, 90))]
