"""Arrays of other libraries: convert them to NumPy or dask arrays, and results back.

No library is imported for this: an object can only be an array of a library that is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.sources import is_dask

AXES = {
    "time": "t", "frame": "t", "depth": "z", "plane": "z", "channel": "c", "band": "c",
    "row": "y", "latitude": "y", "lat": "y", "column": "x", "longitude": "x", "lon": "x",
    "sample": "s", "rgb": "s",
}  # fmt: skip
"""Axes by the names of dimensions that have more than one letter."""

PILLOW_MODES = ("1", "F", "I", "I;16", "I;16B", "I;16L", "I;16N", "L", "RGB", "RGBA")
"""Modes of Pillow images whose numbers are light; those of other modes are colour indices, inks or others."""

EXACT = {"float32": 1 << 24, "float64": 1 << 53}
"""Largest whole number up to which a float dtype represents all whole numbers."""


class ArrayLike(NamedTuple):
    """An array of another library as an array that can be opened.

    Attributes
    ----------
    array : ndarray or dask array
    axes : str, optional
        One letter per axis, if the object names its dimensions.
    restore : callable
        Converts a result in memory, or a lazy one, to the kind of the object.
    doubt : str
        Reason to doubt the axes.
    """

    array: Any
    axes: str | None = None
    restore: Callable[[Any], Any] = lambda result: result
    doubt: str = ""


def array_like(image: Any) -> ArrayLike:
    """Convert an object to an array, without copying its pixels if possible.

    Parameters
    ----------
    image : object
        An `xarray.DataArray`, a tensor of PyTorch on the CPU, nested sequences of numbers, or any
        other object that `numpy.asarray` converts to an array of numbers.

    Raises
    ------
    TypeError, ValueError
        If the object cannot be converted.
    """
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(image, xarray.DataArray):
        return _from_xarray(image)
    if isinstance(image, torch.Tensor):
        return ArrayLike(_from_tensor(image), restore=torch.from_numpy)
    if isinstance(image, (str, bytes, dict, set)) or image is None or callable(image):
        raise _refused(image)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image) and image.mode not in PILLOW_MODES:
        raise ValueError(
            f"image: got a Pillow image of the mode {image.mode!r}; allowed are the modes"
            f" {', '.join(PILLOW_MODES)}; convert it, for example with image.convert('RGB')"
        )
    try:
        array = np.asarray(image)
    except Exception as error:  # other libraries raise any type of exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"image: got {type(image).__name__}, which numpy.asarray cannot convert: {reason}"
        ) from error
    if array.dtype.kind not in "buifc" or not array.ndim:
        raise _refused(image)
    return ArrayLike(array)


def _refused(image: Any) -> TypeError:
    return TypeError(
        f"image: got {type(image).__name__}; allowed are arrays of NumPy, dask, zarr, xarray and"
        " PyTorch, anything else that numpy.asarray converts to an array of numbers, an OME-Zarr"
        " group, and the path of an image file or a .zarr"
    )


def _from_xarray(image: Any) -> ArrayLike:
    pixels = image.data if is_dask(image.data) else np.asarray(image.data)
    names = [str(name) for name in image.dims]
    letters = [AXES.get(name.lower(), name.lower()) for name in names]
    known = all(len(each) == 1 and each.isalpha() for each in letters) and {"y", "x"} <= {*letters}
    axes, doubt = "".join(letters), ""
    if not known or len(set(axes)) < len(axes):
        axes, doubt = "", (
            f"image: the dimensions {', '.join(names)} do not name the axes, so their order is"
            " guessed; pass axes="
        )  # fmt: skip
    return ArrayLike(pixels, axes or None, lambda result: image.copy(data=result), doubt)


def _from_tensor(image: torch.Tensor) -> NDArray[Any]:
    if image.device.type != "cpu" or image.layout is not torch.strided:
        where = f"on the device {image.device}" if image.device.type != "cpu" else "that is sparse"
        raise TypeError(
            f"image: got a tensor {where}; allowed are dense tensors on the CPU, for example"
            " image.cpu().to_dense()"
        )
    try:
        return image.detach().resolve_conj().resolve_neg().numpy()
    except TypeError as error:
        raise TypeError(
            f"image: got a tensor of {image.dtype}, which NumPy does not have; convert it, for"
            " example with image.float()"
        ) from error


def counts_as_floats(array: Any) -> Any:
    """Convert counts of 32 or 64 bits to floats that represent them exactly.

    They become float32 if all are known to be below 2^24, and float64 otherwise.  Values under a
    mask do not count and may be rounded.

    Raises
    ------
    ValueError
        If float64 cannot represent a number; for dask arrays, when its block is computed.
    """
    if is_dask(array):
        return array.map_blocks(exact_floats, dtype=np.float64, meta=array._meta.astype(np.float64))
    values = _present(array)
    largest = max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
    for name, limit in EXACT.items():
        if largest <= limit:
            return array.astype(name)
    return exact_floats(array)


def _present(array: NDArray[Any]) -> NDArray[Any]:
    """Values that are not masked."""
    return array.compressed() if isinstance(array, np.ma.MaskedArray) else array


def exact_floats(array: NDArray[Any]) -> NDArray[np.float64]:
    """Counts as float64; raise a ValueError if it cannot represent one that is not masked."""
    check_exact(_present(array))
    return array.astype(np.float64)


def check_exact(values: NDArray[Any]) -> None:
    """Raise a ValueError if float64 cannot represent a whole number, such as 2^53 + 1."""
    if values.dtype.itemsize < 8:
        return
    # A fill value such as -2^62 is exact, too.
    wide = values.astype(np.float64)
    fits = wide < float(np.iinfo(values.dtype).max)
    exact = fits & (np.where(fits, wide, 0).astype(values.dtype) == values)
    if exact.all():
        return
    first = int(values[~exact].flat[0])
    raise ValueError(
        f"image: got a value of {first} in dtype {values.dtype.name}; allowed are numbers that float64"
        " represents exactly, such as all whole numbers up to 2^53"
    )
