"""Header-data units (HDUs) of FITS files, and conversion of their stored pixels.

The standard: https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.io.array_likes import check_exact
from napari_dcr.io.files import import_optional

COMPUTED = {"i4": "f8", "u4": "f8", "i8": "f8", "u8": "f8", "i1": "i2"}
"""Dtype in which images are computed whose own dtype is not supported."""


@dataclass(frozen=True)
class Origin:
    """Source file of an image, for results in which its pixels are replaced.

    Attributes
    ----------
    path : Path
    units : tuple of int
        Numbers of the HDUs that the image consists of.
    stacked : bool
        Whether the HDUs are stacked along the first axis.
    stored : str
        Dtype of the stored pixels after scaling.
    shape : tuple of int
        Shape of the image.
    """

    path: Path
    units: tuple[int, ...]
    stacked: bool
    stored: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Cards:
    """Keywords of a FITS header for metadata from another format.

    Attributes
    ----------
    values : tuple of (str, value)
    """

    values: tuple[tuple[str, str | float], ...]


def mosaic_note(pattern: str) -> str:
    """Note that a mosaic of colours is enhanced as a grey image."""
    return (
        f"it holds a mosaic of colours ({pattern}); it is enhanced as a grey image, so that it can"
        " be demosaiced afterwards, which blurs colours into each other"
    )


def import_fits() -> Any:
    """Import the FITS module of astropy."""
    return import_optional("astropy.io.fits", "astronomy")


def open_units(path: Path) -> Any:
    """Open a file; a file compressed with gzip is decompressed to a temporary file first.

    Raises
    ------
    ValueError
        If the file is truncated, or the header of one of its HDUs cannot be read.
    """
    fits = import_fits()
    with path.open("rb") as file:
        start = file.read(2)
    source: Any = path
    if start == b"\x1f\x8b":
        with tempfile.TemporaryFile() as unpacked:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, unpacked)
            source = os.fdopen(os.dup(unpacked.fileno()), "rb")
            source.seek(0)
    # Astropy's warnings either have no consequences or lead to an error below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus = fits.open(source, do_not_scale_image_data=True, memmap=False)
        len(hdus)  # headers are read now
    try:
        _check_complete(hdus)
    except ValueError:
        hdus.close()
        raise
    return hdus


BLOCK = 2880
"""Size of a block in bytes; headers and data fill whole blocks."""


def _check_complete(hdus: Any) -> None:
    """Raise an error if the file ends within an HDU, of which astropy would return a part.

    Astropy leaves out an HDU whose header it cannot read, and all HDUs after it.  Other bytes
    after the last HDU, such as padding, are allowed.
    """
    fits, end = import_fits(), 0
    if not all(hasattr(hdu, "fileinfo") for hdu in hdus):
        return  # one that does not follow the standard ("SIMPLE = F") has no known size
    for hdu in hdus:
        place = hdu.fileinfo()
        # Some programs leave out the padding.  The header of a compressed image is that of the
        # image, not that of the table in which it is stored.
        length = place["datSpan"] if isinstance(hdu, fits.CompImageHDU) else hdu.size
        size, needed = place["file"].size, place["datLoc"] + length
        if size < needed:
            raise ValueError(f"it is cut off: it has {size} of {needed} bytes")
        end = place["datLoc"] + place["datSpan"]
    file = place["file"]
    for start in range(end, size, BLOCK):
        file.seek(start)
        found = file.read(8)
        if b"XTENSION".startswith(found):
            raise ValueError(
                f"it is cut off or damaged: the header of its HDU {len(hdus)}, at byte {start} of"
                f" {size}, cannot be read"
            )


def scale_of(header: Any) -> tuple[float, float]:
    """Offset and factor from stored to physical values."""
    return float(header.get("BZERO", 0)), float(header.get("BSCALE", 1))


def blank_of(header: Any) -> int | None:
    """Stored value of pixels without data, or None."""
    return int(header["BLANK"]) if "BLANK" in header and int(header["BITPIX"]) > 0 else None


_OFFSETS = {(16, 32768.0): "u2", (32, 2147483648.0): "u4", (64, 2.0**63): "u8", (8, -128.0): "i1"}
"""Dtypes that are stored with a BZERO, by their bits and this BZERO (FITS standard, table 11)."""


def stored_dtype(header: Any) -> str:
    """NumPy dtype of the pixels after scaling."""
    bits = int(header["BITPIX"])
    offset, factor = scale_of(header)
    if bits < 0:
        return f"f{-bits // 8}"
    if (offset, factor) == (0, 1):
        return "u1" if bits == 8 else f"i{bits // 8}"
    if factor == 1 and (bits, offset) in _OFFSETS:
        return _OFFSETS[bits, offset]
    # The 24 bits of float32 must distinguish neighbouring values.
    return "f4" if bits <= 16 and abs(offset) <= 2**23 * abs(factor) else "f8"


def scaled(
    stored: NDArray[Any], scale: tuple[float, float], dtype: np.dtype[Any], blank: int | None
) -> NDArray[Any]:
    """Convert stored values to physical values; blank pixels become NaN in floats.

    Raises
    ------
    ValueError
        If float64 cannot represent a 64-bit integer.
    """
    offset, factor = scale
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    own = "" if stored.dtype.kind == "f" else _OFFSETS.get((8 * stored.itemsize, offset), "")
    if (offset, factor) == (0, 1):
        values = stored
    elif own and factor == 1:
        values = with_sign_flipped(stored, own)
    else:
        values = stored.astype(np.float64) * factor + offset
    if dtype.kind != "f" or stored.dtype.kind == "f":
        return values.astype(dtype)
    gone = is_blank(stored, blank)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        check_exact(values[~gone])
    return np.where(gone, dtype.type(np.nan), values.astype(dtype))


def is_blank(stored: NDArray[Any], blank: int | None) -> NDArray[np.bool_]:
    """Find the pixels without data by their stored value."""
    return np.zeros(stored.shape, np.bool_) if blank is None else stored == blank


def with_sign_flipped(pixels: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Add or subtract BZERO = 2^(bits - 1), which flips the highest bit, without rounding.

    Examples
    --------
    >>> with_sign_flipped(np.array([-32768, 0], np.int16), "u2")
    array([    0, 32768], dtype=uint16)
    """
    bits = pixels.view(f"u{pixels.itemsize}")
    return (bits ^ bits.dtype.type(1 << 8 * pixels.itemsize - 1)).view(dtype)


def offset_of(stored: str) -> float:
    """BZERO with which a dtype is stored."""
    return next((offset for (_, offset), name in _OFFSETS.items() if name == stored), 0.0)
