"""FITS: images and cubes, read by section; every other part of the file is written back.

The standard: https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.sources import Opened
from napari_dcr.image.axes import Layout
from napari_dcr.io import tags as t
from napari_dcr.io.files import (
    Picture,
    import_optional,
    partial_path,
    stamp_of,
    warnings_of,
)
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.views import Planes
from napari_dcr.version import __version__

DTYPES = ("uint8", "int16", "uint16", "float32", "float64")
"""Dtypes that are written."""

BLOCK = 2880
"""Bytes; headers and data fill whole blocks."""

SCIENCE = "SCI"
"""Name of the images in files that hold their errors and qualities too."""

_BESIDE = ("ERR", "DQ", "VAR", "IVAR", "UNC", "UNCERT", "MASK", "WHT", "WEIGHT", "CON", "CTX", "HITS", "QUALITY", "NPOL", "SAMP", "TIME")  # fmt: skip
"""Names of units that describe the pixels of another one."""

_OF_OLD_PIXELS = ("DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM")
"""Keywords that are true of the old pixels only."""

_SCALING = ("BSCALE", "BZERO", "BLANK")
"""Keywords that say how pixels are stored."""

_AXES = {"TIME": "t", "UTC": "t", "FREQ": "l", "WAVE": "l", "AWAV": "l", "VRAD": "l", "VOPT": "l", "VELO": "l", "FELO": "l", "STOKES": "p", "RGB": "c", "COLOR": "c"}  # fmt: skip
"""Letters of axes by the first part of their CTYPE."""

_COMPUTED = {"i4": "f8", "u4": "f8", "i8": "f8", "u8": "f8", "i1": "i2"}
"""What images are computed in whose dtype is not one that is enhanced."""


@dataclass(frozen=True)
class Origin:
    """The file that an image was read from, for a result that is written back into its place.

    Attributes
    ----------
    path : Path
    units : tuple of int
        Header-data units whose pixels the image has.
    stacked : bool
        Whether the first axis counts them.
    stored : str
        Dtype of the stored pixels after scaling.
    shape : tuple of int
        Of the image.
    """

    path: Path
    units: tuple[int, ...]
    stacked: bool
    stored: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Cards:
    """Keywords of a FITS header that another format's metadata are written as.

    Attributes
    ----------
    values : tuple of (str, value)
    """

    values: tuple[tuple[str, str | float], ...]


def _astropy() -> Any:
    return import_optional("astropy.io.fits", "astronomy")


def _hdus(path: Path) -> Any:
    """Open a file; one that is packed by gzip is unpacked into a temporary file, once."""
    fits = _astropy()
    with path.open("rb") as file:
        start = file.read(2)
    source: Any = path
    if start == b"\x1f\x8b":
        with tempfile.TemporaryFile() as unpacked:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, unpacked)
            source = os.fdopen(os.dup(unpacked.fileno()), "rb")
            source.seek(0)
    # What astropy warns of either has no consequences or is an error below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus = fits.open(source, do_not_scale_image_data=True, memmap=False)
        len(hdus)  # headers are read now
    return hdus


def open_fits(path: Path, scene: int | str | None = None) -> Opened:
    """Open a FITS file without reading its pixels.

    Units named SCI are the image; without them all units that hold pixels and are not the
    errors, qualities or weights of others. Several of the same shape are stacked along an
    axis ``e``; of different ones the ``scene`` chooses, by number or by name (``"SCI,2"``).

    Raises
    ------
    ValueError
        If it is damaged or holds no image, or several of different shapes.
    """
    hdus = _hdus(path)
    numbers = _images(hdus)
    if not numbers:
        raise ValueError("it holds no image of two or more axes")
    if scene is not None:
        numbers = [_chosen(hdus, numbers, scene)]
    kinds = {(hdus[n].shape, _stored(hdus[n].header)) for n in numbers}
    if len(kinds) > 1:
        names = ", ".join(f"{i} ({_name(hdus[n])})" for i, n in enumerate(numbers))
        raise ValueError(f"it holds images of different kinds; choose one by scene: {names}")
    for number in numbers:
        _check_complete(hdus, number)
    header, shape = hdus[numbers[0]].header, tuple(int(n) for n in hdus[numbers[0]].shape)
    notes = []
    if len(numbers) > 1:
        names = ", ".join(_name(hdus[n]) for n in numbers)
        notes.append(f"its {len(numbers)} images ({names}) are enhanced together, along axis e")
    axes, doubt = _letters(path, header, shape)
    stored = _stored(header)
    dtype = np.dtype(_COMPUTED.get(stored, stored))
    stacked = len(numbers) > 1
    scales = [_scale(hdus[n].header) for n in numbers]
    blanks = {_blank(hdus[n].header) for n in numbers}
    blank = blanks.pop() if len(blanks) == 1 else None

    def read(place: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        number, place = (place[0], place[1:]) if stacked else (0, place)
        pixels = np.asarray(hdus[numbers[number]].section[(*place, rows, columns)])
        return _scaled(pixels, scales[number], dtype, blank)

    shape = (len(numbers), *shape) if stacked else shape
    array = Planes(shape, dtype, read, by_region=True)
    offset, factor = scales[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = header.tostring(sep="\n").encode("ascii", "replace").decode()
    tags = {t.DESCRIPTION: t.text_tag(text)}
    if str(header.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP":
        tags[t.ORIENTATION] = t.short_tag(4)
    return Opened(
        array, "e" + axes if stacked else axes,
        lambda: stamp_of(path, *numbers),
        metadata=Metadata(tags, native=Origin(path, tuple(numbers), stacked, stored, shape)),
        doubt=doubt, warnings=warnings_of(path, tuple(notes)), measured=True,
        nodata=None if blank is None or dtype.kind == "f" else blank * factor + offset,
    )  # fmt: skip


def _images(hdus: Any) -> list[int]:
    """Units that hold an image."""
    found = []
    for number, hdu in enumerate(hdus):
        shape = getattr(hdu, "shape", ())
        if getattr(hdu, "is_image", False) and len(shape) >= 2 and 0 not in shape:
            found.append(number)
    science = [n for n in found if hdus[n].name.upper() == SCIENCE]
    return science or [n for n in found if hdus[n].name.upper() not in _BESIDE]


def _name(hdu: Any) -> str:
    return f"{hdu.name or 'unnamed'},{hdu.ver}"


def _chosen(hdus: Any, numbers: list[int], scene: int | str) -> int:
    """The unit that a scene names."""
    names = [_name(hdus[n]) for n in numbers]
    if isinstance(scene, int) and 0 <= scene < len(numbers):
        return numbers[scene]
    same = [n for n, name in zip(numbers, names, strict=True) if scene in (name, hdus[n].name)]
    if len(same) != 1:
        raise ValueError(
            f"scene: got {scene!r}; allowed are 0 to {len(numbers) - 1} and {', '.join(names)}"
        )
    return same[0]


def _check_complete(hdus: Any, number: int) -> None:
    """Raise an error if the file ends before its pixels, which astropy would return in part."""
    hdu, fits = hdus[number], _astropy()
    place = hdu.fileinfo()
    size, length = place["file"].size, place["datSpan"]
    if not isinstance(hdu, fits.CompImageHDU):  # some programs leave out the padding
        length = abs(int(hdu.header["BITPIX"])) // 8 * math.prod(hdu.shape)
    if size < place["datLoc"] + length:
        raise ValueError(f"it is cut off: it has {size} bytes of {place['datLoc'] + length}")


def _scale(header: Any) -> tuple[float, float]:
    """Offset and factor from stored to physical values."""
    return float(header.get("BZERO", 0)), float(header.get("BSCALE", 1))


def _blank(header: Any) -> int | None:
    """Stored value of pixels that hold nothing."""
    return int(header["BLANK"]) if "BLANK" in header and int(header["BITPIX"]) > 0 else None


_OFFSETS = {(16, 32768.0): "u2", (32, 2147483648.0): "u4", (64, 2.0**63): "u8", (8, -128.0): "i1"}


def _stored(header: Any) -> str:
    """Dtype of the pixels after scaling, as NumPy calls it."""
    bits = int(header["BITPIX"])
    offset, factor = _scale(header)
    if bits < 0:
        return f"f{-bits // 8}"
    if (offset, factor) == (0, 1):
        return "u1" if bits == 8 else f"i{bits // 8}"
    if factor == 1 and (bits, offset) in _OFFSETS:
        return _OFFSETS[bits, offset]
    return "f4" if bits <= 16 else "f8"


def _scaled(
    stored: NDArray[Any], scale: tuple[float, float], dtype: np.dtype[Any], blank: int | None
) -> NDArray[Any]:
    """Physical values of stored ones; blank pixels become NaN in floats."""
    offset, factor = scale
    if dtype.kind == "f" and stored.dtype.kind in "iu":
        values = (stored.astype(np.float64) * factor + offset).astype(dtype)
        return values if blank is None else np.where(stored == blank, dtype.type(np.nan), values)
    if dtype.kind == "f" and (offset, factor) != (0, 1):
        return (stored.astype(np.float64) * factor + offset).astype(dtype)
    if offset:
        return (stored.astype(np.int32) + int(offset)).astype(dtype)
    return stored.astype(dtype)


def _letters(path: Path, header: Any, shape: tuple[int, ...]) -> tuple[str, str]:
    """A letter per axis, and what speaks against them."""
    spare = iter("qruvwzkjihg")
    letters, unknown = "", []
    for number, length in enumerate(shape[:-2]):
        kind = str(header.get(f"CTYPE{len(shape) - number}", "")).strip().upper()
        letter = _AXES.get(kind.partition("-")[0], "")
        if not letter and not kind and length == 3 and len(shape) == 3:
            letter = "c"  # as programs for pictures of the sky store colours
            unknown.append(number)
        elif not letter or letter in letters:
            letter = next(spare)
        letters += letter
    doubt = ""
    if unknown:
        doubt = (
            f"axes: the 3 planes of {path.name} are taken for colours, each enhanced by itself; if"
            ' they are planes of a stack, give axes="zyx"'
        )
    return letters + "yx", doubt


def check_fits(path: Path, axes: str, samples: str) -> None:
    """Say if a FITS file cannot hold an image of some axes.

    Raises
    ------
    ValueError
    """
    if not axes.endswith(("yx", "yxs")):
        raise ValueError(
            f"{path}: FITS holds images whose last axes are y and x, got axes {axes!r};"
            " write .tif or .zarr"
        )


def write_fits(path: Path, picture: Picture) -> None:
    """Write a FITS file; colours become planes."""
    pixels, axes = np.ma.getdata(picture.pixels), picture.axes
    if axes.endswith("s"):
        pixels, axes = np.moveaxis(pixels, -1, 0), "c" + axes[:-1]
    layout = Layout(pixels.shape, axes)
    with _Written(path, layout, pixels.dtype, picture.metadata) as written:
        written[(slice(None),) * pixels.ndim] = pixels


class _Written:
    """The pixels of a FITS file that is being written.

    Headers, and units that are left as they are, are copied first; pixels go straight to
    their places.

    Parameters
    ----------
    path : Path
    layout : Layout
    dtype : dtype
        Of the result.
    metadata : Metadata
        Of the image that it was made from.
    """

    def __init__(
        self, path: Path, layout: Layout, dtype: np.dtype[Any], metadata: Metadata
    ) -> None:
        self.shape, self.dtype, self.ndim = layout.shape, dtype, len(layout.shape)
        native = metadata.native
        origin = native if isinstance(native, Origin) and native.shape == self.shape else None
        self._stacked = origin is not None and origin.stacked
        shape = self.shape[1:] if self._stacked else self.shape
        stored = dtype.str[1:]
        if origin is not None and dtype == np.dtype(_COMPUTED.get(origin.stored, "V1")):
            stored = origin.stored
        self._stored, self._offset = np.dtype(stored), _offset_of(stored)
        self._blank: int | None = None
        self._is_stored_alike = (
            origin is not None and stored == origin.stored and self._stored.kind in "iu"
        )
        fits = _astropy()
        places: list[int] = []
        with path.open("wb") as file:
            if origin is None:
                header = fits.PrimaryHDU().header
                if isinstance(native, Cards):
                    header.update(native.values)
                places.append(self._begin(file, header, shape))
            else:
                hdus = _hdus(origin.path)
                for number, hdu in enumerate(hdus):
                    if number in origin.units:
                        header = hdu.header.copy()
                        self._blank = _blank(header) if self._is_stored_alike else None
                        places.append(self._begin(file, header, shape))
                    else:
                        _copy(hdu.fileinfo(), file)
                hdus.close()
        stored_kind = np.dtype({"u2": "i2", "u4": "i4", "u8": "i8", "i1": "u1"}.get(stored, stored))
        self._maps = [
            np.memmap(path, stored_kind.newbyteorder(">"), "r+", place, shape) for place in places
        ]

    def _begin(self, file: BinaryIO, header: Any, shape: tuple[int, ...]) -> int:
        """Write a header and room for pixels; returns where they begin."""
        for name in _OF_OLD_PIXELS if self._is_stored_alike else (*_OF_OLD_PIXELS, *_SCALING):
            header.remove(name, ignore_missing=True, remove_all=True)
        header["BITPIX"] = {"f": -8}.get(self._stored.kind, 8) * self._stored.itemsize
        header["NAXIS"] = len(shape)
        for number, length in enumerate(reversed(shape)):
            after = f"NAXIS{number}" if number else "NAXIS"
            header.set(f"NAXIS{number + 1}", length, after=after)
        last = f"NAXIS{len(shape)}"
        for name in ("PCOUNT", "GCOUNT"):
            if name in header:
                last = name
        if self._offset and not self._is_stored_alike:
            header.set("BSCALE", 1, after=last)
            header.set("BZERO", self._offset, after="BSCALE")
        header.add_history(f"napari-dcr {__version__}: pixels enhanced (low-light restoration)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
        place = file.tell()
        size = math.prod(shape) * self._stored.itemsize
        file.truncate(place + -(-size // BLOCK) * BLOCK)
        file.seek(0, os.SEEK_END)
        return place

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        """Read a window that was written."""
        if self._stacked:
            numbers = range(self.shape[0])[index[0]]
            if isinstance(numbers, int):
                return self._physical(self._maps[numbers][index[1:]])
            return np.stack([self._physical(self._maps[n][index[1:]]) for n in numbers])
        return self._physical(self._maps[0][index])

    def _physical(self, stored: NDArray[Any]) -> NDArray[Any]:
        return _scaled(np.asarray(stored), (self._offset, 1), self.dtype, self._blank)

    def __setitem__(self, index: tuple[Any, ...], pixels: NDArray[Any]) -> None:
        """Write a window."""
        if self._stacked:
            numbers = range(self.shape[0])[index[0]]
            if isinstance(numbers, int):
                self._maps[numbers][index[1:]] = self._as_stored(pixels)
            else:
                for n, plane in zip(numbers, pixels, strict=True):
                    self._maps[n][index[1:]] = self._as_stored(plane)
        else:
            self._maps[0][index] = self._as_stored(pixels)

    def _as_stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        pixels = np.asarray(pixels)
        if pixels.dtype == self._stored and not self._offset:
            return pixels
        kind = self._maps[0].dtype
        if pixels.dtype.kind == "f":
            limits = np.iinfo(kind)
            gone = np.isnan(pixels)
            shifted = np.clip(np.rint(np.where(gone, 0, pixels) - self._offset), limits.min, float(limits.max))  # fmt: skip
            return np.where(gone, self._blank or 0, shifted).astype(kind)
        return (pixels.astype(np.int64) - int(self._offset)).astype(kind)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *stopped: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is not yet in the file."""
        for each in self._maps:
            each.flush()
        self._maps = []


