"""Tests of tile grids: cores cover a plane exactly once, and windows have few different shapes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.engine.tiles import Grid
from napari_dcr.network.global_net import Route

STARTS = st.tuples(*[st.sampled_from([0.0, 0.01, 0.1, 1 / 3])] * 2)
"""First row and column of the scene, relative to the size of the plane."""


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 120),
    st.sampled_from([8, 100, 512]), STARTS,
)  # fmt: skip
def test_the_best_core_fits_and_is_no_worse_than_a_square(
    height: int, width: int, halo: int, unit: int, start: tuple[float, float]
) -> None:
    grid = Grid(height, width, halo, 8, Route(start=start))
    pixels = 1_000_000

    def cost(core: tuple[int, int]) -> int:
        return sum((t.rows[1] - t.rows[0]) * (t.columns[1] - t.columns[0]) for t in grid.cut(core))

    best = grid.best_core(pixels, (unit, unit))
    assert best[0] % unit == best[1] % unit == 0
    assert grid.largest_window(best) <= pixels
    side = (1000 - 2 * 120) // unit * unit
    assert cost(best) <= 1.06 * cost((side, side)) + 16 * (height + width)


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    halo=st.integers(0, 120),
    core=st.integers(1, 40).map(lambda n: 8 * n),
    smaller=st.integers(1, 20).map(lambda n: 8 * n),
    start=STARTS,
)
def test_cores_cover_the_plane_once_and_windows_contain_the_halo(
    height: int, width: int, halo: int, core: int, smaller: int, start: tuple[float, float]
) -> None:
    grid = Grid(height, width, halo, 8, Route(start=start))
    tiles = grid.cut((core, core))
    tiles = [part for tile in tiles for part in grid.split(tile, (smaller, smaller))]
    written = np.zeros((height, width), int)
    for tile in tiles:
        written[slice(*tile.core_rows), slice(*tile.core_columns)] += 1
        for core_span, window, size, first in (
            (tile.core_rows, tile.rows, height, grid.origin[0]),
            (tile.core_columns, tile.columns, width, grid.origin[1]),
        ):
            assert (window[0] - first) % 8 == 0
            assert (window[1] - first) % 8 == 0
            assert -8 < window[0] <= core_span[0]
            assert window[0] >= 0 or first % 8
            assert core_span[1] <= window[1] < size + 8
            assert window[0] <= 0 or core_span[0] - window[0] >= halo
            assert window[1] >= size or window[1] - core_span[1] >= halo
    assert (written == 1).all()


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    halo=st.integers(0, 120),
    core=st.tuples(*[st.integers(16, 60).map(lambda n: 8 * n)] * 2),
    start=STARTS,
)
def test_there_are_few_shapes_of_windows(
    height: int, width: int, halo: int, core: tuple[int, int], start: tuple[float, float]
) -> None:
    """PyTorch chooses algorithms and allocates memory for each window shape, which takes time."""
    grid = Grid(height, width, halo, 8, Route(start=start))
    shapes = {
        (tile.rows[1] - tile.rows[0], tile.columns[1] - tile.columns[0]) for tile in grid.cut(core)
    }
    assert len(shapes) <= 4 * 4  # the first, those in between, the last but one, the last
    assert max(h * w for h, w in shapes) <= grid.largest_window(core)
