"""Write pictures, and create the sinks that results are written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_zarr
from napari_dcr.image.axes import Layout, is_integer
from napari_dcr.io import (
    ome_metadata,
    ome_zarr,
    video_sink,
)
from napari_dcr.io.arrays import ArraySink, check_out
from napari_dcr.io.files import (
    Picture,
    replaced_when_complete,
    unwritable_folder,
)
from napari_dcr.io.formats import (
    FORMATS,
    ZARR,
    check_can_hold,
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


def write(path: str | Path, picture: Picture) -> None:
    """Write an image file atomically.

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
            form.write(partial, picture)
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
    quality: int | None = None, numbered: bool = True,
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
        Quality of a compressed video, from 0 to 100.
    numbered : bool
        Whether ``%d`` or ``%04d`` in the name of a path stands for the number of a frame.

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
            create_sink(each, member, inner, dtype, False, quality, numbered)
            for each, member, (_, inner) in zip(
                out, joined.members, pieces(joined, layout), strict=True
            )
        ]
        return PiecesSink(sinks, joined)
    _check_quality(quality, out)
    if is_zarr(out) and hasattr(out, "shape"):
        out = ome_zarr.anchored(out)
        if is_zarr(opened.array) and out.store_path == opened.array.store_path:
            raise ValueError("out: got the image itself; the input is never modified")
        return ome_zarr.ZarrSink(layout, dtype, out, None, False, resume)
    if isinstance(out, (str, Path)):
        path = local_path(out, "out")
        if numbered and is_sequence(path) and path.suffix.lower() != ZARR and not resume:
            return _create_sequence(path, opened, layout, dtype)
        _check_folder(path)
        if is_zarr_path(path):
            multiscale = opened.pyramid is not None or path.name.lower().endswith(".ome.zarr")
            pyramid = opened.pyramid
            if pyramid is None and isinstance(opened.metadata, Metadata):
                pyramid = ome_zarr.described(layout.axes, opened.metadata.calibration)
            if multiscale and not ome_metadata.is_allowed(layout.axes.replace("s", "")):
                opened.warnings.add(
                    f"axes: {layout.axes} is not an order that OME-Zarr allows (time, one other axis,"
                    " then those of space), so other programs may refuse the result; pass the axes in that"
                    " order, or write a TIFF"
                )
            return ome_zarr.ZarrSink(
                layout, dtype, path, pyramid, multiscale, resume, like=opened.array
            )
        form = FORMATS.get(suffix_of(path))
        if form is not None and form.sink is not None and not resume:
            check_can_hold(path, dtype, layout)
            given = {} if quality is None else {"quality": quality}
            return form.sink(layout, dtype, _behind_link(path), _metadata_of(opened), **given)
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
    path: Path, opened: Opened, layout: Layout, dtype: np.dtype[Any]
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
    return SequenceSink(layout, dtype, path, _metadata_of(opened), form.write)


def _check_quality(quality: int | None, out: Any) -> None:
    """Raise a ValueError for a quality outside 0 to 100, or an output without a quality."""
    if quality is None:
        return
    if not is_integer(quality) or not 0 <= quality <= 100:
        raise ValueError(f"quality: got {quality!r}; allowed are 0 to 100")
    if not isinstance(out, (str, Path)) or Path(out).suffix.lower() not in video_sink.LOSSY:
        raise ValueError(
            f"quality: got {quality} for an out that is no {', '.join(video_sink.LOSSY)}; only these"
            " videos have one"
        )


def _metadata_of(opened: Opened) -> Metadata:
    """Metadata of an image, independent of its file format."""
    if isinstance(opened.metadata, Metadata):
        return opened.metadata
    if opened.pyramid is not None and opened.axes is not None:
        return Metadata(calibration=ome_zarr.calibration_of(opened.axes, opened.pyramid))
    return Metadata()
