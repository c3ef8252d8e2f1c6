"""Read and write tag directories of TIFF and EXIF without changing their values.

TIFF pages and EXIF blocks have the same structure: a directory of numbered tags, some of which
are directories themselves.  Tags can therefore be copied from one to the other.

TIFF 6.0 (Adobe 1992), section 2; BigTIFF (Aware Systems 2007); EXIF 2.3 (CIPA DC-008), section 4.6.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

DESCRIPTION, MAKE, MODEL, ORIENTATION = 270, 271, 272, 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
SOFTWARE, DATE_TIME, ARTIST, COPYRIGHT = 305, 306, 315, 33432
XMP, ICC_PROFILE, GDAL_METADATA, GDAL_NODATA = 700, 34675, 42112, 42113
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965

DIRECTORIES = (EXIF, GPS, INTEROPERABILITY)
"""Tags whose value is the offset of another directory."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Number of bytes per value of each tag type."""

_UNITS = {5: 4, 10: 4}
"""Number of bytes that are swapped together, if it is not the size of a value."""

MOST_ENTRIES = 4096
"""Largest number of tags of a directory; more are a sign of a damaged file."""

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7


@dataclass(frozen=True)
class Tag:
    """Value of a tag.

    Attributes
    ----------
    type : int
        TIFF type: 2 is ASCII, 3 SHORT, 4 LONG, 5 RATIONAL.
    data : bytes
        The values in little-endian byte order.
    directory : dict, optional
        Directory that the tag points to, instead of a value.
    """

    type: int
    data: bytes
    directory: Tags | None = None

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.data) // SIZES[self.type]

    @property
    def text(self) -> str:
        """Value of an ASCII tag."""
        text = self.data.split(b"\0")[0]
        try:
            return text.decode()
        except UnicodeDecodeError:
            return text.decode("latin-1")

    @property
    def numbers(self) -> list[float]:
        """Values as numbers."""
        if self.type in _UNITS:
            pairs = np.frombuffer(self.data, "<u4" if self.type == RATIONAL else "<i4")
            return [float(a) / float(b) if b else 0.0 for a, b in pairs.reshape(-1, 2)]
        kinds = {1: "u1", 3: "<u2", 4: "<u4", 6: "i1", 7: "u1", 8: "<i2", 9: "<i4", 11: "<f4", 12: "<f8", 16: "<u8", 17: "<i8"}  # fmt: skip
        return [float(v) for v in np.frombuffer(self.data, kinds[self.type])]


Tags = dict[int, Tag]
"""Directory: tags by number."""


def text_tag(text: str) -> Tag:
    """Create an ASCII tag; other characters are encoded as UTF-8."""
    return Tag(ASCII, text.encode() + b"\0")


def short_tag(*values: int) -> Tag:
    """Create a tag of 16-bit integers."""
    return Tag(SHORT, struct.pack(f"<{len(values)}H", *values))


def rational_tag(value: float) -> Tag:
    """Create a tag of one fraction, as exact as 32 bits allow."""
    fraction = Fraction(value).limit_denominator(10**6)
    if fraction.numerator >= 2**32:
        fraction = Fraction(int(min(value, 2**32 - 1)))
    return Tag(RATIONAL, struct.pack("<2I", fraction.numerator, fraction.denominator))


@dataclass(frozen=True)
class _Form:
    """Byte order and kind of a file: classic TIFF or BigTIFF."""

    order: str
    big: bool

    @classmethod
    def read(cls, file: IO[bytes], start: int = 0) -> _Form:
        file.seek(start)
        header = file.read(4)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        if order is None:
            raise ValueError("neither a TIFF nor an EXIF block")
        return cls(order, struct.unpack(order + "H", header[2:])[0] == 43)

    @property
    def first(self) -> int:
        """Position of the offset of the first directory."""
        return 8 if self.big else 4

    @property
    def field(self) -> int:
        """Number of bytes of an offset, which is also the size of values stored in place of one."""
        return 8 if self.big else 4

    @property
    def entry(self) -> int:
        return 20 if self.big else 12

    def offset(self, data: bytes) -> int:
        return int(struct.unpack(self.order + ("Q" if self.big else "I"), data)[0])

    def pack_offset(self, value: int) -> bytes:
        return struct.pack(self.order + ("Q" if self.big else "I"), value)

    def number_of_entries(self, file: IO[bytes]) -> int:
        size, kind = (8, "Q") if self.big else (2, "H")
        return int(struct.unpack(self.order + kind, file.read(size))[0])

    def turned(self, kind: int, data: bytes) -> bytes:
        """Convert values from or to little-endian byte order."""
        size = _UNITS.get(kind, SIZES[kind])
        if self.order == "<" or size == 1:
            return data
        return np.frombuffer(data, f"u{size}").byteswap().tobytes()


