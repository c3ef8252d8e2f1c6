"""Shifts between the frames of a dask array, estimated by dask tasks before the result is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.group_survey import BLOCKS_AT_ONCE
from napari_dcr.engine.lazy import Job
from napari_dcr.engine.neighbours import reduce_plane
from napari_dcr.engine.sources import MarkedSource, Region, compute_dask
from napari_dcr.image.frame_shifts import ReducedFrame, Shift, find_shift


def find_shifts_lazily(
    image: Any, job: Job, shared: Sequence[GroupConditioning]
) -> Generator[None, None, dict[tuple[Any, int, int], Shift]]:
    """Estimate the shifts between all neighbouring frames, in bounded memory.

    Parameters
    ----------
    image : dask.array.Array
    job : Job
    shared : sequence of GroupConditioning
        Conditioning of each group of planes, by its number.

    Yields
    ------
    None
        After some frames; the return value holds the shifts by series and numbers of the frames.
    """
    from dask.delayed import delayed

    axis, layout = job.axis, job.layout
    found: dict[tuple[Any, int, int], Shift] = {}
    if axis is None:
        return found
    reduce = delayed(_reduce, pure=False)
    frames = list(layout.frames())
    for channel in range(layout.channels):
        for places in axis.by_series(frames):
            series = channel, axis.series(frames[places[0]])
            before: deque[tuple[int, ReducedFrame]] = deque(maxlen=axis.reach)
            for start in range(0, len(places), BLOCKS_AT_ONCE):
                some = [frames[place] for place in places[start : start + BLOCKS_AT_ONCE]]
                work = []
                for frame in some:
                    group = shared[job.group(frame, channel)]
                    plane = job.plane(frame, channel, group, None, None)
                    if not plane.is_left_alone:
                        index = layout.index(
                            frame, channel, slice(0, layout.height), slice(0, layout.width),
                            slice(None),
                        )  # fmt: skip
                        box = tuple(slice(i, i + 1) if isinstance(i, int) else i for i in index)
                        origin = tuple(i.start or 0 for i in box)
                        work.append((frame, reduce(job, group, frame, channel, image[box], origin)))
                reduced = compute_dask(*(task for _, task in work))
                for (frame, _), own in zip(work, reduced, strict=True):
                    number = frame[axis.place]
                    for other, frequencies in before:
                        if number - other <= axis.reach:
                            found[series, other, number] = find_shift(frequencies, own)
                    before.append((number, own))
                yield
    return found


def _reduce(
    job: Job, group: GroupConditioning, frame: tuple[int, ...], channel: int, pixels: Any,
    origin: tuple[int, ...],
) -> ReducedFrame:  # fmt: skip
    """Reduce a frame; runs as a dask task. ``pixels`` is the part of the image from ``origin`` on."""
    source = MarkedSource(Region(pixels, origin), job.layout, job.nodata)
    return reduce_plane(job.plane(frame, channel, group, source, None))
