"""Changes of the light between frames: found where most of the frame agrees, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.frame_levels import UNCHANGED, Level, find_level
from napari_dcr.image.intensity import Scale

OFFSET = 100.0


def light(seed: int = 0, shape: tuple[int, int] = (160, 190)) -> NDArray[np.float64]:
    """Expected photons of a scene, from 5 to about 60."""
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 5)
    return 5 + 25 * np.abs(rough) / rough.std()


def recorded(photons: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng((5, seed))
    return OFFSET + rng.poisson(photons) + 1.5 * rng.standard_normal(photons.shape)


def error(level: Level, photons: NDArray[np.float64], factor: float) -> float:
    """Largest relative error of the light that the level predicts, where the frame is bright."""
    bright = np.quantile(photons, [0.3, 0.99])
    found = level.ratio * (OFFSET + bright) + level.addend - OFFSET
    return float(np.abs(found / (factor * bright) - 1).max())


@pytest.mark.parametrize("factor", [0.97, 0.8, 1.3, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_the_lamp_is_found_without_knowledge_of_the_offset(
    factor: float, seed: int
) -> None:
    photons = light(seed)
    level = find_level(recorded(photons, 1), recorded(factor * photons, 2))
    assert error(level, photons, factor) < 0.015


@pytest.mark.parametrize("size", [(160, 190), (70, 40)])
def test_noise_alone_is_no_change(size: tuple[int, int]) -> None:
    photons = light(0, size)
    found = [find_level(recorded(photons, n), recorded(photons, n + 50)) for n in range(20)]
    assert found.count(UNCHANGED) >= 18
    assert max(error(level, photons, 1) for level in found) < 0.03


@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_a_flash_in_a_part_of_the_frame_does_not_count(factor: float) -> None:
    photons = light()
    flash = factor * photons
    flash[20:80, 30:90] *= 2.5
    level = find_level(recorded(photons, 1), recorded(flash, 2))
    quiet = find_level(recorded(photons, 1), recorded(factor * photons, 2))
    assert error(level, photons, factor) < 0.015
    assert abs(level.ratio - quiet.ratio) < 0.01


def test_parts_that_change_differently_are_no_change_of_the_lamp() -> None:
    photons = light()
    second = photons * np.linspace(0.5, 1.5, photons.shape[1])
    assert find_level(recorded(photons, 1), recorded(second, 2)) == UNCHANGED


def test_unrelated_frames_do_not_agree() -> None:
    assert find_level(recorded(light(1), 1), recorded(3 * light(2), 2)) == UNCHANGED


def test_frames_without_noise_are_compared_exactly() -> None:
    photons = light()
    level = find_level(photons, 0.7 * photons + 3)
    assert level.ratio == pytest.approx(0.7, abs=1e-3)
    assert level.addend == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    "first",
    [np.full((160, 190), 7.0), np.full((160, 190), np.nan), light()[:10, :12], np.zeros((0, 90))],
)
def test_frames_without_structure_or_data_are_unchanged(first: NDArray[np.float64]) -> None:
    assert find_level(first, 0.5 * first) == UNCHANGED


def test_pixels_without_data_do_not_count() -> None:
    photons = light()
    first, second = recorded(photons, 1), recorded(0.8 * photons, 2)
    first[:50, :60] = np.nan
    second[100:130] = np.nan
    assert error(find_level(first, second), photons, 0.8) < 0.015


def test_the_inverse_leads_back() -> None:
    level = Level(0.8, 12.0)  # 50 becomes 52
    back = level.inverse()
    assert back.ratio * 52 + back.addend == pytest.approx(50)
    assert UNCHANGED.inverse() is UNCHANGED
    scales = Scale(100, 104), Scale(90, 92)
    working = level.between(*scales)
    own = np.array([110.0])
    expected = scales[1].to_working(level.ratio * own + level.addend)
    assert working.ratio * scales[0].to_working(own) + working.addend == pytest.approx(expected)
