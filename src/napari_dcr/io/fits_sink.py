"""Writing of FITS files; all other parts of the source file are copied."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.resume import RunRecord
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import warn
from napari_dcr.io.files import Picture, naming_result, partial_path, reserve
from napari_dcr.io.fits_units import (
    BLOCK,
    COMPUTED,
    Cards,
    Origin,
    blank_of,
    import_fits,
    is_blank,
    offset_of,
    open_units,
    scaled,
    with_sign_flipped,
)
from napari_dcr.io.metadata import Metadata
from napari_dcr.version import __version__

DTYPES = ("uint8", "int16", "uint16", "float32", "float64")
"""Dtypes that can be written."""

_OF_OLD_PIXELS = ("DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM")
"""Keywords that describe the original pixels."""

_SCALING = ("BSCALE", "BZERO", "BLANK")
"""Keywords that define how pixels are stored."""


def check_fits(path: Path, axes: str, samples: str) -> None:
    """Check that a FITS file can contain an image with these axes.

    Raises
    ------
    ValueError
        If it cannot.
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
    """Pixels of a FITS file that is being written.

    Headers and all other HDUs are copied first; windows of pixels are then written in place.

    Parameters
    ----------
    path : Path
    layout : Layout
    dtype : dtype
        Dtype of the result.
    metadata : Metadata
        Metadata of the source image.
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
        if origin is not None and dtype == np.dtype(COMPUTED.get(origin.stored, "V1")):
            stored = origin.stored
        self._stored, self._offset = np.dtype(stored), offset_of(stored)
        self._blanks: list[int | None] = []
        self._is_stored_alike = (
            origin is not None and stored == origin.stored and self._stored.kind in "iu"
        )
        # Pixels without data are found in the source, as pixels with data may have their value, too.
        self._source: Any = None
        self._source_blanks: list[int | None] = []
        fits = import_fits()
        places: list[int] = []
        with path.open("wb") as file:
            if origin is None:
                header = fits.PrimaryHDU().header
                if isinstance(native, Cards):
                    header.update(native.values)
                places.append(self._begin(file, header, shape))
                self._blanks.append(None)
            else:
                hdus = open_units(origin.path)
                for number, hdu in enumerate(hdus):
                    if number in origin.units:
                        header = hdu.header.copy()
                        blank = blank_of(header)
                        self._blanks.append(blank if self._is_stored_alike else None)
                        self._source_blanks.append(blank)
                        places.append(self._begin(file, header, shape))
                    else:
                        _copy(hdu.fileinfo(), file)
                self._keep_blanks(hdus, origin)
        reserve(path)
        stored_kind = np.dtype({"u2": "i2", "u4": "i4", "u8": "i8", "i1": "u1"}.get(stored, stored))
        self._maps = [
            np.memmap(path, stored_kind.newbyteorder(">"), "r+", place, shape) for place in places
        ]

    def _keep_blanks(self, hdus: Any, origin: Origin) -> None:
        """Keep the source open if its blank pixels must be found in it, otherwise close it."""
        is_lost = not self._is_stored_alike and any(b is not None for b in self._source_blanks)
        if is_lost and self._stored.kind == "f" and np.dtype(origin.stored).kind in "iu":
            self._source, self._units = hdus, origin.units
            return
        hdus.close()
        if is_lost and self._stored.kind in "iu":
            warn(
                f"{origin.path.name}: its pixels without data (BLANK) become numbers in a result of"
                f" {self.dtype.name}; write float32 to get NaN"
            )

    def _begin(self, file: BinaryIO, header: Any, shape: tuple[int, ...]) -> int:
        """Write a header and reserve space for the pixels; returns their position."""
        for name in _OF_OLD_PIXELS if self._is_stored_alike else (*_OF_OLD_PIXELS, *_SCALING):
            header.remove(name, ignore_missing=True, remove_all=True)
        if (
            "SIMPLE" in header and file.tell()
        ):  # the source was a compressed image, which is stored as a table
            for name in ("SIMPLE", "EXTEND"):
                header.remove(name, ignore_missing=True)
            header.insert(0, ("XTENSION", "IMAGE", "image extension"))
            header.update({"PCOUNT": 0, "GCOUNT": 1})
        header["BITPIX"] = {"f": -8}.get(self._stored.kind, 8) * self._stored.itemsize
        header["NAXIS"] = len(shape)
        for number, length in enumerate(reversed(shape)):
            after = f"NAXIS{number}" if number else "NAXIS"
            header.set(f"NAXIS{number + 1}", length, after=after)
        last = f"NAXIS{len(shape)}"
        for name in ("PCOUNT", "GCOUNT"):
            if name in header:
                header.set(name, header[name], after=last)
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
        """Read a window that has been written."""
        if self._stacked:
            numbers = range(self.shape[0])[index[0]]
            if isinstance(numbers, int):
                return self._physical(numbers, index[1:])
            return np.stack([self._physical(n, index[1:]) for n in numbers])
        return self._physical(0, index)

    def _physical(self, number: int, index: tuple[Any, ...]) -> NDArray[Any]:
        """Read a window of one HDU."""
        stored = np.asarray(self._maps[number][index])
        return scaled(stored, (self._offset, 1), self.dtype, self._blanks[number])

    def __setitem__(self, index: tuple[Any, ...], pixels: NDArray[Any]) -> None:
        """Write a window."""
        if self._stacked:
            numbers = range(self.shape[0])[index[0]]
            if isinstance(numbers, int):
                self._write(numbers, index[1:], pixels)
            else:
                for n, plane in zip(numbers, pixels, strict=True):
                    self._write(n, index[1:], plane)
        else:
            self._write(0, index, pixels)

    def _write(self, number: int, index: tuple[Any, ...], pixels: NDArray[Any]) -> None:
        """Write a window of one HDU."""
        pixels = np.asarray(pixels)
        if self._source is not None and self._source_blanks[number] is not None:
            section = self._source[self._units[number]].section
            stored = np.asarray(section[(*index[:-1], slice(None))])[..., index[-1]]
            gone = is_blank(stored, self._source_blanks[number])
            pixels = np.where(gone, pixels.dtype.type(np.nan), pixels)
        self._maps[number][index] = self._as_stored(pixels, number)

    def _as_stored(self, pixels: NDArray[Any], number: int) -> NDArray[Any]:
        """Convert pixels of one HDU to the values that it stores."""
        if pixels.dtype == self._stored and not self._offset:
            return pixels
        limits, kind = np.iinfo(self._stored), self._maps[0].dtype.newbyteorder("=")
        gone = np.isnan(pixels)
        top = float(limits.max)
        if int(top) > limits.max:  # rounded up, from 2^63 - 1 to 2^63
            top = np.nextafter(top, 0)
        whole = np.clip(np.rint(np.where(gone, 0, pixels)), limits.min, top).astype(self._stored)
        values = with_sign_flipped(whole, kind.str) if self._offset else whole
        return np.where(gone, kind.type(self._blanks[number] or 0), values)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *stopped: object) -> None:
        self.close()

    def close(self) -> None:
        """Write all data that are not yet in the file."""
        for each in self._maps:
            each.flush()
        self._maps = []
        if self._source is not None:
            self._source.close()
            self._source = None


def _copy(place: dict[str, Any], file: BinaryIO) -> None:
    """Copy an HDU without changes; padding that is missing at the end of the file is added."""
    source, left = place["file"], place["datLoc"] + place["datSpan"] - place["hdrLoc"]
    source.seek(place["hdrLoc"])
    while left > 0:
        data = source.read(min(left, 1 << 20)) or bytes(left)
        file.write(data)
        left -= len(data)


class FitsSink:
    """Sink that writes a FITS file by region, and moves it to its path when it is complete.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Metadata of the source image.
    """

    unit = (1, 1)
    part: tuple[int, int] | None = None
    record: RunRecord | None = None
    one_size = in_order = False

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
        """Pixels of the file as an array."""
        with naming_result(self._partial, self.result):
            self._written = _Written(self._partial, self._layout, self._dtype, self._metadata)
        return self._written

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Move the file to its path."""
        assert self._written is not None
        with naming_result(self._partial, self.result):
            self._written.close()
            os.replace(self._partial, self.result)
        yield from ()

    def close(self) -> None:
        """Remove an incomplete file."""
        if self._written is not None:
            self._written.close()
        self._partial.unlink(missing_ok=True)
