"""The table of file formats, and look-up of a format by the suffix of a path."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.sinks import Sink
from napari_dcr.engine.sources import Opened
from napari_dcr.image.axes import Layout, is_integer
from napari_dcr.io import (
    czi,
    dcimg,
    deltavision,
    dng_sink,
    exr,
    fits,
    fits_sink,
    heif,
    ims,
    jxl,
    lif,
    mrc,
    nd2,
    oif,
    pictures,
    raw,
    ser,
    sif,
    spe,
    tiff,
    tiff_sink,
    video,
    video_sink,
)
from napari_dcr.io.files import (
    Picture,
    check_holds,
)
from napari_dcr.io.frame_sinks import check_frames


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
        Writes a picture to a path; None for formats that are only read.  It also takes a quality if
        the suffix is one of those ``with_quality``, and so does ``sink``.
    dtypes : tuple of str
        Names of the dtypes that the format can store; empty for all dtypes.
    check : callable or None
        Raises an error for axes and samples that cannot be written; None if all can.
    open : callable or None
        Opens a file for reading by region; None for formats that are always read as a whole.
        If the format ``has_scenes``, it and ``read`` also take the scene, or None.
    has_scenes : bool
        Whether a file may hold several images, one of which is chosen.
    sink : callable or None
        Creates the sink that writes a file by region; None for formats that are written as a whole.
    is_whole : bool
        Whether a file is read as a whole although ``open`` returns before its pixels are needed.
    becomes : str
        Suffix of results in a folder, for formats that are only read.
    begins : tuple of int and bytes
        Offset of the bytes that identify files of this format, if other formats share its suffix,
        and one or several values that they may have.
    streamed : bool
        Whether files are never loaded as a whole, however small they are.
    has_pixel_shape : bool
        Whether files store that pixels are wider than high, or higher than wide.
    with_quality : tuple of str
        Suffixes of files that are written with loss, in a quality from 0 to 100.
    """

    suffixes: tuple[str, ...]
    read: Callable[..., Picture] | None = None
    write: Callable[..., None] | None = None
    dtypes: tuple[str, ...] = ()
    check: Callable[[Path, str, str], None] | None = None
    open: Callable[..., Opened] | None = None
    has_scenes: bool = False
    sink: Callable[..., Sink] | None = None
    is_whole: bool = False
    becomes: str = ".png"
    begins: tuple[int, *tuple[bytes, ...]] = (0,)
    streamed: bool = False
    has_pixel_shape: bool = False
    with_quality: tuple[str, ...] = ()


