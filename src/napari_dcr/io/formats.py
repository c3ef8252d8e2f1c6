"""The table of file formats, and functions that choose a format by the suffix of a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.devices import free_memory
from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened, is_zarr
from napari_dcr.image.axes import Layout, is_integer
from napari_dcr.io import (
    czi,
    dcimg,
    exr,
    fits,
    heif,
    ims,
    jxl,
    lif,
    mrc,
    nd2,
    oif,
    ome_metadata,
    ome_zarr,
    pictures,
    raw,
    ser,
    sif,
    tiff,
    video,
    video_sink,
)
from napari_dcr.io.arrays import ArraySink, check_out, open_array
from napari_dcr.io.files import (
    NotInstalled,
    Picture,
    check_holds,
    replaced_when_complete,
    stamp_of,
    warnings_of,
)
from napari_dcr.io.frame_sinks import check_frames
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.recordings import Joined, PiecesSink, join, pieces
from napari_dcr.io.sequence import SequenceSink, is_sequence
from napari_dcr.io.views import Guarded, Upright


@dataclass(frozen=True)
class Format:
    """A format of image files.

    Attributes
    ----------
    suffixes : tuple of str
        Lower case, with the dot.
    read : callable or None
        Reads a whole file; by default the array that ``open`` returns is read.
    write : callable or None
        Writes a picture to a path; None for formats that are only read.
    dtypes : tuple of str
        Names of the dtypes that the format can store; empty for all dtypes.
    check : callable or None
        Raises an error for axes and samples that cannot be written; None if all can.
    open : callable or None
        Opens a file for reading by region; None for formats that are always read as a whole.
        If the format ``has_scenes``, it also takes the scene, or None.
    has_scenes : bool
        Whether a file may hold several images, one of which is chosen.
    sink : callable or None
        Creates the sink that writes a file by region; None for formats that are written as a whole.
    is_whole : bool
        Whether a file is read as a whole although ``open`` returns before its pixels are needed.
    becomes : str
        Suffix of results in a folder, for formats that are only read.
    begins : tuple of (int, bytes)
        Offset and bytes that identify files of this format, if other formats share its suffix.
    streamed : bool
        Whether files are never loaded as a whole, however small they are.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path], Picture] | None = None
    write: Callable[[Path, Picture], None] | None = None
    dtypes: tuple[str, ...] = ()
    check: Callable[[Path, str, str], None] | None = None
    open: Callable[..., Opened] | None = None
    has_scenes: bool = False
    sink: Callable[..., Sink] | None = None
    is_whole: bool = False
    becomes: str = ".png"
    begins: tuple[int, bytes] = (0, b"")
    streamed: bool = False


