"""Find how a whole frame matches another one: the shift between them, and the change of the light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_dcr.image.frame_levels import UNCHANGED, Level, find_level
from napari_dcr.image.frame_shifts import ReducedFrame, Shift, find_shift

MOST = 2.0
"""Largest ratio of the light of two frames, in either direction, for which they match."""


class Match(NamedTuple):
    """How the second of two frames differs from the first.

    Attributes
    ----------
    shift : (float, float)
        What is at position ``p`` in the first frame is at ``p + shift`` in the second.
    level : Level
        Change of the light.
    """

    shift: Shift = (0.0, 0.0)
    level: Level = UNCHANGED

    def inverse(self) -> Match:
        """How the first frame differs from the second."""
        return Match((-self.shift[0], -self.shift[1]), self.level.inverse())


def find_match(first: ReducedFrame, second: ReducedFrame) -> Match | None:
    """Find how two frames match; None if they do not.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = 50 + 50 * np.kron(rng.random((30, 30)), np.ones((4, 4)))
    >>> frames = [scene[None, 10:110, 10:110], 0.8 * scene[None, 4:104, 13:113]]
    >>> reduced = [ReducedFrame.of(lambda r, c, f=f: f[:, r, c], 100, 100) for f in frames]
    >>> match = find_match(*reduced)
    >>> [round(pixels) for pixels in match.shift], round(match.level.ratio, 2)
    ([6, -3], 0.8)
    """
    shift = find_shift(first, second)
    if shift is None:
        return None
    if first.is_small or second.is_small:
        return Match(shift)
    ours, theirs = zip(
        *(
            _overlap(int(np.rint(pixels / first.factor)), size)
            for pixels, size in zip(shift, first.shape, strict=True)
        ),
        strict=True,
    )
    level = find_level(first.means[ours], second.means[theirs])
    return Match(shift, level) if 1 / MOST <= level.ratio <= MOST else None


def _overlap(step: int, size: int) -> tuple[slice, slice]:
    """Part of an axis that two frames share if the second is shifted by a step, in each of them."""
    return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size + min(0, step))
