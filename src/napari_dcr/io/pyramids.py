"""Levels of OME-Zarr images: arrays with chunks and shards, and coarser levels that keep the mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.io.files import import_zarr
from napari_dcr.io.zarr_nodata import nodata_attributes

SMALLEST_LEVEL = 512
"""Largest side in pixels of the coarsest level of a pyramid."""


def create_array(
    group_or_path: Any,
    name: str | None,
    layout: Layout,
    dtype: np.dtype[Any],
    chunk: tuple[int, int],
    attributes: dict[str, Any] | None = None,
    zarr_format: int = 3,
    shard: tuple[int, int] | None = None,
    like: Any = None,
    nodata: float | None = None,
) -> Any:
    """Create an array whose chunks, and shards if there are any, are one plane deep.

    Parameters
    ----------
    group_or_path : zarr.Group or Path
    name : str or None
        Name of the array in the group; None if ``group_or_path`` is the path of the array.
    layout : Layout
    dtype : dtype
    chunk : tuple of int
        Rows and columns of a chunk.
    attributes : dict, optional
    zarr_format : int
        2 or 3.
    shard : tuple of int, optional
        Rows and columns of a shard: whole chunks. Zarr 2 has none.
    like : zarr.Array, optional
        Array of the same shape and format whose names of axes and fill value are kept.
    nodata : float, optional
        Value of pixels without data; both xarray and GDAL read it from the array.
    """
    zarr = import_zarr()

    def along(sizes: tuple[int, int], whole: bool) -> tuple[int, ...]:
        size = {"y": sizes[0], "x": sizes[1], "s": 4}
        pairs = zip(layout.shape, layout.axes, strict=True)
        return tuple(size[a] if whole and a in "yx" else min(n, size.get(a, 1)) for n, a in pairs)

    where = (
        {"store": str(group_or_path)}
        if name is None
        else {"store": group_or_path.store_path, "name": name}
    )
    how: dict[str, Any] = {"dimension_names": tuple(layout.axes)}
    if zarr_format == 2:
        how = {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    elif shard is not None:
        how["shards"] = along(shard, True)
    if like is not None:
        if zarr_format == 3:
            how["dimension_names"] = like.metadata.dimension_names or how["dimension_names"]
        if like.dtype == dtype:  # xarray takes the fill value of zarr 2 for pixels without data
            how["fill_value"] = like.fill_value
    if nodata is not None:
        how["fill_value"] = dtype.type(nodata).item()
    return zarr.create_array(
        **where,
        shape=layout.shape,
        dtype=dtype,
        chunks=along(chunk, "shards" in how),
        attributes={**(attributes or {}), **nodata_attributes(nodata, dtype)},
        **how,
    )


def shards_of(array: Any, axes: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns of the chunks and shards of a zarr array; None if it has no shards."""
    if getattr(array, "shards", None) is None:
        return None
    y, x = axes.index("y"), axes.index("x")
    return (array.chunks[y], array.chunks[x]), (array.shards[y], array.shards[x])


