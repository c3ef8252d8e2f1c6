"""Neighbouring frames of a frame: along which axis, which there are, and how far they are shifted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.image.axes import Layout
from napari_dcr.image.frame_shifts import ReducedFrame, Shift, find_shift, whole_pixels
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.weights import Model

AUTO = 0
"""Frames on each side that "auto" uses along t; 0 turns it off, because the present weights weaken
short transients."""

LEAST = 3
"""Frames from which "auto" uses neighbours."""

AXES = "tz"
"""Axes along which neighbours are looked for if none is given, in this order."""

KEPT = 16
"""Reduced frames that are kept to estimate shifts."""

Frame = tuple[int, ...]
"""Index on the stepped axes."""


@dataclass(frozen=True)
class FrameAxis:
    """The axis along which frames have neighbours.

    Attributes
    ----------
    letter : str
    place : int
        Its place among the stepped axes.
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
        """Indices of the neighbours ``-reach..-1, 1..reach`` of a frame; None beyond the ends."""
        for step in range(-self.reach, self.reach + 1):
            number = frame[self.place] + step
            if step:
                inside = 0 <= number < self.length
                yield self.at(frame, number) if inside else None

    def at(self, frame: Frame, number: int) -> Frame:
        """Index of another frame of the same series, by its number along the axis."""
        return (*frame[: self.place], number, *frame[self.place + 1 :])

    def series(self, frame: Frame) -> Frame:
        """Index on the other stepped axes, which all frames of a series share."""
        return frame[: self.place] + frame[self.place + 1 :]

    def by_series(self, frames: Sequence[Frame]) -> list[list[int]]:
        """Places of some frames, series by series."""
        found: dict[Frame, list[int]] = {}
        for place, frame in enumerate(frames):
            found.setdefault(self.series(frame), []).append(place)
        return list(found.values())


def find_frame_axis(
    neighbours: str | int, letter: str | None, model: Model, depth: int, layout: Layout
) -> FrameAxis | None:
    """The axis along which a run uses neighbouring frames, or None if it uses none.

    Parameters
    ----------
    neighbours, letter
        Values of the options ``neighbours`` and ``neighbour_axis``.
    model : Model
    depth : int
    layout : Layout

    Raises
    ------
    ValueError
        If the options ask for neighbours that the image, the model or the depth does not have.
    """
    stepped = [axis for axis in layout.axes if axis not in "yxsc"]
    lengths = dict(zip(stepped, layout.frame_shape, strict=True))
    if letter is not None and letter not in lengths:
        raise ValueError(
            f"neighbour_axis: got {letter!r} for an image with axes {layout.axes!r}; allowed are"
            f" None{''.join(f', {axis!r}' for axis in stepped)}"
        )
    has_stage = model.network.neighbours is not None
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


class FrameShifts:
    """Shifts between frames, estimated on whole frames when they are needed.

    They depend on the pixels alone, not on tiles or on the order in which they are asked for.

    Parameters
    ----------
    known : dict, optional
        Those that are known already, by the series and the numbers of the two frames.
    """

    def __init__(self, known: dict[tuple[Any, int, int], Shift] | None = None) -> None:
        self._reduced: OrderedDict[tuple[Any, int], ReducedFrame] = OrderedDict()
        self._known = dict(known or {})
        self._lock = threading.Lock()

    def between(
        self, series: Any, first: int, second: int, planes: Mapping[int, ArrayPlane]
    ) -> Shift:
        """Pixels along y and x by which a frame has moved since another one of the same series."""
        if first > second:
            down, across = self.between(series, second, first, planes)
            return -down, -across
        key = series, first, second
        with self._lock:
            if key not in self._known:
                frames = [self._reduce(series, n, planes[n]) for n in (first, second)]
                self._known[key] = find_shift(*frames)
            return self._known[key]

    def _reduce(self, series: Any, number: int, plane: ArrayPlane) -> ReducedFrame:
        key = series, number
        if key not in self._reduced:
            self._reduced[key] = reduce_plane(plane)
            while len(self._reduced) > KEPT:
                self._reduced.popitem(last=False)
        return self._reduced[key]


def reduce_plane(plane: ArrayPlane) -> ReducedFrame:
    """Reduce a plane with its sensor defects corrected, for `find_shift`."""

    def read(rows: slice, columns: slice) -> Any:
        return plane.read(rows, columns)[: plane.colours]

    return ReducedFrame.of(read, plane.layout.height, plane.layout.width)


@dataclass(frozen=True)
class Neighbourhood:
    """A frame and the frames beside it.

    Attributes
    ----------
    series : tuple
        What identifies the frames that are neighbours of each other.
    number : int
        Number of the frame along the axis.
    numbers : tuple of int or None
        Those of its neighbours ``-n..-1, 1..n``; None for a frame that is missing, or that holds
        no picture.
    planes : mapping
        Plane and conditioning of the frame and of every neighbour, by its number.
    shifts : FrameShifts
    """

    series: tuple[Any, ...]
    number: int
    numbers: tuple[int | None, ...]
    planes: Mapping[int, tuple[ArrayPlane, Conditioning]]
    shifts: FrameShifts

    def shift(self, number: int | None, steps: tuple[int, int]) -> tuple[int, int]:
        """Pixels by which a neighbour has moved, as multiples of ``steps``; (0, 0) if it is missing."""
        if number is None:
            return 0, 0
        planes = {n: plane for n, (plane, _) in self.planes.items()}
        return whole_pixels(self.shifts.between(self.series, self.number, number, planes), steps)


def find_neighbourhood(
    axis: FrameAxis,
    frame: Frame,
    channel: int,
    plane_of: Callable[[Frame], tuple[ArrayPlane, GroupConditioning]],
    shifts: FrameShifts,
) -> Neighbourhood:
    """Find the frames that help to enhance a frame.

    Frames without a picture, such as black or saturated ones, and frames whose noise is
    correlated in another way count as missing.

    Parameters
    ----------
    axis : FrameAxis
    frame : tuple of int
    channel : int
    plane_of : callable
        Gives the plane and the conditioning of a frame.
    shifts : FrameShifts
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
    return Neighbourhood((channel, axis.series(frame)), number, tuple(numbers), planes, shifts)
