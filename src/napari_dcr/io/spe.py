"""SPE, the format of cameras of Princeton Instruments; mapped into memory.

WinSpec writes version 2, LightField version 3, which adds XML after the frames.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.files import stamp_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import stack

PLACE, MAGIC = 2996, b"\x67\x45\x23\x01"
"""Byte at which the identifier lies, and the identifier."""

HEADER = 4100
"""Bytes."""

DTYPES = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 5: "<f8", 6: "u1", 8: "<u4"}
"""Dtypes of the stored values, by their number."""


def open_spe(path: Path) -> Opened:
    """Open an SPE without reading its pixels.

    Raises
    ------
    ValueError
        If it is of another kind, holds spectra or several regions, or is cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER)
    if head[PLACE : PLACE + len(MAGIC)] != MAGIC:
        raise ValueError("it is not a file of WinSpec or LightField, or its header is cut off")
    if len(head) < HEADER:
        raise ValueError(f"it is cut off: it has {size} of the {HEADER} bytes of a header")

    def value(place: int, form: str) -> Any:
        return struct.unpack_from("<" + form, head, place)[0]

    width, height, count = value(42, "H"), value(656, "H"), value(1446, "i")
    kind, regions, xml = value(108, "h"), value(1510, "h"), value(678, "Q")
    if kind not in DTYPES:
        raise ValueError(f"its values are of the type {kind}; allowed are {', '.join(map(str, DTYPES))}")  # fmt: skip
    if regions > 1:
        raise ValueError(f"it holds {regions} regions of the sensor; one is allowed")
    if min(width, height, count) < 1:
        raise ValueError(f"its header is damaged: {count} frames of {height} x {width} pixels")
    if min(width, height) < 2:
        raise ValueError(f"it holds {count} spectra of {max(width, height)} pixels, not an image")
    if value(1992, "f") >= 3 and xml >= HEADER:  # its header has the size of the first region
        regions = _regions(path, xml)
        if regions > 1:
            raise ValueError(f"it holds {regions} regions of the sensor; one is allowed")
    dtype = np.dtype(DTYPES[kind])
    frame = width * height * dtype.itemsize
    # LightField may store times after each frame.
    apart = (xml - HEADER) // count if value(1992, "f") >= 3 and xml > HEADER else frame
    end = HEADER + (count - 1) * apart + frame
    if apart < frame or size < end:
        raise ValueError(
            f"it is cut off: it has {size} of {max(end, HEADER + count * frame)} bytes"
        )
    data: Any = np.memmap(path, np.uint8, "r")
    strides = (apart, width * dtype.itemsize, dtype.itemsize)
    frames: Any = np.ndarray((count, height, width), dtype, data, HEADER, strides)

    # Integers of 32 bits are computed in floats.
    native = np.dtype("f8") if dtype.str[1:] in ("i4", "u4") else dtype.newbyteorder("=")

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        return np.asarray(frames[place.get("t", 0), rows, columns], native)

    leading = {"t": count} if count > 1 else {}
    array, axes = stack(leading, (height, width), native, read, by_region=True)
    return Opened(array, axes, lambda: stamp_of(path), metadata=Metadata(), measured=True)


def _regions(path: Path, start: int) -> int:
    """Number of regions of the sensor in each frame, as the XML after the frames describes them."""
    with path.open("rb") as file:
        file.seek(start)
        text = file.read()
    try:
        root = ElementTree.fromstring(text.rstrip(b"\0"))
    except ElementTree.ParseError:
        return 1  # pixels of a file that is cut off here may be complete
    blocks = (e for e in root.iter() if e.tag.rpartition("}")[2] == "DataBlock")
    return sum(int(e.get("count") or 1) for e in blocks if e.get("type") == "Region") or 1