def build_pyramid(group: Any, layout: Layout, nodata: float | None = None) -> Iterator[str]:
    """Add coarser levels to a group that holds level 0, each the 2 x 2 mean of the one before.

    Integers are rounded so that all levels have the same mean. The levels are streamed chunk by
    chunk, and the caller can stop after every message.

    Yields
    ------
    str
        Progress message.
    """
    number, fine = 0, layout
    while max(fine.height, fine.width) > SMALLEST_LEVEL:
        number += 1
        shape = tuple(
            -(-n // 2) if a in "yx" else n for n, a in zip(fine.shape, fine.axes, strict=True)
        )
        coarse = Layout(shape, fine.axes)
        source = group[str(number - 1)]
        sharded = shards_of(source, fine.axes)
        chunk = tuple(source.chunks[fine.axes.index(a)] for a in "yx")
        if str(number) in group:
            del group[str(number)]  # left by an interrupted run
        target = create_array(
            group, str(number), coarse, source.dtype, (chunk[0], chunk[1]),
            zarr_format=group.metadata.zarr_format, shard=sharded and sharded[1], nodata=nodata,
        )  # fmt: skip
        # Write whole shards, because writing part of a shard requires reading the rest of it.
        unit, x = target.shards or target.chunks, fine.axes.index("x")
        carries: dict[tuple[int, ...], NDArray[Any]] = {}
        ranges = [range(0, n, c) for n, c in zip(shape, unit, strict=True)]
        for corner in itertools.product(*ranges):
            place = tuple(
                slice(i, min(i + c, n)) for i, c, n in zip(corner, unit, shape, strict=True)
            )
            finer = tuple(
                slice(2 * p.start, min(2 * p.stop, n)) if a in "yx" else p
                for p, n, a in zip(place, fine.shape, fine.axes, strict=True)
            )
            row = corner[:x] + corner[x + 1 :]
            target[place], carry = halve(source[finer], fine.axes, carries.pop(row, None), nodata)
            if place[x].stop < shape[x]:
                carries[row] = carry
            yield f"building the pyramid, level {number}"
        fine = coarse


def halve(
    window: NDArray[Any],
    axes: str,
    carry: NDArray[np.float64] | None = None,
    nodata: float | None = None,
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Mean over 2 x 2 pixels; the last row or column of an odd length is averaged alone.

    Rounding to the nearest integer would lower the mean of Poisson noise of one count per pixel
    by 2 %.  Means are therefore rounded up or down so that the sum over each row, from its first
    pixel to any other pixel, is exact to half a count.

    Parameters
    ----------
    window : ndarray
    axes : str
        One letter per axis.
    carry : ndarray, optional
        Rounding error of the previous window in the same rows.
    nodata : float, optional
        Value of pixels without data, which are left out of the means.

    Returns
    -------
    window : ndarray
        Same dtype.
    carry : ndarray
        Rounding error for the next window in the same rows.

    Examples
    --------
    >>> halve(np.array([[0, 1, 1, 0, 2, 1], [0, 1, 0, 1, 2, 1]], np.uint8), "yx")[0]
    array([[1, 0, 2]], dtype=uint8)
    """
    mean: Any = window.astype(np.float32 if window.dtype == np.float16 else np.float64)
    if window.dtype == np.float32:
        mean = window.astype(np.float32)
    gone = None
    if nodata is not None:
        samples = axes.index("s") if "s" in axes else None
        gone = window == window.dtype.type(nodata)
        gone = gone if samples is None else gone & gone.all(samples, keepdims=True)
        gone = gone if gone.any() else None
    if gone is not None:
        held = _means((~gone).astype(mean.dtype), axes)
        mean = _means(np.where(gone, 0, mean), axes)
        mean = np.where(held > 0, mean / np.where(held > 0, held, 1), nodata)
    else:
        mean = _means(mean, axes)
    x = axes.index("x")
    if window.dtype.kind == "f":
        return mean.astype(window.dtype), np.zeros(())
    low = np.floor(mean)
    left = np.take(np.zeros_like(mean), [0], x) if carry is None else carry
    sums = np.concatenate([left, mean - low], x).cumsum(x)
    ups = np.diff(np.floor(sums + 0.5), axis=x)
    last = np.take(sums, [-1], x)
    return (low + ups).astype(window.dtype), last - np.floor(last + 0.5)


def _means(mean: NDArray[Any], axes: str) -> NDArray[Any]:
    """Mean over 2 x 2 pixels, in place."""
    for letter in "yx":
        axis = axes.index(letter)
        even = [slice(None)] * mean.ndim
        odd = list(even)
        even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
        first, second = mean[tuple(even)], mean[tuple(odd)]
        paired = [slice(None)] * mean.ndim
        paired[axis] = slice(0, second.shape[axis])
        first[tuple(paired)] += (second - first[tuple(paired)]) / 2
        mean = first
    return mean


def level_steps(layout: Layout) -> list[tuple[int, ...]]:
    """Number of pixels of the finest level per pixel of each level that `build_pyramid` creates."""
    steps, side = [1], max(layout.height, layout.width)
    while side > SMALLEST_LEVEL:
        side = -(-side // 2)
        steps.append(2 * steps[-1])
    return [tuple(n if a in "yx" else 1 for a in layout.axes) for n in steps]
