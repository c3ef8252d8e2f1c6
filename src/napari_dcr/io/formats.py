"""The table of formats: which family of files reads and writes what, chosen by suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_zarr
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_zarr, pictures, tiff
from napari_dcr.io.arrays import ArraySink, check_out, open_array
from napari_dcr.io.files import Picture, check_holds, replaced_when_complete


@dataclass(frozen=True)
class Family:
    """A family of image files that are read and written whole.

    Attributes
    ----------
    suffixes : tuple of str
        Lower case, with the dot.
    read : callable
        Reads a file.
    write : callable
        Writes a picture to a path.
    dtypes : tuple of str
        Names of the dtypes that the format holds; empty for all of them.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path], Picture]
    write: Callable[[Path, Picture], None]
    dtypes: tuple[str, ...] = ()


TIFF = Family((".tif", ".tiff"), tiff.read_tiff, tiff.write_tiff)
PNG = Family((".png",), pictures.read_picture, pictures.write_png, pictures.PNG_DTYPES)
JPEG = Family((".jpg", ".jpeg"), pictures.read_picture, pictures.write_jpeg, pictures.JPEG_DTYPES)

FAMILIES = {suffix: family for family in (TIFF, PNG, JPEG) for suffix in family.suffixes}
"""The family of each suffix."""

SUFFIXES = tuple(FAMILIES)

ZARR = ".zarr"


def family_of(path: Path) -> Family:
    """The family that a path's suffix names.

    Raises
    ------
    ValueError
        If there is none.
    """
    suffix = path.suffix.lower()
    if suffix not in FAMILIES:
        raise ValueError(f"{path}: got suffix {suffix!r}; allowed are {', '.join(SUFFIXES)}")
    return FAMILIES[suffix]


def read(path: str | Path) -> Picture:
    """Read an image file whole.

    Raises
    ------
    ValueError
        If the format is not one of `SUFFIXES`, or the file cannot be read.
    """
    path = Path(path)
    family = family_of(path)
    try:
        return family.read(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        # The libraries raise exceptions of any kind for a damaged file.
        raise ValueError(f"{path}: cannot be read as an image: {error}") from error


def write(path: str | Path, picture: Picture) -> None:
    """Write an image file, atomically: a killed process leaves no half file.

    Raises
    ------
    ValueError
        If the format cannot hold the pixels.
    """
    path = Path(path)
    family = family_of(path)
    with replaced_when_complete(path) as partial:
        family.write(partial, picture)


def check_can_hold(path: str | Path, dtype: np.dtype[Any]) -> None:
    """Check early that the format of an output path supports the dtype.

    Raises
    ------
    ValueError
        If it does not.
    """
    path = Path(path)
    family = FAMILIES.get(path.suffix.lower())
    check_holds(path, dtype, family.dtypes if family else ())


def is_large(path: Path) -> bool:
    """Whether a file can be read by region and is too large to be loaded whole."""
    return path.suffix.lower() in TIFF.suffixes and tiff.is_large(path)


def is_in_zarr(path: Path) -> bool:
    """Whether a path is that of a zarr, or of something in one."""
    return any(part.lower().endswith(ZARR) for part in path.parts)


def open_image(image: Any) -> Opened:
    """Open an array, a group or a path without reading its pixels.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or the path is not that of a .zarr or .tif.
    """
    if not isinstance(image, (str, Path)):
        return open_array(image)
    path = Path(image)
    if path.suffix.lower() in TIFF.suffixes:
        return tiff.open_tiff(path)
    if is_in_zarr(path):
        return open_array(ome_zarr.open_path(path))
    raise ValueError(f"image: got the path {str(path)!r}; allowed are those of a .zarr or .tif")


def create_sink(
    out: Any, opened: Opened, layout: Layout, dtype: np.dtype[Any], resume: bool
) -> Sink:
    """Create the sink that a result is written to.

    Parameters
    ----------
    out : ndarray, zarr array, path or None
        See `napari_dcr.enhance`.
    opened : Opened
        The input image.
    layout : Layout
    dtype : dtype
        Of the result.
    resume : bool
        Whether to continue an interrupted run.

    Raises
    ------
    TypeError, ValueError
        If ``out`` cannot take the result.
    """
    if is_zarr(out) and hasattr(out, "shape"):
        if is_zarr(opened.array) and out.store_path == opened.array.store_path:
            raise ValueError("out: got the image itself; the input is never modified")
        return ome_zarr.ZarrSink(layout, dtype, out, None, False, resume)
    if isinstance(out, (str, Path)):
        path = Path(out)
        if path.suffix.lower() == ZARR:
            multiscale = opened.pyramid is not None or path.name.lower().endswith(".ome.zarr")
            return ome_zarr.ZarrSink(layout, dtype, path, opened.pyramid, multiscale, resume)
        if path.suffix.lower() in TIFF.suffixes and not resume:
            return tiff.TiffSink(layout, dtype, path, opened.metadata)
        allowed = ".zarr" if resume else ".zarr or .tif"
        raise ValueError(f"out: got the path {str(path)!r}; allowed are those of a {allowed}")
    if resume:
        raise ValueError("resume: got True; it takes an out that is a .zarr or a zarr array")
    if out is not None:
        check_out(out, opened.array, layout.shape, dtype)
    return ArraySink(layout, dtype, out)
