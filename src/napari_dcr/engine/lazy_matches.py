"""Find how the frames of a dask array match, by dask tasks that run before the result."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.group_survey import BLOCKS_AT_ONCE
from napari_dcr.engine.lazy import Job
from napari_dcr.engine.neighbours import Matches, reduce_plane
from napari_dcr.engine.sources import MarkedSource, Region, compute_dask
from napari_dcr.engine.survey_progress import Pass
from napari_dcr.image.frame_matches import find_match
from napari_dcr.image.frame_shifts import ReducedFrame


def find_matches_lazily(
    image: Any, job: Job, shared: Sequence[GroupConditioning]
) -> Generator[str, None, Matches]:
    """Find how all neighbouring frames match, with bounded memory use.

    Parameters
    ----------
    image : dask.array.Array
    job : Job
    shared : sequence of GroupConditioning
        Conditioning of each group of planes, by its number.

    Yields
    ------
    str
        After every few frames, how far this is. The generator returns the matches.
    """
    from dask.delayed import delayed

    axis, layout = job.axis, job.layout
    matches: Matches = {}
    if axis is None:
        return matches
    reduce = delayed(_reduce, pure=False)
    frames = list(layout.frames())
    this, done = Pass("Comparing neighbouring frames", layout.channels * len(frames)), 0
    for channel in range(layout.channels):
        for places in axis.by_series(frames):
            series = channel, axis.series(frames[places[0]])
            before: deque[tuple[int, ReducedFrame]] = deque(maxlen=axis.reach)
            for start in range(0, len(places), BLOCKS_AT_ONCE):
                tasks = []
                for place in places[start : start + BLOCKS_AT_ONCE]:
                    frame = frames[place]
                    group = shared[job.group(frame, channel)]
                    plane = job.plane(frame, channel, group, None, None)
                    if not plane.is_left_alone:
                        index = layout.index(
                            frame, channel, slice(0, layout.height), slice(0, layout.width),
                            slice(None),
                        )  # fmt: skip
                        box = tuple(slice(i, i + 1) if isinstance(i, int) else i for i in index)
                        origin = tuple(i.start or 0 for i in box)
                        task = reduce(job, group, frame, channel, image[box], origin)
                        tasks.append((frame, task))
                reduced_frames = compute_dask(*(task for _, task in tasks))
                for (frame, _), reduced in zip(tasks, reduced_frames, strict=True):
                    number = frame[axis.place]
                    for other, reduced_other in before:
                        if number - other <= axis.reach:
                            matches[series, other, number] = find_match(reduced_other, reduced)
                    before.append((number, reduced))
                done += len(places[start : start + BLOCKS_AT_ONCE])
                yield this.describe(done)
    return matches


def _reduce(
    job: Job, group: GroupConditioning, frame: tuple[int, ...], channel: int, pixels: Any,
    origin: tuple[int, ...],
) -> ReducedFrame:  # fmt: skip
    """Reduce a frame; runs as a dask task. ``pixels`` are those of the frame, at ``origin`` in the image."""
    source = MarkedSource(Region(pixels, origin), job.layout, job.nodata)
    return reduce_plane(job.plane(frame, channel, group, source, None))
