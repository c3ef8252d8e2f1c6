"""Line offsets are found below a scene, without false positives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_dcr.image.line_offsets import find_line_offsets

Image = NDArray[Any]


def table(image: Image, patch: int = 4) -> Image:
    patches = len(image) // patch
    means: Image = image[: patches * patch].reshape(patches, patch, -1).mean(1)
    return means


def scene(height: int, width: int, rng: np.random.Generator) -> Image:
    """A background with discs of a few sizes: most of it is flat."""
    y, x = np.mgrid[:height, :width]
    light = 20 + 5 * np.sin(y / 90 + x / 130)
    for _ in range(12):
        cy, cx, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(6, 25)
        light += 60 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius))
    return light


@settings(max_examples=12)
@given(
    width=st.integers(150, 300),
    height=st.integers(200, 300),
    strength=st.floats(2, 6),
    seed=st.integers(0, 99),
)
def test_offsets_are_found_under_a_scene(
    width: int, height: int, strength: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = strength * rng.standard_normal(width)
    image = scene(height, width, rng) + rng.normal(0, 4, (height, width)) + offsets
    found = find_line_offsets(table(image), 4)
    assert found is not None
    error = found.values - offsets
    # The limit is 4 / sqrt(height), 0.25; slow components are known less well.
    assert (error - error.mean()).std() < 0.4 + 0.3 * strength


def clean(name: str, height: int, width: int, rng: np.random.Generator) -> Image:
    y, x = np.mgrid[:height, :width].astype(float)
    if name == "noise":
        return np.full((height, width), 50.0)
    if name == "scene":
        return scene(height, width, rng)
    if name == "gradient":
        return 20 + 0.3 * x + 0.001 * x**2
    if name == "wall":
        return np.where((x > width // 3) & (x < width // 3 + 9), 90.0, 20.0)
    if name == "line":
        return np.where((x == width // 2) & (y < 0.6 * height), 90.0, 20.0)
    if name == "horizon":
        return np.where(y > height // 2, 90.0, 30.0) + 0 * x
    period = float(name)
    return 40 + 15 * np.sign(np.sin(2 * np.pi * (x + 0.25) / period))


@pytest.mark.parametrize(
    "name", ["noise", "scene", "gradient", "wall", "line", "horizon", "2", "3", "7", "16", "33.3"]
)
@pytest.mark.parametrize("noise", [0.0, 0.5, 4.0])
def test_structures_are_no_offsets(name: str, noise: float) -> None:
    rng = np.random.default_rng(3)
    image = clean(name, 320, 380, rng) + noise * rng.standard_normal((320, 380))
    assert find_line_offsets(table(image), 4) is None
    assert find_line_offsets(table(image.T), 4) is None


def test_patches_without_pixels_do_not_count() -> None:
    rng = np.random.default_rng(1)
    offsets = 4 * rng.standard_normal(200)
    means = table(scene(240, 200, rng) + rng.normal(0, 4, (240, 200)) + offsets)
    means[5:9, 20:90] = np.nan
    means[:, 150] = np.nan
    found = find_line_offsets(means, 4)
    assert found is not None
    known = np.arange(200) != 150
    error = (found.values - offsets)[known]
    assert (error - error.mean()).std() < 1


@pytest.mark.parametrize("shape", [(2, 200), (60, 10), (1, 1)])
def test_small_images_have_no_offsets(shape: tuple[int, int]) -> None:
    assert find_line_offsets(np.random.default_rng(0).normal(0, 9, shape), 4) is None
    assert find_line_offsets(np.full((60, 200), np.nan), 4) is None
    assert find_line_offsets(np.zeros((60, 200)), 4) is None


@pytest.mark.parametrize(
    "gone",
    [np.s_[:, 0], np.s_[:, 128], np.s_[:, -1], np.s_[:, 40:60], np.s_[:, :7],
     np.s_[:30, 50], np.s_[30:, 51]],
)  # fmt: skip
def test_lines_without_data_change_nothing_for_the_others(gone: Any) -> None:
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 4, 256)
    table = (100 + offsets + rng.normal(0, 5, (256, 256))).reshape(64, 4, 256).mean(1)
    table[30:, 50], table[:30, 51] = np.nan, np.nan  # no patch shows both lines
    table[gone] = np.nan
    with np.errstate(all="raise"):
        found = find_line_offsets(table, 4)
    assert found is not None
    has_data = np.isfinite(table).any(0)
    assert (found.values[~has_data] == 0).all()
    error = (found.values - offsets)[has_data]
    assert np.std(error) < 0.6
    assert 0 < found.error < 1


@pytest.mark.parametrize("shape", [(0, 1), (0, 300), (1, 1), (300, 0)])
def test_images_too_small_for_a_patch_have_no_offsets(shape: tuple[int, int]) -> None:
    assert find_line_offsets(np.ones(shape), 4) is None
