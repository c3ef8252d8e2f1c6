"""Order in which the tiles of a run are enhanced: by route, by frame, or by neighbouring frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.neighbours import FrameAxis
from napari_dcr.engine.tiles import Tile


class GroupTiles(NamedTuple):
    """The planes of a group, and the tiles that each of them is cut into.

    Attributes
    ----------
    shared : GroupConditioning
    channel : int
    frames : list of tuple of int
        Indices of the planes on the stepped axes.
    cores : list of Tile
        Tiles of each plane.
    first : int
        Number of the first plane, counted over all groups.
    """

    shared: GroupConditioning
    channel: int
    frames: list[tuple[int, ...]]
    cores: list[Tile]
    first: int


TilePlace = tuple[GroupTiles, int, int]
"""Place of a tile: its group, the position of its frame in the group, and the index of its core."""


def by_route(work: list[GroupTiles], in_order: bool) -> list[tuple[list[GroupTiles], range]]:
    """Divide groups into steps with one route each: the groups of each step, and its frames.

    Parameters
    ----------
    work : list of GroupTiles
        Groups with equal numbers of frames.
    in_order : bool
        Whether all groups of a frame must be complete before the next frame.
    """
    routes = list(dict.fromkeys(some.shared.route for some in work))
    frames = range(len(work[0].frames))
    if not in_order:
        return [([w for w in work if w.shared.route == each], frames) for each in routes]
    if len(routes) == 1:
        return [(work, frames)]
    return [([each], range(n, n + 1)) for n in frames for each in work]


def by_frame(some: list[GroupTiles], places: range) -> Iterator[TilePlace]:
    """Yield all tiles of a frame, then those of the next frame."""
    for place in places:
        for work in some:
            yield from ((work, place, index) for index in range(len(work.cores)))


def by_tile(some: list[GroupTiles], places: range, axis: FrameAxis | None) -> Iterator[TilePlace]:
    """Yield the tiles of one group after the other.

    With neighbouring frames, which lie along ``axis``, a tile is enhanced in all frames before the
    next tile.
    """
    for work in some:
        if axis is None or work.shared.route.neighbours == 0:
            yield from by_frame([work], places)
            continue
        for series in axis.by_series(work.frames):
            for index in range(len(work.cores)):
                yield from ((work, place, index) for place in series)
