"""TIFF and its metadata, read as a whole or by region."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io import colour_models, ome_tiff, tiff_images, tiff_kinds
from napari_dcr.io import tags as t
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.colour_models import ColourModel
from napari_dcr.io.files import (
    NotInstalled,
    Picture,
    check_memory,
    import_zarr,
    pillow_picture,
    warnings_of,
    without_log,
)
from napari_dcr.io.metadata import Metadata, kept_tags
from napari_dcr.io.tags import Tags
from napari_dcr.io.tiff_images import Image
from napari_dcr.io.views import Converted, Incomplete

_OF_OTHER_COLOURS = (t.ICC_PROFILE, 318, 319)
"""Tags that describe inks or L*a*b*, and not the RGB converted from them."""


@dataclass(frozen=True)
class _Header:
    """Description of the image in a TIFF.

    Attributes
    ----------
    image : Image
    axes : str
        One letter per axis, after conversion of the colours.
    axis : int or None
        Axis of the samples before conversion.
    model : ColourModel
    metadata : Metadata
    notes : tuple of str
        Messages for the user.
    doubt : str
        Reason to doubt the axes.
    files : list of Path
        Files in which the image is stored.
    measured : bool
        Whether the file is of a microscope; see `Opened`.
    missing : ndarray of bool, or None
        Mask of the planes that were never written, along the leading axes; None without such planes.
    """

    image: Image
    axes: str
    axis: int | None
    model: ColourModel
    metadata: Metadata
    notes: tuple[str, ...]
    doubt: str
    files: list[Path]
    measured: bool
    missing: NDArray[np.bool_] | None

    def masked(self, array: Any) -> Any:
        """Mask the planes that were never written."""
        return array if self.missing is None else Incomplete(array, self.missing)


def _opened(path: Path) -> tifffile.TiffFile:
    """Open a file, with metadata from a companion file if it names one."""
    file = tifffile.TiffFile(path)
    if file.is_ome and file.ome_metadata:
        xml = ome_tiff.external_xml(path, file.ome_metadata)
        if xml is not None:
            file.close()
            file = tifffile.TiffFile(path, omexml=xml)
    return file


def other_files(path: Path) -> list[Path]:
    """Files in which an image is stored; only the file itself if it cannot be read.

    Raises
    ------
    ValueError
        If one of these files is missing.
    """
    try:
        with without_log(), tifffile.TiffFile(path) as file:
            own = file.ome_metadata if file.is_ome else None
    except Exception:  # tifffile raises any type of exception for a damaged file
        return [path]
    if not own:
        return [path]
    return ome_tiff.files_of(path, ome_tiff.external_xml(path, own) or own)


def is_large(path: Path, times: int = 1) -> bool:
    """Whether a TIFF file is too large to be loaded as a whole, including its result."""
    try:
        with without_log(), _opened(path) as file:
            size = sum(series.nbytes for series in file.series)
    except Exception:  # any type, for a damaged file; an error is raised when it is read
        return False
    # Memory for the file, its result and as much again for everything else.
    return times * size > psutil.virtual_memory().available // 4


def read_tiff(path: Path, scene: int | str | None = None) -> Picture:
    """Read an image of a TIFF file."""
    with without_log() as messages, _opened(path) as file:
        header = _header(path, file, scene)
        pixels = header.model.apply(_decoded(header.image), header.axis)
        pixels = header.masked(pixels)[(slice(None),) * pixels.ndim]
    return Picture(
        pixels, header.axes, header.metadata, header.model.samples,
        (*header.notes, *_notes_of(messages)), header.doubt,
        header.measured,
    )  # fmt: skip


def open_tiff(path: Path, scene: int | str | None = None) -> Opened:
    """Open an image of a TIFF without reading its pixels.

    Raises
    ------
    ValueError
        If it is damaged, incomplete, or holds several images of which none was chosen.
    """
    with without_log() as messages, _opened(path) as file:
        header = _header(path, file, scene)
        image, series, model = header.image, header.image.series, header.model
        array: Any
        if image.is_mixed:  # zarr needs equal chunks
            check_memory(series.shape, series.dtype.itemsize)
        if colour_models.is_subsampled(series.keyframe) or image.is_mixed:
            array = _decoded(image)
        elif len(header.files) == 1 and series.dataoffset is not None:
            array = _mapped(image)
        else:
            try:
                store = series.aszarr(level=0)
                array = import_zarr().open(store, mode="r")
                weakref.finalize(array, store.close)
            except NotInstalled:  # it is needed to read by region only
                array = _decoded(image)
    if model.convert is not None:
        array = Converted(
            array, header.axis, model.count, model.dtype,
            lambda pixels: model.apply(pixels, header.axis),
        )  # fmt: skip
    array = header.masked(array)
    stamps = [(str(p.resolve()), p.stat()) for p in header.files]
    stamp = " ".join(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in stamps)
    stamp += f" {image.number}" if image.count > 1 else ""
    return Opened(
        array, header.axes, lambda: stamp, metadata=header.metadata, samples=model.samples,
        doubt=header.doubt, nodata=header.metadata.nodata,
        warnings=warnings_of(path, (*header.notes, *_notes_of(messages))), measured=header.measured,
        bits=header.metadata.calibration.bits,
    )  # fmt: skip


def _notes_of(messages: list[str]) -> tuple[str, ...]:
    """Describe the messages that tifffile logged about a file that can still be read."""
    different = list(dict.fromkeys(messages))
    more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
    return (f"tifffile says: {different[0]}{more}",) if different else ()


def stored_dtype(file: Any, series: Any) -> np.dtype[Any]:
    """Dtype of the pixels as they lie in the file, with its byte order."""
    return np.dtype(series.dtype).newbyteorder(file.byteorder)


def _mapped(image: Image) -> NDArray[Any]:
    """Contiguous pixels of an image, as a memory map."""
    series = image.series
    dtype = stored_dtype(image.file, series)
    return np.memmap(image.path, dtype, "r", series.dataoffset, series.shape)


def _decoded(image: Image) -> Any:
    """Read all pixels of an image."""
    series = image.series
    if not colour_models.is_subsampled(series.keyframe):
        # Of contiguous pixels in another file, tifffile reads those of the opened file instead.
        is_elsewhere = series.dataoffset is not None and image.file is not series.parent
        return np.array(_mapped(image), series.dtype) if is_elsewhere else series.asarray()
    try:  # Pillow returns RGB for files that tifffile cannot decode
        with pillow_picture(image.path, ("TIFF",)) as picture:
            if getattr(picture, "n_frames", 1) != 1:
                raise ValueError("it holds several pages")
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"its YCbCr with subsampled chroma cannot be decoded ({error}); convert it to RGB"
        ) from error


def _header(path: Path, file: Any, scene: int | str | None) -> _Header:
    """Describe an image in a file.

    Raises
    ------
    ValueError
        If the file holds several images of which none was chosen, or one that cannot be read.
    """
    own = file.ome_metadata if file.is_ome else None
    files = ome_tiff.files_of(path, own) if own else [path]
    ome_tiff.check_companions([each for each in files if each != path])
    image = tiff_images.image_of(file, scene)
    if image.xml:  # other images may be in other files
        files = ome_tiff.files_of(path, image.xml)
    series = image.series
    page = series.keyframe
    missing = tiff_images.missing_planes(image)
    tiff_images.check_complete(path, image, missing)
    axes = series.axes.lower()
    if image.xml:
        axes = ome_tiff.with_named_axis(axes, image.xml)
    known = file.is_imagej or file.is_ome
    model = colour_models.model_of(page, known)
    if file.is_lsm and "c" in axes:  # the samples of a pixel are its channels
        model = ColourModel("", np.dtype(page.dtype), 1)
    notes = []
    if missing is not None:
        notes.append(
            f"{missing.sum()} of its {missing.size} planes were never written (was the acquisition"
            " interrupted?); they count as pixels without data and stay 0"
        )
    if file.is_ome and image.xml is None:
        notes.append("its OME-XML does not describe its images one by one, and is left out")
    if page.photometric == colour_models.PALETTE and known:
        notes.append("its palette is interpreted as display colours of the intensities, and kept")
    axis = axes.index("s") if "s" in axes else None
    if axis is not None and "c" in axes:
        axes = axes.replace("c", _free_letter(axes))
    if axis is not None and model.count == 1:
        raise ValueError(f"its colour model {model.name} has no samples of its own")
    if axis is None and page.samplesperpixel > 1:  # the file's axes have another name for samples
        axis = len(axes) - len(page.axes) + page.axes.index("S")
        if model.convert is not None or axes[axis:] == "c":
            axes = f"{axes[:axis]}s{axes[axis + 1 :]}"
        else:
            model, axis = ColourModel("", np.dtype(page.dtype), 1), None
    elif axis is None and model.count > 1:
        axes += "s"
    doubt = ""
    planar = axis is not None and axes.index("s") < axes.index("y")
    is_rgb = page.photometric == colour_models.RGB
    if (
        planar
        and is_rgb
        and not known
        and not _names_axes(file)
        and model.samples in ("rgb", "rgba")
    ):
        count = series.shape[axis or 0]
        doubt = (
            f"axes: the {count} planes of {path.name} are treated as colours, as the file states; if they"
            f' are planes of a stack, give axes="z{axes.replace("s", "")}"'
        )
    metadata = _metadata(file, image, model)
    if model.convert is not None and t.GDAL_NODATA in metadata.tags:
        tag = metadata.tags[t.GDAL_NODATA]
        metadata = metadata.without(t.GDAL_NODATA)
        converted = _converted_nodata(tag, model, page)
        if converted is None:
            notes.append(
                f"its no-data value {tag.text} is left out, as its pixels are converted to"
                f" {'RGB' if model.samples.startswith('rgb') else model.dtype.name}"
            )
        else:
            metadata = replace(metadata, tags={**metadata.tags, t.GDAL_NODATA: converted})
    measured = tiff_kinds.is_of_instrument(file)
    return _Header(
        image, axes, axis, model, metadata, tuple(notes), doubt, files, measured, missing
    )


def _converted_nodata(tag: t.Tag, model: ColourModel, page: Any) -> t.Tag | None:
    """GDAL's no-data value, converted like the pixels; None if the result is not grey."""
    assert model.convert is not None
    try:
        value = float(tag.text)
    except ValueError:
        return None
    if model.components != 1 or model.samples.startswith("rgb"):
        return None
    if not value.is_integer() or not 0 <= value < 2 ** int(page.bitspersample):
        return None
    grey = model.convert(np.full((1, 1), int(value), page.dtype))
    return t.text_tag(str(int(grey[0, 0])))


