"""Cells in culture: their parts and their scenes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.forward.cells import Cell, cultured_scene


@pytest.mark.parametrize("part", ["fibres", "mitochondria", "membrane", "vesicles", "cytosol"])
def test_parts_of_cells_are_light_and_lie_in_the_cell(part: str) -> None:
    within = []
    for seed in range(6):
        cell = Cell((120, 150), np.random.default_rng(seed))
        light = getattr(cell, part)(np.random.default_rng(seed))
        assert light.shape == (120, 150)
        assert np.isfinite(light).all()
        assert light.min() >= 0
        within.append(light[cell.edge > -10].sum() / light.sum())
    assert np.mean(within) > 0.7  # threads may leave it by their ends


def test_cultured_scenes_are_seeded_and_hold_cells() -> None:
    scenes = [cultured_scene(128, np.random.default_rng(seed)) for seed in range(8)]
    np.testing.assert_array_equal(scenes[3], cultured_scene(128, np.random.default_rng(3)))
    for scene in scenes:
        assert scene.shape == (128, 128)
        assert np.isfinite(scene).all()
        assert scene.min() >= 0
        assert np.quantile(scene, 0.999) == pytest.approx(1, abs=1e-3)
    assert np.mean([(scene > 0.05).mean() for scene in scenes]) > 0.2
