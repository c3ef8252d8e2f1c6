"""Medians equal those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.image.medians import median


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (64,), (5, 9), (3, 2, 10)])
def test_medians_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=shape), rng.integers(-2, 3, shape) / 3):
        before = values.copy()
        assert np.array_equal(median(values), np.median(values, -1))
        assert np.array_equal(values, before)
