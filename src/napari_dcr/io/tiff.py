"""TIFF in and out, with its metadata; also by region, for files that do not fit into memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile

from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.sources import Opened
from napari_dcr.image.axes import Layout
from napari_dcr.io.files import Picture, import_zarr, partial_path

TIFF_TILE = 512
"""Rows and columns of the tiles of TIFFs that are written by region."""


def open_tiff(path: Path) -> Opened:
    """Open a TIFF without reading its pixels.

    Raises
    ------
    ValueError
        If it is damaged or holds several images.
    """
    try:
        axes, metadata = _tiff_header(path)
        try:
            array = tifffile.memmap(path, mode="r")
        except ValueError:  # compressed or tiled
            zarr = import_zarr()
            array = zarr.open(tifffile.imread(path, aszarr=True, level=0), mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as an image: {error}") from error
    status = path.stat()
    stamp = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return Opened(array, axes, lambda: stamp, metadata=metadata)


def is_large(path: Path) -> bool:
    """Whether a TIFF file is too large to be loaded whole."""
    try:
        with tifffile.TiffFile(path) as file:
            size = sum(series.nbytes for series in file.series)
    except tifffile.TiffFileError:  # reading it will say what is wrong
        return False
    # The file, its result and as much again for everything else.
    return size > psutil.virtual_memory().available // 4


def read_tiff(path: Path) -> Picture:
    """Read a TIFF file."""
    axes, metadata = _tiff_header(path)
    with tifffile.TiffFile(path) as file:
        return Picture(file.series[0].asarray(), axes, metadata)


def _tiff_header(path: Path) -> tuple[str, dict[str, Any]]:
    """Axes, and what is kept beside the pixels."""
    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise ValueError(
                f"it holds {len(file.series)} images of different kinds; one is allowed"
            )
        page = file.pages.first
        metadata: dict[str, Any] = {"resolution": _resolution(page.tags)}
        if file.is_ome:
            metadata["ome"] = file.ome_metadata
        elif file.is_imagej:
            metadata["imagej"] = file.imagej_metadata
        elif page.description and not file.is_shaped:
            metadata["description"] = page.description
        axes, shape = file.series[0].axes.lower(), file.series[0].shape
    if "s" in axes and shape[axes.index("s")] not in (3, 4):
        axes = axes.replace("s", "p" if "c" in axes else "c")
    return axes, metadata


def _resolution(tags: Any) -> dict[str, Any]:
    if "XResolution" not in tags or "YResolution" not in tags:
        return {}
    unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 1
    return {
        "resolution": (tags["XResolution"].value, tags["YResolution"].value),
        "resolutionunit": unit,
    }


def write_tiff(path: Path, picture: Picture) -> None:
    """Write a TIFF file."""
    pixels, kept, axes = picture.pixels, picture.metadata, picture.axes
    arguments = _tiff_arguments(pixels.shape, pixels.dtype, axes, kept)
    if (
        "imagej" in kept
        and "ome" not in kept
        and pixels.dtype.name in ("uint8", "uint16", "float32")
    ):
        # Display limits belong to the old intensities; tifffile writes the version itself.
        metadata = {
            k: v for k, v in kept["imagej"].items() if k not in ("min", "max", "Ranges", "ImageJ")
        }
        arguments |= {"imagej": True, "metadata": {**metadata, "axes": axes.upper()}}
    else:
        arguments["bigtiff"] = pixels.nbytes > 2**31
    tifffile.imwrite(path, pixels, **arguments)


def _tiff_arguments(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, kept: dict[str, Any]
) -> dict[str, Any]:
    """How tifffile is to write pixels and what is kept beside them."""
    arguments: dict[str, Any] = {
        "photometric": "rgb" if "s" in axes else "minisblack",
        **kept.get("resolution", {}),
    }
    if "s" in axes and not axes.endswith("s"):
        arguments["planarconfig"] = "separate"
    if "s" in axes and shape[axes.index("s")] == 4:
        arguments["extrasamples"] = ["unassalpha"]
    if "ome" in kept and dtype != np.float16:
        # Pages follow the array's order, which is the order that the XML describes.
        xml = _retyped_ome(kept["ome"], dtype)
        arguments |= {"description": xml.encode(), "metadata": None}
    elif "description" in kept:
        arguments |= {"description": kept["description"], "metadata": None}
    else:
        arguments["metadata"] = {"axes": axes.upper()}
    return arguments


class TiffSink:
    """A tiled BigTIFF, written by region and put in its place when it is complete.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : dict
        What a TIFF that it was made from keeps beside its pixels.
    """

    unit = (TIFF_TILE, TIFF_TILE)
    part: tuple[int, int] | None = None
    record: RunRecord | None = None

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: dict[str, Any]
    ) -> None:
        self._layout, self._dtype, self._metadata = layout, dtype, metadata
        self.result = path
        self._partial = partial_path(path)
        self._store: Any = None

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> Any:
        """The file's pixels as an array."""
        zarr = import_zarr()
        shape, axes = self._layout.shape, self._layout.axes
        tifffile.imwrite(
            self._partial, shape=shape, dtype=self._dtype, tile=self.unit, bigtiff=True,
            **_tiff_arguments(shape, self._dtype, axes, self._metadata),
        )  # fmt: skip
        self._store = tifffile.imread(self._partial, mode="r+", aszarr=True, level=0)
        return zarr.open(self._store, mode="r+")

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Put it in its place."""
        self._store.close()
        os.replace(self._partial, self.result)
        yield from ()

    def close(self) -> None:
        """Remove what is not complete."""
        if self._store is not None:
            self._store.close()
        self._partial.unlink(missing_ok=True)


def _retyped_ome(xml: str, dtype: np.dtype[Any]) -> str:
    """OME-XML with the result's pixel type; everything else is the user's."""
    name = {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)
    xml = re.sub(r'(<(?:\w+:)?Pixels\b[^>]*?\sType=")[^"]*(")', rf"\g<1>{name}\g<2>", xml)
    return re.sub(r'\sSignificantBits="\d+"', "", xml)
