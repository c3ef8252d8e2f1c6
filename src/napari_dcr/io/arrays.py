"""Arrays as images: open them, and write results to an array in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.devices import free_memory
from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.sources import Opened, is_dask, is_zarr
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_zarr, zarr_chunks
from napari_dcr.io.array_likes import array_like, counts_as_floats, exact_floats
from napari_dcr.io.files import check_array, warnings_of
from napari_dcr.io.views import Converted
from napari_dcr.io.zarr_nodata import nodata_of

COUNTS = ("int32", "uint32", "int64", "uint64")
"""Dtypes of counts that are converted to floats."""


def open_array(image: Any) -> Opened:
    """Open a NumPy, dask or zarr array, an OME-Zarr group, or what `array_like` converts.

    For a group, the finest level is used. Counts of 32 or 64 bits are converted to floats.

    Raises
    ------
    TypeError, ValueError
        If the image is none of these, or if the group is not a multiscale image.
    """
    if isinstance(image, np.ndarray) or is_dask(image):
        if image.dtype.name not in COUNTS:
            return _open_plain(image)
        opened = _open_plain(counts_as_floats(image))
        return replace(opened, counts=image.dtype.name)
    if is_zarr(image):
        array, axes, pyramid = ome_zarr.find_image(image)
        notes = ome_zarr.left_out(pyramid["group"]) if pyramid else ()
        return with_counts_as_floats(Opened(
            array, axes, lambda: zarr_chunks.files_stamp(array), pyramid,
            warnings=warnings_of(ome_zarr.path_of(image), notes), nodata=nodata_of(array),
            locate=lambda index: str(zarr_chunks.unreadable(array, index) or ome_zarr.path_of(array)),
        ))  # fmt: skip
    like = array_like(image)
    return replace(open_array(like.array), axes=like.axes, doubt=like.doubt, restore=like.restore)


def with_counts_as_floats(opened: Opened) -> Opened:
    """Convert the counts of a file, if they have 32 or 64 bits, to float64 where they are read."""
    dtype = np.dtype(opened.array.dtype)
    if dtype.name not in COUNTS:
        return opened

    array: Any = opened.array
    if isinstance(array, np.ndarray):
        array = exact_floats(array)
    else:
        array = Converted(array, None, 1, np.dtype(np.float64), exact_floats)
    return replace(opened, array=array, counts=dtype.name, stored=opened.array)


def _open_plain(image: Any) -> Opened:
    """Open a NumPy or dask array."""
    if isinstance(image, np.ndarray):
        if not isinstance(image, (np.ma.MaskedArray, np.memmap)):
            image = image.view(np.ndarray)  # other subclasses may redefine arithmetic
        return Opened(image, None, lambda: _content(image))
    if any(np.isnan(n) for n in image.shape):
        raise ValueError(
            f"image: got a dask array of shape {image.shape} with chunks of unknown size;"
            " call compute_chunk_sizes() on it first"
        )
    # Names of dask arrays may come from a path whose pixels can change, so they are no fingerprint.
    return Opened(image, None, lambda: None)


def _content(array: NDArray[Any]) -> str | None:
    """Digest of an array in memory; computing it is much faster than the survey that it may save."""
    if isinstance(array, np.memmap):
        return None
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    parts = [np.ma.getdata(array)]
    if isinstance(array, np.ma.MaskedArray):
        parts.append(np.ma.getmaskarray(array))
    for part in parts:
        if part.flags.c_contiguous:
            digest.update(part.data)
        else:
            for row in part:
                digest.update(np.ascontiguousarray(row).data)
    return digest.hexdigest()


def masked_like(image: Any, result: Any) -> Any:
    """Add the mask of the source image, if it has one, to a result in memory."""
    if not (isinstance(image, np.ma.MaskedArray) and isinstance(result, np.ndarray)):
        return result
    mask = np.ma.getmaskarray(image)
    if isinstance(result, np.ma.MaskedArray):  # the caller has passed this array
        result.mask = mask
        return result
    masked = np.ma.MaskedArray(result, mask.copy())
    if result.dtype == image.dtype:
        with np.errstate(
            over="ignore"
        ):  # NumPy's default fill value, 1e20, exceeds the range of float16
            masked.fill_value = image.fill_value
    return masked


class ArraySink:
    """Sink that writes to an array in memory or to a memory map.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    out : ndarray, optional
        Array to write to; a new one if None.
    """

    unit: Size = (1, 1)
    part: Size | None = None
    record: RunRecord | None = None
    one_size = in_order = False

    def __init__(self, layout: Layout, dtype: np.dtype[Any], out: NDArray[Any] | None) -> None:
        self._layout, self._dtype, self.result = layout, dtype, out

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> NDArray[Any]:
        """The array."""
        if self.result is None:
            size = int(np.prod(self._layout.shape, dtype=np.int64)) * self._dtype.itemsize
            free = free_memory("cpu")
            if size > free:
                raise MemoryError(
                    f"out: the result needs {size / 2**30:.1f} GiB as an array and"
                    f" {free / 2**30:.1f} GiB are free; pass the path of a .zarr to write to"
                )
            self.result = np.empty(self._layout.shape, self._dtype)
        return self.result

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Do nothing, because the array is already complete."""
        yield from ()

    def close(self) -> None:
        """Do nothing, because no file is open."""


def check_out(out: Any, image: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that the result can be written to an array in memory.

    Raises
    ------
    TypeError, ValueError
        If the array has another shape or dtype, is read-only, or shares memory with the image.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"out: got {type(out).__name__}; allowed are a numpy.ndarray, a zarr array,"
            " and the path of a .zarr or .tif"
        )
    check_array(out, shape, dtype)
    if not out.flags.writeable:
        raise ValueError("out: got a read-only array; it must be writeable")
    if isinstance(image, np.ndarray) and np.may_share_memory(out, image):
        raise ValueError(
            "out: got an array that shares memory with image; the input is never modified"
        )