def _entries(file: IO[bytes], offset: int, form: _Form) -> tuple[list[bytes], int]:
    """Raw entries of a directory, and the position of the next directory's offset."""
    file.seek(offset)
    count = form.number_of_entries(file)
    if count > MOST_ENTRIES:
        raise ValueError(f"the directory at byte {offset} lists {count} tags: it is damaged")
    data = file.read(count * form.entry)
    entries = [data[i : i + form.entry] for i in range(0, len(data), form.entry)]
    return entries, file.tell()


def read_tags(file: IO[bytes], offset: int, form: Any = None, start: int = 0) -> Tags:
    """Read a directory and all directories that it points to; damaged tags are omitted.

    Parameters
    ----------
    file : binary file
        A TIFF, or an EXIF block.
    offset : int
        Offset of the directory, relative to ``start``.
    form : optional
        Byte order and kind; by default read from the header of the file.
    start : int
        Position in the file at which the TIFF or block begins.
    """
    form = form or _Form.read(file, start)
    tags: Tags = {}
    entries, _ = _entries(file, start + offset, form)
    for entry in entries:
        if len(entry) < form.entry:
            break
        code, kind = struct.unpack(form.order + "HH", entry[:4])
        count = form.offset(entry[4 : 4 + form.field])
        value = entry[4 + form.field :]
        if kind not in SIZES:
            continue
        size = count * SIZES[kind]
        if code in DIRECTORIES and kind in (4, 13, 16, 18):
            try:
                directory = read_tags(file, form.offset(value), form, start)
            except (ValueError, struct.error, RecursionError):
                continue
            tags[code] = Tag(LONG, b"", directory)
            continue
        if size <= form.field:
            data = value[:size]
        else:
            file.seek(start + form.offset(value))
            data = file.read(size)
        if len(data) == size:
            # Of several descriptions, the first is the file's; libraries add the others.
            tags.setdefault(code, Tag(kind, form.turned(kind, data)))
    return tags


def directories(file: IO[bytes]) -> Iterator[tuple[int, dict[int, int]]]:
    """Where the directories of the pages end, and where the values of their tags end.

    The last directory may lie past the end of a file that was cut off.

    Yields
    ------
    end : int
        First byte after the directory.
    ends : dict
        First byte after the values of each tag, by code, without those that are in the directory.
    """
    form = _Form.read(file)
    file.seek(form.first)
    offset, seen = form.offset(file.read(form.field)), set[int]()
    while offset and offset not in seen:
        seen.add(offset)
        try:
            entries, following = _entries(file, offset, form)
            after = file.read(form.field)
        except struct.error:
            yield offset + form.field, {}
            return
        ends: dict[int, int] = {}
        for entry in entries:
            if len(entry) == form.entry:
                code, kind = struct.unpack(form.order + "HH", entry[:4])
                size = form.offset(entry[4 : 4 + form.field]) * SIZES.get(kind, 0)
                if size > form.field:
                    ends.setdefault(code, form.offset(entry[4 + form.field :]) + size)
        yield following + form.field, ends
        if len(after) < form.field:
            return
        offset = form.offset(after)


