"""The images that a TIFF holds, and checks that all of their pixels are in the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.io import ome_tiff, tiff_kinds
from napari_dcr.io.files import check_memory

UNCOMPRESSED, OLD_JPEG = 1, 6
"""Codes of the tag Compression; pages with old JPEG need not list strips."""


def images_of(file: Any) -> list[Any]:
    """Series of a file without the thumbnails that LSM keeps beside its image."""
    series = list(file.series)
    return [each for each in series if not (file.is_lsm and each.keyframe.is_reduced)]


def missing_planes(file: Any, series: Any) -> NDArray[np.bool_] | None:
    """Mask of the planes that were never written, along the leading axes; None without such planes.

    Raises
    ------
    ValueError
        If other planes are missing.
    """
    gone = np.array([page is None for page in series.pages])
    if not gone.any():
        return None
    leading = series.shape[: len(series.shape) - len(series.keyframe.shape)]
    stored = gone.size - gone.sum()
    listed = ome_tiff.described_planes(file.ome_metadata) if file.is_ome else stored
    if gone.size != np.prod(leading, dtype=np.int64) or listed != stored:
        raise ValueError(f"{gone.sum()} of its {gone.size} planes are missing from the file")
    return gone.reshape(leading)


def check_complete(path: Path, file: Any, series: Any, missing: NDArray[np.bool_] | None) -> None:
    """Check that a file holds all pixels of an image; decoders would invent the rest.

    Parameters
    ----------
    path : Path
    file : tifffile.TiffFile
    series : tifffile.TiffPageSeries
    missing : ndarray of bool, or None
        Planes that were never written, from `missing_planes`.

    Raises
    ------
    ValueError
        If pixels are missing.
    """
    stored = [(number, each) for number, each in enumerate(series.pages) if each is not None]
    for number, page in stored:
        _check_page(page, number, path)
    kept = sum(int(page.size) for _, page in stored)
    if (
        tiff_kinds.is_of_instrument(file)
        and not file.is_stk
        and missing is None
        and kept < series.size
    ):
        raise ValueError(f"it holds {kept} of {series.size} pixels: it is incomplete")
    if series.dataoffset is not None and series.dataoffset + series.nbytes > file.filehandle.size:
        raise ValueError(
            f"its pixels go on to byte {series.dataoffset + series.nbytes}, past the end of the file"
            f" at {file.filehandle.size}: it is incomplete"
        )


def _check_page(page: Any, number: int, path: Path) -> None:
    """Check that the strips or tiles of a page are complete and lie within the file.

    Strips and tiles of 0 bytes, which GDAL writes for pixels without data, are allowed.
    """
    name = Path(page.parent.filehandle.path).name
    where = "" if name == path.name else f" of its companion {name}"
    size, keyframe = page.parent.filehandle.size, page.keyframe
    compression = int(keyframe.compression)
    is_packed = compression != UNCOMPRESSED
    expected, found = math.prod(keyframe.chunked), len(page.dataoffsets)
    # Some uncompressed files have one strip for all rows, in spite of their tag RowsPerStrip.
    is_short = is_packed or sum(page.databytecounts) < keyframe.nbytes
    if found < expected and is_short and compression != OLD_JPEG:
        raise ValueError(
            f"page {number + 1}{where} has {found} of its {expected}"
            f" {'tiles' if keyframe.is_tiled else 'strips'}: it is incomplete"
        )
    if is_packed:  # each is decoded as a whole
        check_memory(keyframe.chunks, np.dtype(keyframe.dtype or "u1").itemsize)
    room = size if is_packed else keyframe.nbytes
    # Uncompressed segments may have larger byte counts than their pixels need.
    end = max(
        (offset + min(count, room)
         for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False) if count),
        default=0,
    )  # fmt: skip
    if end > size:
        raise ValueError(
            f"the pixels of page {number + 1}{where} go on to byte {end}, past the end of the file"
            f" at {size}: it is incomplete"
        )
