"""EXIF tags of camera raw files, and the colour tags of DNG files that are written.

Most raw files are TIFF files with other first bytes. Canon's CR3 keeps directories in boxes
(canon_cr3, L. Nolte), Fujifilm's RAF in the JPEG that it contains.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.io import dng
from napari_dcr.io import tags as t
from napari_dcr.io.boxes import boxes
from napari_dcr.io.tags import Tag, Tags

_HEAD = 1 << 22
"""Bytes at the start of CR3 and RAF files that contain the tags."""

_COLOUR_SPACE, _MAKER_NOTE = 40961, 37500

_OF_MAKERS = (_MAKER_NOTE, 50740)
"""Tags in which makers of cameras store their own data."""


def read(path: Path) -> Tags:
    """Read the tags of camera and exposure; empty if they cannot be read."""
    try:
        return described(_all(path))
    except (ValueError, struct.error, OSError):
        return {}


def described(tags: Tags) -> Tags:
    """Select the tags that also describe a print in sRGB.

    Makers' notes are left out, because they describe how the raw image is stored.
    """
    kept = {code: tag for code, tag in tags.items() if code in _OF_PICTURES}
    exif = kept.get(t.EXIF)
    if exif is not None and exif.directory is not None:
        inner = {k: v for k, v in exif.directory.items() if k != _MAKER_NOTE}
        kept[t.EXIF] = Tag(t.LONG, b"", {**inner, _COLOUR_SPACE: t.short_tag(1)})
    return kept


_OF_PICTURES = (
    t.DESCRIPTION, t.MAKE, t.MODEL, t.ORIENTATION, t.SOFTWARE, t.DATE_TIME, t.ARTIST, t.COPYRIGHT,
    t.EXIF, t.GPS, t.XMP,
)  # fmt: skip


def _all(path: Path) -> Tags:
    with path.open("rb") as file:
        head = file.read(16)
        if head[:2] in (b"II", b"MM"):
            order = "<" if head[:2] == b"II" else ">"
            return t.read_tags(file, struct.unpack(order + "I", head[4:8])[0])
        file.seek(0)
        content = file.read(_HEAD)
    if content.startswith(b"FUJIFILM"):
        place = content.find(b"Exif\0\0")
        return t.from_exif(content[place:]) if place >= 0 else {}
    if content[4:8] == b"ftyp":
        return _of_cr3(content)
    return {}


def _of_cr3(content: bytes) -> Tags:
    """Directories of the boxes CMT1 (picture), CMT2 (EXIF) and CMT4 (GPS)."""
    moov = next((c for kind, c in boxes(content) if kind == b"moov"), b"")
    own = next((c[16:] for kind, c in boxes(moov) if kind == b"uuid"), b"")
    found = {kind: t.from_exif(c) for kind, c in boxes(own) if kind.startswith(b"CMT")}
    tags = dict(found.get(b"CMT1", {}))
    for code, kind in ((t.EXIF, b"CMT2"), (t.GPS, b"CMT4")):
        if found.get(kind):
            tags[code] = Tag(t.LONG, b"", found[kind])
    return tags


_DIAGONAL = re.compile(r"FinePix ?[SEF]|EXR|\b(X10|XF1|X-S1)\b")
"""Fujifilm cameras with SuperCCD and EXR sensors, whose pixels lie on diagonal rows."""


def check_sensor(tags: Tags) -> None:
    """Refuse sensors with diagonal rows.

    Raises
    ------
    ValueError
    """
    make, model = (tags[code].text if code in tags else "" for code in (t.MAKE, t.MODEL))
    if make.upper().startswith("FUJI") and _DIAGONAL.search(model):
        raise ValueError(
            f"the sensor of {model} has diagonal rows, which are not supported; convert the file with another program"
        )


_WIDTH, _HEIGHT, _RAW_FORMAT, _RAW_OFFSET = 2, 3, 45, 280
"""Tags of Panasonic's RW2."""

_PACKED_FORMATS = (4, 5, 6, 7)
"""Values of _RAW_FORMAT that store blocks of 16 bytes, each with 14 pixels or fewer."""


def check_complete(path: Path) -> None:
    """Refuse an RW2 that is cut off, for which LibRaw repeats the last block instead of failing.

    Raises
    ------
    ValueError
    """
    with path.open("rb") as file:
        if file.read(4) != b"IIU\0":
            return
    tags = _all(path)
    names = (_WIDTH, _HEIGHT, _RAW_FORMAT, _RAW_OFFSET)
    if not all(code in tags and tags[code].count == 1 for code in names):
        return
    width, height, form, offset = (int(tags[code].numbers[0]) for code in names)
    size, end = path.stat().st_size, offset + -(-width * height // 14) * 16
    if form in _PACKED_FORMATS and size < end:
        raise ValueError(f"it is cut off: it has {size} of at least {end} bytes")


def check_raw(path: Path) -> None:
    """Refuse other TIFF files, whose grey pixels LibRaw would read as a mosaic of colours.

    Some cameras do not describe their raw image by tags of TIFF, but all write a maker's note.

    Raises
    ------
    ValueError
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head not in (b"II*\0", b"MM\0*"):
        return
    try:
        tags = _all(path)
        exif = tags[t.EXIF].directory if t.EXIF in tags else None
        is_raw = any(code in {**tags, **(exif or {})} for code in _OF_MAKERS) or dng.holds_raw(path)
    except Exception:  # a damaged file: tifffile raises any type of exception
        return
    if not is_raw:
        raise ValueError(
            "it is not a camera raw file: none of its pages holds a raw image; if it is a TIFF,"
            " rename it to .tif"
        )


def for_dng(
    path: Path, to_camera: NDArray[np.float64] | None, balance: NDArray[np.float64]
) -> Tags:
    """Make the tags that define the colours of a DNG.

    Parameters
    ----------
    path : Path
        Path of the raw file; the tags of a DNG are copied.
    to_camera : ndarray, shape (n, 3), or None
        Matrix from XYZ to camera colours.
    balance : ndarray, shape (n,)
        White balance factors.
    """
    own: Tags = {}
    if path.suffix.lower() == ".dng":
        own = _all(path)
    kept = {code: tag for code, tag in own.items() if code in dng.COPIED}
    tags = read(path)
    names = [tags[code].text.strip() for code in (t.MAKE, t.MODEL) if code in tags]
    kept.setdefault(dng.MODEL, t.text_tag(" ".join(names) or "camera"))
    if len(balance) == 3:
        kept.setdefault(dng.NEUTRAL, _fractions(balance.min() / balance, False))
        if dng.COLOUR_MATRIX not in kept and to_camera is not None:
            kept[dng.COLOUR_MATRIX] = _fractions(to_camera, True)
            kept[dng.ILLUMINANT] = t.short_tag(dng.D65)
    return kept


def _fractions(values: Any, signed: bool) -> Tag:
    flat = np.asarray(values, np.float64).ravel()
    numbers = [n for v in flat for n in (round(float(v) * 1_000_000), 1_000_000)]
    kind = "i" if signed else "I"
    return Tag(10 if signed else t.RATIONAL, struct.pack(f"<{len(numbers)}{kind}", *numbers))
