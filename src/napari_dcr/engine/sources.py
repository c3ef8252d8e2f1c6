"""Sources: arrays that are read window by window and decode each stored chunk about once."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.file_errors import is_ours, reason_of
from napari_dcr.engine.model_choice import ModelChoice, choose_model
from napari_dcr.image.axes import Layout, turned_back
from napari_dcr.image.defects import Defects
from napari_dcr.image.missing import is_value_of, mark
from napari_dcr.input_warnings import InputWarnings

CACHE_BYTES = 64 << 20
"""Size of the cache of decoded chunks, which the halo of the next tile reads again."""

UNIT_PIXELS = 512
"""Smallest side of what is decoded at once; smaller chunks, such as TIFF strips, are combined."""

Index = tuple[int | slice, ...]


class Source(Protocol):
    """Array, or object indexed like one, that tiles are read from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""

    def __getitem__(self, index: Index, /) -> NDArray[Any]:
        """Read a window."""


class ChunkedSource:
    """A zarr or dask array, read by several threads at once.

    Parameters
    ----------
    array : zarr.Array or dask.array.Array
    fetch : callable
        Reads slices of the array as an ndarray.
    unit : tuple of int
        Shape of the blocks that are decoded at once.
    """

    def __init__(
        self,
        array: Any,
        fetch: Callable[[tuple[slice, ...]], NDArray[Any]],
        unit: tuple[int, ...],
    ) -> None:
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape)
        self.dtype = np.dtype(array.dtype)
        self._fetch, self._unit = fetch, unit
        # If fewer than eight units fit into the cache, windows are read without it.
        self._kept = CACHE_BYTES // (math.prod(unit) * self.dtype.itemsize)
        self._lock = threading.Lock()
        self._units: OrderedDict[tuple[int, ...], Future[NDArray[Any]]] = OrderedDict()

    def __getitem__(self, index: Index) -> NDArray[Any]:
        """Read a window; each slice has both a start and a stop, or neither."""
        spans = [
            (i, i + 1) if isinstance(i, int) else i.indices(n)[:2]
            for i, n in zip(index, self.shape, strict=True)
        ]
        if self._kept >= 8:
            window = self._gather(spans)
        else:
            window = self._fetch(tuple(slice(*span) for span in spans))
        return window[tuple(0 if isinstance(i, int) else slice(None) for i in index)]

    def _gather(self, spans: list[tuple[int, int]]) -> NDArray[Any]:
        window = np.ma.empty([stop - start for start, stop in spans], self.dtype)
        touched = [
            range(start // n, -(-stop // n))
            for (start, stop), n in zip(spans, self._unit, strict=True)
        ]
        for place in itertools.product(*touched):
            unit = self._decoded(place)
            theirs, ours = [], []
            for i, n, (start, stop) in zip(place, self._unit, spans, strict=True):
                low, high = max(start, i * n), min(stop, (i + 1) * n)
                theirs.append(slice(low - i * n, high - i * n))
                ours.append(slice(low - start, high - start))
            window[tuple(ours)] = unit[tuple(theirs)]
        return window if np.ma.is_masked(window) else np.ma.getdata(window)

    def _decoded(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Return a unit from the cache; if several threads need it, only one decodes it."""
        with self._lock:
            future = self._units.get(place)
            mine = future is None
            if future is None:
                future = self._units[place] = Future()
                while len(self._units) > self._kept:
                    self._units.popitem(last=False)
            self._units.move_to_end(place)
        if mine:
            corner = tuple(
                slice(i * n, min((i + 1) * n, size))
                for i, n, size in zip(place, self._unit, self.shape, strict=True)
            )
            try:
                future.set_result(self._fetch(corner))
            except BaseException as error:
                with self._lock:
                    self._units.pop(place, None)  # another attempt may succeed
                future.set_exception(error)
        return future.result()


class Region:
    """A box of a larger array, indexed by the coordinates of that array."""

    def __init__(self, values: NDArray[Any], origin: tuple[int, ...]) -> None:
        self._values, self._origin = values, origin
        self.shape, self.dtype = values.shape, values.dtype

    def _local(self, index: tuple[int | slice, ...]) -> tuple[int | slice, ...]:
        return tuple(
            i - o
            if isinstance(i, int)
            else (i if i.start is None else slice(i.start - o, i.stop - o))
            for i, o in zip(index, self._origin, strict=True)
        )

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        return self._values[self._local(index)]

    def __setitem__(self, index: tuple[int | slice, ...], values: NDArray[Any]) -> None:
        self._values[self._local(index)] = values


class MarkedSource:
    """A source whose windows are masked where pixels are missing, see `napari_dcr.image.missing`.

    Parameters
    ----------
    source : Source
    layout : Layout
    nodata : float, optional
        Value of pixels without data.
    """

    def __init__(self, source: Source, layout: Layout, nodata: float | None) -> None:
        self.shape, self.dtype = source.shape, source.dtype
        self._source, self._layout, self._nodata = source, layout, nodata

    def __getitem__(self, index: Index) -> NDArray[Any]:
        """Read a window of one plane."""
        window, layout = np.asanyarray(self._source[index]), self._layout
        if "s" not in layout.axes:
            return mark(window, nodata=self._nodata)
        axis = layout.axes.index("s")
        samples = index[axis]
        assert isinstance(samples, slice)
        band = next(b for b in layout.bands if b.start == (samples.start or 0))
        alpha = None
        if not band.alphas and (place := layout.samples.lower().find("a", band.stop)) >= 0:
            # Colours that are enhanced one by one share the alpha that follows the last of them.
            alpha = self._source[(*index[:axis], slice(place, place + 1), *index[axis + 1 :])]
        return mark(window, layout.sample_axis, band.colours, self._nodata, alpha)


@dataclass(frozen=True)
class Sample:
    """Frames of a recording that are surveyed in place of all of them.

    Attributes
    ----------
    numbers : tuple of int
        Indices on the first axis, in increasing order.
    digest : str
        Digest that changes when any frame of the recording changes.
    """

    numbers: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Opened:
    """An opened image whose pixels have not been read yet.

    Attributes
    ----------
    array : ndarray, zarr.Array or dask.array.Array
    axes : str, optional
        One letter per axis, if the image itself defines them.
    fingerprint : callable
        Returns a string that changes when the pixels change, or None if that can only be
        found out by reading all pixels.
    pyramid : dict, optional
        OME-Zarr metadata of the multiscale image of which the array is one level.
    metadata : optional
        Metadata of a file, for the sink that writes the result to a file.
    samples : str
        Meaning of the samples of a pixel, if the file defines it; see `Layout`.
    doubt : str
        Reason to doubt the axes, reported to callers who have not passed axes themselves.
    nodata : float, optional
        Value of pixels without data, if the image defines one.
    warnings : InputWarnings
        Warnings collected while the image is opened, surveyed and enhanced; the record of the
        result lists them.
    measured : bool
        Whether the format holds measurements, so that the model "auto" is `microscopy`.
    is_picture : bool
        Whether the format is one of pictures or videos, so that the model "auto" is `photo`.
    from_sensor : bool
        Whether the image consists of the colour planes of a camera raw file: linear light above a
        black level of 0.  Only models that keep intensities accept them.
    bits : int
        Number of bits that integers were recorded with, so that 4095 counts as saturated in
        12-bit data; 0 if the file does not define it.
    develop : callable, optional
        Function that develops the sensor data of a camera raw file into a picture.  It takes the
        defects to correct ("auto", "off" or `Defects`) and returns the image with its pixels, and
        the defects of each plane of the sensor.
    sample : Sample, optional
        Frames of a video that are surveyed: all, unless reading them would take too long.
    counts : str
        Dtype of the image before its counts were converted to floats; empty if they were not.
    stored : array, optional
        The array before its counts were converted to floats.
    locate : callable, optional
        Returns the path of the stored chunk, or of the array, that holds a window that cannot be
        read, for messages.
    orientation : int
        EXIF Orientation according to which the pixels were rotated after reading, for a result that
        cannot store it; 1 if they are in stored order, 0 if it differs between the files.
    restore : callable
        Converts results to the kind of the given object.
    """

    array: Any
    axes: str | None
    fingerprint: Callable[[], str | None]
    pyramid: dict[str, Any] | None = None
    metadata: Any = None
    samples: str = ""
    doubt: str = ""
    nodata: float | None = None
    warnings: InputWarnings = field(default_factory=InputWarnings)
    measured: bool = False
    is_picture: bool = False
    from_sensor: bool = False
    bits: int = 0
    develop: Callable[[Defects | str], tuple[Opened, list[Defects]]] | None = None
    sample: Sample | None = None
    counts: str = ""
    stored: Any = None
    locate: Callable[[Index], str] | None = None
    orientation: int = 1
    restore: Callable[[Any], Any] = lambda result: result

    def source(self, layout: Layout) -> Source:
        """Source to read tiles from; its windows are masked where pixels are missing."""
        source: Source
        if isinstance(self.array, np.ndarray):
            source = self.array
        elif is_dask(self.array):
            chunks = tuple(max(sizes) for sizes in self.array.chunks)
            source = ChunkedSource(self.array, self._compute, _unit(layout, chunks))
        else:
            source = ChunkedSource(self.array, self.read, _unit(layout, self.array.chunks))
        return MarkedSource(source, layout, self.nodata)

    def turned(self, defects: Defects) -> Defects:
        """Defects of a sensor for these pixels, which may be rotated."""
        if self.orientation == 0:
            raise ValueError(
                "defects: got those of a sensor for files with different values of Orientation,"
                " which are rotated for this result; write a .tif, or enhance the files one by one"
            )
        return defects.turned(self.orientation)

    def as_stored(self, defects: Defects) -> Defects:
        """Defects that were found in these pixels, for the pixels in stored order."""
        return defects.turned(turned_back(self.orientation or 1))

    @property
    def as_read(self) -> Any:
        """The array of the file or of the caller."""
        return self.array if self.stored is None else self.stored

    def choose_model(self, model: str | Path, layout: Layout) -> ModelChoice:
        """The model to use, given the value of the option ``model``."""
        return choose_model(
            model, in_colour=layout.is_rgb, is_picture=self.is_picture, is_measured=self.measured
        )

    def with_nodata(self, nodata: float | None) -> Opened:
        """The same image with the given no-data value; unchanged if that is None."""
        if nodata is None:
            return self
        dtype = np.dtype(self.array.dtype)
        if dtype.kind in "iuf" and not is_value_of(nodata, dtype):
            self.warnings.add(
                f"nodata: got {nodata:.9g}, which dtype {dtype.name} cannot represent, so no pixel"
                " is treated as missing"
            )
        return replace(self, nodata=nodata)

    def _compute(self, index: tuple[slice, ...]) -> NDArray[Any]:
        return np.asanyarray(compute_dask(self.array[index])[0])

    def read(self, index: Index) -> NDArray[Any]:
        """Read a window of the array.

        Raises
        ------
        ValueError
            If it cannot be read; the message names the file, where `locate` finds it.
        """
        try:
            return np.asanyarray(self.array[index])
        except Exception as error:  # codecs raise any type of exception for damaged chunks
            known = (MemoryError,) if self.locate else (ValueError, OSError, MemoryError)
            if isinstance(error, known) or is_ours(error):
                raise
            place = self.locate(index) if self.locate else "image"
            raise ValueError(f"{place}: cannot be read: {reason_of(error, place)}") from error


def _unit(layout: Layout, chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a chunk, or of several chunks together where they are short in y or x."""
    return tuple(
        min(size, max(chunk, UNIT_PIXELS // chunk * chunk) if axis in "yx" else chunk)
        for size, axis, chunk in zip(layout.shape, layout.axes, chunks, strict=True)
    )


def is_dask(image: object) -> bool:
    """Whether an image is a dask array, without importing dask."""
    return _is(image, "dask.array.core", "Array")


def is_zarr(image: object) -> bool:
    """Whether an image is a zarr array or group, without importing zarr."""
    return _is(image, "zarr.core.array", "Array") or _is(image, "zarr.core.group", "Group")


def lost_dask_threads() -> bool:
    """Whether dask's threads are missing, as in a process forked after they were started.

    Dask would wait for them forever.
    """
    pool = getattr(sys.modules.get("dask.threaded"), "default_pool", None)
    threads = getattr(pool, "_threads", ())
    return bool(threads) and not any(thread.is_alive() for thread in threads)


def compute_dask(*collections: Any) -> tuple[Any, ...]:
    """Compute dask collections, without dask's threads in a forked process that lacks them."""
    from dask.base import compute
    from dask.config import get

    if lost_dask_threads() and get("scheduler", None) in (None, "threads", "threading"):
        return tuple(compute(*collections, scheduler="synchronous"))
    return tuple(compute(*collections))


def _is(image: object, module: str, name: str) -> bool:
    # If the module has not been imported, the image cannot be an instance of its classes.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(image, kind)
