"""SIF, the format of Andor cameras, read through a memory map."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import import_optional, stamp_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import stack

MAGIC = b"Andor Technology Multi-Channel File"


class _Ending(io.BufferedReader):
    """File that raises an error at its end, where sif_parser would read on for ever."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes."""
        found = super().read(size)
        if size and not found:
            raise ValueError("its header is cut off")
        return found


def open_sif(path: Path) -> Opened:
    """Open a SIF without reading its pixels; rows keep their stored order, Solis shows y upwards.

    Raises
    ------
    ValueError
        If it holds spectra, or fewer frames than its header announces.
    """
    sif_parser = import_optional("sif_parser", "microscopes")
    with _Ending(io.FileIO(path)) as file:
        if file.peek(len(MAGIC))[: len(MAGIC)] != MAGIC:
            raise ValueError(f"it is not an Andor SIF file, which begins with {MAGIC.decode()}")
        frames, values = sif_parser.np_open(file, lazy="memmap")
    count, height, width = frames.shape
    if min(height, width) < 2:
        raise ValueError(f"it holds {count} spectra of {max(height, width)} pixels, not an image")
    announced = int(values.get("NumberOfFrames", count))
    if announced != count:
        raise ValueError(f"it is cut off: it has {count} of {announced} frames")

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        return np.asarray(frames[place.get("t", 0), rows, columns])

    leading = {"t": count} if count > 1 else {}
    array, axes = stack(leading, (height, width), np.dtype("f4"), read, by_region=True)
    interval = float(values.get("StackCycleTime") or values.get("CycleTime") or 0)
    timed = count > 1 and interval > 0
    calibration = Calibration({"t": interval} if timed else {}, {"t": "second"} if timed else {})
    return Opened(
        array, axes, lambda: stamp_of(path), metadata=Metadata(calibration=calibration),
        measured=True,
    )  # fmt: skip
