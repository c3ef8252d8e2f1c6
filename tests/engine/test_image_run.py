"""Tiled equals whole: for every depth, detail setting, size and window."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_dcr
from napari_dcr import Options
from napari_dcr.engine.region_run import RegionEnhancer
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


@settings(max_examples=8)
@given(
    margins=st.tuples(*[st.integers(40, 60)] * 4),
    tile=st.integers(64, 200),
    counts=st.booleans(),
    missing=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_width_of_padding_changes_nothing(
    lively_model: Path, lively_counts: Path, margins: tuple[int, int, int, int], tile: int,
    counts: bool, missing: bool, seed: int,
) -> None:  # fmt: skip
    """Windows are aligned with the scene, and only the scene is surveyed, however it lies in the image."""
    rng = np.random.default_rng(seed)
    scene = (100 + 20 * rng.poisson(rng.uniform(5, 40), (90, 110))).astype(np.float32)
    model = lively_counts if counts else lively_model

    def enhanced(top: int, bottom: int, left: int, right: int) -> np.ndarray:
        sides = (top, bottom), (left, right)
        padded = np.pad(scene, sides, constant_values=np.nan if missing else 7)
        settings: dict[str, Any] = {
            "model": model, "depth": 1, "tile": tile, "precision": "fp32", "device": "cpu",
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", napari_dcr.InputWarning)
            result = napari_dcr.enhance(padded, **settings)
            lazy = napari_dcr.enhance(da.from_array(padded, chunks=(70, 64)), **settings)
            part = np.s_[top : top + 50, left + 9 : left + 80]
            steps = RegionEnhancer(open_image(padded)).steps(Options(**settings), part)
            region = run_to_completion(steps).image
        np.testing.assert_allclose(lazy, result, rtol=0, atol=1e-5 * np.ptp(scene))
        np.testing.assert_allclose(region, result[part], rtol=0, atol=1e-5 * np.ptp(scene))
        outside = np.ones(padded.shape, bool)
        outside[top : top + 90, left : left + 110] = False
        np.testing.assert_array_equal(result[outside], padded[outside])
        return result[top : top + 90, left : left + 110]

    reference = enhanced(40, 40, 40, 40)
    change = np.abs(enhanced(*margins) - reference).max()
    assert change <= 1e-5 * np.ptp(scene)
