"""Local statistics of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_dcr.image.noise_blocks import (
    SIDE,
    _block_sums,
    block_statistics,
    correlated_axes,
    finest_deviation,
    power_at,
)


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


@settings(max_examples=60, derandomize=True)
@given(st.data())
def test_sums_of_blocks_include_every_value(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    origin = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = tuple(n - 2 * start for n, start in zip(shape, origin, strict=True))
    assume(min(size) > 0)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.normal(size=size)
    if data.draw(st.booleans()):
        values[rng.random(size) < 0.2] = np.nan
    whole = np.full([-(-n // SIDE) * SIDE for n in shape], np.nan)
    whole[origin[0] : origin[0] + size[0], origin[1] : origin[1] + size[1]] = values
    blocks = whole.reshape(len(whole) // SIDE, SIDE, -1, SIDE)
    count, total = _block_sums(values, origin, shape)
    np.testing.assert_array_equal(count, np.isfinite(blocks).sum((1, 3)).ravel())
    np.testing.assert_allclose(total, np.nansum(blocks, (1, 3)).ravel(), atol=1e-9)


def test_blocks_of_the_image_itself_do_not_need_those_of_averages() -> None:
    noise = np.random.default_rng(1).normal(5, 2, (96, 96))
    smooth = noise + np.roll(noise, 1, 0) + np.roll(noise, 2, 0)
    every, own = block_statistics(smooth), block_statistics(smooth, binned=False)
    assert len(own) == 144 < len(every)
    assert finest_deviation(own) == finest_deviation(every)
