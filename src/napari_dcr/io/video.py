"""Open video files as images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io import tags as t
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import stamp_of, warnings_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.video_colours import Colours
from napari_dcr.io.video_frames import Frames
from napari_dcr.io.video_index import (
    decoded_frames,
    find_index,
    is_chapter_track,
    is_cover,
    open_container,
    video_stream,
)
from napari_dcr.io.video_structure import is_cut_off

MATRIX_OF = {
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip
"""Display matrix (a, b, c, d) of each EXIF orientation: x' = a x + c y, y' = b x + d y."""

FINEST = 1_000_000
"""Largest number of units of time per second of joined videos."""


@dataclass(frozen=True)
class Chapter:
    """A chapter of a video, in milliseconds from the zero of its clock."""

    start: int
    end: int
    texts: dict[str, str]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Chapter:
        """Convert a chapter as PyAV returns it."""
        start, end = (round(1000 * entry[key] * entry["time_base"]) for key in ("start", "end"))
        return cls(start, end, dict(entry["metadata"]))

    def moved(self, seconds: Fraction, first: Fraction, last: Fraction) -> Chapter:
        """Copy that is later by some seconds, cut to what lies between two times."""
        shift, low, high = (round(1000 * time) for time in (seconds, first, last))
        start, end = (min(max(time + shift, low), high) for time in (self.start, self.end))
        return replace(self, start=start, end=end)


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """Metadata of a video, for a result that is a video, too.

    Attributes
    ----------
    path : Path
    times : ndarray of int64
        Presentation time of each frame, in units of ``time_base``.
    time_base : Fraction
        Unit of time in seconds.
    last : int
        Duration of the last frame.
    rate : Fraction
        Mean number of frames per second.
    bits : int
        Bit depth of a sample.
    matrix, primaries, transfer : int
        Colour codes of ITU-T H.273; 2 is unknown.
    aspect : Fraction
        Width of a pixel divided by its height.
    texts, stream_texts : dict
        Metadata of the file, such as title, date and place; metadata of the stream, such as language.
    sound : tuple of str
        Names of the files that have sound.
    is_joined : bool
        Whether the frames are those of several files.
    chapters : tuple of Chapter
    """

    path: Path
    times: NDArray[np.int64]
    time_base: Fraction
    last: int
    rate: Fraction
    bits: int
    matrix: int
    primaries: int
    transfer: int
    aspect: Fraction
    texts: dict[str, str] = field(default_factory=dict)
    stream_texts: dict[str, str] = field(default_factory=dict)
    sound: tuple[str, ...] = ()
    is_joined: bool = False
    chapters: tuple[Chapter, ...] = ()

    def clock(self, unit: Fraction) -> NDArray[np.int64]:
        """Start of each frame, and the end of the last one, from the first, in units of time."""
        ticks = np.append(self.times, self.times[-1] + self.last) - self.times[0]
        scale = self.time_base / unit
        return (2 * ticks * scale.numerator + scale.denominator) // (2 * scale.denominator)


def consecutive(videos: Sequence[VideoInfo]) -> VideoInfo:
    """Metadata of several videos that are shown one after the other.

    Colours, pixel shape and texts are those of the first.
    """
    bases = [video.time_base for video in videos]
    unit = Fraction(
        math.gcd(*(base.numerator for base in bases)),
        math.lcm(*(base.denominator for base in bases)),
    )
    if unit.denominator > FINEST:
        unit = Fraction(1, 90000)
    clocks = [video.clock(unit) for video in videos]
    starts = np.cumsum([0, *(clock[-1] for clock in clocks)])
    times = np.concatenate([clock[:-1] + at for clock, at in zip(clocks, starts, strict=False)])
    chapters = [
        chapter.moved(first - int(video.times[0]) * video.time_base, first, last)
        for video, (first, last) in zip(
            videos, itertools.pairwise(int(at) * unit for at in starts), strict=True
        )
        for chapter in video.chapters
    ]
    return replace(
        videos[0],
        times=times,
        time_base=unit,
        last=int(starts[-1] - times[-1]),
        rate=_rate(times, unit),
        bits=max(video.bits for video in videos),
        sound=tuple(name for video in videos for name in video.sound),
        is_joined=True,
        chapters=tuple(chapter for chapter in chapters if chapter.start < chapter.end),
    )


def _rate(times: NDArray[np.int64], unit: Fraction) -> Fraction:
    """Mean number of frames per second."""
    if len(times) < 2:
        return Fraction(25)
    interval = Fraction(int(times[-1] - times[0]), len(times) - 1) * unit
    return (1 / interval).limit_denominator(1001000)


def open_video(path: Path) -> Opened:
    """Open a video without decoding more than its first frame.

    The frames of an AVI are decoded once to find their order and number, unless all of them are
    key frames.

    Raises
    ------
    ValueError
        If it is not a video, is truncated, or has colours that cannot be converted.
    """
    notes: list[str] = []
    with open_container(path) as container:
        try:
            stream = video_stream(container)
        except ValueError:
            if is_cut_off(path, container):
                raise ValueError("it is cut off: the index of its frames is incomplete") from None
            raise
        for other in container.streams:
            is_kept = other.type == "audio" or other.index == stream.index or is_cover(other)
            if not (is_kept or is_chapter_track(other)):
                notes.append(f"its further {other.type} stream is left out")
        index = find_index(path, container, stream, notes)
        sound = (path.name,) if container.streams.audio else ()
        texts, stream_texts = dict(container.metadata), dict(stream.metadata)
        chapters = tuple(map(Chapter.of, container.chapters()))
        time_base, aspect = stream.time_base, stream.sample_aspect_ratio or Fraction(1)
    with open_container(path) as container:
        stream = video_stream(container)
        first = next(decoded_frames(container, stream), None)
        if first is None:
            raise ValueError("none of its frames can be decoded; it is cut off or damaged")
        is_mask = stream.metadata.get("alpha_mode") == "1"
    colours = Colours.of(first, notes)
    if is_mask or (any(c.is_alpha for c in first.format.components) and _is_transparent(first)):
        notes.append("its transparency is left out")
    if first.interlaced_frame:
        notes.append(
            "it is interlaced: the two fields of a frame are enhanced as one picture; deinterlace"
            " it first if the edges of moving objects are torn"
        )
    orientation = _orientation(first, notes)
    warnings = warnings_of(path, tuple(notes))
    size = (first.height, first.width) if colours.is_grey else (first.height, first.width, 3)
    frames = Frames(path, index, size, colours, warnings)
    count, times = len(index.times), index.times
    sizes = {"y": 1.0, "x": float(aspect)} if aspect != 1 else {}
    if count > 1:
        interval = Fraction(int(times[-1] - times[0]), count - 1) * time_base
        sizes["t"] = float(interval)
    bits = colours.bits if colours.is_grey and colours.bits > 8 else 0
    calibration = Calibration(sizes, {"t": "second"} if count > 1 else {}, bits=bits)
    recording = VideoInfo(
        path, times, time_base, index.last, _rate(times, time_base), colours.bits, colours.matrix,
        first.color_primaries, first.color_trc, aspect, texts, stream_texts,
        sound, chapters=chapters,
    )  # fmt: skip
    found = {} if orientation == 1 else {t.ORIENTATION: t.short_tag(orientation)}
    return Opened(
        frames, "tyx" if colours.is_grey else "tyxs", lambda: stamp_of(path),
        metadata=Metadata(found, calibration=calibration, native=recording),
        samples="" if colours.is_grey else "rgb", warnings=warnings, bits=calibration.bits,
        sample=index.sample(),
    )  # fmt: skip


def _is_transparent(frame: Any) -> bool:
    """Whether a frame has pixels that are not opaque."""
    alpha = frame.reformat(format="yuva444p").planes[3]
    values = np.frombuffer(alpha, np.uint8).reshape(frame.height, -1)
    return bool((values[:, : frame.width] < 255).any())


def _orientation(frame: Any, notes: list[str]) -> int:
    """EXIF orientation of a frame's display matrix."""
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            values = np.frombuffer(bytes(side), "<i4")[[0, 1, 3, 4]].astype(float)
            values[np.abs(values) < np.abs(values).max() / 100] = 0
            turn = tuple(int(v) for v in np.sign(values))
            found = next((number for number, m in MATRIX_OF.items() if m == turn), None)
            if found is None and any(turn):
                angle = round(math.degrees(math.atan2(values[1], values[0])))
                notes.append(
                    f"its display matrix, which turns it by {angle} degrees, is left out; only right"
                    " angles and mirroring are kept"
                )
            return found or 1
    return 1
