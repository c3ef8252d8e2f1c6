"""Kinds of files by their first bytes, for messages about files with a wrong suffix."""

from __future__ import annotations

from pathlib import Path

_BOXES = {
    b"heic": ".heic", b"heix": ".heic", b"heim": ".heic", b"hevc": ".heic", b"hevx": ".heic",
    b"mif1": ".heic", b"msf1": ".heic", b"avif": ".avif", b"avis": ".avif", b"crx ": ".cr3",
    b"qt  ": ".mov",
}  # fmt: skip
"""Suffixes by the brand of files that consist of boxes; all other brands are treated as MP4."""

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
)
"""First bytes of files that are not pictures, or that are pictures only with a certain suffix."""


def suffix_by_content(head: bytes) -> str:
    """Suffix of files that begin with some bytes; empty if it is not known.

    Examples
    --------
    >>> suffix_by_content(b"GIF89a")
    '.gif'
    """
    if head[4:8] == b"ftyp":
        return _BOXES.get(head[8:12], ".mp4")
    found = (s for place, value, s in _SIGNATURES if head[place : place + len(value)] == value)
    return next(found, "")


def wrong_suffix(path: Path) -> str:
    """Describe the content of a file whose suffix is that of another kind; else empty."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""
    own, suffix = path.suffix.lower(), suffix_by_content(head)
    if suffix and own != suffix and not any(own in a and suffix in a for a in _ALIKE):
        return f"its content is that of a {suffix} file; rename it"
    start = head.lstrip()
    for value, kind, usual in _OTHERS:
        if own != usual and (start.startswith(value) or start.lower().startswith(value)):
            return f"its content is that of {kind}"
    return ""
