"""OIF and OIB, the formats of Olympus FluoView, read plane by plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration, Channel, unit_named
from napari_dcr.io.files import import_optional, stamp_of, warnings_of, without_log
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import closed_on_error, stack

LETTERS = {"T": "t", "C": "c", "Z": "z", "L": "l", "A": "a", "P": "p"}
"""Letters of leading axes."""

LAST_SECTOR = 0xFFFFFFFA
"""Limit of sector numbers in a compound file; larger values mark ends and free sectors."""

AXES = 9
"""Axes that the settings file describes."""


def open_oif(path: Path) -> Opened:
    """Open an OIF or OIB without reading its pixels.

    Raises
    ------
    ValueError
        If it holds no image, or if planes are missing.
    """
    oiffile = import_optional("oiffile", "microscopes")
    if path.suffix.lower() == ".oib":
        _check_chains(path)
    file = oiffile.OifFile(path)
    with closed_on_error(file.close):
        return _opened(path, file)


def _opened(path: Path, file: Any) -> Opened:
    """Describe the image in an open file."""
    if not file.series:
        raise ValueError("it holds no image")
    series = file.series[0]
    letters = str(getattr(series, "axes", ""))[: len(series.shape)].upper()
    if len(letters) != len(series.shape) or not set(letters) <= set(LETTERS):
        raise ValueError(
            f"its axes {letters} are not supported" if letters else "its axes have no names"
        )
    names = dict(zip((tuple(int(i) for i in p) for p in series.indices), series, strict=True))
    missing = int(np.prod(series.shape)) - len(names)
    if missing:
        raise ValueError(f"{missing} of its {int(np.prod(series.shape))} planes are missing")
    if path.suffix.lower() == ".oif":
        for name in names.values():
            _check_complete(path.parent / name)
    sizes = dict(zip(letters, series.shape, strict=True))

    def plane(place: tuple[int, ...]) -> NDArray[Any]:
        return np.asarray(file.asarray(names[place]))

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        return plane(tuple(place[LETTERS[a]] for a in letters))[rows, columns]

    first = plane((0,) * len(letters))
    if first.ndim != 2 or min(first.shape) < 2:
        raise ValueError(f"its planes have the shape {first.shape}; allowed are rows and columns")
    settings = dict(file.mainfile)
    order = str(settings.get("Axis Parameter Common", {}).get("AxisOrder", "XY"))
    notes = []
    if order[:2] != "XY":
        notes.append(
            f"the rows and columns of its planes are the axes {order[1]} and {order[0]}; they are treated"
            " as y and x, and have these names in the result"
        )
    array, axes = stack(
        {LETTERS[a]: n for a, n in sizes.items()}, first.shape, first.dtype, read, close=file.close
    )
    calibration = _calibration(settings, sizes, path.stem)
    return Opened(
        array, axes, lambda: stamp_of(path),
        metadata=Metadata(calibration=calibration), bits=calibration.bits,
        warnings=warnings_of(path, tuple(notes)), measured=True,
    )  # fmt: skip


def _check_chains(path: Path) -> None:
    """Raise an error if the sectors of an OIB form a loop, in which oiffile would not end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(512)
        if len(header) < 512 or header[:8] != b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            raise ValueError("it is not an OIB, which is a compound file")
        sector = 1 << int.from_bytes(header[30:32], "little")
        count = min(109, int.from_bytes(header[44:48], "little"))
        if sector not in (512, 4096) or not count:
            raise ValueError("its header is damaged")
        following = bytearray()
        for number in np.frombuffer(header, "<u4", count, 76).tolist():
            file.seek((number + 1) * sector)
            following += file.read(sector).ljust(sector, b"\0")
    table = np.frombuffer(bytes(following), "<u4")
    inner = table[table < LAST_SECTOR]
    if len(np.unique(inner)) < len(inner):
        raise ValueError("it is damaged: its sectors do not follow each other")
    if inner.size and (int(inner.max()) + 1) * sector >= size:
        raise ValueError(f"it is cut off: it has {size} bytes")


def _check_complete(path: Path) -> None:
    """Raise an error if the file of a plane is truncated."""
    size = path.stat().st_size
    with without_log(), tifffile.TiffFile(path) as file:
        page = file.pages.first
        ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
        if size < max(ends, default=0):
            raise ValueError(f"{path.name} is cut off: it has {size} bytes")


def _calibration(settings: dict[str, Any], sizes: dict[str, int], name: str) -> Calibration:
    steps: dict[str, float] = {}
    units: dict[str, str] = {}
    reference = settings.get("Reference Image Parameter", {})
    for axis, word in (("x", "Width"), ("y", "Height")):
        step = float(reference.get(f"{word}ConvertValue") or 0)
        unit = unit_named(str(reference.get(f"{word}Unit", "")))
        if step > 0 and unit:
            steps[axis], units[axis] = step, unit
    for number in range(AXES):
        entry = settings.get(f"Axis {number} Parameters Common", {})
        code, count = str(entry.get("AxisCode", "")), int(entry.get("MaxSize") or 0)
        unit = unit_named(str(entry.get("UnitName", "")))
        if code not in ("Z", "T") or sizes.get(code, 1) < 2 or count < 2 or not unit:
            continue
        extent = abs(float(entry.get("EndPosition") or 0) - float(entry.get("StartPosition") or 0))
        step = abs(float(entry.get("Interval") or 0)) or extent / (count - 1)
        if step > 0:
            steps[code.lower()], units[code.lower()] = step, unit
    channels = []
    for number in range(1, sizes.get("C", 1) + 1):
        entry = settings.get(f"Channel {number} Parameters", {})
        title = entry.get("DyeName") or entry.get("CH Name") or ""
        if "transmitted" in str(entry.get("LightType", "")).lower():
            title = f"{title} (transmitted light)"
        channels.append(Channel(str(title)))
    bits = int(reference.get("ValidBitCounts") or 0)
    return Calibration(steps, units, {}, tuple(channels), name, bits)
