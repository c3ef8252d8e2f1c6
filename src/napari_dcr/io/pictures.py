"""PNG and JPEG in and out, with their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.io.files import Picture, check_holds

PNG_DTYPES = ("uint8", "uint16")
JPEG_DTYPES = ("uint8",)

JPEG_QUALITY = 95


def read_picture(path: Path) -> Picture:
    """Read a PNG or JPEG file."""
    with PILImage.open(path) as file:
        metadata: dict[str, Any] = {
            key: file.info[key] for key in ("exif", "icc_profile", "dpi") if key in file.info
        }
        if file.format == "PNG" and _png_bits(path) == 16:
            pixels = imagecodecs.png_decode(path.read_bytes())
            if pixels.ndim == 3 and pixels.shape[2] == 2:
                raise ValueError("grey with alpha is not supported; convert it to RGBA")
            return Picture(pixels, "yxs"[: pixels.ndim], metadata)
        if file.mode in ("P", "PA", "LA"):
            has_alpha = file.mode != "P" or "transparency" in file.info
            file_pixels = file.convert("RGBA" if has_alpha else "RGB")
        elif file.mode in ("1", "CMYK", "YCbCr"):
            file_pixels = file.convert("L" if file.mode == "1" else "RGB")
            metadata.pop("icc_profile", None)
        else:
            file_pixels = file.copy()
    pixels = np.array(file_pixels)
    return Picture(pixels, "yxs"[: pixels.ndim], metadata)


def _png_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def write_png(path: Path, picture: Picture) -> None:
    """Write a PNG file."""
    check_holds(path, picture.pixels.dtype, PNG_DTYPES)
    pixels = _flat(path, picture)
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
        return
    PILImage.fromarray(pixels).save(path, "PNG", **picture.metadata)


def write_jpeg(path: Path, picture: Picture) -> None:
    """Write a JPEG file."""
    check_holds(path, picture.pixels.dtype, JPEG_DTYPES)
    pixels = _flat(path, picture)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise ValueError(f"{path}: JPEG holds no alpha; write .png or .tif")
    PILImage.fromarray(pixels).save(
        path, "JPEG", quality=JPEG_QUALITY, subsampling=0, **picture.metadata
    )


def _flat(path: Path, picture: Picture) -> NDArray[Any]:
    if picture.axes not in ("yx", "yxs"):
        raise ValueError(
            f"{path}: {path.suffix} holds one picture, not axes {picture.axes!r}; write .tif"
        )
    return np.ascontiguousarray(picture.pixels)
