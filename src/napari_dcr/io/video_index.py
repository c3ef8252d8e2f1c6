"""Containers of video: their streams, and the presentation times of the frames."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Sample
from napari_dcr.io.files import import_optional
from napari_dcr.io.signatures import PICTURES, suffix_by_content

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


def open_container(path: Path) -> Any:
    """Open a file, but no other files that it may refer to."""
    av = import_av()
    with path.open("rb") as file:
        start = file.read(12)
    if suffix_by_content(start) in PICTURES:  # FFmpeg would decode one tile of them
        raise ValueError("it is a picture, not a video")
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path}", options=options)
    except (av.InvalidDataError, av.ArgumentError) as error:
        if start[4:8] == b"ftyp" or start[:4] == b"RIFF":
            raise ValueError("it is cut off: the index of its frames is missing") from error
        raise ValueError(f"its content is not that of a video in {KINDS}") from error


def is_cover(stream: Any) -> bool:
    """Whether a stream is a cover picture."""
    return bool(stream.disposition & import_av().stream.Disposition.attached_pic)


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
    count, full, corrupt = 0, 0, False
    times, keys, lengths = [], [], []
    digest = hashlib.sha256()
    for packet in container.demux(stream):
        if not packet.size:  # the end
            continue
        count += 1
        full += packet.size > PLACEHOLDER
        digest.update(packet)
        corrupt = corrupt or packet.is_corrupt
        if not packet.is_discard:
            times.append(packet.pts)
            keys.append(packet.is_keyframe)
            lengths.append(packet.duration or 0)
    if corrupt or count < stream.frames or _is_cut_off(path, container):
        of = f" of {stream.frames}" if stream.frames > count else ""
        raise ValueError(f"it is cut off after {count - corrupt}{of} frames")
    if not count:
        raise ValueError("it holds no frames")
    is_stated = None not in times and len(set(times)) == len(times)
    if not is_stated or ("avi" in container.format.name and not all(keys)):
        times, lengths = _decoded_times(path)
        keys = [False] * len(times)
        if len(times) < full:
            notes.append(f"{full - len(times)} of its frames cannot be decoded and are left out")
    at = np.array(times, np.int64)
    order = np.argsort(at, kind="stable")
    last = int(lengths[order[-1]])
    if last <= 0:
        last = int(np.median(np.diff(at[order]))) if len(at) > 1 else 1
    return Index(at[order], np.flatnonzero(np.array(keys)[order]), last, digest.hexdigest())


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames in the order of presentation, without those that cannot be decoded."""
    av = import_av()
    for packet in container.demux(stream):
        with contextlib.suppress(av.InvalidDataError):
            yield from packet.decode()


def _decoded_times(path: Path) -> tuple[list[int], list[int]]:
    """Times and durations of all frames, by decoding them."""
    times: list[int] = []
    lengths = []
    with open_container(path) as container:
        for frame in decoded_frames(container, video_stream(container)):
            soonest = times[-1] + 1 if times else frame.pts or 0
            times.append(soonest if frame.pts is None else max(soonest, frame.pts))
            lengths.append(frame.duration or 0)
    return times, lengths


def _is_cut_off(path: Path, container: Any) -> bool:
    """Whether the file is truncated, for containers whose demuxers do not report this."""
    size, name = path.stat().st_size, container.format.name
    with path.open("rb") as file:
        if name == "gif":
            file.seek(-1, 2)
            return file.read(1) != b"\x3b"
        if "matroska" in name:
            head = file.read(4096)
            place = (
                head.find(b"\x18\x53\x80\x67") + 4
            )  # the segment, which contains everything else
            length = 9 - int(head[place]).bit_length()
            stated = int.from_bytes(head[place : place + length]) & ((1 << 7 * length) - 1)
            unknown = stated == (1 << 7 * length) - 1  # of a live recording
            return not unknown and place + length + stated > size
        if name == "yuv4mpegpipe":
            head = file.readline(4096)
            file.seek(len(head))
            frame = container.streams.video[0]
            each = len(file.readline(4096)) + _bytes_of(frame)
            return (size - len(head)) % each != 0
    return False


def _bytes_of(stream: Any) -> int:
    """Size of an uncompressed frame in bytes."""
    av = import_av()
    planes = av.VideoFrame(stream.width, stream.height, stream.format.name).planes
    wide = 2 if max(c.bits for c in stream.format.components) > 8 else 1
    return sum(plane.width * plane.height * wide for plane in planes)