def _write_directory(
    file: IO[bytes], tags: Mapping[int, Tag], kept: Iterable[bytes], following: int, form: _Form,
    start: int = 0,
) -> int:  # fmt: skip
    """Write a directory at the end of a file; returns its offset.

    Parameters
    ----------
    file : binary file
    tags : dict
        Tags to write.
    kept : iterable of bytes
        Raw entries to write unchanged.
    following : int
        Offset of the next directory.
    form : _Form
    start : int
        Position in the file to which offsets are relative.
    """
    coded = [(struct.unpack(form.order + "H", e[:2])[0], e) for e in kept]
    entries = [(code, entry) for code, entry in coded if code not in tags]
    for code, tag in tags.items():
        if tag.directory is not None:
            place = _write_directory(file, tag.directory, (), 0, form, start)
            kind, count, value = LONG, 1, struct.pack(form.order + "I", place)
            if form.big:
                kind, value = 16, form.pack_offset(place)  # LONG8: Pillow does not follow IFD8
        else:
            kind, count, value = tag.type, tag.count, form.turned(tag.type, tag.data)
        if len(value) > form.field:
            file.seek(0, 2)
            file.write(bytes(-(file.tell() - start) % 2))
            value, data = form.pack_offset(file.tell() - start), value
            file.write(data)
        head = struct.pack(form.order + "HH", code, kind) + form.pack_offset(count)
        entries.append((code, head + value.ljust(form.field, b"\0")))
    file.seek(0, 2)
    file.write(bytes(-(file.tell() - start) % 2))
    place = file.tell() - start
    file.write(struct.pack(form.order + ("Q" if form.big else "H"), len(entries)))
    file.write(b"".join(entry for _, entry in sorted(entries, key=lambda pair: pair[0])))
    file.write(form.pack_offset(following))
    return place


def _replace_directory(file: IO[bytes], place: int, tags: Mapping[int, Tag], form: _Form) -> int:
    """Replace a directory by one with further tags; returns the position of the next offset.

    Parameters
    ----------
    file : binary file
    place : int
        Position of the offset of the directory.
    tags : dict
        Tags to add or replace.
    form : _Form
    """
    file.seek(place)
    entries, following = _entries(file, form.offset(file.read(form.field)), form)
    file.seek(following)
    after = form.offset(file.read(form.field))
    offset = _write_directory(file, tags, entries, after, form)
    file.seek(place)
    file.write(form.pack_offset(offset))
    return _entries(file, offset, form)[1]


def graft(path: Path, pages: Mapping[int, Tags]) -> None:
    """Add or replace tags of the pages of a TIFF, without moving its pixels.

    Parameters
    ----------
    path : Path
    pages : dict
        Tags by number of page; pages that the file does not have are ignored.
    """
    if not any(pages.values()):
        return
    with path.open("r+b") as file:
        form = _Form.read(file)
        place, number = form.first, 0
        while number <= max(pages):
            file.seek(place)
            offset = form.offset(file.read(form.field))
            if not offset:
                break
            _, following = _entries(file, offset, form)
            tags = pages.get(number)
            if tags:
                following = _replace_directory(file, place, tags, form)
            place, number = following, number + 1


def to_exif(tags: Tags) -> bytes:
    """Create an EXIF block that starts with its byte order; empty without tags."""
    if not tags:
        return b""
    block = io.BytesIO(b"II*\0" + bytes(4))
    form = _Form("<", False)
    offset = _write_directory(block, tags, (), 0, form)
    block.seek(4)
    block.write(form.pack_offset(offset))
    return block.getvalue()


def with_tags(block: bytes, tags: Tags) -> bytes:
    """Add tags to the first directory of an EXIF block; all other data keep their offsets."""
    if not tags:
        return block
    file = io.BytesIO(block)
    try:
        form = _Form.read(file)
        _replace_directory(file, form.first, tags, form)
    except (ValueError, struct.error):  # a damaged block is not changed
        return block
    return file.getvalue()


def from_exif(block: bytes) -> Tags:
    """Tags of an EXIF block, with or without the prefix ``Exif``; empty if it is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    file = io.BytesIO(block)
    try:
        form = _Form.read(file)
        return read_tags(file, form.offset(block[form.first : form.first + form.field]), form)
    except (ValueError, struct.error):
        return {}


def without_thumbnail(block: bytes) -> bytes:
    """Remove the reference of an EXIF block to its thumbnail, which shows the old picture.

    All other data keep their offsets, because maker notes contain offsets that cannot be corrected.
    """
    prefix = b"Exif\0\0" if block.startswith(b"Exif\0\0") else b""
    body = bytearray(block.removeprefix(prefix))
    file = io.BytesIO(bytes(body))
    try:
        form = _Form.read(file)
        _, place = _entries(
            file, form.offset(bytes(body[form.first : form.first + form.field])), form
        )
    except (ValueError, struct.error):
        return block
    body[place : place + form.field] = bytes(form.field)
    return prefix + bytes(body)
