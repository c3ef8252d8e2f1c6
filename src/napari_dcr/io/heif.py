"""HEIC and AVIF, read and written with pillow-heif, imagecodecs and Pillow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.io import tags as t
from napari_dcr.io.boxes import check_colours, properties
from napari_dcr.io.files import Picture, check_holds, check_memory, import_optional, pillow_picture
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.pictures import check_layout, exif_block, flat_colours, left_out
from napari_dcr.io.tags import Tag, Tags
from napari_dcr.io.views import turned

DTYPES = ("uint8", "uint16")

QUALITY = 95
"""Default quality, from 0 to 100."""

_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:=["']|>\s*))[2-8]""")

HEIC_BITS = 10
"""Bits of each sample of a HEIC that is written from 16-bit pixels."""

AVIF_BITS = 12
"""Bits of each sample of an AVIF that is written from 16-bit pixels, unless the source had 10."""


@dataclass(frozen=True)
class Bits:
    """Number of bits of each sample in the file that a picture was read from."""

    bits: int


def read_heic(path: Path) -> Picture:
    """Read the primary picture of a HEIC file, rotated for display.

    Samples of 10 and 12 bits are scaled to 16 bits.
    """
    library = import_optional("pillow_heif", "heic")
    file = library.open_heif(path, convert_hdr_to_8bit=False)
    image = file[file.primary_index]
    info = image.info
    check_memory(image.size[::-1], 8 if ";16" in image.mode else 4)
    nclx = info.get("nclx_profile") or {}
    profile = info.get("icc_profile") or b""
    notes = check_colours(
        nclx.get("color_primaries", 2), nclx.get("transfer_characteristics", 2), bool(profile)
    )
    mode = image.mode.partition(";")[0]
    samples = {"L": "", "I": "", "LA": "ya", "RGB": "rgb", "RGBA": "rgba", "RGBa": "rgbA"}.get(mode)
    if samples is None:
        raise ValueError(f"its colour model {image.mode} is not supported; convert it to RGB")
    pixels = np.array(image)
    if pixels.dtype == np.uint16:  # the library puts fewer bits at the top of 16
        bits = int(info.get("bit_depth", HEIC_BITS))
        pixels = widen(pixels >> (16 - bits), bits)
    if len(file) > 1:
        notes += (f"it holds {len(file)} pictures; the primary one is taken and {len(file) - 1} are left out",)  # fmt: skip
    if info.get("depth_images"):
        notes += ("its depth map is left out",)
    if any("gainmap" in str(kind).lower() for kind in info.get("aux") or {}):
        notes += ("its gain map, which makes it HDR on some screens, is left out",)
    metadata = _metadata(info.get("exif") or b"", profile, info.get("xmp") or b"", is_turned=True)
    return Picture(pixels, "yxs"[: pixels.ndim], metadata, samples, notes)


def write_heic(path: Path, picture: Picture, quality: int = QUALITY) -> None:
    """Write a HEIC file of 8 or 10 bits, rotated upright, as HEIC readers ignore EXIF Orientation."""
    library = import_optional("pillow_heif", "heic")
    pixels, metadata = upright_picture(path, picture)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[1 if pixels.ndim == 2 else pixels.shape[2]]
    if pixels.dtype == np.uint16:
        pixels = narrow(pixels, HEIC_BITS) << (16 - HEIC_BITS)
        mode = "I;16L" if mode == "L" else f"{mode};16"
    kept: dict[str, Any] = {}
    if block := exif_block(metadata):
        kept["exif"] = b"Exif\0\0" + block
    if metadata.icc_profile:
        kept["icc_profile"], kept["icc_profile_type"] = metadata.icc_profile, "prof"
    if metadata.xmp:
        kept["xmp"] = metadata.xmp
    library.encode(
        mode, pixels.shape[1::-1], pixels.tobytes(), path, quality=quality, chroma=444, **kept
    )


def read_avif(path: Path) -> Picture:
    """Read an AVIF file, or the first picture of a sequence.

    imagecodecs decodes the pixels of any bit depth.  Pillow, which decodes 8 bits only, reads the
    metadata, including the rotation of the container as an EXIF Orientation.  The pixels are not
    rotated.
    """
    with pillow_picture(path, ("AVIF",)) as file:
        frames, info, size = int(getattr(file, "n_frames", 1)), dict(file.info), file.size
        exif = file.getexif()
    content = path.read_bytes()
    described = dict(reversed(properties(content)))
    bits = _bits(content, described)
    check_memory(size[::-1], frames * (4 if bits == 8 else 8))
    profile = info.get("icc_profile") or b""
    primaries, transfer = _coded(content, described)
    notes = check_colours(primaries, transfer, bool(profile))
    # With the argument ``index`` the library crashes on sequences.
    pixels = imagecodecs.avif_decode(content)
    if frames > 1:
        pixels = pixels[0]
        notes += (f"it holds {frames} pictures; the first is taken and {frames - 1} are left out",)
    if pixels.dtype == np.uint16:
        pixels = widen(pixels, bits)
    metadata = _metadata(info.get("exif") or b"", profile, info.get("xmp") or b"", is_turned=False)
    if (orientation := int(exif.get(t.ORIENTATION, 1))) != metadata.orientation:
        tags = {**metadata.tags, t.ORIENTATION: t.short_tag(orientation)}
        metadata = replace(metadata, tags=tags, exif=b"")
    samples = {2: "ya", 3: "rgb", 4: "rgba"}[pixels.shape[2]] if pixels.ndim == 3 else ""
    metadata = replace(metadata, native=Bits(bits))
    return Picture(pixels, "yxs"[: pixels.ndim], metadata, samples, notes)


