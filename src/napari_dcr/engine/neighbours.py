"""Choose the axis of neighbouring frames, find the neighbours of a frame, and how they match it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.image.axes import Layout
from napari_dcr.image.frame_levels import UNCHANGED, Level
from napari_dcr.image.frame_matches import Match, find_match
from napari_dcr.image.frame_shifts import ReducedFrame, whole_pixels
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.weights import Model

AUTO = 0
"""Number of frames on each side that "auto" uses along t. It is 0, because the present weights
weaken short, weak transients."""

LEAST = 3
"""Smallest number of frames for which "auto" uses neighbours."""

AXES = "tz"
"""Axes along which frames have neighbours if the user gives none; the first that the image has is used."""

KEPT = 16
"""Number of reduced frames that are kept to match them with others."""

Frame = tuple[int, ...]
"""Index on the stepped axes."""


@dataclass(frozen=True)
class FrameAxis:
    """The axis along which frames have neighbours.

    Attributes
    ----------
    letter : str
    place : int
        Position of the axis among the stepped axes.
    length : int
        Number of frames.
    reach : int
        Number of neighbours on each side.
    """

    letter: str
    place: int
    length: int
    reach: int

    def around(self, frame: Frame) -> Iterator[Frame | None]:
        """Yield the indices of the neighbours ``-reach..-1, 1..reach`` of a frame; None beyond the ends."""
        for step in range(-self.reach, self.reach + 1):
            number = frame[self.place] + step
            if step:
                inside = 0 <= number < self.length
                yield self.at(frame, number) if inside else None

    def at(self, frame: Frame, number: int) -> Frame:
        """Index of frame ``number`` of the series that contains ``frame``."""
        return (*frame[: self.place], number, *frame[self.place + 1 :])

    def series(self, frame: Frame) -> Frame:
        """Index of a frame's series: its index on the other stepped axes."""
        return frame[: self.place] + frame[self.place + 1 :]

    def by_series(self, frames: Sequence[Frame]) -> list[list[int]]:
        """Group frames by their series; each group lists positions in ``frames``."""
        groups: dict[Frame, list[int]] = {}
        for position, frame in enumerate(frames):
            groups.setdefault(self.series(frame), []).append(position)
        return list(groups.values())


def find_frame_axis(
    neighbours: str | int,
    letter: str | None,
    model: Model,
    has_stage: bool,
    depth: int,
    layout: Layout,
) -> FrameAxis | None:
    """Find the axis along which a run uses neighbouring frames; None if it uses none.

    Parameters
    ----------
    neighbours, letter
        Values of the options ``neighbours`` and ``neighbour_axis``.
    model : Model
    has_stage : bool
        Whether the model, or the network that compares frames for it, has a stage of neighbouring frames.
    depth : int
    layout : Layout

    Raises
    ------
    ValueError
        If the options ask for neighbours, but the image, the model or the depth does not allow them.
    """
    stepped = [axis for axis in layout.axes if axis not in "yxsc"]
    lengths = dict(zip(stepped, layout.frame_shape, strict=True))
    if letter is not None and letter not in lengths:
        raise ValueError(
            f"neighbour_axis: got {letter!r} for an image with axes {layout.axes!r}; allowed are"
            f" None{''.join(f', {axis!r}' for axis in stepped)}"
        )
    if neighbours == "auto":
        letter = letter or "t"
        uses = letter == "t" and lengths.get(letter, 0) >= LEAST
        if not (uses and AUTO and depth and has_stage):
            return None
        return FrameAxis(letter, stepped.index(letter), lengths[letter], AUTO)
    reach = int(neighbours)
    if reach == 0:
        return None
    if depth == 0:
        raise ValueError(
            f"neighbours: got {reach} with depth 0, which does not remove noise; allowed are 'auto'"
            " and 0, or a larger depth"
        )
    if not has_stage:
        raise ValueError(
            f"neighbours: got {reach} with the model {model.name!r}, which enhances every frame by"
            " itself; allowed are 'auto' and 0"
        )
    letter = letter or next((axis for axis in AXES if lengths.get(axis, 0) > 1), None)
    if letter is None:
        raise ValueError(
            f"neighbours: got {reach} for an image with axes {layout.axes!r}, which has no axis t or"
            " z of two frames or more; allowed are 'auto' and 0, or pass axes or neighbour_axis"
        )
    return FrameAxis(letter, stepped.index(letter), lengths[letter], reach)


Matches = dict[tuple[Any, int, int], Match | None]
"""How frames match, by their series and the numbers of the two frames; None for frames that do not."""


