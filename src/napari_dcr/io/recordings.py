"""Several files as one recording: joined when read, and written as one file or as separate files."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.sinks import Sink, ViewedSink
from napari_dcr.engine.sources import Opened
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import Scale
from napari_dcr.input_warnings import InputWarnings
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.video import VideoInfo, consecutive
from napari_dcr.io.views import chunks_of

UNNAMED = "iq"
"""Letters that TIFF readers use for an axis of pages that the file does not name."""


class Joined:
    """Concatenation of arrays along an axis, read window by window.

    Parameters
    ----------
    members : sequence of Opened
        Images whose arrays may only differ in their length along ``axis``.
    axis : int
        Index of the axis in the concatenation.
    flat : sequence of bool
        Whether each array lacks this axis; such an array is one step along it.

    Attributes
    ----------
    lengths : list of int
        Length of each member along the axis.
    starts : list of int
        Start of each member along the axis, and the end of the last one.
    """

    def __init__(self, members: Sequence[Opened], axis: int, flat: Sequence[bool]) -> None:
        self.members, self.axis, self.flat = tuple(members), axis, tuple(flat)
        shapes = [
            _deepened(each.array.shape, axis, f) for each, f in zip(members, flat, strict=True)
        ]
        chunks = [
            _deepened(chunks_of(each.array), axis, f) for each, f in zip(members, flat, strict=True)
        ]
        self.lengths = [shape[axis] for shape in shapes]
        self.starts = [0, *itertools.accumulate(self.lengths)]
        # No chunk may extend over two files.
        step = math.gcd(*(chunk[axis] for chunk in chunks), *self.lengths)
        self.shape = _replaced(shapes[0], axis, self.starts[-1])
        self.chunks = _replaced(chunks[0], axis, step)
        self.dtype = np.dtype(members[0].array.dtype).newbyteorder("=")
        self.ndim = len(self.shape)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Read a window; one slice per axis."""
        start, stop, _ = index[self.axis].indices(self.shape[self.axis])
        parts = [
            self._piece(number, slice(low, high), index)
            for number, low, high in overlaps(self.starts, start, stop)
        ]
        if not parts:
            return self._piece(0, slice(0, 0), index)
        if len(parts) == 1:
            return parts[0]
        masked = any(np.ma.is_masked(part) for part in parts)
        return np.asanyarray((np.ma if masked else np).concatenate(parts, self.axis))

    def _piece(self, number: int, span: slice, index: tuple[slice, ...]) -> NDArray[Any]:
        member, axis = self.members[number], self.axis
        before, after = index[:axis], index[axis + 1 :]
        if not self.flat[number]:
            return member.read((*before, span, *after)).astype(self.dtype, copy=False)
        window = member.read((*before, *after)).astype(self.dtype, copy=False)
        return np.expand_dims(window, axis)[(slice(None),) * axis + (span,)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        return np.asarray(self[(slice(None),) * self.ndim], dtype)


def _deepened(values: Sequence[int], axis: int, flat: bool) -> tuple[int, ...]:
    return tuple(map(int, (*values[:axis], 1, *values[axis:]) if flat else values))


def _replaced(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis + 1 :])


