"""Write pictures, and create the sinks that results are written to."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_zarr
from napari_dcr.image.axes import Layout
from napari_dcr.image.missing import is_value_of
from napari_dcr.io import (
    ome_metadata,
    ome_zarr,
)
from napari_dcr.io import tags as t
from napari_dcr.io.arrays import ArraySink, check_out
from napari_dcr.io.files import (
    Picture,
    replaced_when_complete,
    unwritable_folder,
)
from napari_dcr.io.formats import (
    FORMATS,
    TIFF,
    ZARR,
    check_can_hold,
    check_quality,
    format_of,
    is_paths,
    is_zarr_path,
    local_path,
    suffix_of,
)
from napari_dcr.io.frame_sinks import check_frames
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.recordings import Joined, PiecesSink, pieces
from napari_dcr.io.sequence import SequenceSink, is_sequence
from napari_dcr.io.video import VideoInfo


def write(path: str | Path, picture: Picture, quality: int | None = None) -> None:
    """Write an image file atomically, in a quality from 0 to 100 if the format has one.

    Raises
    ------
    ValueError
        If the format cannot store the pixels.
    """
    path = _behind_link(local_path(path, "out"))
    _check_folder(path)
    form = format_of(path, written=True)
    assert form.write is not None
    try:
        with replaced_when_complete(path) as partial:
            form.write(partial, picture, **_given(quality))
    except OSError as error:
        # NumPy says how many values it has written, without the reason.
        full = "requested and" in str(error)
        reason = (
            "the disk may be full, or the file too large" if full else error.strerror or str(error)
        )
        message = f"{path} cannot be written: {reason}"
        code = () if error.errno is None else (error.errno,)
        raise OSError(*code, message) from error


def _check_folder(path: Path) -> None:
    """Raise an error if the folder of an output is not writable, or missing; zarr creates its folder itself.

    The output itself is created later, once the image has been surveyed.
    """
    if not is_zarr_path(path) and not path.parent.is_dir():
        raise ValueError(f"out: got {path}, but there is no folder {path.parent}; create it first")
    if folder := unwritable_folder(path):
        raise ValueError(f"out: got {path}, but the folder {folder} is not writable")


def _behind_link(path: Path) -> Path:
    """Target of a symbolic link, so that the file is replaced and not the link."""
    return path.resolve() if path.is_symlink() else path


def create_sink(
    out: Any, opened: Opened, layout: Layout, dtype: np.dtype[Any], resume: bool,
    quality: int | None = None, numbered: bool = True, overwrite: bool = False,
) -> Sink:  # fmt: skip
    """Create the sink that a result is written to.

    Parameters
    ----------
    out : ndarray, zarr array, path or None
        See `napari_dcr.enhance`.
    opened : Opened
        The input image.
    layout : Layout
    dtype : dtype
        Dtype of the result.
    resume : bool
        Whether to resume an interrupted run.
    quality : int, optional
        Quality of a file that is compressed with loss, from 0 to 100.
    numbered : bool
        Whether ``%d`` or ``%04d`` in the name of a path stands for the number of a frame.
    overwrite : bool
        Whether to replace an earlier result in a zarr.

    Raises
    ------
    TypeError, ValueError
        If the result cannot be written to ``out``.
    """
    if is_paths(out):
        joined = opened.array
        if not isinstance(joined, Joined) or len(out) != len(joined.members):
            raise ValueError(
                f"out: got {len(out)} paths; a list is allowed only for a list of equally many images"
            )
        if resume:
            raise ValueError("resume: got True with a list of paths as out; allowed is one .zarr")
        sinks = [
            create_sink(
                each,
                replace(member, nodata=opened.nodata),
                inner,
                dtype,
                False,
                quality,
                numbered,
                overwrite,
            )
            for each, member, (_, inner) in zip(
                out, joined.members, pieces(joined, layout), strict=True
            )
        ]
        return PiecesSink(sinks, joined)
    check_quality(quality, out)
    if is_zarr(out) and hasattr(out, "shape"):
        out = ome_zarr.anchored(out)
        if is_zarr(opened.array) and out.store_path == opened.array.store_path:
            raise ValueError("out: got the image itself; the input is never modified")
        return ome_zarr.ZarrSink(
            layout,
            dtype,
            out,
            None,
            False,
            resume,
            nodata=_marked_nodata(ome_zarr.path_of(out), opened, dtype),
        )
    if isinstance(out, (str, Path)):
        path = local_path(out, "out")
        if numbered and is_sequence(path) and path.suffix.lower() != ZARR and not resume:
            return _create_sequence(path, opened, layout, dtype, quality)
        _check_folder(path)
        if is_zarr_path(path):
            if is_zarr(opened.array) and ome_zarr.path_of(opened.array).resolve().is_relative_to(
                path.resolve()
            ):
                raise ValueError(f"out: {path} holds the image itself; the input is never modified")
            multiscale = opened.pyramid is not None or path.name.lower().endswith(".ome.zarr")
            pyramid = opened.pyramid
            if pyramid is None and isinstance(opened.metadata, Metadata):
                pyramid = ome_zarr.described(layout.axes, opened.metadata.calibration)
                if multiscale:
                    _warn_of_uneven_times(path, opened)
            if multiscale and not ome_metadata.is_allowed(layout.axes.replace("s", "")):
                opened.warnings.add(
                    f"axes: {layout.axes} is not an order that OME-Zarr allows (time, one other axis,"
                    " then those of space), so other programs may refuse the result; pass the axes in that"
                    " order, or write a TIFF"
                )
            if not multiscale:
                _warn_of_pixel_shape(path, opened)
            return ome_zarr.ZarrSink(
                layout,
                dtype,
                path,
                pyramid,
                multiscale,
                resume,
                like=opened.as_read,
                overwrite=overwrite,
                attributes=_own_attributes(opened),
                nodata=_marked_nodata(path, opened, dtype),
            )
        form = FORMATS.get(suffix_of(path))
        if form is not None and form.sink is not None and not resume:
            check_can_hold(path, dtype, layout)
            if not form.has_pixel_shape:
                _warn_of_pixel_shape(path, opened)
            return form.sink(
                layout,
                dtype,
                _behind_link(path),
                metadata_of(path, opened, dtype),
                **_given(quality),
            )
        streamed = [f.suffixes[0] for f in dict.fromkeys(FORMATS.values()) if f.sink]
        allowed = ZARR if resume else " or ".join((ZARR, *streamed))
        frames = f"; of a recording also a pattern such as frame_%04d{path.suffix}"
        raise ValueError(
            f"out: got the path {str(out)!r}; allowed are those of a {allowed}"
            + frames * (form is not None and form.write is not None and not resume)
        )
    if resume:
        raise ValueError("resume: got True; allowed with an out that is a .zarr or a zarr array")
    if out is not None:
        check_out(out, opened.array, layout.shape, dtype)
    return ArraySink(layout, dtype, out)


def _create_sequence(
    path: Path, opened: Opened, layout: Layout, dtype: np.dtype[Any], quality: int | None
) -> SequenceSink:
    """Create the sink that writes an image for each frame."""
    form = format_of(path, written=True)
    _check_folder(path.parent)
    check_frames(path, layout.axes, layout.samples)
    if form.write is None:
        raise ValueError(f"out: got {path.name}; a {path.suffix} holds all frames, give one name")
    step = next(i for i, axis in enumerate(layout.axes) if axis not in "yxs")
    shape, axes = list(layout.shape), list(layout.axes)
    del shape[step], axes[step]
    check_can_hold(path, dtype, Layout(tuple(shape), "".join(axes), layout.samples))
    if not form.has_pixel_shape:
        _warn_of_pixel_shape(path, opened)
    write = functools.partial(form.write, **_given(quality))
    return SequenceSink(layout, dtype, path, _metadata_of(opened), write)


def _warn_of_pixel_shape(path: Path, opened: Opened) -> None:
    """Warn that a format cannot store the shape of the pixels, unless they are square."""
    metadata = _metadata_of(opened)
    if isinstance(metadata.native, VideoInfo) and metadata.native.aspect != 1:
        sizes = metadata.calibration.sizes
        opened.warnings.add(
            f"out: {path.name} cannot store that pixels are {sizes['x'] / sizes['y']:.4g} times as wide"
            " as they are high; write .mp4, .mov, .ome.zarr or .ome.tif to keep it"
        )


def _warn_of_uneven_times(path: Path, opened: Opened) -> None:
    """Warn that an OME-Zarr image stores the mean interval between frames only, unless it is even."""
    calibration = _metadata_of(opened).calibration
    if not calibration.is_even:
        steps = np.diff(calibration.times)
        opened.warnings.add(
            f"out: {path.name} holds one interval between frames, so the mean of"
            f" {calibration.interval:.4g} s is written for those of {steps.min():.4g} to"
            f" {steps.max():.4g} s; write an .ome.tif to keep the time of each frame"
        )


def _own_attributes(opened: Opened) -> dict[str, Any]:
    """Attributes of the zarr array that an image is read from, or of the first of several."""
    members = opened.array.members if isinstance(opened.array, Joined) else [opened]
    own = [ome_zarr.own_attributes(each.as_read) for each in members]
    if any(each != own[0] for each in own):
        opened.warnings.add(
            "the attributes of the files differ; the result has those of the first file"
        )
    return own[0]


def _marked_nodata(path: Path, opened: Opened, dtype: np.dtype[Any]) -> float | None:
    """No-data value that marks the pixels without data of a result; None if there is none.

    A value that the result cannot represent gives a warning, because it becomes 0.
    """
    value = opened.nodata
    if value is None or not is_value_of(value, np.dtype(opened.array.dtype)):
        return None
    if is_value_of(value, dtype):
        return value
    opened.warnings.add(
        f"nodata: {path.name} cannot hold {value:.9g} as {dtype.name}, so pixels without data are 0 and not"
        " marked; choose another output dtype to keep the value"
    )
    return None


def metadata_of(path: Path, opened: Opened, dtype: np.dtype[Any]) -> Metadata:
    """Metadata of a result, with the value of its pixels without data if the format can hold it.

    Parameters
    ----------
    path : Path
        Path of the result.
    opened : Opened
        The input image.
    dtype : dtype
        Dtype of the result.
    """
    metadata = _metadata_of(opened)
    if suffix_of(path) not in TIFF.suffixes or opened.nodata is None:
        return metadata
    value = _marked_nodata(path, opened, dtype)
    if value is not None:
        return metadata.with_nodata(value)
    # The value of the file itself is kept where the image cannot have it.
    is_possible = is_value_of(opened.nodata, np.dtype(opened.array.dtype))
    is_own = metadata.nodata == opened.nodata and not is_possible
    return metadata if is_own else metadata.without(t.GDAL_NODATA)


def _given(quality: int | None) -> dict[str, int]:
    """Keyword arguments of a writer: the quality, unless the default of the format is used."""
    return {} if quality is None else {"quality": quality}


def _metadata_of(opened: Opened) -> Metadata:
    """Metadata of an image, independent of its file format."""
    if isinstance(opened.metadata, Metadata):
        return opened.metadata
    if opened.pyramid is not None and opened.axes is not None:
        return Metadata(calibration=ome_zarr.calibration_of(opened.axes, opened.pyramid))
    return Metadata()
