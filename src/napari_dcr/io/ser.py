"""SER: recordings of planets by capture programs.

A file consists of a header of 178 bytes, the frames, and one time per frame.  In all programs, the
header's flag for the byte order means the opposite of the format's description.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import stamp_of, warnings_of
from napari_dcr.io.fits_units import Cards, mosaic_note
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.views import Planes

HEADER = struct.Struct("<14s7i40s40s40s2q")
"""Header: identifier, camera, colour, byte order, width, height, bits, frames, 3 names, 2 times."""

MAGIC = b"LUCAM-RECORDER"

RGB, BGR = 100, 101
"""Colour identifiers of three samples; lower ones are grey or a mosaic of colours."""

MOSAICS = {8: "RGGB", 9: "GRBG", 10: "GBRG", 11: "BGGR", 16: "CYYM", 17: "YCMY", 18: "YMCY", 19: "MYYC"}  # fmt: skip

SECOND = 10_000_000
"""Number of time units per second."""

EPOCH = 621355968000000000
"""Start of 1 January 1970 in these units, which are counted from year 1."""

SAMPLED_ROWS = 128
"""Rows per frame, about, from which the byte order is found."""

KEYWORDS = ("OBSERVER", "INSTRUME", "TELESCOP")
"""FITS keywords for the three names in the header."""


def open_ser(path: Path) -> Opened:
    """Open a SER recording without reading its frames.

    Raises
    ------
    ValueError
        If the file is not a SER recording, or is truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if head[: len(MAGIC)] != MAGIC:
        raise ValueError("it is not a SER recording, which begins with LUCAM-RECORDER")
    if len(head) < HEADER.size:
        raise ValueError(f"it is cut off: it has {size} of the {HEADER.size} bytes of a header")
    _, _, colour, order, width, height, bits, count, *rest = HEADER.unpack(head)
    if colour not in (0, RGB, BGR, *MOSAICS):
        raise ValueError(f"its colour identifier {colour} is not known")
    if min(width, height, count) < 1 or not 1 <= bits <= 16:
        raise ValueError(
            f"its header is damaged: {count} frames of {height} x {width} pixels with {bits} bits"
        )
    samples = 3 if colour in (RGB, BGR) else 1
    stored = np.dtype("u1" if bits <= 8 else "<u2")
    inner = (height, width, 3) if samples == 3 else (height, width)
    end = HEADER.size + count * height * width * samples * stored.itemsize
    if size < end:
        raise ValueError(f"it is cut off: it has {size} of {end} bytes")
    frames: Any = np.memmap(path, stored, "r", HEADER.size, (count, *inner))
    notes = []
    if stored.itemsize == 2:
        shown = _shown_big_endian(frames, bits)
        is_big = bool(order) if shown is None else shown
        if is_big != bool(order):
            notes.append("its byte order is the opposite of what its header states")
        elif shown is None and not _is_alike_in_both_orders(frames):
            notes.append("its pixels do not show the byte order; that of its header is used")
        frames = frames.view(">u2") if is_big else frames
    if colour in MOSAICS:
        notes.append(mosaic_note(MOSAICS[colour]))

    def read(place: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        window = frames[place[0], rows, columns]
        return np.asarray(window[..., ::-1] if colour == BGR else window)

    times = np.fromfile(path, "<i8", count, offset=end) if size >= end + 8 * count else None
    calibration = Calibration()
    names = [each.decode("latin-1").strip("\0 ") for each in rest[:3]]
    cards: list[tuple[str, str | float]] = [
        (key, name) for key, name in zip(KEYWORDS, names, strict=True) if name
    ]
    if times is not None and count > 1 and times[-1] > times[0]:
        interval = float(times[-1] - times[0]) / (count - 1) / SECOND
        calibration = Calibration({"t": interval}, {"t": "second"})
        cards += [("CTYPE3", "TIME"), ("CUNIT3", "s"), ("CDELT3", interval), ("CRPIX3", 1.0)]
    if rest[4] > EPOCH:
        begin = datetime(1970, 1, 1) + timedelta(microseconds=(rest[4] - EPOCH) / 10)
        cards.append(("DATE-OBS", begin.isoformat()))
    return Opened(
        Planes((count, *inner), stored, read, samples, by_region=True),
        "tyxs" if samples == 3 else "tyx",
        lambda: stamp_of(path),
        metadata=Metadata(calibration=calibration, native=Cards(tuple(cards))),
        samples="rgb" if samples == 3 else "",
        warnings=warnings_of(path, tuple(notes)),
        measured=True,
    )


def _sample(frames: NDArray[Any]) -> NDArray[Any]:
    """Rows of the first, middle and last frame, of which some may be black."""
    return frames[[0, len(frames) // 2, -1], :: max(1, frames.shape[1] // SAMPLED_ROWS)]


def _is_alike_in_both_orders(frames: NDArray[Any]) -> bool:
    sample = _sample(frames)
    return bool((sample == sample.view(">u2")).all())


def _shown_big_endian(frames: NDArray[Any], bits: int) -> bool | None:
    """Whether pixels show that 16-bit values are big-endian; None if they do not show their order.

    Only in the right byte order are values within the bits that the header names, and neighbours
    similar.  In the wrong order, the noise of dim values below 256 is 256 times as strong.
    """
    little = _sample(frames)
    big = little.view(">u2")
    fits = [int(values.max()) < 2**bits for values in (little, big)]
    if fits[0] != fits[1]:
        return fits[1]
    if little.shape[2] < 2:
        return None
    steps = [np.abs(np.diff(v.astype(np.float64), axis=2)).mean() for v in (little, big)]
    return bool(steps[1] < steps[0]) if 2 * min(steps) < max(steps) else None
