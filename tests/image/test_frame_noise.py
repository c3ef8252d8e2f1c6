"""Noise of a moving picture, from pairs of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.image.frame_noise import noise_of_pairs
from napari_dcr.image.noise import estimate_noise


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 99), sigma=st.floats(0.5, 5), texture=st.floats(0, 40), scale=st.sampled_from([1e-3, 1, 50])
)  # fmt: skip
def test_texture_is_not_noise(seed: int, sigma: float, texture: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    scene = scale * rng.normal(100, texture, (160, 192))
    pair = scene + scale * sigma * rng.standard_normal((2, 160, 192))
    found = noise_of_pairs([[(pair[0], pair[1])]])
    assert found.model.deviation(100 * scale) == pytest.approx(scale * sigma, rel=0.15)


def test_moving_parts_and_missing_pixels_count_little() -> None:
    rng = np.random.default_rng(0)
    scene = rng.normal(100, 20, (256, 256))
    first, second = scene + 2 * rng.standard_normal((2, 256, 256))
    second[40:100, 60:140] = rng.normal(150, 20, (60, 80))
    first[200:, 200:] = np.nan
    found = noise_of_pairs([[(first, second)]])
    assert found.model.deviation(100) == pytest.approx(2, rel=0.15)
    assert estimate_noise(first).model.deviation(100) > 10


def test_correlated_noise_is_recognised() -> None:
    rng = np.random.default_rng(0)
    white = rng.standard_normal((2, 257, 257))
    noise = 4 * (white[:, 1:, 1:] + white[:, :-1, 1:] + white[:, 1:, :-1] + white[:, :-1, :-1])
    found = noise_of_pairs([[tuple(rng.normal(100, 20, (256, 256)) + noise)]])
    assert found.whiteness < 0.5


def test_frames_without_any_pixel_raise_an_error() -> None:
    with pytest.raises(ValueError, match="no finite pixels"):
        noise_of_pairs([[(np.full((32, 32), np.nan), np.zeros((32, 32)))]])


@pytest.mark.parametrize("pairs", [2, 4])
def test_pairs_of_different_light_do_not_count(pairs: int) -> None:
    rng = np.random.default_rng(0)
    scene = rng.normal(100, 20, (128, 128))
    frames = scene + 2 * rng.standard_normal((pairs, 2, 128, 128))
    frames[0, 1] += rng.normal(0, 30, (128, 128))
    found = noise_of_pairs([[(first, second)] for first, second in frames])
    assert found.model.deviation(100) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("repeated", [1, 2])
def test_repeated_frames_do_not_hide_the_noise(repeated: int) -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(100, 20, (128, 128)) + 2 * rng.standard_normal((4, 2, 128, 128))
    frames[:repeated, 1] = frames[:repeated, 0]
    found = noise_of_pairs([[(first, second)] for first, second in frames])
    assert found.model.deviation(100) == pytest.approx(2, rel=0.15)
