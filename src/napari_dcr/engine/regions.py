"""Geometry of a region of an image: its planes, and the tiles that cover it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from napari_dcr.engine.tiles import Grid, Tile
from napari_dcr.image.axes import Layout

Region = tuple[slice, ...]
"""A slice with start and stop for each axis of an array."""

Rectangle = tuple[tuple[int, int], tuple[int, int]]
"""Start and stop of the rows, and of the columns."""


def check_region(region: Region, layout: Layout) -> None:
    """Check that a region lies within the image and contains all samples of a pixel.

    Raises
    ------
    ValueError
        If it does not; the message names the first axis that is wrong.
    """
    if len(region) != len(layout.shape):
        raise ValueError(
            f"region: got {len(region)} slices; allowed are {len(layout.shape)}, one per axis"
        )
    for axis, part, size in zip(layout.axes, region, layout.shape, strict=True):
        whole = axis != "s" or (part.start, part.stop) == (0, size)
        if not 0 <= part.start < part.stop <= size or not whole:
            raise ValueError(
                f"region: got {part.start}:{part.stop} for axis {axis}; allowed is"
                f" {'' if axis == 's' else 'a range within '}0:{size}"
            )


def planes_in(layout: Layout, region: Region) -> Iterator[tuple[tuple[int, ...], int]]:
    """Iterate over the planes of a region as pairs of frame and channel."""
    spans = dict(zip(layout.axes, region, strict=True))
    stepped = [spans[a] for a in layout.axes if a not in "yxsc"]
    channels = spans.get("c", slice(0, layout.channels))
    for channel in range(channels.start, channels.stop):
        for frame in np.ndindex(*(s.stop - s.start for s in stepped)):
            yield tuple(i + s.start for i, s in zip(frame, stepped, strict=True)), channel


def local_index(
    layout: Layout,
    region: Region,
    frame: tuple[int, ...],
    channel: int,
    rows: slice,
    columns: slice,
) -> tuple[int | slice, ...]:
    """Convert the index of a window of the image to an index into the array of a region."""
    index = layout.index(frame, channel, rows, columns, slice(None))
    return tuple(
        part - own.start
        if isinstance(part, int)
        else slice(None)
        if part.start is None
        else slice(part.start - own.start, part.stop - own.start)
        for part, own in zip(index, region, strict=True)
    )


def cut_tiles(grid: Grid, rectangle: Rectangle, core: int, uncut: float = 0) -> list[Tile]:
    """Cut a rectangle into tiles, sorted by their distance from its middle.

    All rectangles use the same raster, so that most tiles of a moved rectangle are unchanged.

    Parameters
    ----------
    grid : Grid
    rectangle : ((int, int), (int, int))
    core : int
        Distance of the cuts in pixels.
    uncut : float
        Largest window in pixels for which the rectangle is one tile.
    """
    whole = grid.tile(*rectangle)
    if math.prod(stop - start for start, stop in whole.window) <= uncut:
        return [whole]

    def spans(start: int, stop: int) -> list[tuple[int, int]]:
        inner = range(start // core * core + core, stop, core)
        # Strips narrower than a window's halo are added to their neighbour.
        cuts = [n for n in inner if min(n - start, stop - n) >= min(grid.halo, core)]
        return list(itertools.pairwise([start, *cuts, stop]))

    tiles = [
        grid.tile((y0, y1), (x0, x1))
        for y0, y1 in spans(*rectangle[0])
        for x0, x1 in spans(*rectangle[1])
    ]  # fmt: skip
    middle = [sum(span) for span in rectangle]

    def distance(tile: Tile) -> int:
        centre = sum(tile.core_rows), sum(tile.core_columns)
        return sum((a - b) ** 2 for a, b in zip(centre, middle, strict=True))

    return sorted(tiles, key=distance)


def is_within(inner: Rectangle, outer: Rectangle) -> bool:
    """Whether a rectangle lies within another rectangle."""
    return all(o[0] <= i[0] and i[1] <= o[1] for i, o in zip(inner, outer, strict=True))