def _offset_of(stored: str) -> float:
    """BZERO of a dtype."""
    return {"u2": 32768.0, "u4": 2147483648.0, "u8": 2.0**63, "i1": -128.0}.get(stored, 0.0)


def _copy(place: dict[str, Any], file: BinaryIO) -> None:
    """Copy a unit as it is."""
    source, left = place["file"], place["datLoc"] + place["datSpan"] - place["hdrLoc"]
    source.seek(place["hdrLoc"])
    while left > 0:
        data = source.read(min(left, 1 << 20))
        if not data:
            raise ValueError(f"the file is cut off: {left} bytes of a unit are missing")
        file.write(data)
        left -= len(data)


class FitsSink:
    """A FITS file that is written by region and put in its place when it is complete.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Of the image that it was made from.
    """

    unit = (1, 1)
    part: tuple[int, int] | None = None
    record: RunRecord | None = None
    in_order = False

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata
    ) -> None:
        if "s" in layout.axes:
            raise ValueError(
                f"out: got {path.name} for an image with colours, which FITS holds as planes; write"
                " a .tif or .zarr"
            )
        self._layout, self._dtype, self._metadata = layout, dtype, metadata
        self.result = path
        self._partial = partial_path(path)
        self._written: _Written | None = None

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> Any:
        """The file's pixels as an array."""
        self._written = _Written(self._partial, self._layout, self._dtype, self._metadata)
        return self._written

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Put the file in its place."""
        assert self._written is not None
        self._written.close()
        os.replace(self._partial, self.result)
        yield from ()

    def close(self) -> None:
        """Remove what is not complete."""
        if self._written is not None:
            self._written.close()
        self._partial.unlink(missing_ok=True)