class FrameMatches:
    """Matches between whole frames, each found when it is first needed.

    They depend on the pixels only, not on tiles or on the order of the calls.

    Parameters
    ----------
    known : dict, optional
        Matches that were found before.
    """

    def __init__(self, known: Matches | None = None) -> None:
        self._reduced: OrderedDict[tuple[Any, int], ReducedFrame] = OrderedDict()
        self._known = dict(known or {})
        self._lock = threading.Lock()

    def between(
        self, series: Any, first: int, second: int, planes: Mapping[int, ArrayPlane]
    ) -> Match | None:
        """How the second frame of a series differs from the first; None if they do not match.

        ``planes`` contains both frames, by their numbers.
        """
        if first > second:
            match = self.between(series, second, first, planes)
            return match and match.inverse()
        key = series, first, second
        with self._lock:
            if key not in self._known:
                frames = [self._reduce(series, n, planes[n]) for n in (first, second)]
                self._known[key] = find_match(*frames)
            return self._known[key]

    def _reduce(self, series: Any, number: int, plane: ArrayPlane) -> ReducedFrame:
        key = series, number
        if key not in self._reduced:
            self._reduced[key] = reduce_plane(plane)
            while len(self._reduced) > KEPT:
                self._reduced.popitem(last=False)
        return self._reduced[key]


def reduce_plane(plane: ArrayPlane) -> ReducedFrame:
    """Reduce the scene of a plane for `find_match`, after its sensor defects were corrected."""
    (top, bottom), (left, right) = plane.area

    def read(rows: slice, columns: slice) -> Any:
        own = (
            slice(first + span.start, first + span.stop)
            for first, span in ((top, rows), (left, columns))
        )
        return plane.read(*own)[: plane.colours]

    return ReducedFrame.of(read, bottom - top, right - left)


class Alignment(NamedTuple):
    """How a neighbour is aligned with the frame that it is combined with.

    Attributes
    ----------
    shift : (int, int)
        Pixels along y and x by which it is shifted.
    level : Level or None
        Change of the light from the frame to the neighbour, in working units; None if their light is
        the same.
    conditioning : Conditioning
        That of the neighbour.
    ratio : float
        Ratio of the light in the image's own units, for the report.
    """

    shift: tuple[int, int]
    level: Level | None
    conditioning: Conditioning
    ratio: float


@dataclass(frozen=True)
class Neighbourhood:
    """A frame and its neighbours along an axis.

    Attributes
    ----------
    series : tuple
        Channel, and index of the series that contains the frames.
    number : int
        Number of the frame along the axis.
    numbers : tuple of int or None
        Numbers of its neighbours ``-n..-1, 1..n``; None for a frame that is missing or cannot be
        enhanced.
    planes : mapping
        Plane and conditioning of the frame and of every neighbour, by its number.
    matches : FrameMatches
    """

    series: tuple[Any, ...]
    number: int
    numbers: tuple[int | None, ...]
    planes: Mapping[int, tuple[ArrayPlane, Conditioning]]
    matches: FrameMatches

    def alignment(self, number: int | None, steps: tuple[int, int]) -> Alignment | None:
        """How a neighbour is aligned with the frame; None if it is missing or does not match.

        The shift is rounded to multiples of ``steps``.
        """
        if number is None:
            return None
        planes = {n: plane for n, (plane, _) in self.planes.items()}
        match = self.matches.between(self.series, self.number, number, planes)
        if match is None:
            return None
        plane, conditioning = self.planes[number]
        scales = planes[self.number].scale, plane.scale
        same = match.level == UNCHANGED and scales[0] == scales[1]
        level = None if same else match.level.between(*scales)
        return Alignment(whole_pixels(match.shift, steps), level, conditioning, match.level.ratio)


def find_neighbourhood(
    axis: FrameAxis,
    frame: Frame,
    channel: int,
    plane_of: Callable[[Frame], tuple[ArrayPlane, GroupConditioning]],
    matches: FrameMatches,
) -> Neighbourhood:
    """Find the neighbours that are used to enhance a frame.

    Frames that cannot be enhanced, such as black or saturated ones, count as missing. So do frames
    that go through other networks than the frame itself, because their noise is correlated
    differently, and frames that are padded differently and surveyed separately.

    Parameters
    ----------
    axis : FrameAxis
    frame : tuple of int
    channel : int
    plane_of : callable
        Returns the plane and the conditioning of a frame.
    matches : FrameMatches
    """
    number = frame[axis.place]
    plane, shared = plane_of(frame)
    planes = {number: (plane, shared.conditioning)}
    numbers: list[int | None] = []
    for other in axis.around(frame):
        numbers.append(None)
        if other is None or plane.is_left_alone:
            continue
        neighbour, group = plane_of(other)
        if not neighbour.is_left_alone and group.light and group.route == shared.route:
            numbers[-1] = other[axis.place]
            planes[other[axis.place]] = neighbour, group.conditioning
    return Neighbourhood((channel, axis.series(frame)), number, tuple(numbers), planes, matches)
