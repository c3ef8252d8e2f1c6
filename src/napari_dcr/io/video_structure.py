"""Structure of video files: whether the container is complete, and the frames of an AVI."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from napari_dcr.io.files import import_optional

Y4M = "yuv4mpegpipe"
"""FFmpeg's name of raw Y4M files."""

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
"""EBML names of elements of Matroska whose sizes may be unknown."""


def is_cut_off(path: Path, container: Any) -> bool:
    """Whether the file ends before its container does.

    Demuxers do not report this, and return the packets that are left.

    Parameters
    ----------
    path : Path
    container : av.container.InputContainer
        The opened file.

    Raises
    ------
    ValueError
        If the structure of a GIF is damaged.
    """
    name, size = container.format.name, path.stat().st_size
    with path.open("rb") as file:
        if name == "gif":
            return not _gif_ends(file)
        if name == "avi":
            return any(
                kind == b"movi" and place + length > size
                for kind, place, length in _riff(file, 0, size)
            )
        if "matroska" in name:
            return _is_matroska_cut_off(file, size)
        if name == Y4M:
            return _is_y4m_cut_off(file, size, container.streams.video[0])
        if "mp4" in name:
            return _is_mp4_cut_off(file, size)
    return False


def avi_frames(path: Path, stream: int) -> int | None:
    """Number of chunks of a stream of an AVI; None if the structure of the file is damaged.

    An empty chunk repeats the previous frame.  It counts here, but is no packet of FFmpeg's demuxer.

    Parameters
    ----------
    path : Path
    stream : int
        Number of the stream.
    """
    size, count = path.stat().st_size, 0
    with path.open("rb") as file:
        for kind, place, length in _riff(file, 0, size):
            if kind != b"movi":
                continue
            end = place + length
            for name, start, extent in _riff(file, place, end):
                if name[:2] == b"%02d" % stream and name[2:] in (b"dc", b"db"):
                    count += 1
                place = start + extent + extent % 2
            if place < end - 1:
                return None
    return count


def y4m_frames(path: Path, stream: Any) -> int:
    """Number of frames that a raw Y4M file has room for."""
    with path.open("rb") as file:
        start, each = _y4m_frame(file, stream)
    return max(0, path.stat().st_size - start) // each


def _riff(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Names, places and sizes of the chunks of a RIFF file; of a list, those of its chunks too.

    The chunks of the frames, in the list ``movi``, are left out where the file is read from its
    beginning.
    """
    while place + 8 <= end:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if not name.strip().isalnum():
            return
        place += 8
        if name in (b"RIFF", b"LIST"):
            kind = file.read(4)
            yield kind, place + 4, length - 4
            if kind in (b"AVI ", b"AVIX", b"rec "):
                yield from _riff(file, place + 4, min(end, place + length))
        else:
            yield name, place, length
        place += length + length % 2


def _is_mp4_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether the last box with frames or their index ends after the file."""
    place, name = 0, b""
    while place + 8 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8))
        if length < 8:  # up to the end of the file, or bytes that are no box
            return False
        place += length
        if place > size:
            return name in (b"moov", b"moof", b"mdat")
    return name == b"moof"  # the frames of this fragment are missing


def _is_matroska_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether the last element ends after the file; the sizes of a live recording are unknown."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(12)
        at = 9 - head[0].bit_length()
        wide = 9 - head[at].bit_length() if at < len(head) else 1
        if at > 4 or wide > 8:  # no element
            return False
        if len(head) < at + wide:
            return True
        name, unknown = head[:at], (1 << 7 * wide) - 1
        length = int.from_bytes(head[at : at + wide]) & unknown
        place += at + wide
        if length != unknown:
            place += length
            if name == _SEGMENT:  # holds everything; bytes after it do not count
                break
        elif name not in (_SEGMENT, _CLUSTER):
            return False
    return place > size


def _is_y4m_cut_off(file: BinaryIO, size: int, stream: Any) -> bool:
    """Whether the last frame is incomplete; other bytes after the last frame do not count."""
    start, each = _y4m_frame(file, stream)
    rest = (size - start) % each
    file.seek(size - rest)
    return bool(rest) and b"FRAME".startswith(file.read(min(rest, 5)))


def _y4m_frame(file: BinaryIO, stream: Any) -> tuple[int, int]:
    """Place of the first frame, and size of a frame with its header."""
    av = import_optional("av", "video")
    start = len(file.readline(4096))
    planes = av.VideoFrame(stream.width, stream.height, stream.format.name).planes
    wide = 2 if max(c.bits for c in stream.format.components) > 8 else 1
    return start, len(file.readline(4096)) + sum(p.width * p.height * wide for p in planes)


def _gif_ends(file: BinaryIO) -> bool:
    """Whether the blocks of a GIF end with its trailer; bytes after it do not count."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            place = 13 + _palette(data[10])
            while data[place] != 0x3B:
                if data[place] == 0x21:
                    place += 2
                elif data[place] == 0x2C:
                    place += 11 + _palette(data[place + 9])
                else:
                    raise ValueError(f"it is damaged: no block of a GIF begins at its byte {place}")
                while data[place]:  # blocks of up to 255 bytes
                    place += 1 + data[place]
                place += 1
        except IndexError:
            return False
    return True


def _palette(flags: int) -> int:
    """Size in bytes of the palette that flags of a GIF announce."""
    return 3 << 1 + (flags & 7) if flags & 0x80 else 0
