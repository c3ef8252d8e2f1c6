"""Thumbnails are area means, independent of tiling."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("symmetry", range(8))
def test_a_lamp_beside_missing_pixels_does_not_fill_them(symmetry: int) -> None:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    plane = np.random.default_rng(0).uniform(0, 1, (SIZE, SIZE))
    held = np.hypot(rows - 31.5, columns - 31.5) < 30
    beside = held & ~np.roll(held, 1, 0) & (columns > 20) & (columns < 40)
    plane[beside] = 50  # as bright as the sum of a whole row

    def turned(of: NDArray[Any]) -> NDArray[Any]:
        of = np.rot90(of, symmetry % 4)
        return of[:, ::-1] if symmetry >= 4 else of

    thumbnail, other = Thumbnail(1, SIZE, SIZE), Thumbnail(1, SIZE, SIZE)
    thumbnail.add(np.where(held, plane, np.nan)[None], 0, 0)
    other.add(np.where(turned(held), turned(plane), np.nan)[None], 0, 0)
    values = thumbnail.mean[0]
    assert np.array_equal(values[held], plane[held])
    # The lamp reaches into the missing pixels no farther than it is wide.
    assert (values[~held] > 10).sum() <= 1.5 * beside.sum()
    assert np.abs(other.mean[0] - turned(values)).max() < 1e-12


def test_a_strip_of_data_fills_a_whole_thumbnail_with_its_values() -> None:
    plane = np.full((SIZE, SIZE), np.nan)
    plane[:, 30:34] = np.arange(4.0)
    thumbnail = Thumbnail(1, SIZE, SIZE)
    thumbnail.add(plane[None], 0, 0)
    values = thumbnail.mean[0]
    assert {*np.unique(values)} <= {0.0, 1.0, 2.0, 3.0}
    assert 0.5 < np.isin(values, (1, 2)).mean() < 0.75