TIFF = Format(
    (".tif", ".tiff"),
    tiff.read_tiff,
    tiff_sink.write_tiff,
    open=tiff.open_tiff,
    has_scenes=True,
    sink=tiff_sink.TiffSink,
    has_pixel_shape=True,
)
PNG = Format(
    (".png",), pictures.read_picture, pictures.write_png, pictures.PNG_DTYPES, pictures.check_png,
    has_pixel_shape=True,
)  # fmt: skip
JPEG = Format(
    (".jpg", ".jpeg"), pictures.read_picture, pictures.write_jpeg, pictures.JPEG_DTYPES,
    pictures.check_jpeg, has_pixel_shape=True, with_quality=(".jpg", ".jpeg"),
)  # fmt: skip
BMP = Format((".bmp",), pictures.read_picture)
WEBP = Format((".webp",), pictures.read_picture)
HEIC = Format(
    (".heic", ".heif", ".hif"), heif.read_heic, heif.write_heic, heif.DTYPES, heif.check_heif,
    with_quality=(".heic", ".heif", ".hif"),
)  # fmt: skip
AVIF = Format(
    (".avif",), heif.read_avif, heif.write_avif, heif.DTYPES, heif.check_heif,
    with_quality=(".avif",),
)  # fmt: skip
JXL = Format((".jxl",), jxl.read_jxl, jxl.write_jxl, heif.DTYPES, heif.check_heif)
RAW = Format(
    (".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"), open=raw.open_raw, has_scenes=True,
    is_whole=True, becomes=".tif",
)  # fmt: skip
DNG = Format(
    (".dng",), write=dng_sink.write_dng, check=dng_sink.check_dng, open=raw.open_raw,
    has_scenes=True, sink=dng_sink.DngSink, is_whole=True, becomes=".tif",
)  # fmt: skip
EXR = Format((".exr",), exr.read_exr, exr.write_exr, exr.DTYPES, exr.check_exr)
FITS = Format(
    (".fits", ".fit", ".fts"), write=fits_sink.write_fits, dtypes=fits_sink.DTYPES, check=fits_sink.check_fits,
    open=fits.open_fits, has_scenes=True, sink=fits_sink.FitsSink,
)  # fmt: skip
FITS_PACKED = Format(
    (".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".fz"), open=fits.open_fits, has_scenes=True,
    becomes=".fits",
)  # fmt: skip
SER = Format((".ser",), open=ser.open_ser, becomes=".fits", begins=(0, ser.MAGIC))

_STACK = ".ome.tif"
"""Suffix of results of formats that hold stacks of instruments."""

INSTRUMENT_TIFF = Format(
    (".lsm", ".stk"), tiff.read_tiff, open=tiff.open_tiff, has_scenes=True, becomes=_STACK
)
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
DELTAVISION = Format(
    (".dv", ".r3d"), open=deltavision.open_deltavision, becomes=_STACK,
    begins=(deltavision.PLACE, deltavision.LITTLE, deltavision.BIG),
)  # fmt: skip
SPE = Format((".spe",), open=spe.open_spe, becomes=_STACK, begins=(spe.PLACE, spe.MAGIC))
VIDEO = Format(
    (".mp4", ".m4v", ".mov", ".mkv"), dtypes=video_sink.DTYPES, check=check_frames,
    open=video.open_video, sink=video_sink.VideoSink, streamed=True, has_pixel_shape=True,
    with_quality=video_sink.LOSSY,
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
        DELTAVISION,
        SPE,
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

WITH_QUALITY = tuple(suffix for suffix, form in FORMATS.items() if suffix in form.with_quality)
"""Suffixes of files that are written with loss, in a quality from 0 to 100."""

ZARR = ".zarr"

_URL = re.compile(
    r"[a-z][a-z0-9+.-]+:[:/\\]|(file|memory|s3|gs|gcs|https?|ftp|az|abfs):", re.IGNORECASE
)
"""Pattern of URLs, also of those that `Path` has shortened to ``scheme:/rest``; one letter is a drive."""


def local_path(value: str | Path, argument: str) -> Path:
    """Convert a path to an absolute one, because the working directory may change during a run.

    A ``~`` at its beginning stands for the home folder, as in a shell, which expands it only in
    some of its arguments.

    Raises
    ------
    ValueError
        If the path is a URL, or a symbolic link in it leads to itself.
    """
    if not str(value):
        raise ValueError(f"{argument}: got an empty path; pass the path of a file or folder")
    if _URL.match(str(value)):
        raise ValueError(
            f"{argument}: got the URL {str(value)!r}; allowed are paths of local files. For a"
            " remote zarr, pass the array that zarr.open() returns for it"
        )
    path = Path(value)
    with suppress(RuntimeError):  # the name of a file may begin with ~
        path = path.expanduser()
    path = path.absolute()
    try:
        path.stat()
    except ValueError as error:  # a null byte
        raise ValueError(f"{argument}: got {str(value)!r}: {error}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(
                f"{argument}: got {value}, which contains a symbolic link that leads to itself"
            ) from error
    return path


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


def check_quality(quality: int | None, out: Any) -> None:
    """Check that a quality is allowed, and that the format of an output has one.

    Raises
    ------
    ValueError
        If it is outside 0 to 100, or the output is no path of a format with a quality.
    """
    if quality is None:
        return
    if not is_integer(quality) or not 0 <= quality <= 100:
        raise ValueError(f"quality: got {quality!r}; allowed are 0 to 100")
    is_path = isinstance(out, (str, Path))
    if not is_path or suffix_of(Path(out)) not in WITH_QUALITY:
        where = f"the output {Path(out).name}" if is_path else "an out that is no file"
        raise ValueError(
            f"quality: got {quality} for {where}, which has no quality; allowed with"
            f" {', '.join(WITH_QUALITY)}"
        )


def fitting_output(path: Path, opened: Opened, output: str) -> str:
    """Value of the option ``output``; for a developed raw file, a dtype that the format supports.

    Parameters
    ----------
    path : Path
        Path of the result.
    opened : Opened
    output : str
        Requested value.
    """
    form = FORMATS.get(suffix_of(path))
    if output != "same" or opened.develop is None or form is None or not form.dtypes:
        return output
    return output if opened.array.dtype.name in form.dtypes else form.dtypes[0]


def only_for_viewing(out: Any) -> list[str]:
    """Warnings that measured intensities are not kept in outputs whose compression changes pixels."""
    return [
        f"out: the compression of {Path(path).name} changes intensities, so it is for viewing only;"
        " write .mkv, .tif or .zarr to measure"
        for path in (out if is_paths(out) else [out])
        if isinstance(path, (str, Path)) and suffix_of(Path(path)) in WITH_QUALITY
    ]


def is_streamed(path: Path) -> bool:
    """Whether files of a path's format are never loaded into memory as a whole."""
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
    place, *expected = (0,) if form is None else form.begins
    if not expected:
        return ""
    with path.open("rb") as file:
        file.seek(place)
        if file.read(len(expected[0])) in expected:
            return ""
    return f"has the suffix {path.suffix}, but is of another kind"


def is_in_zarr(path: Path) -> bool:
    """Whether a path is that of a zarr, or of an item inside one."""
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


def is_paths(value: Any) -> bool:
    """Whether a value is a list or tuple of paths."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(each, (str, Path)) for each in value)
    )


def is_zarr_path(out: Any) -> bool:
    """Whether a value is the path of a zarr, or a path without a suffix inside a zarr."""
    if not isinstance(out, (str, Path)):
        return False
    path = Path(out)
    return path.suffix.lower() == ZARR or (not path.suffix and is_in_zarr(path))