def overlaps(starts: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Members that a span overlaps: their numbers, and the span within each.

    Examples
    --------
    >>> list(overlaps([0, 3, 5], 2, 4))
    [(0, 2, 3), (1, 0, 1)]
    """
    number = bisect.bisect_right(starts, start) - 1
    while start < stop:
        end = min(stop, starts[number + 1])
        yield number, start - starts[number], end - starts[number]
        start, number = end, number + 1


def join(members: Sequence[Opened], names: Sequence[str], letter: str, axes: str | None) -> Opened:
    """Join opened images to one recording.

    Images that have the axis are concatenated along it; each of the others is one step along it.
    An axis of pages that a file does not name is assumed to be this axis.

    Parameters
    ----------
    members : sequence of Opened
    names : sequence of str
        Names of their files, for messages.
    letter : str
        Axis along which they are joined.
    axes : str, optional
        Axes of each image; by default those that the files define.

    Raises
    ------
    ValueError
        If the images differ in axes, shape, dtype or samples.
    """
    if len(letter) != 1 or not letter.isalpha() or letter in "yxs":
        raise ValueError(
            f"as_one: got {letter!r}; allowed is the letter of an axis other than y, x and s, such as t"
        )
    first = members[0]
    layouts = [_layout(each, name, letter, axes) for each, name in zip(members, names, strict=True)]
    flat = [letter not in layout.axes for layout in layouts]
    # The last file of a split recording may be a single frame, without the axis.
    whole = _with_axis(layouts[flat.index(False) if False in flat else 0].axes, letter)
    axis = whole.index(letter)
    for other, layout, name, lacks in zip(members, layouts, names, flat, strict=True):
        shapes = [
            _replaced(_deepened(each.shape, axis, lack), axis, 1)
            for each, lack in ((layouts[0], flat[0]), (layout, lacks))
        ]
        for what, a, b in (
            ("axes", _with_axis(layouts[0].axes, letter), _with_axis(layout.axes, letter)),
            ("dtype", np.dtype(first.array.dtype).name, np.dtype(other.array.dtype).name),
            ("samples", layouts[0].samples, layout.samples),
            (f"shape (beside {letter})", *(_without(shape, axis) for shape in shapes)),
            ("no-data value", first.nodata, other.nodata),
        ):
            if a != b:
                raise ValueError(
                    f"as_one: {name} has the {what} {b} and {names[0]} has {a}; all files of a"
                    " recording must have the same"
                )
    joined = Joined(members, axis, flat)
    warnings = InputWarnings.gathered(each.warnings for each in members)
    turns = {each.orientation for each in members}
    if len(turns) > 1:
        warnings.add(
            "the files have different values of Orientation, according to which they are rotated,"
            " so defects of their sensor do not lie at the same pixels; write a .tif to find them"
        )
    stamps = [each.fingerprint for each in members]

    def fingerprint() -> str | None:
        found = [stamp() for stamp in stamps]
        return None if None in found else f"{letter} " + " ".join(map(str, found))

    return replace(
        first,
        array=joined,
        axes=whole,
        fingerprint=fingerprint,
        pyramid=None,
        metadata=_metadata(members, layouts, letter),
        samples=layouts[0].samples,
        doubt="" if axes else first.doubt,
        warnings=warnings,
        measured=all(each.measured for each in members),
        is_picture=all(each.is_picture for each in members),
        orientation=turns.pop() if len(turns) == 1 else 0,
    )


def _layout(opened: Opened, name: str, letter: str, axes: str | None) -> Layout:
    shape = tuple(int(n) for n in opened.array.shape)
    layout = Layout.resolve(shape, axes or opened.axes, samples=opened.samples)
    unnamed = [a for a in layout.axes if a in UNNAMED]
    if letter in layout.axes or axes or len(unnamed) != 1:
        return layout
    opened.warnings.add(
        f"{name}: the file does not name the axis of its {shape[layout.axes.index(unnamed[0])]}"
        f" pages; it is treated as {letter}"
    )
    return replace(layout, axes=layout.axes.replace(unnamed[0], letter))


def _with_axis(axes: str, letter: str) -> str:
    """Add an axis, in the order of OME-Zarr, unless it is already among the axes."""
    if letter in axes:
        return axes
    rank = {"t": 0, "c": 2, "z": 3, "y": 4, "x": 4, "s": 5}
    place = next((i for i, a in enumerate(axes) if rank.get(a, 1) > rank.get(letter, 1)), 0)
    return axes[:place] + letter + axes[place:]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _metadata(members: Sequence[Opened], layouts: Sequence[Layout], letter: str) -> Any:
    """Metadata of the first file with the pages of all, without those that describe its planes."""
    found = [each.metadata for each in members]
    if not all(isinstance(each, Metadata) for each in found):
        return found[0]
    pages, before = {}, 0
    for metadata, layout in zip(found, layouts, strict=True):
        own = {0: metadata.tags, **metadata.pages} if before else metadata.pages
        pages.update({before + number: tags for number, tags in own.items()})
        before += math.prod(
            n for n, a in zip(layout.shape, layout.axes, strict=True) if a not in "yxs"
        )
    videos = [each.native for each in found if isinstance(each.native, VideoInfo)]
    native = None
    if letter == "t" and len(videos) == len(found):
        native = consecutive(videos)
    elif videos:  # whose writer then warns that sound and times are left out
        native = replace(videos[0], is_joined=True)
    calibration = found[0].calibration
    if letter == "t":
        times = _consecutive([each.calibration.times for each in found])
        calibration = replace(calibration, times=()).with_times(dict(enumerate(times)))
    return replace(
        found[0], pages=pages, ome=None, imagej=None, native=native, calibration=calibration
    )


def _consecutive(listed: Sequence[Sequence[float]]) -> list[float]:
    """Frame times of files that follow each other; empty if one of them lists none.

    Examples
    --------
    >>> _consecutive([(0, 1, 2), (3, 4)]), _consecutive([(0, 1, 2), (0, 2)])
    ([0, 1, 2, 3, 4], [0, 1, 2, 3.0, 5.0])
    """
    times: list[float] = []
    if not all(len(each) for each in listed):
        return times
    for each in listed:
        shift = 0.0
        if times and each[0] <= times[-1]:  # it counts from its own start
            shift = times[-1] + float(np.median(np.diff(times))) - each[0]
        times += [time + shift if shift else time for time in each]
    return times


class PiecesSink:
    """Sink that writes a recording to separate files, one for each source file.

    Parameters
    ----------
    sinks : sequence of Sink
        Sink of each file.
    joined : Joined
        Source files.
    """

    part: Size | None = None
    record: RunRecord | None = None

    def __init__(self, sinks: Sequence[Sink], joined: Joined) -> None:
        self._sinks, self._joined = list(sinks), joined
        rows, columns = zip(*(sink.unit for sink in sinks), strict=True)
        self.unit: Size = (math.lcm(*rows), math.lcm(*columns))
        self.in_order = any(sink.in_order for sink in sinks)
        self.one_size = any(sink.one_size for sink in sinks)

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> _Target:
        """Open all files; returns them as one array."""
        arrays = [sink.open(part, identity, parts) for sink in self._sinks]
        return _Target(arrays, self._joined)

    def show(self, scale: Scale) -> None:
        """Show all files with the same black and white point."""
        for sink in self._sinks:
            if isinstance(sink, ViewedSink):
                sink.show(scale)

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Complete the files one by one."""
        for sink in self._sinks:
            yield from sink.finish(record)

    @property
    def result(self) -> list[Any]:
        """Results of the files."""
        return [sink.result for sink in self._sinks]

    def close(self) -> None:
        """Close all files."""
        for sink in self._sinks:
            sink.close()


class _Target:
    """Several arrays that are written to as one."""

    def __init__(self, arrays: list[Any], joined: Joined) -> None:
        self._arrays, self._joined, self.shape = arrays, joined, joined.shape

    def __setitem__(self, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        joined, axis = self._joined, self._joined.axis
        at, before, after = index[axis], index[:axis], index[axis + 1 :]
        if isinstance(at, int):
            number, place, _ = next(overlaps(joined.starts, at, at + 1))
            inner = before if joined.flat[number] else (*before, place)
            self._arrays[number][(*inner, *after)] = values
            return
        # Values lack the axes that are indexed with integers.
        outer = (slice(None),) * sum(not isinstance(i, int) for i in before)
        start, stop, _ = at.indices(self.shape[axis])
        done = 0
        for number, low, high in overlaps(joined.starts, start, stop):
            flat = joined.flat[number]
            some = values[(*outer, done if flat else slice(done, done + high - low))]
            inner = before if flat else (*before, slice(low, high))
            self._arrays[number][(*inner, *after)] = some
            done += high - low


def pieces(joined: Joined, layout: Layout) -> Iterator[tuple[tuple[slice | int, ...], Layout]]:
    """Index of each member in a recording, and its axes.

    Parameters
    ----------
    joined : Joined
    layout : Layout
        Layout of the recording.
    """
    axis, axes = joined.axis, layout.axes
    for (low, high), flat in zip(itertools.pairwise(joined.starts), joined.flat, strict=True):
        index = (*[slice(None)] * axis, low if flat else slice(low, high))
        if flat:
            yield (
                index,
                Layout(
                    _without(layout.shape, axis), axes[:axis] + axes[axis + 1 :], layout.samples
                ),
            )
        else:
            yield index, Layout(_replaced(layout.shape, axis, high - low), axes, layout.samples)
