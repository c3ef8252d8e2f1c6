"""Zarr: opening arrays and OME-Zarr images, creating them, and their pyramids."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_metadata as ome

SMALLEST_LEVEL = 512
"""A pyramid ends where both sides are at most so long."""


def import_zarr() -> Any:
    """The zarr package.

    Raises
    ------
    ValueError
        If it is not installed; the message says how to.
    """
    try:
        import zarr
    except ImportError as error:
        raise ValueError(
            'zarr is needed for this; install it with pip install "napari-dcr[zarr]"'
        ) from error
    return zarr


def open_path(path: Path) -> Any:
    """Open what is at a path, for reading.

    Raises
    ------
    ValueError
        If it is no zarr array or group.
    """
    zarr = import_zarr()
    try:
        return zarr.open(store=str(path), mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"image: {path} cannot be opened as zarr: {error}") from error


def find_image(node: Any) -> tuple[Any, str | None, dict[str, Any] | None]:
    """The array of a zarr array or OME-Zarr group.

    Returns
    -------
    array : zarr.Array
        Of a group, the finest level.
    axes : str or None
        A letter per axis, where the metadata tells.
    pyramid : dict or None
        Metadata of the multiscale image that it belongs to, and as ``"level"``
        its path therein.

    Raises
    ------
    ValueError
        If a group is not a multiscale image.
    """
    zarr = import_zarr()
    if isinstance(node, zarr.Group):
        multiscale = ome.find_multiscale(dict(node.attrs))
        if multiscale is None:
            raise ValueError(
                f"image: the zarr group {str(node.store_path)!r} is not a multiscale image;"
                f" give one of its arrays: {', '.join(node.array_keys()) or 'it has none'}"
            )
        level = ome.level_paths(multiscale)[0]
        array = node[level]
    else:
        array, (multiscale, level) = node, _parent_image(node)
    axes = None if multiscale is None else ome.letters(multiscale, array.ndim)
    names = getattr(array.metadata, "dimension_names", None)
    if axes is None and names:
        axes = ome.letters_of(names)
    return array, axes, None if multiscale is None else {**multiscale, "level": level}


def _parent_image(array: Any) -> tuple[dict[str, Any] | None, str]:
    """The multiscale image that an array is a level of."""
    zarr = import_zarr()
    place, _, name = array.path.rpartition("/")
    store = array.store
    if not array.path:  # opened by its own path
        root = getattr(store, "root", None)
        if root is None or not hasattr(zarr.storage, "LocalStore"):
            return None, ""
        store, place, name = str(Path(root).parent), "", Path(root).name
    try:
        group = zarr.open_group(store=store, path=place, mode="r")
    except (FileNotFoundError, ValueError, TypeError):
        return None, ""
    multiscale = ome.find_multiscale(dict(group.attrs))
    known = multiscale is not None and name in ome.level_paths(multiscale)
    return (multiscale, name) if known else (None, "")


def files_stamp(array: Any) -> str | None:
    """Names, sizes and times of an array's files, where it is in a folder."""
    root = getattr(array.store, "root", None)
    if root is None:
        return None
    stamp = hashlib.sha256()
    for folder, folders, files in os.walk(Path(root) / array.path):
        folders.sort()
        for name in sorted(files):
            status = (Path(folder) / name).stat()
            stamp.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return stamp.hexdigest()


def remove_leftovers(array: Any) -> None:
    """Remove what a killed process had not yet moved to its place."""
    root = getattr(array.store, "root", None)
    if root is not None:
        for path in (Path(root) / array.path).rglob("*.partial"):
            path.unlink()


def write_unit(array: Any, layout: Layout) -> tuple[int, int]:
    """Rows and columns that are written at once: a shard, or a chunk where there are none."""
    unit = array.shards or array.chunks
    return unit[layout.axes.index("y")], unit[layout.axes.index("x")]


def create_array(
    group_or_path: Any,
    name: str | None,
    layout: Layout,
    dtype: np.dtype[Any],
    chunk: tuple[int, int],
    attributes: dict[str, Any] | None = None,
) -> Any:
    """Create an array whose chunks are one plane deep."""
    zarr = import_zarr()
    place = {"y": chunk[0], "x": chunk[1], "s": 4}
    chunks = tuple(min(n, place.get(a, 1)) for n, a in zip(layout.shape, layout.axes, strict=True))
    where = (
        {"store": str(group_or_path)}
        if name is None
        else {"store": group_or_path.store_path, "name": name}
    )
    return zarr.create_array(
        **where,
        shape=layout.shape,
        dtype=dtype,
        chunks=chunks,
        dimension_names=tuple(layout.axes),
        attributes=attributes,
    )


def build_pyramid(group: Any, layout: Layout) -> Iterator[str]:
    """Add coarser levels to a group that holds level 0, each the 2 x 2 mean of the one before.

    Streamed, chunk by chunk.  Yields what it is at, so that the caller may stop.

    Yields
    ------
    str
        For people.
    """
    number, fine = 0, layout
    while max(fine.height, fine.width) > SMALLEST_LEVEL:
        number += 1
        shape = tuple(
            -(-n // 2) if a in "yx" else n for n, a in zip(fine.shape, fine.axes, strict=True)
        )
        coarse = Layout(shape, fine.axes)
        source = group[str(number - 1)]
        chunk = tuple(source.chunks[fine.axes.index(a)] for a in "yx")
        if str(number) in group:
            del group[str(number)]  # begun by a run that was stopped
        target = create_array(group, str(number), coarse, source.dtype, chunk)
        ranges = [range(0, n, c) for n, c in zip(shape, target.chunks, strict=True)]
        for corner in itertools.product(*ranges):
            place = tuple(
                slice(i, min(i + c, n))
                for i, c, n in zip(corner, target.chunks, shape, strict=True)
            )
            finer = tuple(
                slice(2 * p.start, min(2 * p.stop, n)) if a in "yx" else p
                for p, n, a in zip(place, fine.shape, fine.axes, strict=True)
            )
            target[place] = halve(source[finer], fine.axes)
            yield f"building the pyramid, level {number}"
        fine = coarse


def halve(window: NDArray[Any], axes: str) -> NDArray[Any]:
    """2 x 2 mean over y and x; the last row or column of an odd length stands for itself."""
    mean: Any = window.astype(np.float64 if window.dtype == np.float64 else np.float32)
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
    return np.asarray(mean if window.dtype.kind == "f" else np.rint(mean)).astype(window.dtype)


def level_steps(layout: Layout) -> list[tuple[int, ...]]:
    """Pixels of the finest level per pixel of each level that `build_pyramid` makes."""
    steps, side = [1], max(layout.height, layout.width)
    while side > SMALLEST_LEVEL:
        side = -(-side // 2)
        steps.append(2 * steps[-1])
    return [tuple(n if a in "yx" else 1 for a in layout.axes) for n in steps]
