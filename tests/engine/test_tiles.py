"""Tests of tile grids: cores cover a plane exactly once, and windows have few different shapes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.engine.tiles import Grid
from napari_dcr.network.global_net import Route

SCENES = st.none() | st.tuples(*[st.tuples(*[st.sampled_from([0.0, 0.01, 0.1, 0.4])] * 2)] * 2)
"""Padding before and after the rows and columns of the scene, relative to the size of the plane."""

Margins = tuple[tuple[float, float], tuple[float, float]] | None


def route(height: int, width: int, margins: Margins) -> Route:
    """Route of a plane with padding."""
    if margins is None:
        return Route()
    rows, columns = (
        (int(before * size), max(int(before * size) + 1, size - int(after * size)))
        for size, (before, after) in zip((height, width), margins, strict=True)
    )
    return Route(scene=(rows, columns))


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 120),
    st.sampled_from([8, 100, 512]), SCENES,
)  # fmt: skip
def test_the_best_core_fits_and_is_no_worse_than_a_square(
    height: int, width: int, halo: int, unit: int, margins: Margins
) -> None:
    grid = Grid(height, width, halo, 8, route(height, width, margins))
    pixels = 1_000_000

    def cost(core: tuple[int, int]) -> int:
        return sum((t.rows[1] - t.rows[0]) * (t.columns[1] - t.columns[0]) for t in grid.cut(core))

    best = grid.best_core(pixels, (unit, unit))
    assert best[0] % unit == best[1] % unit == 0
    assert grid.largest_window(best) <= pixels
    assert max(t.pixels for t in grid.cut(best)) <= pixels
    side = (1000 - 2 * 120) // unit * unit
    grid = Grid(height, width, halo, 8)
    assert cost(best) <= 1.06 * cost((side, side)) + 16 * (height + width)


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    halo=st.integers(0, 120),
    core=st.integers(1, 40).map(lambda n: 8 * n),
    smaller=st.integers(1, 20).map(lambda n: 8 * n),
    margins=SCENES,
)
def test_cores_cover_the_plane_once_and_windows_contain_the_halo(
    height: int, width: int, halo: int, core: int, smaller: int, margins: Margins
) -> None:
    grid = Grid(height, width, halo, 8, route(height, width, margins))
    tiles = grid.cut((core, core))
    assert len(tiles) == grid.count((core, core))
    tiles = [part for tile in tiles for part in grid.split(tile, (smaller, smaller))]
    written, enhanced = np.zeros((2, height, width), int)
    for tile in tiles:
        written[slice(*tile.core_rows), slice(*tile.core_columns)] += 1
        if tile.is_empty:
            assert all(start == stop for start, stop in tile.window)
            continue
        enhanced[tuple(slice(*span) for span in tile.inner)] += 1
        for inner, window, (first, last) in zip(tile.inner, tile.window, grid.scene, strict=True):
            assert (window[0] - first) % 8 == (window[1] - first) % 8 == 0
            assert first <= window[0] <= inner[0]
            assert inner[1] <= window[1] < last + 8
            assert window[0] == first or inner[0] - window[0] >= halo
            assert window[1] >= last or window[1] - inner[1] >= halo
    assert (written == 1).all()
    scene = np.zeros((height, width), int)
    scene[tuple(slice(*span) for span in grid.scene)] = 1
    np.testing.assert_array_equal(enhanced, scene)


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    halo=st.integers(0, 120),
    core=st.tuples(*[st.integers(16, 60).map(lambda n: 8 * n)] * 2),
    margins=SCENES,
)
def test_there_are_few_shapes_of_windows(
    height: int, width: int, halo: int, core: tuple[int, int], margins: Margins
) -> None:
    """PyTorch chooses algorithms and allocates memory for each window shape, which takes time."""
    grid = Grid(height, width, halo, 8, route(height, width, margins))
    shapes = {
        (tile.rows[1] - tile.rows[0], tile.columns[1] - tile.columns[0]) for tile in grid.cut(core)
    }
    # The first, those in between, the last but one, the last; beside padding also the second, and none.
    assert len(shapes) <= (4 * 4 if margins is None else 5 * 5 + 1)
    assert max(h * w for h, w in shapes) <= grid.largest_window(core)
