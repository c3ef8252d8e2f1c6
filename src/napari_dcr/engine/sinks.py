"""Sinks: what results are written to, whole chunks at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.devices import free_memory
from napari_dcr.engine.resume import KEY, RunRecord
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_metadata as ome
from napari_dcr.io import ome_zarr as zarr_store

LARGEST_CHUNK = 1024
"""Rows and columns of the chunks of arrays that are created."""


class Sink(Protocol):
    """What a run writes to.

    Attributes
    ----------
    unit : tuple of int
        Rows and columns that must be written at once.
    part : tuple of int or None
        Rows and columns that an earlier run, which is gone on with, wrote at once.
    """

    unit: Size
    part: Size | None

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> Any:
        """The array to write to, of which ``part`` rows and columns will be written at once."""

    @property
    def record(self) -> RunRecord | None:
        """Which parts are finished; None where it is not kept."""

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Complete the result; yields what it is at."""

    @property
    def result(self) -> Any:
        """What the caller gets."""

    def close(self) -> None:
        """Close what is open, whether or not the run was finished."""


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
            self.unit = zarr_store.write_unit(self._array, layout)
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
        zarr = zarr_store.import_zarr()
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
                zarr = zarr_store.import_zarr()
                self._group = self._group or zarr.open_group(store=str(self._out), mode="a")
                place, name = self._group, "0"
            else:
                place, name = self._out, None
            # With the attribute from the first moment on: by it the array is known as ours.
            self._array = zarr_store.create_array(
                place, name, self._layout, self._dtype, chunk, {KEY: {}}
            )
        elif self._resume:
            zarr_store.remove_leftovers(self._array)
        self.record = RunRecord(self._array, {**identity, "part": list(part)}, parts, self._resume)
        return self._array

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Add the pyramid and the record."""
        if self._group is not None:
            yield from zarr_store.build_pyramid(self._group, self._layout)
            level = "" if self._pyramid is None else str(self._pyramid["level"])
            self._group.update_attributes(
                ome.describe_pyramid(
                    self._layout.axes, zarr_store.level_steps(self._layout), self._pyramid, level
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


def check_array(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Say if an array is not what the result goes into.

    Raises
    ------
    ValueError
    """
    if tuple(out.shape) != tuple(shape) or out.dtype != dtype:
        raise ValueError(
            f"out: got shape {tuple(out.shape)} and dtype {out.dtype}; needed are {tuple(shape)} and {dtype}"
        )
    if getattr(out, "read_only", False):
        raise ValueError("out: got a read-only array; it must be writeable")
