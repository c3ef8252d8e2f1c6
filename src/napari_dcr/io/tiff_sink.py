"""TIFF with its metadata, written as a whole or by region."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_dcr.engine.resume import RunRecord
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import warn
from napari_dcr.io import ome_tiff
from napari_dcr.io import tags as t
from napari_dcr.io.files import Picture, import_zarr, naming_result, partial_path, reserve
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.tags import Tags
from napari_dcr.io.tiff import stored_dtype

TIFF_TILE = 512
"""Rows and columns of the tiles of TIFFs that are written by region."""

CLASSIC_BYTES = 2**31
"""Largest image in bytes that is written as classic TIFF, whose offsets are limited to 4 GB."""

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")

_OF_OLD_INTENSITIES = ("min", "max", "Ranges", "ImageJ")
"""Items of ImageJ's metadata that describe the old intensities, and those that tifffile writes."""


@dataclass(frozen=True)
class _Plan:
    """Plan for writing a TIFF.

    Attributes
    ----------
    arguments : dict
        Arguments of `tifffile.imwrite`.
    tags : dict
        Tags to add, by number of page.
    """

    arguments: dict[str, Any]
    tags: dict[int, Tags]

    @property
    def is_imagej(self) -> bool:
        """Whether the TIFF is of ImageJ's kind, with contiguous uncompressed planes."""
        return bool(self.arguments.get("imagej"))


def _plan(path: Path, layout: Layout, dtype: np.dtype[Any], kept: Metadata, size: int) -> _Plan:
    """Choose the kind of TIFF and the metadata to write.

    Parameters
    ----------
    path : Path
        Path of the result.
    layout : Layout
    dtype : dtype
    kept : Metadata
        Metadata of the source.
    size : int
        Number of bytes of the pixels.
    """
    axes, samples = layout.axes, layout.samples
    arguments: dict[str, Any] = {
        "photometric": "rgb" if samples.startswith("rgb") else "minisblack",
        "software": False, "ome": False, "bigtiff": size > CLASSIC_BYTES,
    }  # fmt: skip
    if samples:
        arguments["planarconfig"] = "contig" if axes.endswith("s") else "separate"
        extras = samples[3:] if samples.startswith("rgb") else samples[1:]
        if extras:
            kinds = {"a": "unassalpha", "A": "assocalpha"}
            arguments["extrasamples"] = [kinds.get(s, "unspecified") for s in extras]
    tags, pages = dict(kept.tags), dict(kept.pages)
    description = tags.pop(t.DESCRIPTION, None)
    text = description.data.rstrip(b"\0") if description else None
    measured = kept.ome is not None or ome_tiff.is_named(path) or bool(kept.calibration)
    if (
        kept.imagej is not None
        and not ome_tiff.is_named(path)
        and dtype.name in _IMAGEJ_DTYPES
        and size < CLASSIC_BYTES
        and _fits_imagej(axes, samples, dtype)
    ):
        values = {k: v for k, v in kept.imagej.items() if k not in _OF_OLD_INTENSITIES}
        arguments |= {"imagej": True, "metadata": {**values, "axes": axes.upper()}}
        arguments.pop("bigtiff")
    elif measured and dtype.name in ome_tiff.DTYPES and (named := _axes_of_ome(axes)):
        if kept.ome is not None and ("Q" not in named or "<ModuloAlong" in kept.ome):
            # Pages follow the array's order, which is the order that the XML describes.
            xml = ome_tiff.described_as_one(kept.ome, dtype)
            arguments |= {"description": xml.encode(), "metadata": None}
        else:
            values = kept.calibration.to_ome(layout, dtype)
            if "Q" in named:
                values["TypeDescription"] = {"Q": axes[named.index("Q")]}
            arguments |= {"ome": True, "metadata": {**values, "axes": named}}
    else:
        if measured and (kept.ome is not None or kept.calibration):
            held = (
                f"the axes {axes}" if dtype.name in ome_tiff.DTYPES else f"pixels of {dtype.name}"
            )
            warn(
                f"{path.name}: OME-TIFF cannot hold {held}, so the pixel sizes, time interval, units and"
                " channels are lost; write a .ome.zarr to keep them"
            )
        if text is not None:
            arguments["description"] = text
        arguments["metadata"] = {"axes": axes.upper()} if kept.shaped or text is None else None
    colours = kept.display_map
    if colours is not None and not samples and dtype == f"uint{colours.shape[1].bit_length() - 1}":
        arguments |= {"photometric": "palette", "colormap": colours}
    return _Plan(arguments, {0: tags, **pages})


