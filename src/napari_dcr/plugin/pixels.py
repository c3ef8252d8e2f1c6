"""Access to the pixels of a layer, for every type of array that napari shows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_dcr.engine.sources import is_dask, is_zarr
from napari_dcr.io import ome_zarr, zarr_chunks

if TYPE_CHECKING:
    from napari.layers import Image

BLOCK = 2048
"""Side in pixels of the blocks in which arrays without chunks are read."""


def layer_shape(layer: Image) -> tuple[int, ...]:
    """Shape of a layer's array, including colours; for a multiscale layer, of the finest level."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def layer_levels(layer: Image, data: Any = None) -> list[Any]:
    """Arrays of a layer as NumPy, dask or zarr arrays, the finest level first.

    Parameters
    ----------
    layer : Image
    data : object, optional
        Value of ``layer.data`` when a run began.  By default the present one is used.
    """
    data = layer.data if data is None else data
    return [_as_array(level) for level in (data if layer.multiscale else [data])]


def layer_pixels(layer: Image, data: Any = None) -> Any:
    """Array to enhance; for a multiscale layer, the finest level.  For ``data``, see `layer_levels`."""
    data = layer.data if data is None else data
    return _as_array(data[0] if layer.multiscale else data)


def is_lazy(pixels: Any) -> bool:
    """Whether an array is read only when its pixels are accessed."""
    return is_dask(pixels) or is_zarr(pixels)


def to_enhance(pixels: Any) -> Any:
    """Convert an array for `enhance` so that a lazy layer gives a lazy result."""
    if is_zarr(pixels):
        import dask.array

        pixels = ome_zarr.anchored(pixels)  # it is read later, possibly from another directory
        # dask would derive the name from the path alone, and reuse results of earlier pixels.
        stamp = zarr_chunks.files_stamp(pixels) or uuid.uuid4().hex
        return dask.array.from_zarr(pixels, name=f"layer-{stamp}")
    return pixels


def _as_array(data: Any) -> Any:
    """Convert any array that napari shows to one that can be read window by window.

    An xarray.DataArray is replaced by the array that it holds.  Arrays in memory, such as
    tensors, become NumPy arrays, if possible without a copy.  All others, such as tensorstore and
    HDF5, become dask arrays that read only the requested windows.

    Raises
    ------
    MemoryError
        If the array can only be read as a whole and does not fit into memory.
    """
    if isinstance(data, np.ndarray) or is_lazy(data):
        return data
    if hasattr(data, "variable") and hasattr(data, "dims"):  # xarray
        held = data.data if data.chunks or data.variable._in_memory else None
        if held is not None:
            return _as_array(held)
    chunks = _chunks(data)
    if chunks is None and not (hasattr(data, "dims") or hasattr(data, "read")):
        return _in_memory(data)
    import dask.array

    # The name is unique, because the same store may hold other pixels the next time.
    name = f"layer-{uuid.uuid4().hex}"
    return dask.array.from_array(_Windows(data), chunks or _blocks(data.shape), name)


def _blocks(shape: Sequence[int]) -> tuple[int, ...]:
    """Blocks within one plane, for arrays that do not report their chunks."""
    within = 3 if shape[-1] in (3, 4) else 2  # blocks include all colours
    return tuple(
        min(int(n), BLOCK) if axis >= len(shape) - within else 1 for axis, n in enumerate(shape)
    )


def _in_memory(data: Any) -> Any:
    dtype = _dtype(data)
    size = int(np.prod(data.shape, dtype=np.int64)) * dtype.itemsize
    free = psutil.virtual_memory().available
    if size > free // 3:
        raise MemoryError(
            f"the layer needs {size / 2**30:.1f} GiB as an array and {free / 2**30:.1f} GiB are free;"
            " crop it first"
        )
    return np.asarray(data)


def _dtype(data: Any) -> np.dtype[Any]:
    """NumPy dtype of an array of another library."""
    dtype = getattr(data.dtype, "numpy_dtype", data.dtype)  # tensorstore has its own dtypes
    try:
        return np.dtype(dtype)
    except TypeError:  # so has torch
        return np.asarray(data[(slice(0, 1),) * len(data.shape)]).dtype


def _chunks(data: Any) -> tuple[int, ...] | None:
    """Chunk shape of an array on disk, or None if it does not state one."""
    layout = getattr(data, "chunk_layout", None)
    found = getattr(getattr(layout, "read_chunk", None), "shape", None) or getattr(
        data, "chunks", None
    )
    if not found or not all(isinstance(n, (int, np.integer)) for n in found):
        return None
    # Small chunks are read many at a time.
    return tuple(
        min(size, max(chunk, BLOCK // chunk * chunk if axis >= len(found) - 2 else chunk))
        for axis, (size, chunk) in enumerate(zip(data.shape, found, strict=True))
    )


class _Windows:
    """Reads windows of an array of another library as NumPy arrays."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape = tuple(int(n) for n in data.shape)
        self.dtype, self.ndim = _dtype(data), len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self._data[index], self.dtype)
