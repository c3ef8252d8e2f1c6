"""Containers of video: their streams, and the presentation times of the frames."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Sample
from napari_dcr.io.files import import_optional
from napari_dcr.io.signatures import HEAD, PICTURES, suffix_by_content
from napari_dcr.io.video_structure import Y4M, avi_frames, is_cut_off, y4m_frames

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,yuv4mpegpipe"
"""Names of the FFmpeg demuxers that may be used; others, such as playlists, would open other files."""

KINDS = "mp4, mov, mkv, webm, avi, gif or y4m"

SAMPLE = 64
"""Largest number of frames, evenly spaced over the recording, that are surveyed for the tone curve."""

PLACEHOLDER = 16
"""Largest size in bytes of a placeholder packet, whose frame is part of another packet."""


def import_av() -> Any:
    """Import PyAV, the package through which FFmpeg is called."""
    return import_optional("av", "video")


def open_container(path: Path, **more: str) -> Any:
    """Open a file, but no other files that it may refer to."""
    av = import_av()
    with path.open("rb") as file:
        start = file.read(HEAD)
    if suffix_by_content(start) in PICTURES:  # FFmpeg would decode one tile of them
        raise ValueError("it is a picture, not a video")
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", **more}
    try:
        return av.open(f"file:{path}", options=options)
    except av.FFmpegError as error:
        if start[4:8] == b"ftyp" or start[:4] == b"RIFF":
            raise ValueError("it is cut off: the index of its frames is missing") from error
        if start[:4] == b"\x1a\x45\xdf\xa3":
            raise ValueError("it is cut off: the description of its frames is missing") from error
        raise ValueError(f"its content is not that of a video in {KINDS}") from error


def is_cover(stream: Any) -> bool:
    """Whether a stream is a cover picture."""
    return bool(stream.disposition & import_av().stream.Disposition.attached_pic)


def is_chapter_track(stream: Any) -> bool:
    """Whether a stream of MP4 or QuickTime holds the titles of chapters, which FFmpeg reads itself."""
    return bool(stream.type == "data" and stream.discard == import_av().stream.Discard.all)


def video_stream(container: Any) -> Any:
    """First video stream of a container, set up for decoding with several threads."""
    moving = (s for s in container.streams.video if not is_cover(s))
    found = next(moving, None)
    if found is None:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise ValueError(f"it holds no video, only {' and '.join(kinds)}")
    if found.codec_context is None:
        raise ValueError("its codec is not known to FFmpeg")
    found.thread_type = "AUTO"
    return found


@dataclass(frozen=True, eq=False)
class Index:
    """Presentation times of the frames, and the frames at which decoding can start.

    Attributes
    ----------
    times : ndarray of int64
        Presentation times in increasing order.
    keys : ndarray of int64
        Numbers of key frames; empty if frames can only be decoded from the first one on.
    last : int
        Duration of the last frame.
    digest : str
        SHA-256 of the stored data of all frames.
    """

    times: NDArray[np.int64]
    keys: NDArray[np.int64]
    last: int
    digest: str

    @property
    def is_seekable(self) -> bool:
        """Whether decoding can start at a frame other than the first one."""
        return bool(len(self.keys))

    def sample(self, most: int = SAMPLE) -> Sample:
        """Frames to survey in place of all: evenly spaced, preferably key frames."""
        count = len(self.times)
        if count <= most:
            return Sample(tuple(range(count)), self.digest)
        step = count / most
        found = set()
        for wanted in (step / 2 + step * np.arange(most)).astype(int):
            near = self.keys[np.abs(self.keys - wanted) <= step / 2]
            found.add(int(near[np.abs(near - wanted).argmin()]) if len(near) else int(wanted))
        return Sample(tuple(sorted(found)), self.digest)


def find_index(path: Path, container: Any, stream: Any, notes: list[str]) -> Index:
    """Determine the presentation times of the frames, if possible without decoding them."""
    count, full, corrupt = 0, 0, 0
    times, keys, lengths = [], [], []
    digest = hashlib.sha256()
    for packet in _packets(container, stream):
        if not packet.size:  # the end
            continue
        count += 1
        full += packet.size > PLACEHOLDER
        digest.update(packet)
        corrupt += packet.is_corrupt
        if not packet.is_discard:
            times.append(packet.pts)
            keys.append(packet.is_keyframe)
            lengths.append(packet.duration or 0)
    stored = _checked_count(path, container, stream, count, corrupt, notes)
    if not count:
        raise ValueError("it holds no frames")
    is_stated = None not in times and len(set(times)) == len(times)
    if not is_stated or ("avi" in container.format.name and not all(keys)):
        times, lengths = _decoded_times(path, sorted(times) if is_stated else [])
        keys = [False] * len(times)
        if len(times) < full:
            notes.append(f"{full - len(times)} of its frames cannot be decoded and are left out")
    at = np.array(times, np.int64)
    order = np.argsort(at, kind="stable")
    last = int(lengths[order[-1]])
    if stored > count:  # the last frame of an AVI may be repeated
        last = max(last, stored - int(at.max()))
    if last <= 0:
        last = int(np.median(np.diff(at[order]))) if len(at) > 1 else 1
    return Index(at[order], np.flatnonzero(np.array(keys)[order]), last, digest.hexdigest())


def _checked_count(
    path: Path, container: Any, stream: Any, count: int, corrupt: int, notes: list[str]
) -> int:
    """Number of stored frames, with those of an AVI that repeat the previous one.

    Raises
    ------
    ValueError
        If the file is truncated or damaged.
    """
    name, stated, whole = container.format.name, stream.frames, count - corrupt
    if name == "gif":
        stated = 0  # it is unknown
    elif name == Y4M:
        stated = y4m_frames(path, stream)
    elif "mp4" in name and count < stated:  # an edit list may hide some
        with open_container(path, ignore_editlist="1") as every:
            packets = _packets(every, video_stream(every))
            stated -= max(0, sum(packet.size > 0 for packet in packets) - count)
    found = (
        f"{whole} of {stated} frames" if stated > whole else f"{whole} frame{'s' * (whole != 1)}"
    )
    is_told = name in ("avi", Y4M)  # the structure tells a truncated file from a damaged one
    if is_cut_off(path, container) or (count < stated and not is_told):
        if stated and whole >= stated and name != Y4M:
            raise ValueError("it is cut off; its frames are complete, but what follows them is not")
        raise ValueError(f"it is cut off after {found}")
    stored: int | None = count
    if count < stated:
        stored = avi_frames(path, stream.index) if name == "avi" else None
    if corrupt or stored is None:
        raise ValueError(f"it is damaged: only {found} can be found")
    if stored < stated:
        notes.append(f"its header counts {stated} frames, but it holds {stored}")
    return stored


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of a stream, up to bytes that are no frame in a raw Y4M file.

    Raises
    ------
    ValueError
        If the container is damaged.
    """
    av = import_av()  # not when the generator is closed, as the interpreter may be ending
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        if container.format.name != Y4M:
            raise ValueError("it is cut off or damaged") from error


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in the order of presentation, without those that cannot be decoded."""
    av = import_av()
    for packet in _packets(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise


def _decoded_times(path: Path, slots: list[int]) -> tuple[list[int], list[int]]:
    """Times and durations of all frames, by decoding them.

    An AVI states when packets are decoded, so that times of H.264 with B-frames come out of order.
    Then the frames get the packets' times (slots) one after the other, if there are as many.
    """
    with open_container(path) as container:
        found = [
            (frame.pts, frame.dts, frame.duration or 0)
            for frame in decoded_frames(container, video_stream(container))
        ]
    lengths = [length for _, _, length in found]
    stated = [shown for shown, _, _ in found if shown is not None]
    if any(after < before for before, after in itertools.pairwise(stated)):
        if len(slots) == len(found):
            return slots, lengths
        found = [(decoded, decoded, length) for _, decoded, length in found]
    times: list[int] = []
    for at, _, _ in found:
        soonest = times[-1] + 1 if times else at or 0
        times.append(soonest if at is None else max(soonest, at))
    return times, lengths