def _fits_imagej(axes: str, samples: str, dtype: np.dtype[Any]) -> bool:
    order = [a for a in "tzcyxs" if a in axes]
    return "".join(order) == axes and (not samples or (samples == "rgb" and dtype == np.uint8))


def _axes_of_ome(axes: str) -> str:
    """Axes as tifffile names them in OME-XML; empty for axes that it cannot describe.

    One axis beside time, depth and channel becomes a part of one of these three ("modulo"), of
    that before it or of one that the image does not have.
    """
    others = [a for a in axes if a not in "tzcyxs"]
    if not others:
        return axes.upper()
    place = axes.index(others[0])
    has_room = axes[place - 1 : place] in tuple("tzc") or not set("tzc") <= set(axes)
    if len(others) > 1 or not has_room or not axes.replace("s", "").endswith("yx"):
        return ""
    return f"{axes[:place]}q{axes[place + 1 :]}".upper()


def write_tiff(path: Path, picture: Picture) -> None:
    """Write a TIFF file.

    The kind is that of the source (ImageJ, OME-TIFF or plain); calibration from another format is
    written as OME-XML.
    """
    pixels = picture.pixels
    plan = _plan(path, picture.layout, pixels.dtype, picture.metadata, pixels.nbytes)
    tifffile.imwrite(path, pixels, **plan.arguments)
    t.graft(path, plan.tags)


class TiffSink:
    """Sink that writes a TIFF by region and moves it to its path when it is complete.

    The file is a tiled BigTIFF, or of ImageJ's kind if the source is.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Metadata of the source file.
    """

    part: tuple[int, int] | None = None
    record: RunRecord | None = None
    one_size, in_order = True, False

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata
    ) -> None:
        self._layout, self._dtype = layout, dtype
        self.result = path
        self._partial = partial_path(path)
        size = int(np.prod(layout.shape, dtype=np.int64)) * dtype.itemsize
        self._plan = _plan(path, layout, dtype, metadata, size)
        self.unit = (1, 1) if self._plan.is_imagej else (TIFF_TILE, TIFF_TILE)
        self._close: Callable[[], None] | None = None

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> Any:
        """Pixels of the file as an array."""
        with naming_result(self._partial, self.result):
            return self._create()

    def _create(self) -> Any:
        shape, arguments = self._layout.shape, self._plan.arguments
        if self._plan.is_imagej:
            tifffile.imwrite(self._partial, shape=shape, dtype=self._dtype, **arguments)
            with tifffile.TiffFile(self._partial) as file:
                series = file.series[0]
                kind, offset = stored_dtype(file, series), int(series.dataoffset or 0)
            reserve(self._partial)
            mapped: Any = np.memmap(self._partial, kind, "r+", offset, shape)
            self._close = mapped.flush
            return mapped
        zarr = import_zarr()
        tifffile.imwrite(
            self._partial, shape=shape, dtype=self._dtype, tile=self.unit,
            **{**arguments, "bigtiff": True},
        )  # fmt: skip
        store: Any = tifffile.imread(self._partial, mode="r+", aszarr=True, level=0)
        self._close = store.close
        # Zarr deletes chunks of zeros by default, and the tiles of a file cannot be deleted.
        return zarr.open_array(store, mode="r+").with_config({"write_empty_chunks": True})

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Add the metadata and move the file to its path."""
        assert self._close is not None
        self._close()
        with naming_result(self._partial, self.result):
            t.graft(self._partial, self._plan.tags)
            os.replace(self._partial, self.result)
        yield from ()

    def close(self) -> None:
        """Remove the file if it is not complete."""
        if self._close is not None:
            self._close()
        self._partial.unlink(missing_ok=True)
