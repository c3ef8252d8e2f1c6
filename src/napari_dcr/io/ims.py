"""IMS, the HDF5 format of Imaris (5.5 and later), read by region."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration, Channel, unit_named
from napari_dcr.io.files import import_optional, stamp_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import closed_on_error, mean_step, rounded, stack

PIXELS = "DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}/Data"


def open_ims(path: Path) -> Opened:
    """Open the finest level of an IMS, without its chunk padding and without reading its pixels.

    Raises
    ------
    ValueError
        If it holds no image.
    """
    h5py = import_optional("h5py", "microscopes")
    file = h5py.File(path, "r")
    with closed_on_error(file.close):
        return _opened(path, file)


def _opened(path: Path, file: Any) -> Opened:
    """Describe the image in an open file."""
    described = file.get("DataSetInfo/Image")
    if described is None or PIXELS.format(t=0, c=0) not in file:
        raise ValueError("it is HDF5, but not of Imaris")
    first = file[PIXELS.format(t=0, c=0)].parent
    shape = tuple(_length(described, first, a) for a in "ZYX")
    times = _count(file["DataSet/ResolutionLevel 0"], "TimePoint")
    channels = _count(file["DataSet/ResolutionLevel 0/TimePoint 0"], "Channel")
    for t in range(times):
        for c in range(channels):
            place = PIXELS.format(t=t, c=c)
            if place not in file or any(n < m for n, m in zip(file[place].shape, shape, strict=True)):  # fmt: skip
                raise ValueError(f"time {t} of channel {c} is missing or too small")
    dtype = file[PIXELS.format(t=0, c=0)].dtype

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        data = file[PIXELS.format(t=place.get("t", 0), c=place.get("c", 0))]
        return np.asarray(data[place.get("z", 0), rows, columns])

    leading = {a: n for a, n in (("t", times), ("c", channels), ("z", shape[0])) if n > 1}
    array, axes = stack(leading, shape[1:], dtype, read, True, file.close)
    return Opened(
        array, axes, lambda: stamp_of(path),
        metadata=Metadata(calibration=_calibration(file, described, shape, channels, times)),
        measured=True,
    )  # fmt: skip


def _text(group: Any, name: str) -> str:
    """Read an attribute, which Imaris stores as an array of single characters."""
    value = group.attrs.get(name, b"")
    return b"".join(np.asarray(value, "S").ravel().tolist()).decode("utf-8", "replace")


def _length(described: Any, channel: Any, axis: str) -> int:
    """Pixels along an axis without the padding of chunks.

    Raises
    ------
    ValueError
        If neither the image nor its first channel states it.
    """
    text = (_text(described, axis) or _text(channel, f"ImageSize{axis}")).strip("\0 ")
    if not text.isdecimal():
        raise ValueError(f"its size along {axis.lower()} is {text!r}; allowed are whole numbers")
    return int(text)


def _count(group: Any, word: str) -> int:
    return sum(1 for name in group if name.startswith(word))


def _calibration(
    file: Any, described: Any, shape: tuple[int, ...], channels: int, times: int
) -> Calibration:
    steps: dict[str, float] = {}
    units: dict[str, str] = {}
    unit = unit_named(_text(described, "Unit") or "um")
    for number, axis in enumerate("xyz"):
        low, high = (_text(described, f"Ext{end}{number}") for end in ("Min", "Max"))
        if low and high and unit and float(high) > float(low):
            steps[axis], units[axis] = rounded((float(high) - float(low)) / shape[2 - number]), unit
    info = file.get("DataSetInfo/TimeInfo")
    if info is not None and times > 1:
        moments = [_text(info, f"TimePoint{n}") for n in (1, times)]
        try:
            seconds = [datetime.fromisoformat(m.strip()).timestamp() for m in moments]
        except ValueError:
            seconds = []
        interval = mean_step(seconds) / (times - 1) if seconds else 0.0
        if interval > 0:
            steps["t"], units["t"] = interval, "second"
    named = []
    for number in range(channels):
        group = file.get(f"DataSetInfo/Channel {number}")
        colour = [] if group is None else _text(group, "Color").split()
        parts = [round(255 * min(1.0, max(0.0, float(v)))) for v in colour[:3]]
        named.append(
            Channel(
                "" if group is None else _text(group, "Name"),
                "".join(f"{part:02X}" for part in parts) if len(parts) == 3 else "",
            )
        )
    return Calibration(steps, units, {}, tuple(named), _text(described, "Name"))
