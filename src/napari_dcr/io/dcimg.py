"""Reader of DCIMG, the format of Hamamatsu cameras. Files are memory-mapped.

Hamamatsu publishes no description of the format; the layout follows the package dcimg (G.
Mazzamuto). There are two versions: 7, with one footer after all frames, and 0x1000000, with a
footer after each frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import stamp_of, warnings_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import mean_step, stack

MAGIC = b"DCIMG\0"

OLD, NEW = 7, 0x1000000
"""Versions of the format."""

FRAME_FOOTER = 32
"""Size of the footer after each frame of the new version, in bytes.

It contains the number of the frame, its time in seconds and microseconds, four pixels, and zeros.
"""

LINE = 1023
"""Row of the sensor whose first four pixels are stored outside the frame."""


@dataclass(frozen=True)
class _Layout:
    """Positions of the frames in a file, and of the values stored beside them.

    Attributes
    ----------
    count, height, width : int
    dtype : dtype
    start : int
        Offset of the first frame in bytes.
    row, frame : int
        Distance between rows, and between frames, in bytes.
    times : tuple of int
        Offset of the first frame's time, and distance to the next time, in bytes.
    four_pixels : tuple of int
        Offset of the four pixels that are stored outside the first frame, and distance to those of
        the next frame, in bytes; (0, 0) if all pixels are stored in the frames.
    position : tuple of int
        Row and column of the first of the four pixels.
    """

    count: int
    height: int
    width: int
    dtype: np.dtype[Any]
    start: int
    row: int
    frame: int
    times: tuple[int, int]
    four_pixels: tuple[int, int] = (0, 0)
    position: tuple[int, int] = (0, 0)


def open_dcimg(path: Path) -> Opened:
    """Open a DCIMG without reading its frames.

    The camera stores the first four pixels of one row outside the frame. They are put back into
    the frame.

    Raises
    ------
    ValueError
        If the file is not a DCIMG, has an unknown version, or is truncated.
    """
    layout = _layout(path)
    data: Any = np.memmap(path, np.uint8, "r")

    def array(shape: tuple[int, ...], dtype: Any, start: int, strides: tuple[int, ...]) -> Any:
        return np.ndarray(shape, dtype, data, start, strides)

    inner, dtype, size = (layout.height, layout.width), layout.dtype, layout.dtype.itemsize
    frames = array((layout.count, *inner), dtype, layout.start, (layout.frame, layout.row, size))
    four_pixels = None
    if layout.four_pixels != (0, 0):
        start, step = layout.four_pixels
        four_pixels = array((layout.count, 4), dtype, start, (step, size))
    row, column = layout.position

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        number = place.get("t", 0)
        if four_pixels is None or not rows.start <= row < rows.stop:
            return np.asarray(frames[number, rows, columns])
        line = np.array(frames[number, row])
        line[column : column + 4] = four_pixels[number]
        window = np.array(frames[number, rows, columns])
        window[row - rows.start] = line[columns]
        return window

    times = array((layout.count, 2), "<u4", layout.times[0], (layout.times[1], 4))
    seconds = times[:, 0].astype(np.float64) + times[:, 1] * 1e-6
    interval = mean_step(seconds)
    timed = interval > 0 and bool(np.all(times[:, 1] < 10**6) and np.all(np.diff(seconds) > 0))
    leading = {"t": layout.count} if layout.count > 1 else {}
    stacked, axes = stack(leading, inner, dtype, read, by_region=True)
    calibration = Calibration({"t": interval} if timed else {}, {"t": "second"} if timed else {})
    notes: tuple[str, ...] = ()
    if four_pixels is None and layout.height > LINE:
        notes = (
            f"it does not contain the first four pixels of row {LINE}, which the camera stores"
            " separately; their values in the frame are kept",
        )
    return Opened(
        stacked, axes, lambda: stamp_of(path), metadata=Metadata(calibration=calibration),
        warnings=warnings_of(path, notes), measured=True,
    )  # fmt: skip


def _layout(path: Path) -> _Layout:
    size = path.stat().st_size
    with path.open("rb") as file:

        def values(position: int, types: str) -> tuple[int, ...]:
            file.seek(position)
            content = file.read(struct.calcsize(types))
            if len(content) < struct.calcsize(types):
                raise ValueError(
                    f"it is cut off: a value at byte {position} is needed, but it has {size} bytes"
                )
            return struct.unpack(types, content)

        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is not a DCIMG file, which begins with the letters DCIMG")
        (version,) = values(8, "<I")
        sessions, _, head = values(32, "<3I")
        if version not in (OLD, NEW):
            raise ValueError(f"its DCIMG version {version:#x} is not known; known are 0x7 and 0x1000000")  # fmt: skip
        if sessions > 1:
            raise ValueError(f"it holds {sessions} recordings; one is allowed")
        if version == OLD:
            count, depth, _, width, row, height, image = values(head + 32, "<7I")
            offset, data = values(head + 68, "<IQ")
        else:
            count, depth, _, width, height, row, image = values(head + 60, "<7I")
            (offset,) = values(head + 96, "<Q")
        if depth not in (1, 2):
            raise ValueError(f"its pixels have {depth} bytes; allowed are 1 and 2")
        if min(count, width, height) < 1 or row < width * depth or image != row * height:
            raise ValueError(
                f"its header is damaged: {count} frames of {height} rows of {width} pixels, {row}"
                f" bytes a row and {image} a frame"
            )
        dtype, start = np.dtype(f"<u{depth}"), head + offset
        frame = image if version == OLD else image + FRAME_FOOTER
        if start + count * frame > size:
            raise ValueError(
                f"it is cut off: {count} frames end at byte {start + count * frame}, the file at {size}"
            )
        if version == NEW:
            _, _, top, sensor_height = values(head + 712, "<4H")
            binning = max(1, sensor_height // height)
            line, after = (LINE - top) // binning, start + image
            stored = top <= LINE and line < height and width >= 4
            four_pixels = (after + 12, frame) if stored else (0, 0)
            return _Layout(
                count, height, width, dtype, start, row, frame, (after + 4, frame), four_pixels,
                (line, 0),
            )  # fmt: skip
        footer = head + data
        (second,) = values(footer + 8, "<Q")
        (length,) = values(footer + 40, "<I")
        (times,) = values(footer + second + 64, "<Q")
        four_at, _, inside = values(footer + second + 88, "<Q2I")
        after = max(footer + times + 8 * count, footer + length)
        if after > size:
            raise ValueError(f"it is cut off: its footer ends at byte {after}, the file at {size}")
        line, column = inside // row, inside % row // depth
        # The footer contains the four pixels if it is long enough for them.
        stored = length == four_at + 4 * depth * count and line < height and column + 4 <= width
        return _Layout(
            count, height, width, dtype, start, row, frame, (footer + times, 8),
            (footer + four_at, 4 * depth) if stored else (0, 0), (line, column),
        )  # fmt: skip
