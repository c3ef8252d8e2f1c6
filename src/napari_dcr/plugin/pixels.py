"""The pixels of a layer, whatever kind of array it holds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_dcr.engine.sources import is_dask, is_zarr
from napari_dcr.io import ome_zarr

if TYPE_CHECKING:
    from napari.layers import Image

BLOCK = 2048
"""Side of the blocks that arrays without chunks are read in."""


def layer_shape(layer: Image) -> tuple[int, ...]:
    """Shape of a layer's array, colours included; of a multiscale layer the finest level's."""
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def layer_levels(layer: Image) -> list[Any]:
    """The arrays of a layer, finest first: NumPy, dask or zarr arrays."""
    return [_as_array(level) for level in (layer.data if layer.multiscale else [layer.data])]


def layer_pixels(layer: Image) -> Any:
    """The array to enhance: a multiscale layer's finest level."""
    return _as_array(layer.data[0] if layer.multiscale else layer.data)


def is_lazy(pixels: Any) -> bool:
    """Whether an array is read when it is looked at."""
    return is_dask(pixels) or is_zarr(pixels)


def to_enhance(pixels: Any) -> Any:
    """An array as `enhance` takes it so that the result is lazy where the layer is."""
    if is_zarr(pixels):
        import dask.array

        pixels = ome_zarr.anchored(pixels)  # read later, maybe from another working folder
        # dask would name it after its path alone, and take what it knows of other pixels for it.
        stamp = ome_zarr.files_stamp(pixels) or uuid.uuid4().hex
        return dask.array.from_zarr(pixels, name=f"layer-{stamp}")
    return pixels


def _as_array(data: Any) -> Any:
    """An array that napari shows as one that is read window by window.

    xarray.DataArray gives what it holds; arrays in memory, such as tensors, become NumPy
    arrays without a copy where they can; all others, such as tensorstore and HDF5, become
    dask arrays that read what is asked for.

    Raises
    ------
    MemoryError
        If it has to be read as a whole and does not fit into memory.
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

    # Under a name of its own: the same store may hold other pixels next time.
    name = f"layer-{uuid.uuid4().hex}"
    return dask.array.from_array(_Windows(data), chunks or _blocks(data.shape), name)


def _blocks(shape: Sequence[int]) -> tuple[int, ...]:
    """Blocks of one plane each, for arrays that do not say what they are stored in."""
    within = 3 if shape[-1] in (3, 4) else 2  # colours stay together
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
    """The NumPy dtype of an array of another library."""
    dtype = getattr(data.dtype, "numpy_dtype", data.dtype)  # tensorstore has dtypes of its own
    try:
        return np.dtype(dtype)
    except TypeError:  # so has torch
        return np.asarray(data[(slice(0, 1),) * len(data.shape)]).dtype


def _chunks(data: Any) -> tuple[int, ...] | None:
    """Shape of what an array on disk is read in, or None if it does not say."""
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
