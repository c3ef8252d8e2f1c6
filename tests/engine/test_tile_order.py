"""Order of the tiles: by route, by frame, and with neighbouring frames by tile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from napari_dcr.engine.neighbours import FrameAxis
from napari_dcr.engine.tile_order import GroupTiles, by_frame, by_route, by_tile
from napari_dcr.network.global_net import PLAIN

FRAMES = [(0,), (1,), (2,)]


def group(**route: Any) -> GroupTiles:
    """Three frames of two tiles each, with a route."""
    shared: Any = SimpleNamespace(route=PLAIN._replace(**route))
    cores: Any = ["first", "second"]
    return GroupTiles(shared, 0, FRAMES, cores, 0)


def places(order: Any) -> list[tuple[int, int]]:
    return [(place, core) for _, place, core in order]


def test_groups_are_divided_by_route() -> None:
    plain, binned = group(), group(binning=(3, 3))
    assert by_route([plain, binned, plain], False) == [
        ([plain, plain], range(3)),
        ([binned], range(3)),
    ]


def test_frames_in_order_have_all_groups_of_each_frame() -> None:
    plain, binned = group(), group(binning=(3, 3))
    assert by_route([plain, plain], True) == [([plain, plain], range(3))]
    steps = by_route([plain, binned], True)
    assert [(some[0].shared.route, list(frames)) for some, frames in steps] == [
        (each.shared.route, [n]) for n in range(3) for each in (plain, binned)
    ]


def test_a_tile_is_enhanced_in_all_frames_first_if_they_are_neighbours() -> None:
    axis = FrameAxis("t", 0, 3, 2)
    by_frames = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert places(by_frame([group()], range(3))) == by_frames
    assert places(by_tile([group()], range(3), axis)) == by_frames
    assert places(by_tile([group(neighbours=2)], range(3), axis)) == sorted(
        by_frames, key=lambda place: place[1]
    )
