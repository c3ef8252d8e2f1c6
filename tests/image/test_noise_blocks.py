"""Local statistics of noise."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.image.noise_blocks import block_statistics, correlated_axes, power_at


def test_statistics_of_blocks_are_those_of_white_noise() -> None:
    blocks = block_statistics(np.random.default_rng(0).normal(5, 2, (256, 256)))
    assert len(blocks) == 32 * 32
    np.testing.assert_allclose(blocks["power"].mean(0), 4, rtol=0.1)
    assert blocks["roughness"].mean() == pytest.approx(4 * 0.128, rel=0.1)
    assert correlated_axes(blocks) == (False, False)
    missing = np.random.default_rng(0).normal(5, 2, (64, 64))
    missing[:30] = np.nan
    assert block_statistics(missing)["pixels"].sum() == 34 * 64
    assert np.nanmean(power_at(block_statistics(missing), 1, 1)) == pytest.approx(4, rel=0.1)
