"""Groups of planes that share one survey, black and white point, and conditioning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_dcr.image.axes import Layout


@dataclass(frozen=True)
class Group:
    """Planes that share one survey, black and white point, and conditioning.

    Attributes
    ----------
    channel : int
        Index of the channel.
    frame : tuple of int or None
        Index on the stepped axes; None for all frames of the channel together.
    """

    channel: int
    frame: tuple[int, ...] | None

    @classmethod
    def of(cls, frame: tuple[int, ...], channel: int, link_frames: bool) -> Group:
        """Group that a plane belongs to."""
        return cls(channel, None if link_frames else frame)

    def number(self, layout: Layout) -> int:
        """Position of the group among all groups of an image, in the order of `groups`."""
        if self.frame is None:
            return self.channel
        return self.channel * math.prod(layout.frame_shape) + layout.frame_number(self.frame)

    def position(self, frame: tuple[int, ...], layout: Layout) -> int:
        """Position of a plane among the planes of the group."""
        if self.frame is not None or not frame:
            return 0
        return int(np.ravel_multi_index(frame, layout.frame_shape))

    def frames(self, layout: Layout) -> list[tuple[int, ...]]:
        """Indices of the group's planes on the stepped axes."""
        return list(layout.frames()) if self.frame is None else [self.frame]


def groups(layout: Layout, link_frames: bool) -> Iterator[Group]:
    """All groups of an image."""
    for channel in range(layout.channels):
        if link_frames:
            yield Group(channel, None)
        else:
            yield from (Group(channel, frame) for frame in layout.frames())


def bundles(
    layout: Layout, link_frames: bool, batch_pixels: int, in_order: bool
) -> Iterator[list[Group]]:
    """Groups that are enhanced together: several if they are small, so that they fill a batch.

    If frames must be finished ``in_order``, all channels of a frame are in one bundle.
    """
    found = groups(layout, link_frames)
    if in_order and layout.channels > 1:
        every = list(found)
        if link_frames:
            yield every
            return
        count = len(every) // layout.channels
        for number in range(count):
            yield every[number::count]
        return
    bundle: list[Group] = []
    pixels = 0
    for group in found:
        bundle.append(group)
        frames = layout.frame_shape if group.frame is None else ()
        pixels += math.prod(frames) * layout.height * layout.width
        if pixels >= batch_pixels:
            yield bundle
            bundle, pixels = [], 0
    if bundle:
        yield bundle
