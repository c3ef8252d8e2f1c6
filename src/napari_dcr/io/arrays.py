"""Arrays in and out: NumPy, dask and zarr arrays as sources, an array in memory as a sink."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.devices import free_memory
from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.sources import Opened, is_dask, is_zarr
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_zarr
from napari_dcr.io.files import check_array, warnings_of


def open_array(image: Any) -> Opened:
    """Open an ndarray, a dask array, a zarr array or an OME-Zarr group.

    Of a group the finest level is taken.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or if the group is not a multiscale image.
    """
    if isinstance(image, np.ndarray):
        if not isinstance(image, (np.ma.MaskedArray, np.memmap)):
            image = image.view(np.ndarray)  # of other subclasses the arithmetic is not ours
        return Opened(image, None, lambda: _content(image))
    if is_dask(image):
        if any(np.isnan(n) for n in image.shape):
            raise ValueError(
                f"image: got a dask array of shape {image.shape} with chunks of unknown size;"
                " call compute_chunk_sizes() on it first"
            )
        # A name may be that of a path, whose pixels change: no fingerprint.
        return Opened(image, None, lambda: None)
    if is_zarr(image):
        array, axes, pyramid = ome_zarr.find_image(image)
        notes = ome_zarr.left_out(pyramid["group"]) if pyramid else ()
        return Opened(
            array, axes, lambda: ome_zarr.files_stamp(array), pyramid,
            warnings=warnings_of(ome_zarr.path_of(image), notes),
        )  # fmt: skip
    raise TypeError(
        f"image: got {type(image).__name__}; allowed are a numpy.ndarray, a dask or zarr array,"
        " an OME-Zarr group, and the path of an image file or a .zarr"
    )


def _content(array: NDArray[Any]) -> str | None:
    """Digest of an array in memory: many times faster than what it saves."""
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
    """A result in memory with the mask of the image that it was made from, if that has one."""
    if not (isinstance(image, np.ma.MaskedArray) and isinstance(result, np.ndarray)):
        return result
    mask = np.ma.getmaskarray(image)
    if isinstance(result, np.ma.MaskedArray):  # given by the caller
        result.mask = mask
        return result
    masked = np.ma.MaskedArray(result, mask.copy())
    if result.dtype == image.dtype:
        with np.errstate(over="ignore"):  # NumPy's own default, 1e20, is beyond float16
            masked.fill_value = image.fill_value
    return masked


class ArraySink:
    """An array in memory, or mapped to it.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    out : ndarray, optional
        A new one if None.
    """

    unit: Size = (1, 1)
    part: Size | None = None
    record: RunRecord | None = None

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
                    f" {free / 2**30:.1f} GiB are free; give the path of a .zarr to write to"
                )
            self.result = np.empty(self._layout.shape, self._dtype)
        return self.result

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Nothing is left to do."""
        yield from ()

    def close(self) -> None:
        """Nothing is open."""


def check_out(out: Any, image: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that an array in memory can take the result.

    Raises
    ------
    TypeError, ValueError
        If it cannot.
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
