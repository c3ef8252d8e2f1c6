"""Demosaicing keeps measured samples, reproduces smooth scenes, and clips nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.image.demosaic import BAND, MARGIN, demosaic, is_bayer

BAYER = [
    np.array(p).reshape(2, 2) for p in ((0, 1, 1, 2), (2, 1, 1, 0), (1, 0, 2, 1), (1, 2, 0, 1))
]
XTRANS = np.array([
    [1, 1, 0, 1, 1, 2], [1, 1, 2, 1, 1, 0], [2, 0, 1, 0, 2, 1],
    [1, 1, 2, 1, 1, 0], [1, 1, 0, 1, 1, 2], [0, 2, 1, 2, 0, 1],
])  # fmt: skip
PATTERNS = [*BAYER, XTRANS]


def tiled(pattern: Any, shape: tuple[int, int]) -> Any:
    p, q = pattern.shape
    return np.tile(pattern, (-(-shape[0] // p), -(-shape[1] // q)))[: shape[0], : shape[1]]


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(0, 4), height=st.integers(8, 40), width=st.integers(8, 40),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_measured_samples_are_kept(number: int, height: int, width: int, seed: int) -> None:
    pattern = PATTERNS[number]
    mosaic = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    result = demosaic(mosaic, pattern)
    assert result.shape == (3, height, width)
    own = np.take_along_axis(result, tiled(pattern, mosaic.shape)[None], 0)[0]
    assert np.array_equal(own, mosaic)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_grey_stays_grey_and_negative(pattern: Any) -> None:
    for level in (0.3, -0.02):
        result = demosaic(np.full((20, 26), level, np.float32), pattern)
        np.testing.assert_allclose(result, level, atol=1e-6)


@pytest.mark.parametrize("pattern", BAYER)
def test_a_slope_is_found_exactly(pattern: Any) -> None:
    y, x = np.mgrid[:30, :40].astype(np.float32)
    slope = 0.1 + 0.01 * x + 0.02 * y
    result = demosaic(slope, pattern)
    inside = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    np.testing.assert_allclose(result[inside], np.stack([slope] * 3)[inside], atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_noise_around_black_keeps_its_mean(pattern: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (120, 120)).astype(np.float32)
    result = demosaic(noise, pattern)
    assert np.abs(result.mean((1, 2))).max() < 0.05
    assert (result < 0).mean() > 0.4


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bands_have_no_seams(pattern: Any) -> None:
    mosaic = np.random.default_rng(0).random((2 * BAND + 7, 40)).astype(np.float32)
    whole = demosaic(mosaic, pattern)
    start = BAND - 4 * MARGIN
    part = demosaic(mosaic[start : BAND + 4 * MARGIN], pattern)
    np.testing.assert_allclose(part[:, MARGIN:-MARGIN], whole[:, start:][:, MARGIN : 7 * MARGIN], atol=1e-6)  # fmt: skip


def test_patterns_are_distinguished() -> None:
    assert all(map(is_bayer, BAYER))
    assert not is_bayer(XTRANS)
    assert not is_bayer(np.array([[0, 1], [2, 1]]))


def test_a_grey_sensor_has_one_plane() -> None:
    mosaic = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    assert np.array_equal(demosaic(mosaic, np.zeros((1, 1), int)), mosaic[None])
