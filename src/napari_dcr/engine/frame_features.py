"""Keep the features of frames while the following frames need them, so that each is computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from napari_dcr.engine.neighbours import Alignment, FrameAxis, Neighbourhood
from napari_dcr.engine.networks import Features
from napari_dcr.engine.parts import TileTask

KEPT_BYTES = 1 << 29
"""Largest total size of the features in a `FeatureMemory`, in bytes."""


class FeatureMemory:
    """Cache of the most recently used features, so that the preview of the next frame can reuse them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Features] = OrderedDict()
        self._bytes = 0

    def get(self, key: Any) -> Features | None:
        """Return cached features, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: Any, features: Features) -> None:
        """Add features, and remove the least recently used ones if the cache is too large."""
        self._kept[key] = features
        self._bytes += _size(features)
        while len(self._kept) > 1 and self._bytes > KEPT_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Remove all features."""
        self._kept.clear()
        self._bytes = 0


def _size(features: Any) -> int:
    """Size in bytes of all tensors in nested tuples."""
    if isinstance(features, tuple):
        return sum(_size(each) for each in features)
    return features.nbytes if isinstance(features, torch.Tensor) else 0


@dataclass
class _Usage:
    """Number of neighbours of all tiles, and of those that were left out or scaled, with the ratios."""

    all: int = 0
    left_out: int = 0
    scaled: int = 0
    low: float = 1.0
    high: float = 1.0


class Contribution:
    """Measures what neighbouring frames contributed.

    This is the change of the expected error of each channel, on a sample of frames, or the mean number of
    frames that were averaged. It also counts the neighbours that did not match, and those whose light was scaled.
    """

    STEP = 8
    """Distance between frames of the sample: every eighth frame is also enhanced without neighbours."""

    def __init__(self) -> None:
        self._sums: dict[int, torch.Tensor] = {}
        self._averaged, self._tiles = torch.zeros(()), 0
        self._usage: dict[int, _Usage] = {}

    def count(self, neighbourhood: Neighbourhood, alignments: Sequence[Alignment | None]) -> None:
        """Count the neighbours of a tile."""
        usage = self._usage.setdefault(neighbourhood.series[0], _Usage())
        for number, aligned in zip(neighbourhood.numbers, alignments, strict=True):
            if number is None:
                continue
            usage.all += 1
            usage.left_out += aligned is None
            if aligned is not None and aligned.ratio != 1:
                usage.scaled += 1
                usage.low, usage.high = (
                    min(usage.low, aligned.ratio),
                    max(usage.high, aligned.ratio),
                )

    @classmethod
    def wants(cls, neighbourhood: Neighbourhood) -> bool:
        """Whether a frame is in the sample."""
        return neighbourhood.number % cls.STEP == 1 and any(
            n is not None for n in neighbourhood.numbers
        )

    def add(self, channel: int, alone: torch.Tensor, fused: torch.Tensor) -> None:
        """Add the results of a tile (estimates and standard errors) without and with neighbours."""
        errors = torch.stack([alone[:, 1].square().mean(), fused[:, 1].square().mean()])
        known = self._sums.get(channel)
        self._sums[channel] = errors if known is None else known + errors

    def add_frames(self, frames: torch.Tensor | None) -> None:
        """Add the number of frames that were averaged at each place of a tile; None if none matched."""
        self._averaged = self._averaged + (1.0 if frames is None else frames.mean())
        self._tiles += 1

    def averaged(self) -> float:
        """Mean number of frames of which a pixel is the mean; 1 if no neighbour matched anywhere."""
        return round(float(self._averaged) / self._tiles, 2) if self._tiles else 1.0

    def describe(self, channel: int, axis: FrameAxis) -> str:
        """Describe the contribution in a line for the report of a channel."""
        line = f"{axis.reach} neighbouring frame{'s' * (axis.reach > 1)} on each side along {axis.letter}"
        if channel not in self._sums:
            return line
        alone, fused = self._sums[channel].sqrt().tolist()
        lower = round(100 * (1 - fused / alone)) if alone else 0
        line += (
            f": the expected error is {abs(lower)} % {'lower' if lower >= 0 else 'higher'} than from"
            " single frames"
        )
        usage = self._usage.get(channel, _Usage())
        if usage.left_out:
            share = 100 * usage.left_out / usage.all
            line += f"; {share:.0f} % of the neighbours were left out, because they did not match"
        if usage.scaled:
            share = 100 * usage.scaled / usage.all
            line += (
                f"; the light of {share:.0f} % of them had changed by a factor of {usage.low:.2f} to"
                f" {usage.high:.2f}, and was scaled"
            )
        return line


@dataclass
class TileState:
    """Data of one tile that are kept from frame to frame of a series.

    Attributes
    ----------
    features : dict
        Features by the number of the frame. Only the computing thread accesses them.
    pixels : dict
        Pixels of the core by the number of the frame, in the image's own units. Only the reading
        thread accesses them.
    """

    features: dict[int, Features] = field(default_factory=dict)
    pixels: dict[int, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class FramePlan:
    """Plan for a tile of a frame with neighbours: frames to read, and frames to keep.

    Attributes
    ----------
    new : list of int
        Frames whose windows must be read and whose features must be computed.
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
    """Decides which features are kept, so that each is computed only once if memory allows.

    Tiles are planned in the order in which they are enhanced, before they are read. If the features
    of a tile do not fit into the memory, they are computed again for every frame.

    Parameters
    ----------
    limit : int
        Largest total number of pixels whose features are kept. The first tile is always kept.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._entries: dict[tuple[Any, ...], _Entry] = {}

    def clear(self) -> None:
        """Remove all plans and features."""
        self._entries.clear()

    def plan(self, task: TileTask) -> FramePlan:
        """Plan a tile; plans must be executed in the order in which they were made."""
        neighbourhood, tile = task.part.neighbourhood, task.tile
        assert neighbourhood is not None
        key = neighbourhood.series, tile.core_rows, tile.core_columns
        reach, number = len(neighbourhood.numbers) // 2, neighbourhood.number
        for other, entry in list(self._entries.items()):
            # Remove a tile that later frames no longer need, or that belongs to an earlier pass.
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
