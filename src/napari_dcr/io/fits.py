"""FITS: images and cubes, read by section."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io import tags as t
from napari_dcr.io.files import stamp_of, warnings_of
from napari_dcr.io.fits_units import (
    COMPUTED,
    Origin,
    blank_of,
    is_blank,
    mosaic_note,
    open_units,
    scale_of,
    scaled,
    stored_dtype,
)
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.views import Planes

SCIENCE = "SCI"
"""Name of the images in files that hold their errors and qualities too."""

_BESIDE = ("ERR", "DQ", "VAR", "IVAR", "UNC", "UNCERT", "MASK", "WHT", "WEIGHT", "CON", "CTX", "HITS", "QUALITY", "VARIANCE", "ERROR", "STDDEV", "NOISE", "NPOL", "SAMP", "TIME", "FOOTPRINT", "WCSDVARR", "D2IMARR")  # fmt: skip
"""Names of units that describe the pixels of another one."""

_AXES = {
    **dict.fromkeys(("TIME", "UTC", "TAI", "TT", "TDB"), "t"),
    **dict.fromkeys(("FREQ", "ENER", "WAVN", "WAVE", "AWAV", "VRAD", "VOPT", "ZOPT", "VELO", "FELO", "BETA"), "l"),
    "STOKES": "p", "RGB": "c", "COLOR": "c",
}  # fmt: skip
"""Letters of the axes that are no directions in space, by the first part of their CTYPE."""


def open_fits(path: Path, scene: int | str | None = None) -> Opened:
    """Open a FITS file without reading its pixels.

    The image consists of the HDUs named SCI; without any, of all HDUs that hold pixels and are not
    errors, qualities or weights of others.  HDUs of the same shape are stacked along an axis
    ``e``.  If the shapes differ, ``scene`` selects one by its number or name (``"SCI,2"``).

    Raises
    ------
    ValueError
        If the file is damaged, contains no image, or images of different shapes without a scene.
    """
    hdus = open_units(path)
    numbers = _images(hdus)
    if not numbers:
        raise ValueError("it holds no image of two or more axes")
    if scene is not None:
        numbers = [_chosen(hdus, numbers, scene)]
    kinds = {(hdus[n].shape, stored_dtype(hdus[n].header)) for n in numbers}
    if len(kinds) > 1:
        names = ", ".join(f"{i} ({_name(hdus[n])})" for i, n in enumerate(numbers))
        raise ValueError(f"it holds images of different kinds; choose one by scene: {names}")
    header, shape = hdus[numbers[0]].header, tuple(int(n) for n in hdus[numbers[0]].shape)
    notes = []
    if len(numbers) > 1:
        names = ", ".join(_name(hdus[n]) for n in numbers)
        notes.append(f"its {len(numbers)} images ({names}) are enhanced together, along an axis e")
    pattern = str(header.get("BAYERPAT", "")).strip()
    if pattern:
        notes.append(mosaic_note(pattern))
    axes, doubt = _letters(path, header, shape)
    stored = stored_dtype(header)
    dtype = np.dtype(COMPUTED.get(stored, stored))
    stacked = len(numbers) > 1
    scales = [scale_of(hdus[n].header) for n in numbers]
    blanks = [blank_of(hdus[n].header) for n in numbers]
    is_shared = len(set(blanks)) == 1

    def read(place: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        number, place = (place[0], place[1:]) if stacked else (0, place)
        section = hdus[numbers[number]].section
        if axes.endswith("yx"):
            pixels = np.asarray(section[(*place, rows, columns)])
        else:  # astropy would read the pixels of one plane of a cube one by one
            pixels = np.asarray(section[(*place, rows, slice(None))])[:, columns]
        values = scaled(pixels, scales[number], dtype, blanks[number])
        if is_shared or dtype.kind == "f":
            return values
        return np.ma.MaskedArray(values, is_blank(pixels, blanks[number]))

    shape = (len(numbers), *shape) if stacked else shape
    array = Planes(shape, dtype, read, by_region=True)
    offset, factor = scales[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = header.tostring(sep="\n").encode("ascii", "replace").decode()
    tags = {t.DESCRIPTION: t.text_tag(text)}
    if str(header.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP":
        tags[t.ORIENTATION] = t.short_tag(4)
    return Opened(
        array, "e" + axes if stacked else axes,
        lambda: stamp_of(path, *numbers),
        metadata=Metadata(tags, native=Origin(path, tuple(numbers), stacked, stored, shape)),
        doubt=doubt, warnings=warnings_of(path, tuple(notes)), measured=True,
        nodata=blanks[0] * factor + offset
        if is_shared and blanks[0] is not None and dtype.kind != "f"
        else None,
    )  # fmt: skip


def _images(hdus: Any) -> list[int]:
    """HDUs that contain an image."""
    found = []
    for number, hdu in enumerate(hdus):
        shape = getattr(hdu, "shape", ())
        if getattr(hdu, "is_image", False) and len(shape) >= 2 and 0 not in shape:
            found.append(number)
    science = [n for n in found if hdus[n].name.upper() == SCIENCE]
    return science or [n for n in found if hdus[n].name.upper() not in _BESIDE]


def _name(hdu: Any) -> str:
    return f"{hdu.name or 'unnamed'},{hdu.ver}"


def _chosen(hdus: Any, numbers: list[int], scene: int | str) -> int:
    """Number of the HDU that ``scene`` selects, by its number or its name."""
    names = [_name(hdus[n]) for n in numbers]
    if isinstance(scene, int) and 0 <= scene < len(numbers):
        return numbers[scene]
    same = [n for n, name in zip(numbers, names, strict=True) if scene in (name, hdus[n].name)]
    if len(same) != 1:
        raise ValueError(
            f"scene: got {scene!r}; allowed are 0 to {len(numbers) - 1} and {', '.join(names)}"
        )
    return same[0]


def _letters(path: Path, header: Any, shape: tuple[int, ...]) -> tuple[str, str]:
    """One letter per axis, and the reason to doubt them.

    The last two axes are y and x, unless the header states that one of them is no direction in
    space, and two others may be.
    """
    spare = iter("qruvwzkjihg")
    kinds = [str(header.get(f"CTYPE{n}", "")).strip().upper() for n in range(len(shape), 0, -1)]
    named = [_AXES.get(kind.partition("-")[0], "") for kind in kinds]
    rows, columns = len(shape) - 2, len(shape) - 1
    in_space = [n for n, length in enumerate(shape) if not named[n] and length > 1]
    if is_moved := any(named[-2:]) and len(in_space) > 1:
        rows, columns = in_space[-2:]
    letters, unknown = "", []
    for number, length in enumerate(shape):
        letter = {rows: "y", columns: "x"}.get(number, named[number])
        if not letter and not kinds[number] and length == 3 and len(shape) == 3:
            letter = "c"  # astronomy software stores colours in this way
            unknown.append(number)
        elif not letter or letter in letters:
            letter = next(spare)
        letters += letter
    doubt = ""
    if any(named[-2:]):
        places = (rows, columns, len(shape) - 2, len(shape) - 1)
        first, second, *last = (kinds[n] or f"number {len(shape) - n}" for n in places)
        doubt = f"axes: the rows and columns of {path.name} are its axes {first} and {second}"
        if is_moved:
            doubt += f', not its last axes, {last[0]} and {last[1]} (axes="{letters}")'
        else:
            doubt += ", which are treated as y and x"
    elif unknown:
        doubt = (
            f"axes: the 3 planes of {path.name} are treated as colours, each enhanced by itself; if"
            ' they are planes of a stack, give axes="zyx"'
        )
    return letters, doubt