def write_avif(path: Path, picture: Picture, quality: int = QUALITY) -> None:
    """Write an AVIF file of 8, 10 or 12 bits, rotated upright."""
    pixels, metadata = upright_picture(path, picture)
    if pixels.dtype == np.uint8:
        kept: dict[str, Any] = {}
        if block := exif_block(metadata):
            kept["exif"] = b"Exif\0\0" + block
        if metadata.icc_profile:
            kept["icc_profile"] = metadata.icc_profile
        if metadata.xmp:
            kept["xmp"] = metadata.xmp
        PILImage.fromarray(pixels).save(
            path, "AVIF", quality=quality, subsampling="4:0:0" if pixels.ndim == 2 else "4:4:4", **kept
        )  # fmt: skip
        return
    for what, value in (
        ("colour profile", metadata.icc_profile), ("EXIF", metadata.exif_tags()), ("XMP", metadata.xmp),
    ):  # fmt: skip
        if value:
            left_out(path, f"{what}, which is kept in an AVIF of 8 bits only")
    native = metadata.native
    bits = native.bits if isinstance(native, Bits) and native.bits in (10, 12) else AVIF_BITS
    path.write_bytes(
        imagecodecs.avif_encode(
            narrow(pixels, bits), level=quality, bitspersample=bits,
            pixelformat="400" if pixels.ndim == 2 else "444", primaries=1, transfer=13, matrix=6,
        )
    )  # fmt: skip


def check_heif(path: Path, axes: str, samples: str) -> None:
    """Check that a HEIC or AVIF can hold an image of some axes and samples.

    Raises
    ------
    ValueError
        If it cannot.
    """
    check_layout(path, axes, samples, ("", "ya", "rgb", "rgba"))


def upright_picture(path: Path, picture: Picture) -> tuple[NDArray[Any], Metadata]:
    """Rotate a picture for display; samples are the last axis, and grey with alpha becomes RGBA."""
    check_holds(path, picture.pixels.dtype, DTYPES)
    check_heif(path, picture.axes, picture.layout.samples)
    pixels, metadata = flat_colours(picture), picture.metadata
    if metadata.orientation != 1:
        pixels = np.ascontiguousarray(turned(pixels, "yxs"[: pixels.ndim], metadata.orientation))
    metadata = upright(metadata)
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        pixels = np.ascontiguousarray(pixels[:, :, [0, 0, 0, 1]])
    return pixels, metadata


def upright(metadata: Metadata) -> Metadata:
    """Metadata for pixels that have been rotated; only the Orientation changes."""
    tags = {k: v for k, v in metadata.tags.items() if k != t.ORIENTATION}
    exif = metadata.exif
    if exif and t.ORIENTATION in t.from_exif(exif):
        exif = t.with_tags(exif.removeprefix(b"Exif\0\0"), {t.ORIENTATION: t.short_tag(1)})
    if metadata.xmp:
        tags[t.XMP] = Tag(t.BYTE, _XMP_ORIENTATION.sub(rb"\g<1>1", metadata.xmp))
    return replace(metadata, tags=tags, exif=exif)


def _metadata(exif: bytes, profile: bytes, xmp: bytes, is_turned: bool) -> Metadata:
    tags: Tags = t.from_exif(exif)
    if profile:
        tags[t.ICC_PROFILE] = Tag(t.UNDEFINED, profile)
    if xmp:
        tags[t.XMP] = Tag(t.BYTE, bytes(xmp))
    metadata = Metadata(tags, exif=exif)
    return upright(metadata) if is_turned else metadata


def _bits(content: bytes, described: dict[bytes, bytes]) -> int:
    """Bits of each sample of an AVIF, from the configuration of the codec."""
    configuration = described.get(b"av1C", b"")
    if not configuration and (place := content.find(b"av1C")) >= 0:  # of tiles, or of a sequence
        configuration = content[place + 4 : place + 8]
    if len(configuration) < 3 or not configuration[2] & 0x40:
        return 8
    return 12 if configuration[2] & 0x20 else 10


def _coded(content: bytes, described: dict[bytes, bytes]) -> tuple[int, int]:
    """Primaries and transfer function of an AVIF; 2 if they are not stated."""
    colours = described.get(b"colr", b"")
    place = content.find(b"colrnclx")
    if colours[:4] != b"nclx" and place >= 0:
        colours = content[place + 4 : place + 12]
    if colours[:4] != b"nclx" or len(colours) < 8:
        return 2, 2
    return int.from_bytes(colours[4:6], "big"), int.from_bytes(colours[6:8], "big")


def widen(codes: NDArray[Any], bits: int) -> NDArray[Any]:
    """Scale codes of fewer bits to 16 bits."""
    top = 2**bits - 1
    widened: NDArray[Any] = ((codes.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    return widened


def narrow(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Scale 16 bits to codes of fewer bits, rounded; the inverse of `widen`."""
    top = 2**bits - 1
    codes: NDArray[Any] = ((pixels.astype(np.uint32) * top + 32767) // 65535).astype(np.uint16)
    return codes
