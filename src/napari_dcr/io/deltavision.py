"""DeltaVision, the format of microscopes of Applied Precision; mapped into memory.

It has the layout of MRC, with another identifier, and its header states how the planes are
ordered: https://docs.openmicroscopy.org/bio-formats/latest/formats/deltavision.html
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import stamp_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import rounded, stack

PLACE = 96
"""Byte at which the identifier lies."""

LITTLE, BIG = b"\xa0\xc0", b"\xc0\xa0"
"""Identifier in little-endian and in big-endian files."""

HEADER = 1024
"""Bytes; a further header of a stated length follows."""

INT32 = 7
"""Pixel type of integers of 32 bits."""

DTYPES = {0: "u1", 1: "i2", 2: "f4", 6: "u2", INT32: "i4"}
"""Dtypes of the pixel types that are read; the others are complex numbers."""

ORDERS = {0: "ctz", 1: "tzc", 2: "tcz"}
"""Axes of the sequence of planes, slowest first."""


def is_deltavision(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a DeltaVision file."""
    return head[PLACE : PLACE + 2] in (LITTLE, BIG)


def open_deltavision(path: Path) -> Opened:
    """Open a DeltaVision file without reading its pixels.

    Raises
    ------
    ValueError
        If it is of another kind, damaged or cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER)
    if not is_deltavision(head) or len(head) < HEADER:
        raise ValueError("it is not a DeltaVision file, or its header is cut off")
    order = "<" if head[PLACE : PLACE + 2] == LITTLE else ">"

    def values(place: int, form: str) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, head, place)

    width, height, planes, kind = values(0, "4i")
    if kind not in DTYPES:
        raise ValueError(f"its pixel type {kind} is not supported; allowed are {', '.join(map(str, DTYPES))}")  # fmt: skip
    times, sequence = (max(0, int(v)) for v in values(180, "2h"))
    waves = max(1, int(values(196, "h")[0]))
    times = max(1, times)
    depth = planes // (times * waves)
    if sequence not in ORDERS or min(width, height, depth) < 1 or planes != depth * times * waves:
        raise ValueError(
            f"its header is damaged: {planes} planes of {height} x {width} pixels, of {times} times"
            f" and {waves} channels in the order {sequence}"
        )
    dtype = np.dtype(order + DTYPES[kind])
    start = HEADER + max(0, int(values(92, "i")[0]))
    end = start + planes * height * width * dtype.itemsize
    if size < end:
        raise ValueError(f"it is cut off: it has {size} of {end} bytes")
    sizes = {"t": times, "c": waves, "z": depth}
    stored: Any = np.memmap(
        path, dtype, "r", start, (*(sizes[a] for a in ORDERS[sequence]), height, width)
    )

    # Integers of 32 bits are computed in floats.
    native = np.dtype("f8") if kind == INT32 else dtype.newbyteorder("=")

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        window = stored[(*(place.get(a, 0) for a in ORDERS[sequence]), rows, columns)]
        return np.asarray(window, native)

    leading = {a: n for a, n in sizes.items() if n > 1}
    array, axes = stack(leading, (height, width), native, read, by_region=True)
    steps = {a: rounded(round(float(v), 7)) for a, v in zip("xyz", values(40, "3f"), strict=True)}
    steps = {a: v for a, v in steps.items() if v > 0 and a in axes}
    # The header has room for five wavelengths, in nanometres.
    named = [int(v) for v in values(198, "5h")][:waves]
    channels = tuple(Channel(f"{v} nm" if v > 0 else "") for v in named)
    calibration = Calibration(
        steps, dict.fromkeys(steps, "micrometer"), {}, channels if len(channels) == waves else ()
    )
    return Opened(
        array, axes, lambda: stamp_of(path), metadata=Metadata(calibration=calibration),
        measured=True,
    )  # fmt: skip
