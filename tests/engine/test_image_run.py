"""Tiled equals whole: for every depth, detail setting, size and window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_dcr


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
