"""Open arrays, files and recordings as images, if possible without reading their pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.devices import free_memory
from napari_dcr.engine.file_errors import is_ours, reason_of
from napari_dcr.engine.model_choice import is_picture
from napari_dcr.engine.sources import Opened, is_zarr
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import (
    ome_zarr,
    tiff,
)
from napari_dcr.io.arrays import open_array, with_counts_as_floats
from napari_dcr.io.files import (
    NotInstalled,
    Picture,
    stamp_of,
    warnings_of,
    why_missing,
)
from napari_dcr.io.formats import (
    FORMATS,
    SUFFIXES,
    TIFF,
    ZARR,
    Format,
    format_of,
    is_in_zarr,
    is_paths,
    is_zarr_path,
    local_path,
    other_files,
    suffix_of,
)
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.outputs import Output, check_apart
from napari_dcr.io.recordings import join
from napari_dcr.io.sequence import existing_files, is_sequence
from napari_dcr.io.signatures import damaged, wrong_suffix
from napari_dcr.io.views import Guarded, Upright


def read(path: str | Path) -> Picture:
    """Read a whole image file.

    Raises
    ------
    ValueError
        If the format is not one of `SUFFIXES`, or the file cannot be read.
    """
    opened = open_whole(local_path(path, "image"))
    return Picture(
        opened.array, opened.axes or "", opened.metadata or Metadata(), opened.samples,
        doubt=opened.doubt,
    )  # fmt: skip


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Context manager that adds the name of the file to errors of any type."""
    try:
        if reason := why_missing(path):
            raise FileNotFoundError(f"{path}: {reason}")
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; pass a file")
        yield
    except NotInstalled as error:
        raise NotInstalled(f"{path}: {error}") from error
    except Exception as error:
        # Libraries raise any type of exception for a damaged file.
        if is_ours(error) and str(error).startswith(f"{path}: "):
            raise
        if isinstance(error, MemoryError):
            reason = str(error) or "its pixels do not fit into memory, or it is damaged"
            raise MemoryError(f"{path}: {reason}") from error
        raise ValueError(f"{path}: cannot be read as an image: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read; for a file with a wrong suffix, the kind of its content."""
    hint = wrong_suffix(path)
    if hint and not is_ours(error):
        return hint
    reason = reason_of(error, str(path), damaged(path))
    return f"{reason} ({hint})" if hint else reason


def open_whole(path: Path, scene: int | str | None = None) -> Opened:
    """Open a file and read all of its pixels.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    form = format_of(path)
    if form.read is not None:
        _check_scene(path, form, scene)
        with _naming(path):
            _check_not_empty(path)
            picture = form.read(path, scene) if form.has_scenes else form.read(path)
            return _opened(path, picture)
    opened = _open(path, form, scene)
    if opened.develop is not None:  # its pixels depend on the options
        return opened
    with _naming(path):
        return replace(
            opened, array=np.asanyarray(opened.array[(slice(None),) * opened.array.ndim])
        )


def _open(path: Path, form: Format, scene: int | str | None) -> Opened:
    """Open a file, for reading by region if its format allows it."""
    _check_scene(path, form, scene)
    with _naming(path):
        _check_not_empty(path)
        if form.open is None:
            assert form.read is not None
            return _opened(path, form.read(path))
        opened = form.open(path, scene) if form.has_scenes else form.open(path)
        opened = with_counts_as_floats(opened)
    opened = replace(opened, is_picture=is_picture(path))
    if isinstance(opened.array, np.ndarray):
        return opened
    # Decoders also raise any type of exception for a region of a damaged file.
    return replace(opened, array=Guarded(opened.array, lambda: _naming(path)))


def _check_not_empty(path: Path) -> None:
    if path.stat().st_size == 0:
        raise ValueError("it is empty")


def _check_scene(path: Path, form: Format, scene: int | str | None) -> None:
    """Raise an error if a scene is chosen although the file holds one image."""
    if scene is not None and not form.has_scenes:
        raise ValueError(
            f"scene: got {scene!r} for {path.name}; {path.suffix} files hold one image"
        )


def layout_of(opened: Opened, axes: str | None) -> Layout:
    """Layout of an image with the given axes, or with those that the file defines."""
    shape = tuple(int(n) for n in opened.array.shape)
    return Layout.resolve(shape, axes or opened.axes, samples=opened.samples)


def is_large(path: Path, times: int = 1, scene: int | str | None = None) -> bool:
    """Whether a file can be read by region and is too large to be loaded whole.

    Parameters
    ----------
    path : Path
    times : int
        Number of files of this size that are loaded at the same time.
    scene : int or str, optional
        Image that is read from a file that holds several.
    """
    suffix = suffix_of(path)
    if suffix in TIFF.suffixes:
        return tiff.is_large(path, times)
    form = FORMATS.get(suffix)
    if form is None or form.open is None or form.is_whole:
        return False
    if form.streamed:
        return True
    try:
        with warnings.catch_warnings():  # they are given when the file is opened to be enhanced
            warnings.simplefilter("ignore", InputWarning)
            array = _open(path, form, scene).array
    except ValueError:  # an error is raised when the file is read
        return False
    size = int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
    return times * size > free_memory("cpu") // 4


def open_image(
    image: Any,
    out: Any = None,
    scene: int | str | None = None,
    as_one: str = "t",
    axes: str | None = None,
    upright: bool = False,
) -> Opened:
    """Open an array, a group or a path, if possible without reading its pixels.

    Parameters
    ----------
    image : array, group, path, or list of paths
        See `napari_dcr.enhance`. Several paths are opened as one recording.
    out : optional
        Destination of the result.  For a zarr, which cannot store an orientation, the pixels are
        rotated upright.
    scene : int or str, optional
        Image to open from a file that holds several, by its number from 0 or by its name.
    as_one : str
        Letter of the axis along which several files are joined.
    axes : str, optional
        One letter per axis of each of several files; by default as the files define them.
    upright : bool
        Whether to rotate or mirror the pixels as viewers do, according to the Orientation of the
        file or the rotation of the video.  By default they have the order in which they are stored.

    Returns
    -------
    Opened
        Opened image, which `napari_dcr.enhance` accepts.  Its ``array`` is indexed like a NumPy
        array, by integers and slices, and reads only the requested pixels; ``axes`` has one letter
        for each axis.

    Raises
    ------
    TypeError, ValueError
        If the image is none of these, or the file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> opened = open_image(np.zeros((3, 40, 50), np.uint16))
    >>> opened.array.shape
    (3, 40, 50)
    """
    if isinstance(image, Opened):
        return image
    if is_paths(image):
        places = [local_path(each, "image") for each in image]
        outs = out if is_paths(out) else [out] * len(places)
        if len(outs) != len(places):
            raise ValueError(
                f"out: got {len(outs)} paths for {len(places)} files; pass one path, or one for each file"
            )
        _check_outputs(places, out)
        members = [
            open_image(p, o, scene, upright=upright) for p, o in zip(places, outs, strict=True)
        ]
        return join(members, [place.name for place in places], as_one, axes)
    if not isinstance(image, (str, Path)):
        if scene is not None:
            raise ValueError(f"scene: got {scene!r} for an array; allowed are paths of files")
        return open_array(image)
    path = local_path(image, "image")
    _check_outputs([path], out)
    if is_in_zarr(path):
        if scene is not None:
            raise ValueError(
                f"scene: got {scene!r} for a {ZARR}; pass the path of an image inside it"
            )
        return open_array(ome_zarr.open_path(path))
    if suffix_of(path) not in SUFFIXES:
        raise ValueError(
            f"image: got the path {str(image)!r}; allowed are those of a {ZARR} or"
            f" {', '.join(SUFFIXES)}"
        )
    opened = _open(path, format_of(path), scene)
    orientations = getattr(opened.metadata, "orientations", {1})
    is_kept = isinstance(out, (str, Path)) and not is_zarr_path(out)
    if len(orientations) > 1 and not is_kept:
        opened.warnings.add(
            f"{path.name}: its pages have different values of Orientation"
            f" ({', '.join(map(str, sorted(orientations)))}); that of the first page is used for all"
        )
    if upright or is_zarr_path(out) or is_zarr(out):
        return _upright(opened)
    orientation = getattr(opened.metadata, "orientation", 1)
    if orientation != 1 and not isinstance(out, (str, Path)):
        opened.warnings.add(
            f"{path.name}: its Orientation {orientation} asks viewers to rotate or mirror the image;"
            " the array has the pixels in the order in which they are stored; pass upright=True to"
            " napari_dcr.open_image() to turn them"
        )
    return opened


def _check_outputs(inputs: list[Path], out: Any) -> None:
    """Raise an error if an output is one of the images, or several results have one output."""
    outs = out if is_paths(out) else [out]
    outputs = []
    for each, source in zip(outs, inputs, strict=False):
        if isinstance(each, (str, Path)):
            place = local_path(each, "out")
            is_pattern = is_sequence(place) and not is_zarr_path(place)
            outputs.append(Output(place, "out", f"the result of {source}", is_pattern))
    files = list(inputs)
    # Only a path that exists can be a further file of an image; finding those takes time.
    if any(o.path.exists() or (o.is_sequence and existing_files(o.path)) for o in outputs):
        for source in inputs:
            with suppress(ValueError):  # reading it will say what is wrong
                files += other_files(source)
    check_apart(outputs, files)


def _opened(path: Path, picture: Picture) -> Opened:
    """Opened image of a picture that has been read as a whole."""
    stamp = stamp_of(path)
    return with_counts_as_floats(Opened(
        picture.pixels, picture.axes, lambda: stamp, metadata=picture.metadata,
        samples=picture.samples, doubt=picture.doubt, nodata=picture.metadata.nodata,
        warnings=warnings_of(path, picture.notes), measured=picture.measured,
        is_picture=is_picture(path), bits=picture.metadata.calibration.bits,
    ))  # fmt: skip


def _upright(opened: Opened) -> Opened:
    """Opened image, rotated upright according to its orientation tag."""
    metadata, axes = opened.metadata, opened.axes
    if not isinstance(metadata, Metadata) or metadata.orientation == 1 or axes is None:
        return opened
    array: Any = Guarded(Upright(opened.array, axes, metadata.orientation), nullcontext)
    if isinstance(opened.array, np.ndarray):
        array = array[...]
    stamp = opened.fingerprint
    return replace(
        opened,
        array=array,
        metadata=metadata.upright(),
        orientation=metadata.orientation,
        fingerprint=lambda: f"{stamp()} upright",
    )
