"""Features of the frames around the one in progress: computed once, and kept while they are needed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from napari_dcr.engine.neighbours import FrameAxis, Neighbourhood
from napari_dcr.engine.parts import TileTask
from napari_dcr.network.neighbours import FrameFeatures

Features = tuple[FrameFeatures, ...]
"""Features of a window of a frame: one item for each picture of its binning."""


KEPT_BYTES = 1 << 29
"""Size of the `FeatureMemory` of a preview."""


class FeatureMemory:
    """Features that were used last, so that the preview of the next frame can use them again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Features] = OrderedDict()
        self._bytes = 0

    def get(self, key: Any) -> Features | None:
        """Features that were put in, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Any, features: Features) -> None:
        """Keep features, and drop those that were not used for longest."""
        self._kept[key] = features
        self._bytes += _size(features)
        while len(self._kept) > 1 and self._bytes > KEPT_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0


def _size(features: Features) -> int:
    """Bytes of features."""
    return sum(x.nbytes for each in features for x in each if x is not None)


class Contribution:
    """What neighbouring frames contributed to the results of each channel, on a sample of tiles."""

    STEP = 8
    """Every how many frames the result is compared with that of the frame by itself."""

    def __init__(self) -> None:
        self._sums: dict[int, torch.Tensor] = {}

    @classmethod
    def wants(cls, neighbourhood: Neighbourhood) -> bool:
        """Whether a frame is in the sample."""
        return neighbourhood.number % cls.STEP == 1 and any(
            n is not None for n in neighbourhood.numbers
        )

    def add(self, channel: int, alone: torch.Tensor, fused: torch.Tensor) -> None:
        """Add the results of a tile, estimates and standard errors, without and with neighbours."""
        errors = torch.stack([alone[:, 1].square().mean(), fused[:, 1].square().mean()])
        known = self._sums.get(channel)
        self._sums[channel] = errors if known is None else known + errors

    def describe(self, channel: int, axis: FrameAxis) -> str:
        """Sentence for the report of a channel."""
        sides = f"{axis.reach} neighbouring frame{'s' * (axis.reach > 1)} on each side"
        if channel not in self._sums:
            return f"{sides} along {axis.letter}"
        alone, fused = self._sums[channel].sqrt().tolist()
        lower = round(100 * (1 - fused / alone)) if alone else 0
        return (
            f"{sides} along {axis.letter}: the expected error is {abs(lower)} %"
            f" {'lower' if lower >= 0 else 'higher'} than from single frames"
        )


@dataclass
class TileState:
    """What is kept of one tile of a series from frame to frame.

    Attributes
    ----------
    features : dict
        By the number of the frame; used by the computing thread alone.
    pixels : dict
        Cores in the image's own units; used by the reading thread alone.
    """

    features: dict[int, Features] = field(default_factory=dict)
    pixels: dict[int, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FramePlan:
    """Frames to read for a tile of a frame with neighbours, and what to keep for the next frame.

    Attributes
    ----------
    new : list of int
        Frames of which windows are read and features computed.
    keep : frozenset of int
        Frames whose features the next frame of the series needs.
    state : TileState
    """

    new: list[int]
    keep: frozenset[int]
    state: TileState


@dataclass
class _Entry:
    number: int
    frames: frozenset[int]
    size: int
    state: TileState


class FrameCache:
    """Plans which features are computed for each tile, so that each is computed once where possible.

    The plan is made in the order of the tiles, before they are read. Features of tiles that do
    not fit into the memory are computed again for every frame.

    Parameters
    ----------
    limit : int
        Largest number of pixels of all kept features together. The first tile is always kept.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._entries: dict[tuple[Any, ...], _Entry] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def plan(self, task: TileTask) -> FramePlan:
        """Plan a tile; plans must be carried out in the order in which they were made."""
        neighbourhood, tile = task.part.neighbourhood, task.tile
        assert neighbourhood is not None
        key = neighbourhood.series, tile.core_rows, tile.core_columns
        reach, number = len(neighbourhood.numbers) // 2, neighbourhood.number
        for other, entry in list(self._entries.items()):
            # The sweep over the frames has passed it, or has started again.
            if entry.number > number or entry.number < number - reach - 1:
                del self._entries[other]
        wanted = frozenset([number, *(n for n in neighbourhood.numbers if n is not None)])
        keep = frozenset(n for n in wanted if n > number - reach)
        known = self._entries.get(key)
        entry = known or _Entry(number, frozenset(), 0, TileState())
        new = sorted(wanted - entry.frames)
        if known is None:
            height, width = task.shape
            entry.size = height * width * (2 * reach + 1)
            total = sum(each.size for each in self._entries.values())
            if self._entries and total + entry.size > self.limit:
                return FramePlan(new, frozenset(), entry.state)
            self._entries[key] = entry
        entry.number, entry.frames = number, keep
        return FramePlan(new, keep, entry.state)
