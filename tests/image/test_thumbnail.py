"""Thumbnails are area means, independent of tiling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_dcr.image.thumbnail import SIZE, Thumbnail


@settings(max_examples=40)
@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=100), elements=st.floats(0, 1)
    ),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_thumbnail_is_the_area_mean_for_every_tiling(
    plane: NDArray[np.float64], block_height: int, block_width: int
) -> None:
    height, width = plane.shape
    whole, tiled = Thumbnail(1, height, width), Thumbnail(1, height, width)
    whole.add(plane[None], 0, 0)
    for y in range(0, height, block_height):
        for x in range(0, width, block_width):
            tiled.add(plane[None, y : y + block_height, x : x + block_width], y, x)
    assert np.abs(whole.mean - tiled.mean).max() < 1e-12
    # Repeating pixels until bins hold whole ones gives the same by plain averaging.
    rows = plane.repeat(SIZE, 0).reshape(SIZE, height, width).mean(1)
    both = rows.repeat(SIZE, 1).reshape(SIZE, SIZE, width).mean(2)
    assert np.abs(whole.mean[0] - both).max() < 1e-9


def test_thumbnail_ignores_pixels_that_are_not_finite() -> None:
    plane = np.full((1, 200, 200), 0.25)
    plane[0, 50:150, 60:160] = np.nan
    plane[0, 3, 3] = np.inf
    thumbnail = Thumbnail(1, 200, 200)
    thumbnail.add(plane, 0, 0)
    values = thumbnail.mean
    assert np.isfinite(values).all()
    assert values[0, 0, 0] == pytest.approx(0.25)
    assert values[0, 30, 30] == pytest.approx(0.25)  # filled from the bins around
