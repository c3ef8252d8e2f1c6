"""Structure of video files: whether the container is complete, and the frames of an AVI."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from napari_dcr.io.files import import_optional

Y4M = "yuv4mpegpipe"
"""FFmpeg's name of raw Y4M files."""

_MISSING = "it is damaged from its byte {} on, so frames are missing"
"""Message for a container whose frames cannot all be found."""

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TRACKS, _TRACK, _GROUP, _BLOCKS = b"\x16\x54\xae\x6b", b"\xae", b"\xa0", (b"\xa1", b"\xa3")
"""EBML names of elements of Matroska."""


def _names(text: str) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(name) for name in text.split()) | {b"\xec", b"\xbf"}


_PARTS = {
    b"": frozenset({_EBML, _SEGMENT, b"\xec"}),
    _SEGMENT: _names("114d9b74 1549a966 1654ae6b 1f43b675 1c53bb6b 1941a469 1043a770 1254c367 1b538667"),
    _CLUSTER: _names("e7 5854 a7 ab a3 a0 af"),
    _GROUP: _names("a1 a2 75a1 9b fa fb fd a4 75a2 8e c8"),
    _TRACKS: _names("ae"),
    _TRACK: frozenset(),
}  # fmt: skip
"""EBML names that an element may contain (RFC 9559); empty for any."""


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
        If the structure of a GIF, a Matroska file or a fragmented MP4 is damaged.
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
    """Whether the last box with frames or their index ends after the file.

    Raises
    ------
    ValueError
        If a fragment is damaged.  The demuxer silently leaves out its frames.
    """
    place, name, is_fragmented = 0, b"", False
    while place + 8 <= size:
        start, before, (name, length, head) = place, name, _mp4_box(file, place)
        place += length
        if (
            not _is_box(name) or length < head
        ):  # up to the end of the file, or bytes that are no box
            is_lost = before == b"moof" or (is_fragmented and _occurs(file, start, b"mdat"))
            if name != b"mdat" and is_lost:
                raise ValueError(_MISSING.format(start))
            return False
        if place > size:
            return name in (b"moov", b"moof", b"mdat")
        if name == b"moov":
            is_fragmented = b"mvex" in [each[0] for each in _mp4_boxes(file, start + head, place)]
        elif name == b"moof":
            _check_fragment(file, start + head, place)
    return name == b"moof"  # the frames of this fragment are missing


def _mp4_box(file: BinaryIO, place: int) -> tuple[bytes, int, int]:
    """Name of a box, and the sizes of the box and of its header."""
    file.seek(place)
    length, name = struct.unpack(">I4s", file.read(8))
    return (name, int.from_bytes(file.read(8)), 16) if length == 1 else (name, length, 8)


def _mp4_boxes(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Names of boxes, and where their contents begin and end; b"" for what is no box."""
    while place < end:
        name, length, head = _mp4_box(file, place) if place + 8 <= end else (b"", 0, 8)
        if not _is_box(name) or length < head or place + length > end:
            yield b"", place, end
            return
        yield name, place + head, place + length
        place += length


def _is_box(name: bytes) -> bool:
    return name.isascii() and name.strip().isalnum()


def _occurs(file: BinaryIO, place: int, text: bytes) -> bool:
    """Whether bytes occur in a file from a place on."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(text, place) >= 0


def _check_fragment(file: BinaryIO, start: int, stop: int) -> None:
    """Check that the description of the frames of a fragment is complete."""
    parts = list(_mp4_boxes(file, start, stop))
    for name, place, end in [*parts]:
        if name == b"traf":
            parts += _mp4_boxes(file, place, end)
    for name, place, end in parts:
        file.seek(place)
        if name == b"trun":
            flags, count = struct.unpack(">2I", file.read(8).ljust(8, b"\0"))
            fields = (flags & 0xF00).bit_count() * count
            if end - place != 8 + 4 * ((flags & 5).bit_count() + fields):
                name = b""
        if not name:
            raise ValueError(_MISSING.format(place))
    if not {b"mfhd", b"traf", b"tfhd"} <= {part[0] for part in parts}:
        raise ValueError(_MISSING.format(start))


def _is_matroska_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether the last element ends after the file; the sizes of a live recording are unknown.

    Raises
    ------
    ValueError
        If the frames are damaged.  The demuxer continues silently at the next cluster.
    """
    place = 0
    tracks: set[int] = set()
    around: list[tuple[bytes, float]] = [(b"", math.inf)]  # elements around the place, their ends
    while place < size:
        while place >= around[-1][1]:
            if around.pop()[0] == _SEGMENT:  # holds everything; bytes after it do not count
                return False
        file.seek(place)
        head = file.read(20)
        at = 9 - head[0].bit_length()
        wide = 9 - head[at].bit_length() if at < len(head) else 1
        name, start = head[:at], at + wide
        if around[-1][0] == _CLUSTER and name in _PARTS[_SEGMENT] - _PARTS[_CLUSTER]:
            around.pop()  # its size is unknown
        parent, end = around[-1]
        is_known = at <= 4 and wide <= 8 and (not _PARTS[parent] or name in _PARTS[parent])
        if (not parent and not is_known) or (parent and name == _EBML and end == math.inf):
            return False  # bytes after the end, or another file
        if is_known and len(head) < start:
            return True
        length, unknown = int.from_bytes(head[at:start]) & (1 << 7 * wide) - 1, (1 << 7 * wide) - 1
        is_endless = length == unknown and name in (_SEGMENT, _CLUSTER)
        stop = end if is_endless else place + start + length
        if name in _BLOCKS and length and len(head) > start and parent in (_CLUSTER, _GROUP):
            wide = 9 - head[start].bit_length()
            number = int.from_bytes(head[start : start + wide]) & (1 << 7 * wide) - 1
            is_known &= not tracks or number in tracks  # tracks may follow the clusters
        if not is_known or stop > end:
            file.seek(place)
            if end == math.inf and not file.read().strip(b"\0\n"):
                return False
            raise ValueError(_MISSING.format(place))
        if parent == _TRACK and name == b"\xd7":
            tracks.add(int.from_bytes(head[start : start + length]))
        if size < stop < math.inf:
            return True
        if name in _PARTS:
            around.append((name, stop))
        place = place + start if name in _PARTS else int(stop)
    return False


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
