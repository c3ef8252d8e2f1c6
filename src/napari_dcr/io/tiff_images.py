"""The images that a TIFF holds, and checks that all of their pixels are in the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dcr.io import ome_tiff, tiff_kinds
from napari_dcr.io import tags as t
from napari_dcr.io.files import check_memory
from napari_dcr.io.stacks import chosen

UNCOMPRESSED, OLD_JPEG = 1, 6
"""Codes of the tag Compression; pages with old JPEG need not list strips."""

_NEEDED = frozenset(
    (256, 257, 258, 259, 262, t.DESCRIPTION, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330,
     338, 339, 347, 529, 530, 532, 33628, 33629, 33630, 33631, 34361, 34362, 34412, 50839)
)  # fmt: skip
"""Tags without which pixels, or the axes of a stack, would be missing or wrong."""


@dataclass(frozen=True)
class Image:
    """One of the images of a TIFF.

    Attributes
    ----------
    series : tifffile.TiffPageSeries
    number, count : int
        Number of the image from 0, and number of images in the file.
    xml : str or None
        OME-XML of this image alone; None for files without OME-XML.
    """

    series: Any
    number: int
    count: int
    xml: str | None

    @property
    def file(self) -> Any:
        """File that holds the first page, as opened with tifffile; the keyframe may be in another."""
        return next(page.parent for page in self.series.pages if page is not None)

    @property
    def path(self) -> Path:
        """Path of the file that holds the first page."""
        return Path(self.file.filehandle.path)

    @property
    def is_mixed(self) -> bool:
        """Whether the pages are compressed or divided into tiles in different ways."""
        return len({page.hash for page in self.series.pages if page is not None}) > 1


def check_directories(file: Any) -> None:
    """Check that a file, opened with tifffile, holds its directories and what they need.

    tifffile only logs that a page, or the position of its pixels, is missing.

    Raises
    ------
    ValueError
        If the file was cut off.
    """
    size = file.filehandle.size
    for number, (end, ends) in enumerate(t.directories(file.filehandle), 1):
        if end > size:
            raise ValueError(
                f"the directory of page {number} ends at byte {end}, past the end of the file at"
                f" {size}: it is incomplete"
            )
        lost = [code for code, last in ends.items() if last > size and code in _NEEDED]
        if lost:
            name = tifffile.TIFF.TAGS.get(lost[0], "") or lost[0]
            raise ValueError(
                f"the tag {name} of page {number} ends at byte"
                f" {ends[lost[0]]}, past the end of the file at {size}: it is incomplete"
            )


def image_of(file: Any, scene: int | str | None) -> Image:
    """Image of a file, opened with tifffile, that a scene refers to.

    Raises
    ------
    ValueError
        If there is no such image, or if there are several and none was chosen.
    """
    if not file.is_ndpi:  # whose offsets have 8 bytes in a classic TIFF
        check_directories(file)
    images = list(file.series)
    if file.is_lsm:  # it keeps a thumbnail beside its image
        images = [each for each in images if not each.keyframe.is_reduced]
    if not images:
        raise ValueError("it holds no image; it is cut off or damaged")
    if (stack := _joined(file, images)) is not None:
        images = [stack]
    names = [
        each.name or f"{' x '.join(map(str, each.shape))} {each.dtype.name}" for each in images
    ]
    number = chosen(names, scene)
    xml = file.ome_metadata if file.is_ome else None
    if xml and len(images) > 1:
        xml = ome_tiff.of_image(xml, number, len(images))
    return Image(images[number], number, len(images), xml)


def _joined(file: Any, images: list[Any]) -> Any:
    """Stack of images that were written one by one and are alike; None for other images."""
    first = images[0]
    if len(images) == 1 or file.is_ome or any(each.kind not in _PLAIN for each in images):
        return None
    if any(_likeness(each) != _likeness(first) for each in images):
        return None
    pages = [page for each in images for page in each.pages]
    if any(page is None or page.is_reduced for page in pages):
        return None
    if sum(page.size for page in pages) != len(images) * first.size:  # pages without own tags
        return None
    axis = next(letter for letter in "IQUVW" if letter not in first.axes)
    shape = len(images), *first.shape
    return tifffile.TiffPageSeries(pages, shape, first.dtype, axis + first.axes, kind="generic")


_PLAIN = ("shaped", "generic", "uniform")
"""Kinds of series without metadata that tell one image from another."""


def _likeness(series: Any) -> tuple[object, ...]:
    """Properties in which the frames of a stack are equal."""
    page = series.keyframe
    palette = None if page.colormap is None else page.colormap.tobytes()
    return (
        series.shape, series.axes, series.dtype, page.photometric, page.bitspersample,
        page.extrasamples, palette,
    )  # fmt: skip


def missing_planes(image: Image) -> NDArray[np.bool_] | None:
    """Mask of the planes that were never written, along the leading axes; None without such planes.

    Raises
    ------
    ValueError
        If other planes are missing.
    """
    series = image.series
    gone = np.array([page is None for page in series.pages])
    if not gone.any():
        return None
    leading = series.shape[: len(series.shape) - len(series.keyframe.shape)]
    stored = gone.size - gone.sum()
    listed = ome_tiff.described_planes(image.xml) if image.xml else stored
    if gone.size != np.prod(leading, dtype=np.int64) or listed != stored:
        raise ValueError(f"{gone.sum()} of its {gone.size} planes are missing from the file")
    return gone.reshape(leading)


def check_complete(path: Path, image: Image, missing: NDArray[np.bool_] | None) -> None:
    """Check that a file holds all pixels of an image; decoders would invent the rest.

    Parameters
    ----------
    path : Path
        File that was opened.
    image : Image
    missing : ndarray of bool, or None
        Planes that were never written, from `missing_planes`.

    Raises
    ------
    ValueError
        If pixels are missing.
    """
    series, file = image.series, image.file
    stored = [(number, each) for number, each in enumerate(series.pages) if each is not None]
    for number, page in stored:
        _check_page(page, number, path)
    kept = sum(int(page.size) for _, page in stored)
    in_pages = tiff_kinds.is_of_instrument(file) or series.dataoffset is None
    if in_pages and not file.is_stk and missing is None and kept < series.size:
        raise ValueError(f"it holds {kept} of {series.size} pixels: it is incomplete")
    listed = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    if series.kind != "imagej" and listed > len(stored):
        raise ValueError(f"it holds {len(stored)} of its {listed} planes: it is incomplete")
    if series.dataoffset is not None and series.dataoffset + series.nbytes > file.filehandle.size:
        raise ValueError(
            f"its pixels go on to byte {series.dataoffset + series.nbytes}, past the end of the file"
            f" at {file.filehandle.size}: it is incomplete"
        )


def _check_page(page: Any, number: int, path: Path) -> None:
    """Check that the strips or tiles of a page are complete and lie within the file.

    Strips and tiles of 0 bytes, which GDAL writes for pixels without data, are allowed.
    """
    name = Path(page.parent.filehandle.path).name
    where = "" if name == path.name else f" of its companion {name}"
    size, keyframe = page.parent.filehandle.size, page.keyframe
    compression = int(keyframe.compression)
    is_packed = compression != UNCOMPRESSED
    expected, found = math.prod(keyframe.chunked), len(page.dataoffsets)
    counted = len(page.databytecounts)
    if not found or counted < found > 1:
        raise ValueError(
            f"page {number + 1}{where} lists the positions of {found} and the sizes of {counted}"
            f" {'tiles' if keyframe.is_tiled else 'strips'}, of {expected}: it is incomplete"
        )
    # Some uncompressed files have one strip for all rows, in spite of their tag RowsPerStrip.
    is_short = is_packed or sum(page.databytecounts) < keyframe.nbytes or not keyframe.is_contiguous
    if found < expected and is_short and compression != OLD_JPEG:
        raise ValueError(
            f"page {number + 1}{where} has {found} of its {expected}"
            f" {'tiles' if keyframe.is_tiled else 'strips'}: it is incomplete"
        )
    if is_packed and found:  # each is decoded as a whole
        check_memory(keyframe.chunks, np.dtype(keyframe.dtype or "u1").itemsize)
    room = size if is_packed else keyframe.nbytes
    # Uncompressed segments may have larger byte counts than their pixels need.
    end = max(
        (offset + min(count, room)
         for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False) if count),
        default=0,
    )  # fmt: skip
    if end > size:
        raise ValueError(
            f"the pixels of page {number + 1}{where} go on to byte {end}, past the end of the file"
            f" at {size}: it is incomplete"
        )
