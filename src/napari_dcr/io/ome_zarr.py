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

from napari_dcr.engine.resume import KEY, RunRecord
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_metadata as ome
from napari_dcr.io.files import check_array, import_zarr

SMALLEST_LEVEL = 512
"""A pyramid ends where both sides are at most so long."""

LARGEST_CHUNK = 1024
"""Rows and columns of the chunks of arrays that are created."""


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


class ZarrSink:
    """A zarr array: one that there is, or a new one at a path.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    out : zarr.Array or Path
    pyramid : dict, optional
        Of the multiscale image that the source belongs to.
    multiscale : bool
        Whether to create an OME-Zarr image with all its levels.
    resume : bool
        Go on with the run that ``out`` holds, if it holds one.
    """

    def __init__(
        self,
        layout: Layout,
        dtype: np.dtype[Any],
        out: Any,
        pyramid: dict[str, Any] | None,
        multiscale: bool,
        resume: bool,
    ) -> None:
        self._layout, self._dtype, self._out, self._resume = layout, dtype, out, resume
        self._pyramid, self._multiscale = pyramid, multiscale
        self._group: Any = None
        self._array = self._find() if isinstance(out, Path) else out
        self.record: RunRecord | None = None
        self.unit: Size = (1, 1)
        self.part: Size | None = None
        if self._array is not None:
            check_array(self._array, layout.shape, dtype)
            self.unit = write_unit(self._array, layout)
            recorded = RunRecord.recorded(self._array) if resume else None
            if recorded is not None:
                self.part = tuple(recorded["part"])

    def _find(self) -> Any:
        """The array of an earlier run, or None."""
        if not self._out.exists():
            return None
        if not self._resume:
            raise ValueError(
                f"out: {self._out} exists; remove it, or give resume=True to go on with it"
            )
        zarr = import_zarr()
        try:
            node = zarr.open(store=str(self._out), mode="r+")
        except FileNotFoundError:  # killed before the first metadata were written
            return None
        array = node
        if isinstance(node, zarr.Group):
            self._group, array = node, node.get("0")
            if array is None and not node.attrs and not list(node.keys()):
                return None  # killed before the array was created
        begun_by_us = array is not None and KEY in array.attrs
        if not begun_by_us or isinstance(node, zarr.Group) != self._multiscale:
            raise ValueError(
                f"resume: {self._out} was not begun by such a run, and is not written to;"
                " write elsewhere"
            )
        return array

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> Any:
        """The array; created if there is none."""
        if self._array is None:
            chunk = _divisor(part[0]), _divisor(part[1])
            if self._multiscale:
                zarr = import_zarr()
                self._group = self._group or zarr.open_group(store=str(self._out), mode="a")
                place, name = self._group, "0"
            else:
                place, name = self._out, None
            # With the attribute from the first moment on: by it the array is known as ours.
            self._array = create_array(place, name, self._layout, self._dtype, chunk, {KEY: {}})
        elif self._resume:
            remove_leftovers(self._array)
        self.record = RunRecord(self._array, {**identity, "part": list(part)}, parts, self._resume)
        return self._array

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Add the pyramid and the record."""
        if self._group is not None:
            yield from build_pyramid(self._group, self._layout)
            level = "" if self._pyramid is None else str(self._pyramid["level"])
            self._group.update_attributes(
                ome.describe_pyramid(
                    self._layout.axes, level_steps(self._layout), self._pyramid, level
                )
            )
        assert self.record is not None
        self.record.finish(record)

    @property
    def result(self) -> Any:
        """The group, of an OME-Zarr image; else the array."""
        return self._array if self._group is None else self._group

    def close(self) -> None:
        """Write down what is finished."""
        if self.record is not None:
            self.record.save()


def _divisor(size: int) -> int:
    """Rows or columns of a chunk, of which some make up a part."""
    while size > LARGEST_CHUNK and size % 2 == 0:
        size //= 2
    return size