TIFF = Format(
    (".tif", ".tiff"), tiff.read_tiff, tiff.write_tiff, open=tiff.open_tiff, sink=tiff.TiffSink
)
PNG = Format(
    (".png",), pictures.read_picture, pictures.write_png, pictures.PNG_DTYPES, pictures.check_png
)
JPEG = Format(
    (".jpg", ".jpeg"), pictures.read_picture, pictures.write_jpeg, pictures.JPEG_DTYPES,
    pictures.check_jpeg,
)  # fmt: skip
BMP = Format((".bmp",), pictures.read_picture)
WEBP = Format((".webp",), pictures.read_picture)
HEIC = Format(
    (".heic", ".heif", ".hif"), heif.read_heic, heif.write_heic, heif.DTYPES, heif.check_heif
)
AVIF = Format((".avif",), heif.read_avif, heif.write_avif, heif.DTYPES, heif.check_heif)
JXL = Format((".jxl",), jxl.read_jxl, jxl.write_jxl, heif.DTYPES, heif.check_heif)
RAW = Format(
    (".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"), open=raw.open_raw, has_scenes=True,
    is_whole=True, becomes=".tif",
)  # fmt: skip
DNG = Format(
    (".dng",), write=raw.write_dng, check=raw.check_dng, open=raw.open_raw,
    has_scenes=True, sink=raw.DngSink, is_whole=True, becomes=".tif",
)  # fmt: skip
EXR = Format((".exr",), exr.read_exr, exr.write_exr, exr.DTYPES, exr.check_exr)
FITS = Format(
    (".fits", ".fit", ".fts"), write=fits.write_fits, dtypes=fits.DTYPES, check=fits.check_fits,
    open=fits.open_fits, has_scenes=True, sink=fits.FitsSink,
)  # fmt: skip
FITS_PACKED = Format(
    (".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".fz"), open=fits.open_fits, has_scenes=True,
    becomes=".fits",
)  # fmt: skip
SER = Format((".ser",), open=ser.open_ser, becomes=".fits", begins=(0, ser.MAGIC))

_STACK = ".ome.tif"
"""Suffix of results of formats that hold stacks of instruments."""

INSTRUMENT_TIFF = Format((".lsm", ".stk"), tiff.read_tiff, open=tiff.open_tiff, becomes=_STACK)
ND2 = Format((".nd2",), open=nd2.open_nd2, has_scenes=True, becomes=_STACK)
CZI = Format((".czi",), open=czi.open_czi, has_scenes=True, becomes=_STACK)
LIF = Format((".lif", ".lof", ".xlef"), open=lif.open_lif, has_scenes=True, becomes=_STACK)
OIF = Format((".oib", ".oif"), open=oif.open_oif, becomes=_STACK)
MRC = Format(
    (".mrc", ".mrcs", ".map", ".rec"), open=mrc.open_mrc, becomes=_STACK, begins=(208, mrc.MAGIC)
)
SIF = Format((".sif",), open=sif.open_sif, becomes=_STACK, begins=(0, sif.MAGIC))
IMS = Format((".ims",), open=ims.open_ims, becomes=_STACK)
DCIMG = Format((".dcimg",), open=dcimg.open_dcimg, becomes=_STACK)
VIDEO = Format(
    (".mp4", ".m4v", ".mov", ".mkv"), dtypes=video_sink.DTYPES, check=check_frames,
    open=video.open_video, sink=video_sink.VideoSink, streamed=True,
)  # fmt: skip
VIDEO_READ = Format(
    (".avi", ".webm", ".gif", ".y4m"), open=video.open_video, becomes=".mp4", streamed=True
)

FORMATS = {
    suffix: form
    for form in (
        TIFF,
        PNG,
        JPEG,
        BMP,
        WEBP,
        HEIC,
        AVIF,
        JXL,
        EXR,
        RAW,
        DNG,
        FITS,
        FITS_PACKED,
        SER,
        INSTRUMENT_TIFF,
        ND2,
        CZI,
        LIF,
        OIF,
        MRC,
        SIF,
        IMS,
        DCIMG,
        VIDEO,
        VIDEO_READ,
    )
    for suffix in form.suffixes
}
"""Format of each suffix."""

SUFFIXES = tuple(FORMATS)
"""Suffixes of formats that are read."""

WRITTEN = tuple(suffix for suffix, form in FORMATS.items() if form.write or form.sink)
"""Suffixes of formats that are written."""

ZARR = ".zarr"

_URL = re.compile(
    r"[a-z][a-z0-9+.-]+:[:/\\]|(file|memory|s3|gs|gcs|https?|ftp|az|abfs):", re.IGNORECASE
)
"""Pattern of URLs, also of those that `Path` has shortened to ``scheme:/rest``; one letter is a drive."""


def local_path(value: str | Path, argument: str) -> Path:
    """Convert a path to an absolute one, because the working directory may change during a run.

    Raises
    ------
    ValueError
        If the path is a URL.
    """
    if _URL.match(str(value)):
        raise ValueError(
            f"{argument}: got the URL {str(value)!r}; allowed are paths of local files. Of a zarr"
            " elsewhere, pass the array that zarr.open() returns for it"
        )
    return Path(value).absolute()


def format_of(path: Path, *, written: bool = False) -> Format:
    """Format of a path, by its suffix.

    Raises
    ------
    ValueError
        If no format has the suffix, or if ``written`` is set and the format is only read.
    """
    allowed = WRITTEN if written else SUFFIXES
    suffix = suffix_of(path)
    if suffix not in allowed:
        raise ValueError(f"{path}: got suffix {suffix!r}; allowed are {', '.join(allowed)}")
    return FORMATS[suffix]


def suffix_of(path: Path) -> str:
    """Suffix that determines the format of a path, in lower case, such as ``.fits.gz``."""
    both = "".join(path.suffixes[-2:]).lower()
    return both if both in FORMATS else path.suffix.lower()


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
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; pass a file")
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except NotInstalled as error:
        raise NotInstalled(f"{path}: {error}") from error
    except ValueError as error:
        if str(error).startswith(f"{path}: "):  # the message already names the file
            raise
        raise _unreadable(path, error) from error
    except Exception as error:
        # Libraries raise any type of exception for a damaged file.
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = (
        " ".join(str(error).split()) or type(error).__name__
    )  # some messages have several lines
    return ValueError(f"{path}: cannot be read as an image: {reason}")


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
    with replaced_when_complete(path) as partial:
        form.write(partial, picture)


def _check_folder(path: Path) -> None:
    """Raise an error if the folder of an output file is missing; zarr creates its folder itself."""
    if not _is_zarr_path(path) and not path.parent.is_dir():
        raise ValueError(f"out: got {path}, but there is no folder {path.parent}; create it first")


def _behind_link(path: Path) -> Path:
    """Target of a symbolic link, so that the file is replaced and not the link."""
    return path.resolve() if path.is_symlink() else path


def check_can_hold(path: Path, dtype: np.dtype[Any], layout: Layout) -> None:
    """Check early that the format of an output path supports dtype, axes and samples.

    Raises
    ------
    ValueError
        If the format does not support them.
    """
    form = format_of(path, written=True)
    check_holds(path, dtype, form.dtypes)
    if form.check is not None:
        form.check(path, layout.axes, layout.samples)


def fitting_output(path: Path, opened: Opened, output: str) -> str:
    """The dtype of a result: that of a raw file's print is one that the format holds.

    Parameters
    ----------
    path : Path
        Of the result.
    opened : Opened
    output : str
        As it was asked for.
    """
    form = FORMATS.get(suffix_of(path))
    if output != "same" or opened.develop is None or form is None or not form.dtypes:
        return output
    return output if opened.array.dtype.name in form.dtypes else form.dtypes[0]


def is_large(path: Path, times: int = 1) -> bool:
    """Whether a file can be read by region and is too large to be loaded whole.

    Parameters
    ----------
    path : Path
    times : int
        Number of files of this size that are loaded at the same time.
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
        array = _open(path, form, None).array
    except ValueError:  # an error is raised when the file is read
        return False
    size = int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
    return times * size > free_memory("cpu") // 4


def is_streamed(path: Path) -> bool:
    """Whether files of a path's format are never held in memory as a whole."""
    form = FORMATS.get(suffix_of(path))
    return form is not None and form.streamed


def becomes(path: Path) -> str:
    """Suffix of the result of a file in a folder; empty if it is the suffix of the file.

    The result of a DNG gets another suffix: a DNG is written only without brightening.
    """
    suffix = suffix_of(path)
    form = FORMATS.get(suffix)
    if suffix == ZARR or (suffix in WRITTEN and form is not DNG):
        return ""
    return Format.becomes if form is None else form.becomes


def other_kind(path: Path) -> str:
    """Reason why a file is not of the format that its suffix names; empty if it is."""
    form = FORMATS.get(suffix_of(path))
    place, expected = (0, b"") if form is None else form.begins
    if not expected:
        return ""
    with path.open("rb") as file:
        file.seek(place)
        if file.read(len(expected)) == expected:
            return ""
    return f"has the suffix {path.suffix}, but is of another kind"


def is_in_zarr(path: Path) -> bool:
    """Whether a path belongs to a zarr, or to something inside one."""
    return any(part.lower().endswith(ZARR) for part in path.parts)


def other_files(path: Path) -> list[Path]:
    """All files of the image that a file belongs to.

    Raises
    ------
    ValueError
        If a file of the image is missing.
    """
    if suffix_of(path) == ".oif":
        return [path, path.with_name(f"{path.name}.files")]  # the folder that holds its planes
    return tiff.other_files(path) if path.suffix.lower() in TIFF.suffixes else [path]


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
            picture = form.read(path)
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


def open_image(
    image: Any,
    out: Any = None,
    scene: int | str | None = None,
    as_one: str = "t",
    axes: str | None = None,
) -> Opened:
    """Open an array, a group or a path, if possible without reading its pixels.

    Parameters
    ----------
    image : array, group, path, or list of paths
        See `napari_dcr.enhance`. Several paths are opened as one recording.
    out : optional
        Destination of the result.  For a zarr, which cannot store an orientation, pixels are
        turned upright.
    scene : int or str, optional
        Image to open from a file that holds several, by its number from 0 or by its name.
    as_one : str
        Letter of the axis along which several files are joined.
    axes : str, optional
        One letter per axis of each of several files; by default as the files define them.

    Returns
    -------
    Opened
        Opened image, which `napari_dcr.enhance` accepts.  Its ``array`` is indexed with one slice
        per axis and reads only the requested pixels; ``axes`` has one letter for each axis.

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
    if _is_paths(image):
        places = [local_path(each, "image") for each in image]
        outs = out if _is_paths(out) else [out] * len(places)
        if len(outs) != len(places):
            raise ValueError(
                f"out: got {len(outs)} paths for {len(places)} files; pass one path, or one for each file"
            )
        for place in places:
            _check_not_input(place, out)
        members = [open_image(p, o, scene) for p, o in zip(places, outs, strict=True)]
        return join(members, [place.name for place in places], as_one, axes)
    if not isinstance(image, (str, Path)):
        if scene is not None:
            raise ValueError(f"scene: got {scene!r} for an array; allowed are paths of files")
        return open_array(image)
    path = local_path(image, "image")
    _check_not_input(path, out)
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
    is_kept = isinstance(out, (str, Path)) and not _is_zarr_path(out)
    if len(orientations) > 1 and not is_kept:
        opened.warnings.add(
            f"{path.name}: its pages ask viewers to turn them in different ways (Orientation"
            f" {', '.join(map(str, sorted(orientations)))}); all are taken as the first page is"
        )
    if _is_zarr_path(out) or is_zarr(out):
        return _upright(opened)
    orientation = getattr(opened.metadata, "orientation", 1)
    if orientation != 1 and not isinstance(out, (str, Path)):
        opened.warnings.add(
            f"{path.name}: its Orientation {orientation} asks viewers to turn it; the array holds"
            " the pixels as they are stored"
        )
    return opened


def _is_paths(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(each, (str, Path)) for each in value)
    )


def _check_not_input(path: Path, out: Any) -> None:
    """Raise an error if the output is the image itself."""
    if _is_paths(out):
        for each in out:
            _check_not_input(path, each)
    if not isinstance(out, (str, Path)):
        return
    place = local_path(out, "out").resolve()
    if not place.exists():
        return
    try:
        files = other_files(path)
    except ValueError:  # reading it will say what is wrong
        files = [path]
    if any(place == file.resolve() for file in (path, *files)):
        raise ValueError(f"out: got {str(out)!r}, the image itself; the input is never modified")


def _opened(path: Path, picture: Picture) -> Opened:
    """Opened image of a picture that has been read as a whole."""
    stamp = stamp_of(path)
    return Opened(
        picture.pixels, picture.axes, lambda: stamp, metadata=picture.metadata,
        samples=picture.samples, doubt=picture.doubt, nodata=picture.metadata.nodata,
        warnings=warnings_of(path, picture.notes), measured=picture.measured,
        bits=picture.metadata.calibration.bits,
    )  # fmt: skip


def _is_zarr_path(out: Any) -> bool:
    """Whether an output is a zarr, or something without a suffix of its own inside one."""
    if not isinstance(out, (str, Path)):
        return False
    path = Path(out)
    return path.suffix.lower() == ZARR or (not path.suffix and is_in_zarr(path))


def _upright(opened: Opened) -> Opened:
    """Opened image, turned upright as its orientation tag requires."""
    metadata, axes = opened.metadata, opened.axes
    if not isinstance(metadata, Metadata) or metadata.orientation == 1 or axes is None:
        return opened
    array: Any = Upright(opened.array, axes, metadata.orientation)
    if isinstance(opened.array, np.ndarray):
        array = array[(slice(None),) * array.ndim]
    stamp = opened.fingerprint
    return replace(
        opened,
        array=array,
        metadata=metadata.upright(),
        fingerprint=lambda: f"{stamp()} upright",
    )


def create_sink(
    out: Any, opened: Opened, layout: Layout, dtype: np.dtype[Any], resume: bool,
    quality: int | None = None,
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
        Of a compressed video, from 0 to 100.

    Raises
    ------
    TypeError, ValueError
        If the result cannot be written to ``out``.
    """
    if _is_paths(out):
        joined = opened.array
        if not isinstance(joined, Joined) or len(out) != len(joined.members):
            raise ValueError(f"out: got {len(out)} paths; allowed for a list of as many files")
        if resume:
            raise ValueError("resume: got True with a list as out; allowed with one .zarr")
        sinks = [
            create_sink(each, member, inner, dtype, False, quality)
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
        if is_sequence(path) and path.suffix.lower() != ZARR and not resume:
            return _create_sequence(path, opened, layout, dtype)
        _check_folder(path)
        if _is_zarr_path(path):
            multiscale = opened.pyramid is not None or path.name.lower().endswith(".ome.zarr")
            pyramid = opened.pyramid
            if pyramid is None and isinstance(opened.metadata, Metadata):
                pyramid = ome_zarr.described(layout.axes, opened.metadata.calibration)
            if multiscale and not ome_metadata.is_allowed(layout.axes.replace("s", "")):
                opened.warnings.add(
                    f"axes: {layout.axes} is not an order that OME-Zarr allows (time, one other axis,"
                    " then z, y, x), so other programs may refuse the result; pass the axes in that"
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
    """Raise a ValueError for a quality that is no percentage, or an output that has none."""
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
