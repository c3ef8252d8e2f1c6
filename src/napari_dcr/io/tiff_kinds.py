"""Metadata of the TIFF variants Zeiss LSM, MetaMorph STK, Olympus FluoView and ScanImage.

tifffile decodes their structures; this module converts them to axes, sizes, channels and bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_dcr.io.calibration import Calibration, Channel, unit_named
from napari_dcr.io.stacks import mean_step, rounded

MICROMETRES = 1e6
"""Micrometres per metre."""

TWELVE_BITS = 2
"""Code of 12-bit integers in LSM."""


def is_of_instrument(file: Any) -> bool:
    """Whether a TIFF file, opened with tifffile, is one of these variants."""
    return any(getattr(file, f"is_{kind}") for kind in _KINDS)


def calibration_of(file: Any) -> Calibration:
    """Calibration of a file of one of these variants.

    Implausible values are ignored.
    """
    for kind, read in _KINDS.items():
        if getattr(file, f"is_{kind}"):
            return read(file)
    return Calibration()


def _lsm(file: Any) -> Calibration:
    """Read the calibration of LSM: sizes in metres, times in seconds."""
    values = file.lsm_metadata or {}
    sizes = {a: float(values.get(f"VoxelSize{a.upper()}", 0)) * MICROMETRES for a in "xyz"}
    times = np.atleast_1d(values.get("TimeStamps", ()))
    sizes["t"] = mean_step(times) or float(values.get("TimeIntervall", 0))
    colours = values.get("ChannelColors") or {}
    channels = tuple(
        Channel(str(name), "{:02X}{:02X}{:02X}".format(*colour[:3]))
        for name, colour in zip(
            colours.get("ColorNames", ()), colours.get("Colors", ()), strict=False
        )
    )
    kinds = np.atleast_1d(values.get("ChannelDataTypes", values.get("DataType", 0)))
    bits = 12 if len(kinds) and np.all(kinds == TWELVE_BITS) else 0
    return _calibration(file, sizes, "micrometer", channels, bits)


def _stk(file: Any) -> Calibration:
    """Read the calibration of STK: sizes in a named unit, times in milliseconds since midnight."""
    values = file.stk_metadata or {}
    unit = unit_named(str(values.get("CalibrationUnits", "")).strip("\0 "))
    sizes: dict[str, float] = {}
    if unit and values.get("SpatialCalibration", 1):
        sizes = {a: _number(values.get(f"{a.upper()}Calibration", 0)) for a in "xy"}
    distances = np.atleast_1d(values.get("ZDistance", ()))
    if unit and len(distances) and np.all(distances == distances[0]):
        sizes["z"] = float(distances[0])
    sizes["t"] = mean_step(np.atleast_1d(values.get("TimeCreated", ())).astype(float)) / 1000
    names = [str(values["Name"])] if values.get("Name") else []
    return _calibration(file, sizes, unit, (), 0, " ".join(names))


def _fluoview(file: Any) -> Calibration:
    """Read the calibration of FluoView: name, size, origin, resolution and unit of each axis."""
    sizes, units = {}, {}
    for name, _, _, step, unit in (file.fluoview_metadata or {}).get("Dimensions", ()):
        axis = {"X": "x", "Y": "y", "Z": "z", "T": "t", "TIME": "t"}.get(str(name).upper())
        known = unit_named(str(unit))
        if axis and known:
            sizes[axis], units[axis] = abs(float(step)), known
    found = _calibration(file, sizes, "micrometer", (), 0)
    return Calibration(found.sizes, {a: units[a] for a in found.sizes})


def _scanimage(file: Any) -> Calibration:
    """Read the calibration of ScanImage: step in micrometres, frame rate and number of averaged frames."""
    values = (file.scanimage_metadata or {}).get("FrameData", {})
    rate = _number(values.get("SI.hRoiManager.scanFrameRate", 0))
    averaged = max(1.0, _number(values.get("SI.hScan2D.logAverageFactor", 1)))
    sizes = {"z": abs(_number(values.get("SI.hStackManager.stackZStepSize", 0)))}
    if rate > 0 and "z" not in file.series[0].axes.lower():
        sizes["t"] = averaged / rate
    return _calibration(file, sizes, "micrometer", (), 0)


_KINDS: dict[str, Callable[[Any], Calibration]] = {
    "lsm": _lsm, "stk": _stk, "fluoview": _fluoview, "scanimage": _scanimage,
}  # fmt: skip


def _calibration(
    file: Any,
    sizes: dict[str, float],
    unit: str,
    channels: tuple[Channel, ...],
    bits: int,
    name: str = "",
) -> Calibration:
    axes = file.series[0].axes.lower()
    kept = {a: rounded(n) for a, n in sizes.items() if a in axes and np.isfinite(n) and n > 0}
    count = file.series[0].shape[axes.index("c")] if "c" in axes else 0
    units = {a: "second" if a == "t" else unit for a in kept}
    return Calibration(kept, units, {}, channels if len(channels) == count else (), name, bits)


def _number(value: Any) -> float:
    try:
        return float(value[0] / value[1]) if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
