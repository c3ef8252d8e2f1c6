"""MRC, the format of electron microscopes, read through a memory map."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io import deltavision
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import import_optional, stamp_of, warnings_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import rounded, stack

MAGIC = b"MAP "
"""At byte 208."""

Z = 3
"""Number of the axis z."""

IMOD = (1146047817).to_bytes(4, "little")
"""IMOD's stamp at byte 152; the flags after it define whether mode 0 is signed."""


def open_mrc(path: Path) -> Opened:
    """Open an MRC without reading its pixels.

    Mode 0 is signed in the standard; files that IMOD wrote define whether it is.

    Raises
    ------
    ValueError
        If the file is not an MRC, or holds no image.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if deltavision.is_deltavision(head):  # its header has a similar layout
        return deltavision.open_deltavision(path)
    mrcfile = import_optional("mrcfile", "microscopes")
    # Open it once for its checks, because errors of memory maps say less about truncated files.
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        data: Any = mrcfile.mmap(path, mode="r", permissive=False)
    header, pixels = data.header, data.data
    if pixels is None or pixels.size == 0:
        raise ValueError("it holds no pixels, or its header is damaged")
    notes, kind = [f"mrcfile says: {each.message}" for each in found], pixels.dtype
    if kind.kind == "c":
        raise ValueError("it holds a Fourier transform (mode 4), not an image")
    unsigned = kind == np.int8 and head[152:156] == IMOD and not head[156] & 1
    if kind == np.int8:
        kind = np.dtype("u1" if unsigned else "i2")
        if not unsigned:
            notes.append("its signed bytes (mode 0) are enhanced, and written, as int16")
    pixels = _upright(pixels, tuple(int(header[name]) for name in ("maps", "mapr", "mapc")))
    shape = pixels.shape
    leading: dict[str, int] = {}
    if len(shape) == 4:
        leading = {"t": shape[0], "z": shape[1]}
    elif len(shape) == 3:
        leading = {"z" if data.is_volume() else "t": shape[0]}

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        window = np.asarray(pixels[(*(place[a] for a in leading), rows, columns)])
        return window.view(np.uint8) if unsigned else window

    array, axes = stack(leading, shape[-2:], kind.newbyteorder("="), read, True, data.close)
    steps = {a: rounded(float(data.voxel_size[a])) for a in "xyz" if float(data.voxel_size[a]) > 0 and a in axes}  # fmt: skip
    labels = [bytes(text).decode("ascii", "replace").strip() for text in header.label[: int(header.nlabl)]]  # fmt: skip
    calibration = Calibration(
        steps, dict.fromkeys(steps, "angstrom"), {}, (), " ".join(labels)[:80]
    )
    return Opened(
        array, axes, lambda: stamp_of(path), metadata=Metadata(calibration=calibration),
        warnings=warnings_of(path, tuple(notes)), measured=True,
    )  # fmt: skip


def _upright(pixels: Any, stored: tuple[int, ...]) -> Any:
    """View of the pixels in the order z, y, x.

    Parameters
    ----------
    pixels : ndarray
    stored : tuple of int
        Axes of sections, rows and columns: 1 is x, 2 is y, 3 is z. Some programs leave them 0.

    Raises
    ------
    ValueError
        If they are not these axes, or not possible for the number of axes.
    """
    if stored in ((3, 2, 1), (0, 0, 0)):
        return pixels
    first = 3 - pixels.ndim  # a single picture has no sections
    if sorted(stored) != [1, 2, 3] or pixels.ndim > len(stored) or (first and stored[0] != Z):
        raise ValueError(
            f"its columns, rows and sections lie along the axes {stored[::-1]} of 1 (x), 2 (y) and"
            f" 3 (z); allowed are (1, 2, 3), for volumes in any order, for pictures (2, 1, 3)"
        )
    axes = stored[first:]
    return pixels.transpose([axes.index(axis) for axis in sorted(axes, reverse=True)])
