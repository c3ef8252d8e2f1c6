"""Boxes of the ISO base media file format, used by HEIC, AVIF and JPEG XL, and colour codes.

ISO/IEC 14496-12, sections 4.2 and 8.11; ISO/IEC 23008-12, section 6.5; ITU-T H.273, tables 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PRIMARIES = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
"""Names of the primaries of ITU-T H.273."""

UNUSUAL_TRANSFERS = {
    8: "linear light", 9: "a logarithmic curve", 10: "a logarithmic curve",
    16: "PQ (HDR)", 17: "SMPTE ST 428-1 (cinema)", 18: "HLG (HDR)",
}  # fmt: skip
"""Transfer functions that differ from sRGB so much that the pixels cannot be used as they are."""


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of consecutive boxes; stop at a damaged one."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        if size == 0:
            size = end - start
        if size < head:
            return
        yield kind, data[start + head : min(start + size, end)]
        start += size


def properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each property of the primary picture of a file."""
    meta = next((content[4:] for kind, content in boxes(data) if kind == b"meta"), b"")
    parts = dict(boxes(meta))
    inner = list(boxes(parts.get(b"iprp", b"")))
    found = [each for kind, content in inner if kind == b"ipco" for each in boxes(content)]
    pitm = parts.get(b"pitm", b"")
    primary = int.from_bytes(pitm[4 : 8 if pitm[:1] == b"\1" else 6], "big")
    numbers = [n for kind, content in inner if kind == b"ipma" for n in _of(content, primary)]
    return [found[n - 1] for n in numbers if 0 < n <= len(found)]


def _of(ipma: bytes, item: int) -> list[int]:
    """Numbers of the properties of an item."""
    try:
        version, wide = ipma[0], ipma[3] & 1
        count, place = struct.unpack_from(">I", ipma, 4)[0], 8
        for _ in range(count):
            (number,) = struct.unpack_from(">I" if version else ">H", ipma, place)
            place += 4 if version else 2
            many, place = ipma[place], place + 1
            size = 2 if wide else 1
            listed = [
                int.from_bytes(ipma[p : p + size], "big") & (0x7FFF if wide else 0x7F)
                for p in range(place, place + size * many, size)
            ]
            if number == item:
                return listed
            place += size * many
    except (struct.error, IndexError):
        pass
    return []


def check_colours(primaries: int, transfer: int, has_profile: bool) -> tuple[str, ...]:
    """Check the colour codes of a picture and return notes for the user.

    Parameters
    ----------
    primaries, transfer : int
        Codes of ITU-T H.273; 2 means that they are not stated.
    has_profile : bool
        Whether the picture has an ICC profile, which takes precedence over the primaries.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        For transfer functions such as PQ, in which the same code means a different brightness.

    Examples
    --------
    >>> check_colours(1, 13, False)
    ()
    >>> check_colours(9, 16, False)
    Traceback (most recent call last):
    ...
    ValueError: its values are coded by PQ (HDR); convert it to sRGB, for example with ...
    """
    if transfer in UNUSUAL_TRANSFERS:
        raise ValueError(
            f"its values are coded by {UNUSUAL_TRANSFERS[transfer]}; convert it to sRGB, for example"
            " with the camera maker's program or darktable"
        )
    if has_profile or primaries in (1, 2, 5, 6, 7):
        return ()
    name = PRIMARIES.get(primaries, f"number {primaries} of ITU-T H.273")
    return (f"its colours have the primaries {name}; they are treated as sRGB",)
