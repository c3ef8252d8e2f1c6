"""Read PNG, JPEG, BMP and WebP with Pillow, and write PNG and JPEG with their metadata.

Portable Network Graphics (PNG) Specification, third edition (W3C 2025); JFIF 1.02.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.image.alpha import to_straight
from napari_dcr.input_warnings import warn
from napari_dcr.io import tags as t
from napari_dcr.io.boxes import check_colours
from napari_dcr.io.files import Picture, check_holds, pillow_picture, without_messages
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.png_coding import Coding
from napari_dcr.io.tags import Tag, Tags

PNG_DTYPES = ("uint8", "uint16")
JPEG_DTYPES = ("uint8",)

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP")
"""Formats of Pillow that are read; it would read others, such as FITS, without their scale."""

JPEG_QUALITY = 95
"""Default quality, from 0 to 100."""

INCH = 0.0254
"""Length of the unit in metres."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # fmt: skip
"""PNG chunks that remain true for the enhanced pixels."""

_XMP_KEYWORD = b"XML:com.adobe.xmp"

_KEYWORDS = {
    "Author": t.ARTIST, "Description": t.DESCRIPTION, "Copyright": t.COPYRIGHT, "Software": t.SOFTWARE,
}  # fmt: skip
"""Keywords of PNG texts, and the corresponding tags."""

_TEXTS = frozenset(_KEYWORDS.values())

_JFIF_DENSITY = 13
"""Offset of the unit and the densities in a JPEG that begins with the header of JFIF."""

_SEGMENT = 65533
"""Largest number of bytes in a segment of a JPEG."""

_XMP_SEGMENT = _SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")


def read_picture(path: Path) -> Picture:
    """Read the first picture of a PNG, JPEG, BMP or WebP file."""
    with pillow_picture(path, FORMATS) as file:
        frames = int(getattr(file, "n_frames", 1))
        mode, profile = file.mode, file.info.get("icc_profile")
        tags: Tags = t.from_exif(file.info.get("exif", b""))
        chunks: tuple[tuple[bytes, bytes], ...] = ()
        notes: tuple[str, ...] = ()
        if file.format == "PNG":
            content = path.read_bytes()
            chunks = tuple(_chunks(content))
            coding = Coding.of_chunks(chunks)
            notes = check_colours(coding.primaries, coding.transfer, bool(profile))
            # Pillow compares the transparent grey of 2 and 4 bits with pixels that it has already
            # widened to 8, and does not support grey of 1 or 16 bits with alpha.
            if content[24] == 16 or (content[25] == 0 and "transparency" in file.info):
                with without_messages() as messages:
                    pixels = imagecodecs.png_decode(content)
                notes += tuple(f"libpng says: {line}" for line in messages)
                if pixels.ndim == 3 and pixels.shape[2] == 1:
                    pixels = pixels[:, :, 0]
            else:
                pixels = np.array(_plain(file))
            if coding.differs:
                pixels, said = coding.converted(pixels)
                notes, chunks = (*notes, said), coding.chunks_after(chunks)
                profile = profile if b"iCCP" in dict(chunks) else None
            tags = {**_tags_of_chunks(chunks), **tags}
        else:
            pixels = np.array(_plain(file))
            tags = {**_tags_of_info(file.info), **tags}
        if profile and mode not in ("CMYK", "YCbCr", "LAB"):
            tags[t.ICC_PROFILE] = Tag(t.UNDEFINED, profile)
        exif = file.info.get("exif", b"")
    metadata = Metadata(tags, exif=exif, chunks=tuple(c for c in chunks if c[0] in _KEPT_CHUNKS))
    if frames > 1:
        notes += (f"it holds {frames} pictures; the first is taken and {frames - 1} are left out",)
    samples = {2: "ya", 3: "rgb", 4: "rgba"}[pixels.shape[2]] if pixels.ndim == 3 else ""
    return Picture(pixels, "yxs"[: pixels.ndim], metadata, samples, notes)


