"""Boxes of HEIC, AVIF and JPEG XL, and the colours that they describe."""

from __future__ import annotations

import struct

from napari_dcr.io.boxes import boxes, properties


def test_properties_are_those_of_the_primary_item() -> None:
    def box(kind: bytes, inner: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(inner), kind) + inner

    entries = struct.pack(">I", 2) + struct.pack(">HBB", 1, 1, 1) + struct.pack(">HBB", 2, 1, 0x82)
    inner = box(b"ipco", box(b"colr", b"first") + box(b"colr", b"second"))
    meta = bytes(4) + box(b"pitm", bytes(4) + struct.pack(">H", 2))
    meta += box(b"iprp", inner + box(b"ipma", bytes(4) + entries))
    assert properties(box(b"ftyp", b"avif") + box(b"meta", meta)) == [(b"colr", b"second")]
    assert list(boxes(b"\0\0\0\1free\0\0\0\0\0\0\0\x12ab")) == [(b"free", b"ab")]
    assert list(boxes(b"\0\0\0\2free")) == []
    assert properties(b"") == []
