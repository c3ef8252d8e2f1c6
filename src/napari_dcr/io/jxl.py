"""JPEG XL: read with imagecodecs, and written without loss; metadata are stored in boxes.

ISO/IEC 18181-1:2024, annex D (image header); ISO/IEC 18181-2:2024, section 9 (boxes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.tone import linear_to_srgb
from napari_dcr.io import tags as t
from napari_dcr.io.boxes import boxes, check_colours
from napari_dcr.io.files import Picture, check_memory
from napari_dcr.io.heif import Bits, narrow, upright, upright_picture, widen
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.pictures import exif_block, left_out
from napari_dcr.io.tags import Tag, Tags

_LINEAR, _SRGB = 8, 13
"""Codes of transfer functions."""

_ALPHA, _BLACK = 0, 4
"""Kinds of extra channels: transparency, and the black of CMYK."""

_EXTRAS = {1: "depth", 2: "a spot colour", 3: "a selection mask", 5: "a colour filter array", 6: "thermal values", 16: "optional"}  # fmt: skip
"""Names of the other kinds (ISO/IEC 18181-1, table D.9)."""


def read_jxl(path: Path) -> Picture:
    """Read a JPEG XL file, or the first picture of an animation, rotated for display.

    Samples of 9 to 15 bits are scaled to 16 bits.  Linear light is encoded with the sRGB curve.
    """
    content = path.read_bytes()
    parts = list(boxes(content)) if content[4:8] == b"JXL " else []
    header = Header.read(_codestream(content, parts))
    is_linear = header.transfer == _LINEAR
    notes = check_colours(header.primaries, 13 if is_linear else header.transfer, False)
    if _BLACK in header.extras:  # the decoder leaves black out
        raise ValueError("its colour model CMYK is not supported; convert it to RGB")
    notes += _left_out(header.extras)
    if header.has_profile:
        notes += ("its colour profile cannot be read; its colours are treated as sRGB",)
    check_memory(header.size, 4 * max(1, header.bits // 8))
    pixels = imagecodecs.jpegxl_decode(content)
    if header.is_animated:
        frames = len(pixels)
        pixels = pixels[0]
        notes += (
            (f"it holds {frames} pictures; the first is taken and {frames - 1} are left out",)
            if frames > 1 else ()
        )  # fmt: skip
    count = 1 + len(header.extras)
    if pixels.ndim == 3 and len(pixels) == count and {*pixels.shape[1:]} == {*header.size}:
        pixels = pixels[0]  # grey, with the extra channels as further planes
    samples = {1: "", 2: "ya", 3: "rgb", 4: "rgba"}.get(pixels.shape[2] if pixels.ndim == 3 else 1)
    if samples is None:
        raise ValueError(
            f"it has {pixels.shape[2]} samples per pixel; allowed are 1 (grey) and 3 (RGB)"
        )
    if pixels.dtype == np.uint16 and header.bits < 16:
        pixels = widen(pixels, header.bits)
    if is_linear:
        pixels = _display(pixels, len(samples) - samples.endswith("a"))
    exif, xmp = _beside(parts)
    tags: Tags = t.from_exif(exif)
    if xmp:
        tags[t.XMP] = Tag(t.BYTE, xmp)
    metadata = upright(Metadata(tags, exif=exif, native=Bits(header.bits)))
    return Picture(pixels, "yxs"[: pixels.ndim], metadata, samples, notes)


def write_jxl(path: Path, picture: Picture) -> None:
    """Write a lossless JPEG XL file, rotated upright, as its readers ignore EXIF Orientation."""
    pixels, metadata = upright_picture(path, picture)
    bits = 8 * pixels.dtype.itemsize
    if bits == 16 and isinstance(metadata.native, Bits) and 8 < metadata.native.bits < 16:
        bits = metadata.native.bits
        pixels = narrow(pixels, bits)
    content = bytes(
        imagecodecs.jpegxl_encode(pixels, lossless=True, bitspersample=bits, usecontainer=True)
    )
    if bits > 8:  # the library labels these as linear light
        content = as_srgb(content)
    if metadata.icc_profile:
        left_out(path, "colour profile")
    block = exif_block(metadata)
    for kind, inner in ((b"Exif", bytes(4) + block if block else b""), (b"xml ", metadata.xmp)):
        if inner:
            content += struct.pack(">I4s", 8 + len(inner), kind) + inner
    path.write_bytes(content)


def _left_out(extras: tuple[int, ...]) -> tuple[str, ...]:
    """Note that names the channels that the decoder leaves out."""
    own = extras.index(_ALPHA) if _ALPHA in extras else None
    found = [
        "a further alpha" if kind == _ALPHA else _EXTRAS.get(kind, f"kind {kind}")
        for number, kind in enumerate(extras)
        if number != own
    ]
    names = ", ".join(dict.fromkeys(found))
    if not found:
        return ()
    if len(found) == 1:
        return (f"its extra channel ({names}) is left out",)
    return (f"its {len(found)} extra channels ({names}) are left out",)


def _display(pixels: NDArray[Any], colours: int) -> NDArray[Any]:
    """Encode linear light with the sRGB curve; integers become 16 bits."""
    top = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    values = pixels.astype(np.float32) / np.float32(top)
    own = (..., slice(colours)) if colours else ...
    values[own] = linear_to_srgb(values[own])
    if pixels.dtype.kind == "f":
        return values
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)


def as_srgb(content: bytes) -> bytes:
    """Change the transfer function in the header of a file from linear light to sRGB.

    Both codes have the same length, so no other bits move.
    """
    place = content.index(b"jxlc") + 4
    header = Header.read(content[place : place + 512])
    if header.transfer != _LINEAR:
        return content
    first = 8 * (place + 2) + header.transfer_at
    value = int.from_bytes(content[first // 8 : first // 8 + 2], "little")
    value += (_SRGB - _LINEAR) << first % 8
    return content[: first // 8] + value.to_bytes(2, "little") + content[first // 8 + 2 :]


def _codestream(content: bytes, parts: list[tuple[bytes, bytes]]) -> bytes:
    """The beginning of the coded picture."""
    if not parts:
        return content
    return next((c[4:] if k == b"jxlp" else c for k, c in parts if k in (b"jxlc", b"jxlp")), b"")


def _beside(parts: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """EXIF and XMP of a file."""
    found: dict[bytes, bytes] = {}
    for kind, inner in parts:
        if kind == b"brob":  # packed with Brotli
            kind = inner[:4]
            if kind not in (b"Exif", b"xml "):
                continue
            inner = bytes(imagecodecs.brotli_decode(inner[4:]))
        found.setdefault(kind, inner)
    exif = found.get(b"Exif", b"")
    begin = 4 + int.from_bytes(exif[:4], "big")  # of the TIFF header
    return exif[begin:], found.get(b"xml ", b"")


class _Reader:
    """Reads fields of a codestream, least significant bit first.

    Parameters
    ----------
    data : bytes
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)
        self.place = 0

    def bits(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        self.place += count
        return value

    def one(self) -> bool:
        return bool(self.bits(1))

    def chosen(self, *kinds: tuple[int, int]) -> int:
        """Read a number in one of four forms: an offset, and the number of bits that are added to it."""
        offset, count = kinds[self.bits(2)]
        return offset + self.bits(count)

    def name(self) -> int:
        """Read an enumerated value."""
        return self.chosen((0, 0), (1, 0), (2, 4), (18, 6))


@dataclass(frozen=True)
class Header:
    """Samples and colours as described in the header of a codestream.

    Attributes
    ----------
    bits : int
        Bits of each sample.
    is_float : bool
    is_animated : bool
    has_profile : bool
        Whether an ICC profile defines the colours.
    primaries, transfer : int
        Codes for `check_colours`; 2 if they are not stated.
    transfer_at : int
        Position of the bits of the transfer function, counted in bits from the signature.
    size : (int, int)
        Height and width in pixels.
    extras : tuple of int
        Kind of each channel beside the colours.
    """

    bits: int = 8
    is_float: bool = False
    is_animated: bool = False
    has_profile: bool = False
    primaries: int = 1
    transfer: int = _SRGB
    transfer_at: int = 0
    size: tuple[int, int] = (0, 0)
    extras: tuple[int, ...] = ()

    @classmethod
    def read(cls, data: bytes) -> Header:
        """Read the header of a codestream."""
        header, size, extras = cls._read(data)
        return replace(header, size=size, extras=extras)

    @classmethod
    def _read(cls, data: bytes) -> tuple[Header, tuple[int, int], tuple[int, ...]]:
        if data[:2] != b"\xff\x0a":
            raise ValueError("it is not a JPEG XL file")
        reader = _Reader(data[2:512])
        size = _read_size(reader)
        if reader.one():  # all fields have their defaults
            return cls(), size, ()
        further, animated = reader.one(), False
        if further:
            reader.bits(3)  # orientation, which the decoder applies
            if reader.one():
                _read_size(reader)
            if reader.one():
                _read_preview_size(reader)
            animated = reader.one()
            if animated:
                reader.chosen((100, 0), (1000, 0), (1, 10), (1, 30))
                reader.chosen((1, 0), (1001, 0), (1, 8), (1, 10))
                reader.chosen((0, 0), (0, 3), (0, 16), (0, 32))
                reader.bits(1)
        bits, is_float = _read_depth(reader)
        reader.bits(1)
        count = reader.chosen((0, 0), (1, 0), (2, 4), (1, 12))
        extras = tuple(_read_extra_channel(reader) for _ in range(count))
        reader.bits(1)
        if reader.one():  # sRGB
            return cls(bits, is_float, animated), size, extras
        profile, space = reader.one(), reader.name()
        if profile:
            return cls(bits, is_float, animated, True), size, extras
        white = reader.name() if space != 2 else 1
        if white == 2:
            _read_places(reader, 1)
        primaries = 1
        if space not in (1, 2):
            primaries = reader.name()
            if primaries == 2:
                _read_places(reader, 3)
                primaries = 0
        if reader.one():
            reader.bits(24)
            transfer = 2
        else:
            transfer = reader.name()
        # Of the numbers from 2 on, 4 bits are added to 2.
        found = cls(bits, is_float, animated, False, primaries, transfer, reader.place - 4)
        return found, size, extras


_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width over height of the ratios 1 to 7."""


def _read_size(reader: _Reader) -> tuple[int, int]:
    """Height and width."""
    ranges = ((1, 9), (1, 13), (1, 18), (1, 30))
    in_eighths = reader.one()
    height = 8 * (reader.bits(5) + 1) if in_eighths else reader.chosen(*ranges)
    ratio = reader.bits(3)
    if ratio:
        across, along = _RATIOS[ratio - 1]
        return height, height * across // along
    return height, 8 * (reader.bits(5) + 1) if in_eighths else reader.chosen(*ranges)


def _read_preview_size(reader: _Reader) -> None:
    eighths = reader.one()
    ranges = (
        ((16, 0), (32, 0), (1, 5), (33, 9)) if eighths else ((1, 6), (65, 8), (321, 10), (1345, 12))
    )
    reader.chosen(*ranges)
    if not reader.bits(3):
        reader.chosen(*ranges)


def _read_depth(reader: _Reader) -> tuple[int, bool]:
    """Bits of a sample, and whether it is a float."""
    if reader.one():
        bits = reader.chosen((32, 0), (16, 0), (24, 0), (1, 6))
        reader.bits(4)
        return bits, True
    return reader.chosen((8, 0), (10, 0), (12, 0), (1, 6)), False


def _read_extra_channel(reader: _Reader) -> int:
    """Kind of a channel beside the colours; 0 is alpha."""
    if reader.one():
        return 0
    kind = reader.name()
    _read_depth(reader)
    reader.chosen((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(reader.chosen((0, 0), (0, 4), (16, 5), (48, 10))):
        reader.bits(8)
    if kind == 0:
        reader.bits(1)
    elif kind == 2:
        reader.bits(64)
    elif kind == 5:
        reader.chosen((1, 0), (0, 2), (3, 4), (19, 8))
    return kind


def _read_places(reader: _Reader, count: int) -> None:
    """Chromaticities."""
    for _ in range(2 * count):
        reader.chosen((0, 19), (524288, 19), (1048576, 20), (2097152, 21))
