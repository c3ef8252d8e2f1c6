"""DNG: reading the tags of the raw image, and writing linear DNG files.

Digital Negative (DNG) Specification 1.7.1 (Adobe 2023), chapters 2, 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dcr.io import tags as t
from napari_dcr.io.files import check_memory, without_log
from napari_dcr.io.tags import Tag, Tags

MOSAIC, LINEAR = 32803, 34892
"""Photometric interpretations."""

_CFA_PATTERN, _CFA_PLANES, _CFA_SIZE = 33422, 50710, 33421
_LINEARIZATION, _BLACK_SIZE, _BLACK, _BLACK_H, _BLACK_V, _WHITE = range(50712, 50718)
_ROW_INTERLEAVE, _COLUMN_INTERLEAVE = 50975, 52547

_ACTIVE_AREA, _OPCODES_2 = 50829, 51009

MODEL, COLOUR_MATRIX, NEUTRAL, ILLUMINANT = 50708, 50721, 50728, 50778

D65 = 21
"""Number of the preferred illuminant in the tags CalibrationIlluminant."""

COPIED = (50708, 50721, 50722, 50723, 50724, 50727, 50728, 50729, 50730, 50734, 50735, 50736, 50739, 50778, 50779, 50931, 50932,
          50936, 50937, 50938, 50939, 50940, 50941, 50942, 50964, 50965, 50981, 50982, 51022, 51107, 51108, 51109, 51110)  # fmt: skip
"""Tags copied to the result: camera model and serial number, colour matrices, white balance, profile, lens."""


@dataclass(frozen=True)
class DngPage:
    """Description of the raw image of a DNG file.

    Attributes
    ----------
    is_mosaic : bool
        True for a colour filter array; False if all colours of each pixel are stored.
    is_float : bool
    is_packed : bool
        Whether the compression is one that LibRaw does not decode.
    pattern : ndarray, shape (p, q), or None
        Colour filter array from the corner of the active area: 0 is red, 1 green, 2 blue.
    area : tuple of int
        Active area: first row, first column, end row, end column.
    black : ndarray, shape (p, q, n)
        Black levels, a pattern that is repeated from the corner of the active area, for each
        sample.
    rows, columns : ndarray or None
        Additional black level of each row and column of the active area.
    white : ndarray, shape (n,) or None
        Saturation level of each sample.
    table : ndarray or None
        Table that converts stored values to linear values.
    has_shading : bool
        Whether the file has corrections of the lens shading, such as gain maps.
    orientation : int
        EXIF orientation, 1 to 8.
    neutral : ndarray, shape (n,), or None
        Camera colours of white; None if the file does not state them.
    to_camera : ndarray, shape (n, 3), or None
        Matrix from XYZ to camera colours, for the illuminant D65 if the file has it.
    """

    is_mosaic: bool
    is_float: bool
    is_packed: bool
    pattern: NDArray[Any] | None
    area: tuple[int, int, int, int]
    black: NDArray[np.float64]
    rows: NDArray[np.float64] | None
    columns: NDArray[np.float64] | None
    white: NDArray[np.float64] | None
    table: NDArray[Any] | None
    has_shading: bool
    orientation: int
    neutral: NDArray[np.float64] | None
    to_camera: NDArray[np.float64] | None

    def black_of(self, top: int, left: int, height: int, width: int) -> NDArray[np.float64]:
        """Compute the black level of each pixel of a window, as an array (h, w, n).

        Parameters
        ----------
        top, left : int
            Position of the window in the stored image.
        height, width : int
        """
        y = np.arange(height) + top - self.area[0]
        x = np.arange(width) + left - self.area[1]
        p, q, _ = self.black.shape
        level = self.black[(y % p)[:, None], x % q]
        if self.rows is not None:
            level = level + _at(self.rows, y)[:, None, None]
        if self.columns is not None:
            level = level + _at(self.columns, x)[None, :, None]
        return level


def _at(values: NDArray[np.float64], places: NDArray[Any]) -> NDArray[np.float64]:
    return values[np.clip(places, 0, len(values) - 1)]


def read_page(path: Path) -> tuple[DngPage, int]:
    """Read the description of the raw image, and its number for `read_pixels`.

    Raises
    ------
    ValueError
        If the file has no raw image or is truncated.  LibRaw would return zeros for missing tiles.
    """
    with without_log(), tifffile.TiffFile(path) as file:
        pages = _pages(file)
        found = [n for n, page in enumerate(pages) if _is_raw(page)]
        main = [n for n in found if int(pages[n].subfiletype or 0) == 0] or found
        if not main:
            raise ValueError("it is not a DNG: none of its pages holds a raw image")
        number = max(main, key=lambda n: pages[n].imagewidth * pages[n].imagelength)
        page = pages[number]
        _check_complete(page, path.stat().st_size)
        # The pixels as they are stored, as floats, and demosaiced.
        check_memory((page.imagelength, page.imagewidth), 24)
        return _described(page, pages[0]), number


def holds_raw(path: Path) -> bool:
    """Whether one of the pages of a TIFF file is a raw image by its tags."""
    with without_log(), tifffile.TiffFile(path) as file:
        return any(_is_raw(page) or _CFA_PATTERN in page.tags for page in _pages(file))


def _is_raw(page: Any) -> bool:
    return int(page.photometric) in (MOSAIC, LINEAR)


def read_pixels(path: Path, number: int) -> NDArray[Any]:
    """Decode the stored pixels of a page."""
    with without_log(), tifffile.TiffFile(path) as file:
        pixels: NDArray[Any] = _pages(file)[number].asarray()
        return pixels


def _pages(file: tifffile.TiffFile) -> list[Any]:
    """All pages of a file, including sub-images."""
    pages: list[Any] = []
    for page in file.pages:
        pages.append(page)
        pages += list(page.pages or ())
    return pages


def _check_complete(page: Any, size: int) -> None:
    end = max(
        (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0
    )
    if not end or not all(page.databytecounts):
        raise ValueError("it holds no pixels")
    if end > size:
        raise ValueError(f"it is cut off: it has {size} of {end} bytes")
    if int(page.compression) == 1 and sum(page.databytecounts) * 8 < page.size * page.bitspersample:
        raise ValueError(
            f"it holds {sum(page.databytecounts)} bytes of pixels, too few for its size"
        )
    parts = math.prod(page.chunked)
    if len(page.databytecounts) < parts:
        raise ValueError(
            f"it is cut off or damaged: it lists {len(page.databytecounts)} of the {parts} parts of its pixels"
        )


def _numbers(page: Any, code: int) -> NDArray[np.float64] | None:
    """Values of a tag; fractions are divided."""
    tag = page.tags.get(code)
    if tag is None:
        return None
    values = np.atleast_1d(np.asarray(tag.value, np.float64)).ravel()
    if int(tag.dtype) in (5, 10):
        values = values[::2] / np.where(values[1::2] == 0, 1, values[1::2])
    return values


def _described(page: Any, first: Any) -> DngPage:
    is_mosaic = int(page.photometric) == MOSAIC
    for code, name in ((_ROW_INTERLEAVE, "rows"), (_COLUMN_INTERLEAVE, "columns")):
        factor = _numbers(page, code)
        if factor is not None and factor[0] != 1:
            raise ValueError(
                f"its {name} are interleaved, which is not supported; convert it with Adobe DNG Converter"
            )
    samples = 1 if is_mosaic else int(page.samplesperpixel)
    height, width = int(page.imagelength), int(page.imagewidth)
    area = _numbers(page, _ACTIVE_AREA)
    top, left, bottom, right = (0, 0, height, width) if area is None else map(int, area)
    size = _numbers(page, _BLACK_SIZE)
    p, q = (1, 1) if size is None else map(int, size)
    black = _numbers(page, _BLACK)
    if black is None or len(black) not in (1, p * q * samples):
        black = np.zeros(1) if black is None else black[:1]
    pattern = None
    if is_mosaic:
        raw = page.tags.get(_CFA_PATTERN)
        sides = _numbers(page, _CFA_SIZE)
        if raw is None or sides is None:
            pattern = np.zeros((1, 1), int)
        else:
            codes = np.frombuffer(bytes(raw.value), np.uint8).astype(int)
            pattern = codes.reshape(int(sides[0]), int(sides[1]))
            if set(pattern.ravel()) - {0, 1, 2}:
                raise ValueError("its sensor has other colours than red, green and blue")
    table = page.tags.get(_LINEARIZATION)
    return DngPage(
        is_mosaic, page.dtype is not None and np.dtype(page.dtype).kind == "f", int(page.compression) not in (1, 7, 34892), pattern,
        (top, left, bottom, right),
        np.broadcast_to(black.reshape(-1) if len(black) == 1 else black.reshape(p, q, samples), (p, q, samples)),
        _numbers(page, _BLACK_V), _numbers(page, _BLACK_H), _numbers(page, _WHITE),
        None if table is None else np.asarray(table.value), _OPCODES_2 in page.tags,
        *_colours(page, first, 1 if pattern is not None and pattern.size == 1 else 3),
    )  # fmt: skip


def _colours(page: Any, first: Any, samples: int) -> tuple[int, Any, Any]:
    """Orientation, white and matrix: tags of the raw page or of the first page."""

    def of_either(code: int) -> NDArray[np.float64] | None:
        own = _numbers(page, code)
        return _numbers(first, code) if own is None else own

    orientation = of_either(274)
    neutral, matrix = of_either(NEUTRAL), None
    for code, light in ((COLOUR_MATRIX, ILLUMINANT), (COLOUR_MATRIX + 1, ILLUMINANT + 1)):
        values, named = of_either(code), of_either(light)
        is_better = matrix is None or (named is not None and int(named[0]) == D65)
        if values is not None and len(values) == 3 * samples and is_better:
            matrix = values.reshape(samples, 3)
    if neutral is not None and (len(neutral) != samples or not (neutral > 0).all()):
        neutral = None
    turn = 1 if orientation is None or not 1 <= orientation[0] <= 8 else int(orientation[0])
    return turn, neutral, matrix


PEDESTAL = 512
"""Black level of the DNG files that are written, so that negative noise is not clipped."""


def write_linear(path: Path, light: NDArray[np.float32], white: float, tags: Tags) -> float:
    """Write a linear DNG of 16 bits.

    Parameters
    ----------
    path : Path
    light : ndarray of float32, shape (h, w, n)
        Camera colours minus the black level, in the units of the sensor.
    white : float
        Saturation level minus the black level.
    tags : dict
        Further tags of the page.

    Returns
    -------
    float
        Integer steps of the file for each unit of the sensor.
    """
    steps = (65535 - PEDESTAL) / white
    steps = float(np.floor(steps)) if steps >= 1 else steps
    codes = np.clip(np.rint(light * np.float32(steps) + PEDESTAL), 0, 65535).astype(np.uint16)
    samples = codes.shape[2]
    tifffile.imwrite(
        path, codes if samples > 1 else codes[..., 0], byteorder="<",
        photometric=LINEAR if samples > 1 else "minisblack",
        planarconfig="contig" if samples > 1 else None, metadata=None, rowsperstrip=64,
        software=False,
    )  # fmt: skip
    top = round(white * steps) + PEDESTAL
    described: Tags = {
        50706: Tag(t.BYTE, bytes((1, 4, 0, 0))), 50707: Tag(t.BYTE, bytes((1, 2, 0, 0))),
        _BLACK_SIZE: t.short_tag(1, 1), _BLACK: t.short_tag(*[PEDESTAL] * samples),
        _WHITE: t.short_tag(*[top] * samples), 262: t.short_tag(LINEAR),
    }  # fmt: skip
    t.graft(path, {0: {**tags, **described}})
    return steps
