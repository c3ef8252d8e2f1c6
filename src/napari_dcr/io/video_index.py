"""Containers of video: what is in them, and when each frame is shown."""

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

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,yuv4mpegpipe"
"""Names of FFmpeg's demuxers that are used; a playlist, say, would open other files."""

KINDS = "mp4, mov, mkv, webm, avi, gif or y4m"

SAMPLE = 64
"""Most frames that are surveyed, evenly from the whole recording, for the one tone of all."""

PLACEHOLDER = 16
"""Bytes up to which a packet may stand for a frame that another packet has brought."""


def import_av() -> Any:
    """The package that FFmpeg is called by."""
    return import_optional("av", "video")


def open_container(path: Path) -> Any:
    """Open a file, and nothing that it may refer to."""
    av = import_av()
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path}", options=options)
    except (av.InvalidDataError, av.ArgumentError) as error:
        with path.open("rb") as file:
            start = file.read(12)
        if start[4:8] == b"ftyp" or start[:4] == b"RIFF":
            raise ValueError("it is cut off: what says where its frames are is missing") from error
        raise ValueError(f"its content is not that of a video in {KINDS}") from error


def is_cover(stream: Any) -> bool:
    """Whether a stream is the picture that stands for a song or film."""
    return bool(stream.disposition & import_av().stream.Disposition.attached_pic)


def video_stream(container: Any) -> Any:
    """The first video stream, to be decoded by several threads."""
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
    """When frames are shown, and where decoding can begin.

    Attributes
    ----------
    times : ndarray of int64
        In rising order.
    keys : ndarray of int64
        Numbers of key frames; none where frames can only be decoded from the first one on.
    last : int
        Duration of the last frame.
    digest : str
        SHA-256 of what is stored of all frames.
    """

    times: NDArray[np.int64]
    keys: NDArray[np.int64]
    last: int
    digest: str

    @property
    def is_seekable(self) -> bool:
        """Whether the container says when each frame is shown."""
        return bool(len(self.keys))

    def sample(self, most: int = SAMPLE) -> Sample | None:
        """Frames that stand for all of them: evenly spaced, key frames where some are near."""
        count = len(self.times)
        if count <= most:
            return None
        step = count / most
        found = set()
        for wanted in (step / 2 + step * np.arange(most)).astype(int):
            near = self.keys[np.abs(self.keys - wanted) <= step / 2]
            found.add(int(near[np.abs(near - wanted).argmin()]) if len(near) else int(wanted))
        return Sample(tuple(sorted(found)), self.digest)


def find_index(path: Path, container: Any, stream: Any, notes: list[str]) -> Index:
    """Find out when frames are shown, from the container alone where it says so."""
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
    """Frames in the order in which they are shown, without those that cannot be decoded."""
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
    """Whether the file ends before its content does, where demuxers do not say so."""
    size, name = path.stat().st_size, container.format.name
    with path.open("rb") as file:
        if name == "gif":
            file.seek(-1, 2)
            return file.read(1) != b"\x3b"
        if "matroska" in name:
            head = file.read(4096)
            place = head.find(b"\x18\x53\x80\x67") + 4  # the segment, which holds all else
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
    """Bytes of an uncompressed frame."""
    av = import_av()
    planes = av.VideoFrame(stream.width, stream.height, stream.format.name).planes
    wide = 2 if max(c.bits for c in stream.format.components) > 8 else 1
    return sum(plane.width * plane.height * wide for plane in planes)
