"""OpenEXR: pictures in linear light, with values above white.

Pixels are encoded with the sRGB curve, extended above white and below black, so that they can be
enhanced like a photograph. Results are decoded to linear light when they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.tone import linear_to_srgb, srgb_to_linear
from napari_dcr.io.files import (
    Picture,
    check_holds,
    check_memory,
    import_optional,
    without_messages,
)
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.pictures import check_layout, flat_colours

_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""Chromaticities of red, green, blue and white of sRGB."""

DTYPES = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Origin:
    """The file that a picture was read from.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtypes : dict
        Dtypes of the picture's channels, by name, in the order of its samples.
    """

    path: Path
    shape: tuple[int, ...]
    dtypes: dict[str, str]


def read_exr(path: Path) -> Picture:
    """Read the picture of an EXR file: channels R, G and B, or Y, and A, of its first part.

    Returns
    -------
    Picture
        Pixels as float32, encoded with the sRGB curve; 1 is white, and brighter values exceed 1.
        Colours are not multiplied by alpha.
    """
    with _file(path) as file:
        part, count = file.parts[0], len(file.parts)
        if "deep" in str(part.type()):
            raise ValueError("it holds deep pixels (several samples per pixel); flatten it first")
        channels = {name: each.pixels for name, each in part.channels.items()}
        primaries = part.header.get("chromaticities", _REC_709)
    if {"RY", "BY"} & set(channels):
        raise ValueError("its colours are luminance and chroma; convert it to RGB")
    names = ["R", "G", "B"] if {"R", "G", "B"} <= set(channels) else ["Y"]
    if names[0] not in channels:
        given = ", ".join(channels) or "none"
        raise ValueError(f"it has the channels {given}; allowed are R, G, B or Y, and A")
    if "A" in channels:
        names.append("A")
    planes = [channels[name] for name in names]
    if any(each.dtype.kind != "f" for each in planes):
        raise ValueError("its samples are whole numbers; allowed are halves and floats")
    if len({each.shape for each in planes}) > 1:
        raise ValueError("its channels have different sizes")
    notes = []
    if not np.allclose(primaries, _REC_709, atol=2e-3):
        notes.append(
            "its primaries are not those of sRGB; its colours are enhanced as if they were sRGB"
        )
    if others := [name for name in channels if name not in names]:
        notes.append(f"its channels {', '.join(others)} are not enhanced")
    if count > 1:
        notes.append(f"it has {count} parts; the first is enhanced")
    linear = np.stack(planes, -1).astype(np.float32)
    colours = len(names) - ("A" in names)
    if "A" in names:
        linear[..., :colours] /= _opaque(linear[..., colours:])
    linear[..., :colours] = linear_to_srgb(linear[..., :colours])
    pixels = linear[..., 0] if len(names) == 1 else linear
    dtypes = {name: channels[name].dtype.name for name in names}
    metadata = Metadata(native=Origin(path, pixels.shape, dtypes))
    samples = "" if len(names) == 1 else "".join(names).lower()
    return Picture(pixels, "yxs"[: pixels.ndim], metadata, samples, tuple(notes))


def write_exr(path: Path, picture: Picture) -> None:
    """Write an EXR file in linear light.

    If the source is an EXR, the result keeps its other parts, channels and attributes, and the
    precision of its channels.
    """
    check_holds(path, picture.pixels.dtype, DTYPES)
    check_exr(path, picture.axes, picture.layout.samples)
    library = import_optional("OpenEXR", "exr")
    pixels, samples = flat_colours(picture), picture.layout.samples or "y"
    values = pixels.reshape(*pixels.shape[:2], len(samples)).astype(np.float32)
    colours = len(samples) - samples.endswith("a")
    values[..., :colours] = srgb_to_linear(values[..., :colours])
    if samples.endswith("a"):
        values[..., :colours] *= _opaque(values[..., colours:])
    origin = picture.metadata.native
    if isinstance(origin, Origin) and origin.shape == pixels.shape:
        with _file(origin.path) as file:
            for number, (name, dtype) in enumerate(origin.dtypes.items()):
                plane = values[..., number].astype(dtype)
                file.parts[0].channels[name].pixels = np.ascontiguousarray(plane)
            _save(file, path)
        return
    dtype = "float16" if pixels.dtype == np.float16 else "float32"
    planes = {
        name.upper(): np.ascontiguousarray(values[..., number].astype(dtype))
        for number, name in enumerate(samples)
    }
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    _save(library.File(header, planes), path)


def _save(file: Any, path: Path) -> None:
    """Write an EXR file.

    Raises
    ------
    OSError
        If it cannot be written; the library raises RuntimeError with the reason after the path.
    """
    try:
        file.write(str(path))
    except RuntimeError as error:
        raise OSError(str(error).rpartition('". ')[2].rstrip(".")) from error


def check_exr(path: Path, axes: str, samples: str) -> None:
    """Check that an EXR can hold an image of some axes and samples.

    Raises
    ------
    ValueError
        If it cannot.
    """
    check_layout(path, axes, samples, ("", "ya", "rgb", "rgba"))


@contextmanager
def _file(path: Path) -> Iterator[Any]:
    """Context manager that opens and reads an EXR file."""
    library = import_optional("OpenEXR", "exr")
    if not library.isOpenExrFile(str(path)):
        raise ValueError("it is not an OpenEXR file")
    with redirect_stdout(StringIO()), without_messages() as messages:
        with library.File(str(path), header_only=True) as head:
            for part in head.parts:
                low, high = part.header["dataWindow"]
                width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
                check_memory((height, width), 4 * len(part.channels or part.header["channels"]))
        file = library.File(str(path), separate_channels=True)
    # The library prints the error, and continues with the parts that it could read.
    if messages or not file.parts:
        reason = messages[-1].rpartition(": (")[2].replace(")", ":", 1) if messages else "no parts"
        raise ValueError(f"it is cut off or damaged (OpenEXR says: {reason})")
    with file:
        yield file


def _opaque(alpha: NDArray[Any]) -> NDArray[Any]:
    """Alpha to divide by; 1 where alpha is 0, which keeps light without a surface, such as flames."""
    return np.where(alpha == 0, np.float32(1), alpha)