def _plain(file: Any) -> Any:
    """Convert a picture to grey or RGB, with alpha if it has any."""
    transparent = "transparency" in file.info
    target = {
        "1": "L", "P": "RGBA" if transparent else "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB",
        "L": "LA" if transparent else "L", "RGB": "RGBA" if transparent else "RGB",
        "RGBX": "RGB", "I;16": "I;16",
    }.get(file.mode, file.mode)  # fmt: skip
    if target not in ("L", "LA", "RGB", "RGBA", "I;16"):
        raise ValueError(f"its colour model {file.mode} is not supported; convert it to RGB")
    return file.copy() if target == file.mode else file.convert(target)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read the chunks of a PNG: type and content."""
    place = len(_SIGNATURE)
    while place + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        yield kind, content[place + 8 : place + 8 + size]
        place += size + 12


def _tags_of_chunks(chunks: tuple[tuple[bytes, bytes], ...]) -> Tags:
    """Convert the chunks of a PNG to tags."""
    tags: Tags = {}
    for kind, content in chunks:
        if kind == b"pHYs" and len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            factor = 0.01 if unit else 1.0  # metres to centimetres
            tags |= _resolution_tags(x * factor, y * factor, 3 if unit else 1)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _text(kind, content)
            if keyword == _XMP_KEYWORD.decode():
                tags[t.XMP] = Tag(t.BYTE, text.encode())
            elif keyword in _KEYWORDS:
                tags[_KEYWORDS[keyword]] = t.text_tag(text)
    return tags


def _text(kind: bytes, content: bytes) -> tuple[str, str]:
    """Keyword and text of a chunk; the text is empty if it cannot be read."""
    keyword, _, rest = content.partition(b"\0")
    coding = "latin-1"
    try:
        if kind == b"zTXt":
            rest = zlib.decompress(rest[1:])
        elif kind == b"iTXt":
            packed = rest[:1] == b"\1"
            rest = rest[2:].split(b"\0", 2)[2]
            rest = zlib.decompress(rest) if packed else rest
            coding = "utf-8"
        return keyword.decode("latin-1"), rest.decode(coding)
    except (zlib.error, IndexError, UnicodeDecodeError):
        return keyword.decode("latin-1"), ""


def _tags_of_info(info: dict[Any, Any]) -> Tags:
    """Convert metadata of JPEG, BMP and WebP outside EXIF to tags."""
    tags: Tags = {}
    if "jfif_density" in info:
        units = {0: 1, 1: 2, 2: 3}
        x, y = info["jfif_density"]
        tags |= _resolution_tags(x, y, units.get(info.get("jfif_unit", 0), 1))
    elif "dpi" in info:
        x, y = info["dpi"]
        tags |= _resolution_tags(x, y, 2)
    if info.get("xmp"):
        tags[t.XMP] = Tag(t.BYTE, bytes(info["xmp"]))
    if info.get("comment"):
        tags[t.DESCRIPTION] = Tag(t.ASCII, bytes(info["comment"]).rstrip(b"\0") + b"\0")
    return tags


def _resolution_tags(x: float, y: float, unit: int) -> Tags:
    if x <= 0 or y <= 0:
        return {}
    return {
        t.X_RESOLUTION: t.rational_tag(x), t.Y_RESOLUTION: t.rational_tag(y),
        t.RESOLUTION_UNIT: t.short_tag(unit),
    }  # fmt: skip


def exif_block(metadata: Metadata) -> bytes:
    """EXIF block without prefix, based on that of the source if it had one."""
    if metadata.exif:
        block = t.without_thumbnail(metadata.exif).removeprefix(b"Exif\0\0")
        known = t.from_exif(block)
        texts = {
            code: tag
            for code, tag in metadata.exif_tags().items()
            if code in _TEXTS and code not in known
        }
        return t.with_tags(block, texts)
    return t.to_exif(metadata.exif_tags())


def write_png(path: Path, picture: Picture) -> None:
    """Write a PNG file."""
    check_holds(path, picture.pixels.dtype, PNG_DTYPES)
    check_png(path, picture.axes, picture.layout.samples)
    content = imagecodecs.png_encode(flat_colours(picture))
    head = len(_SIGNATURE) + 25  # the header is the first chunk, of 13 bytes
    beside = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c))
        for k, c in _png_chunks(picture.metadata)
    )
    path.write_bytes(content[:head] + beside + content[head:])


def _png_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """Chunks that precede the pixels."""
    if metadata.chunks:
        yield from metadata.chunks
        return
    if metadata.icc_profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)
    if metadata.resolution:
        x, y, unit = metadata.resolution
        factor = {2: 1 / INCH, 3: 100.0}.get(unit, 1.0)
        numbers = (min(round(v * factor), 2**31 - 1) for v in (x, y))
        yield b"pHYs", struct.pack(">IIB", *numbers, unit in (2, 3))
    block = exif_block(metadata)
    if block:
        yield b"eXIf", block
    if metadata.xmp:
        yield b"iTXt", _XMP_KEYWORD + bytes(5) + metadata.xmp


def write_jpeg(path: Path, picture: Picture, quality: int = JPEG_QUALITY) -> None:
    """Write a JPEG file."""
    check_holds(path, picture.pixels.dtype, JPEG_DTYPES)
    check_jpeg(path, picture.axes, picture.layout.samples)
    metadata = picture.metadata
    kept: dict[str, Any] = {}
    block = exif_block(metadata)
    if len(block) + 6 > _SEGMENT:
        left_out(path, f"EXIF of {len(block)} bytes; a JPEG holds {_SEGMENT - 6}")
    elif block:
        kept["exif"] = b"Exif\0\0" + block
    if metadata.icc_profile:
        kept["icc_profile"] = metadata.icc_profile
    if len(metadata.xmp) > _XMP_SEGMENT:
        left_out(path, f"XMP of {len(metadata.xmp)} bytes; a JPEG holds {_XMP_SEGMENT}")
    elif metadata.xmp:
        kept["xmp"] = metadata.xmp
    if metadata.resolution and metadata.resolution[2] in (2, 3):
        x, y, unit = metadata.resolution
        factor = 100 * INCH if unit == 3 else 1.0
        density = (x * factor, y * factor)
        if max(density) >= 2**16 - 0.5:
            left_out(
                path, f"density of {max(density):.0f} pixels per inch; a JPEG's header holds 65535"
            )
        else:
            kept["dpi"] = density
    pixels = PILImage.fromarray(flat_colours(picture))
    # On a full disk Pillow truncates a JPEG that it writes to a path, without an error.
    coded = io.BytesIO()
    pixels.save(coded, "JPEG", quality=quality, subsampling=0, **kept)
    content = coded.getvalue()
    if metadata.resolution and metadata.resolution[2] == 1:
        x, y, _ = metadata.resolution
        shape = Fraction(x / y).limit_denominator(1000)
        # Pillow writes densities only with a unit; without one they state the shape of the pixels.
        header = struct.pack(">BHH", 0, shape.numerator, shape.denominator)
        content = content[:_JFIF_DENSITY] + header + content[_JFIF_DENSITY + len(header) :]
    path.write_bytes(content)


def left_out(path: Path, what: str) -> None:
    """Issue a warning about metadata that a file cannot store."""
    warn(
        f"{path.name.rpartition('.partial.')[2]}: left out its {what}; write .png or .tif to keep it"
    )


def check_png(path: Path, axes: str, samples: str) -> None:
    """Check that a PNG can store an image with the given axes and samples.

    Raises
    ------
    ValueError
        If it cannot be stored.
    """
    check_layout(path, axes, samples, ("", "ya", "rgb", "rgba"))


def check_jpeg(path: Path, axes: str, samples: str) -> None:
    """Check that a JPEG can store an image with the given axes and samples.

    Raises
    ------
    ValueError
        If it cannot be stored.
    """
    if "a" in samples.lower():
        raise ValueError(f"{path}: JPEG holds no alpha; write .png or .tif")
    check_layout(path, axes, samples, ("", "rgb"))


def check_layout(path: Path, axes: str, samples: str, allowed: tuple[str, ...]) -> None:
    """Check that an image is a single picture with allowed samples.

    Raises
    ------
    ValueError
        If it is not a single picture, or has other samples.
    """
    if sorted(axes) not in (["x", "y"], ["s", "x", "y"]):
        raise ValueError(f"{path}: {path.suffix} holds one picture, not axes {axes!r}; write .tif")
    if samples.lower() not in allowed:
        raise ValueError(
            f"{path}: {path.suffix} holds grey or RGB, not {len(samples)} samples of other"
            " kinds; write .tif"
        )


def flat_colours(picture: Picture) -> NDArray[Any]:
    """Pixels of one picture, with the samples last and without colours multiplied by alpha."""
    axes = picture.axes
    planes = picture.pixels.transpose([axes.index(a) for a in "syx" if a in axes])
    if picture.samples.endswith("A"):
        planes = np.concatenate([to_straight(planes[:-1], planes[-1:]), planes[-1:]])
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1) if "s" in axes else planes)