def _names_axes(file: Any) -> bool:
    """Whether the axes are in the description of a file that tifffile wrote."""
    return bool(file.is_shaped and "axes" in (file.shaped_metadata or ({},))[0])


def _free_letter(axes: str) -> str:
    return next(letter for letter in "pquvw" if letter not in axes)


def _metadata(file: Any, image: Image, model: ColourModel) -> Metadata:
    series = image.series
    first = series.keyframe
    tags = _described(file, _page_tags(first))
    if model.samples.startswith("rgb") and model.name in ("CMYK", "CIE L*a*b*", "ICC L*a*b*"):
        tags = {code: tag for code, tag in tags.items() if code not in _OF_OTHER_COLOURS}
    pages = {}
    for number, page in enumerate(series.pages):
        if number and page is not None and page.parent is first.parent:
            pages[number] = _described(file, _page_tags(page))
    metadata = Metadata(
        tags,
        # A page without Orientation differs from a first page that has one.
        {n: each for n, each in pages.items() if each or t.ORIENTATION in tags},
        shaped=bool(file.is_shaped),
    )
    if model.convert is None and first.photometric == colour_models.PALETTE:
        metadata = replace(metadata, display_map=first.colormap)
    whole = model.components == (len(model.samples.rstrip("aA")) or 1)
    if file.is_ome:
        if image.xml:
            metadata = replace(metadata, calibration=Calibration.of_ome_xml(image.xml))
        if whole:
            metadata = replace(metadata, ome=image.xml)
    elif tiff_kinds.is_of_instrument(file):
        metadata = replace(metadata, calibration=tiff_kinds.calibration_of(file))
    elif file.is_imagej:
        density = metadata.resolution or (0.0, 0.0, 1)
        values = dict(file.imagej_metadata or {})
        metadata = replace(metadata, calibration=Calibration.of_imagej(values, density[:2]))
        if whole:
            metadata = replace(metadata, imagej=values)
    packed, kind = int(first.bitspersample), np.dtype(first.dtype or "u1")
    if kind.kind in "iu" and 8 < packed < 8 * kind.itemsize and not metadata.calibration.bits:
        metadata = replace(metadata, calibration=replace(metadata.calibration, bits=packed))
    return metadata


def _described(file: Any, tags: Tags) -> Tags:
    """Tags of a page without a description that holds metadata of the whole image."""
    is_shape = t.DESCRIPTION in tags and tags[t.DESCRIPTION].text.startswith('{"shape":')
    if file.is_ome or file.is_imagej or (file.is_shaped and is_shape):
        tags.pop(t.DESCRIPTION, None)
    return tags


def _page_tags(page: Any) -> Tags:
    """Tags of a page that remain true for the result."""
    handle = page.parent.filehandle
    closed = handle.closed
    if closed:
        handle.open()
    try:
        return kept_tags(t.read_tags(handle, page.offset))
    finally:
        if closed:
            handle.close()
