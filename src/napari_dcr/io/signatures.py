"""Kinds of files by their first bytes, for messages about files with a wrong suffix."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from napari_dcr.engine.file_errors import CUT_OFF
from napari_dcr.io import tags as t

_BOXES = {
    b"heic": ".heic", b"heix": ".heic", b"heim": ".heic", b"hevc": ".heic", b"hevx": ".heic",
    b"mif1": ".heic", b"msf1": ".heic", b"avif": ".avif", b"avis": ".avif", b"crx ": ".cr3",
    b"qt  ": ".mov",
}  # fmt: skip
"""Suffixes by the brand of files that consist of boxes."""

_MP4 = re.compile(
    rb"iso[m2-9a-f]|mp4[12]|mp71|mmp4|avc1|hvc1|M4[ABPV][ HP]|F4[ABPV] |f4v |3g[2egprs].|dash|msdh"
    rb"|msix|cmf.|MSNV|XAVC|piff|dby1|ND[A-Z]{2}"
)
"""Brands of MP4."""

PICTURES = (".heic", ".avif")
"""Suffixes of pictures in boxes, which programs for video open too, but only in part."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (8, b"WEBP", ".webp"),
    (0, b"\xff\x0a", ".jxl"),
    (4, b"JXL \r\n\x87\n", ".jxl"),
    (0, b"\x76\x2f\x31\x01", ".exr"),
    (0, b"SIMPLE  =", ".fits"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"II+\0", ".tif"),
    (0, b"MM\0+", ".tif"),
    (0, b"ZISRAWFILE", ".czi"),
    (0, b"\xda\xce\xbe\x0a", ".nd2"),
    (0, b"LUCAM-RECORDER", ".ser"),
    (0, b"DCIMG\0", ".dcimg"),
    (0, b"Andor Technology Multi-Channel File", ".sif"),
    (0, b"GIF8", ".gif"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
    (8, b"AVI ", ".avi"),
    (0, b"YUV4MPEG2", ".y4m"),
    (0, b"FUJIFILMCCD-RAW", ".raf"),
)
"""Place and value of the bytes that identify a kind of file, and its suffix."""

_TIFF_LIKE = (".tif", ".tiff", ".lsm", ".stk", ".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2")
"""Suffixes of formats that have the structure of TIFF."""

_ALIKE = (_TIFF_LIKE, (".jpg", ".jpeg"), (".heic", ".heif", ".hif"), (".fits", ".fit", ".fts", ".fz", ".gz"),
          (".mp4", ".m4v", ".mov"), (".mkv", ".webm"))  # fmt: skip
"""Suffixes of the same kind of file."""

_DNG_VERSION = 50706
"""Tag that every DNG has."""

_OTHERS = (
    (b"PK\3\4", "a ZIP archive", ""),
    (b"\x1f\x8b", "a gzip archive", ".gz"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", ".ims"),
    (b"%PDF", "a PDF", ""),
    (b"\xd0\xcf\x11\xe0", "a compound file, as of OIB and of Office", ".oib"),
    (b"8BPS", "a Photoshop file", ""),
    (b"<!doctype", "a web page", ""),
    (b"<html", "a web page", ""),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", ""),
    (
        b"II\x97\1",
        "a TIA series (electron microscopy), which is not supported; export it as TIFF",
        "",
    ),
)
"""First bytes of files that are not pictures, or that are pictures only with a certain suffix."""


HEAD = 64
"""Bytes from which the kind of a file is recognised."""


def suffix_by_content(head: bytes) -> str:
    """Suffix of files that begin with some bytes; empty if it is not known.

    Examples
    --------
    >>> suffix_by_content(b"GIF89a")
    '.gif'
    """
    if head[4:8] == b"ftyp":
        return next(filter(None, map(_suffix_of_brand, _brands(head))), "")
    found = (s for place, value, s in _SIGNATURES if head[place : place + len(value)] == value)
    return next(found, "")


def _brands(head: bytes) -> Iterator[bytes]:
    """Yield the brand of a file that consists of boxes, and those that it is compatible with."""
    yield head[8:12]
    end = min(int.from_bytes(head[:4], "big"), len(head))
    yield from (head[place : place + 4] for place in range(16, end - 3, 4))


def _suffix_of_brand(brand: bytes) -> str:
    return _BOXES.get(brand) or (".mp4" if _MP4.fullmatch(brand) else "")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _are_alike(suffix: str, other: str) -> bool:
    return suffix == other or any(suffix in alike and other in alike for alike in _ALIKE)


def _raw_suffix(path: Path) -> str:
    """Suffix of a DNG or CR2, which begin like a TIFF; empty for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(10)
            if head[8:] == b"CR":
                return ".cr2"
            first = int.from_bytes(head[4:8], "little" if head[:2] == b"II" else "big")
            return ".dng" if _DNG_VERSION in t.read_tags(file, first) else ""
    except (ValueError, struct.error, OSError):
        return ""


def damaged(path: Path) -> str:
    """Plain words for a file that a library cannot read, by its first bytes."""
    own = path.suffix.lower()
    if _are_alike(suffix_by_content(_head(path)), own):
        return CUT_OFF
    return f"{CUT_OFF}, or it is not a {own} file"


def wrong_suffix(path: Path) -> str:
    """Describe the content of a file whose suffix is that of another kind; else empty."""
    head = _head(path)
    own, suffix = path.suffix.lower(), suffix_by_content(head)
    if suffix and not _are_alike(own, suffix):
        if suffix == ".tif" and (raw := _raw_suffix(path)):
            suffix = raw
        return f"its content is that of a {suffix} file; rename it"
    start = head.lstrip()
    for value, kind, usual in _OTHERS:
        if own != usual and (start.startswith(value) or start.lower().startswith(value)):
            return f"its content is that of {kind}"
    return ""
