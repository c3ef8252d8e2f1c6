"""Calibration: pixel sizes along each axis, and channels, independent of the file format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_dcr.image.axes import Layout

UNITS = {
    "angstrom": ("Å", "angstrom"),
    "nanometer": ("nm", "nm"),
    "micrometer": ("µm", "um"),
    "millimeter": ("mm", "mm"),
    "centimeter": ("cm", "cm"),
    "meter": ("m", "m"),
    "inch": ("in", "inch"),
    "nanosecond": ("ns", "ns"),
    "microsecond": ("µs", "us"),
    "millisecond": ("ms", "msec"),
    "second": ("s", "sec"),
    "minute": ("min", "min"),
    "hour": ("h", "hour"),
    "day": ("d", "day"),
}
"""Names of units in OME-Zarr, with those in OME-XML and ImageJ."""

SECONDS = {
    "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0,
    "hour": 3600.0, "day": 86400.0,
}  # fmt: skip
"""Length in seconds of the units of time."""

JITTER = 0.1
"""Largest difference from the mean, as a fraction of it, of intervals that count as even."""

_SYNONYMS = {
    "micron": "micrometer", "microns": "micrometer", "μm": "micrometer", "\\u00b5m": "micrometer",
    "\xb5m": "micrometer", "a": "angstrom", "ms": "millisecond", "s": "second", "seconds": "second",
    "hr": "hour", "h": "hour",
}  # fmt: skip

SPACE, TIME = "xyz", "t"


def unit_named(text: str) -> str:
    """Convert the name of a unit to that in OME-Zarr; empty for an unknown unit."""
    text = text.strip()
    for name, others in UNITS.items():
        if text in (name, *others):
            return name
    return _SYNONYMS.get(text.lower(), text.lower() if text.lower() in UNITS else "")


@dataclass(frozen=True)
class Channel:
    """Name of a channel, and the colour in which it is displayed, as ``"RRGGBB"``."""

    name: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Calibration:
    """Pixel sizes, positions and channels of an image.

    Attributes
    ----------
    sizes : dict
        Distance between neighbouring pixels by axis letter.
    units : dict
        Units of these sizes by axis letter, with their OME-Zarr names.
    origin : dict
        Position of the first pixel by axis letter.
    channels : tuple of Channel
    name : str
        Name of the image.
    bits : int
        Number of bits that samples were recorded with, if fewer than those of the dtype; else 0.
    times : tuple of float
        Start of each frame along t in seconds, increasing; empty if the file does not list them.
    """

    sizes: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    name: str = ""
    bits: int = 0
    times: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sizes or any(c.name or c.colour for c in self.channels))

    @property
    def interval(self) -> float:
        """Seconds between neighbouring frames, or their mean; 0 if it is not known."""
        return self.sizes.get("t", 0) * SECONDS.get(self.units.get("t", ""), 0)

    @property
    def is_even(self) -> bool:
        """Whether one interval describes the times of all frames."""
        steps = np.diff(self.times)
        return not len(steps) or float(np.ptp(steps)) <= 2 * JITTER * float(steps.mean())

    def with_times(self, listed: dict[int, float]) -> Calibration:
        """Copy with the time in seconds of each frame, by its number along t.

        An interval that the file states is kept if the listed times agree with it.
        """
        known = sorted(listed.items())
        if len(known) < 2 or known[-1][1] <= known[0][1]:
            return self
        (first, begin), (last, end) = known[0], known[-1]
        mean, found = (end - begin) / (last - first), self
        if abs(self.interval - mean) > JITTER * mean:
            sizes, units = {**self.sizes, "t": float(f"{mean:.12g}")}, {**self.units, "t": "second"}
            found = replace(self, sizes=sizes, units=units)
        times = tuple(time for _, time in known)
        is_whole = first == 0 and last == len(known) - 1
        return replace(found, times=times if is_whole and np.all(np.diff(times) > 0) else ())

    @classmethod
    def of_imagej(cls, values: dict[str, Any], resolution: tuple[float, float]) -> Calibration:
        """Calibration from ImageJ's metadata and the pixels per unit along x and y."""
        sizes: dict[str, float] = {}
        units: dict[str, str] = {}
        unit = unit_named(str(values.get("unit", "")))
        if unit:
            for axis, density in zip("xy", resolution, strict=True):
                if density > 0:
                    sizes[axis], units[axis] = 1 / density, unit
            if float(values.get("spacing", 0) or 0) > 0:
                sizes["z"], units["z"] = float(values["spacing"]), unit
        interval = float(values.get("finterval", 0) or 0)
        if interval > 0:
            sizes["t"] = interval
            units["t"] = unit_named(str(values.get("tunit", "sec"))) or "second"
        channels = []
        for table in values.get("LUTs") or ():
            colour = [int(row[-1]) for row in table]
            channels.append(Channel(colour="".join(f"{value:02X}" for value in colour)))
        return cls(sizes, units, {}, tuple(channels))

    @classmethod
    def of_ome_xml(cls, xml: str) -> Calibration:
        """Calibration of the first image of OME-XML."""
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError:
            return cls()
        image = next((e for e in root.iter() if _tag(e) == "Image"), None)
        pixels = None if image is None else next((e for e in image if _tag(e) == "Pixels"), None)
        if image is None or pixels is None:
            return cls()
        sizes: dict[str, float] = {}
        units: dict[str, str] = {}
        names = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}  # fmt: skip
        for axis, name in names.items():
            size = float(pixels.get(name, 0) or 0)
            text = pixels.get(name + "Unit", "s" if axis == "t" else "µm")
            unit = unit_named(text)
            if size > 0 and (unit or text == "pixel"):
                sizes[axis] = size
                units |= {axis: unit} if unit else {}
        channels = []
        for element in pixels:
            if _tag(element) == "Channel":
                colour = element.get("Color")
                channels.append(
                    Channel(
                        element.get("Name", ""),
                        "" if colour is None else f"{int(colour) & 0xFFFFFFFF:08X}"[:6],
                    )
                )
        bits = int(pixels.get("SignificantBits", 0) or 0)
        found = cls(sizes, units, {}, tuple(channels), image.get("Name", ""), bits)
        is_plain = not any(_tag(e) == "ModuloAlongT" for e in root.iter())
        return found.with_times(_plane_times(pixels)) if is_plain else found

    @classmethod
    def of_ngff(
        cls, axes: str, multiscale: dict[str, Any], level: str, omero: dict[str, Any] | None
    ) -> Calibration:
        """Calibration of one level of an OME-Zarr multiscale image."""
        scale, shift = [1.0] * len(axes), [0.0] * len(axes)
        entries = [e for e in multiscale["datasets"] if str(e["path"]) == level]
        changes = [c for e in entries for c in e.get("coordinateTransformations", [])]
        for change in [*changes, *multiscale.get("coordinateTransformations", [])]:
            for i, value in enumerate(change.get("scale", [])[: len(axes)]):
                scale[i], shift[i] = scale[i] * value, shift[i] * value
            for i, value in enumerate(change.get("translation", [])[: len(axes)]):
                shift[i] += value
        named = multiscale.get("axes") or [{}] * len(axes)
        units = {
            letter: unit_named(str(axis.get("unit", "")))
            for letter, axis in zip(axes, named, strict=True)
            if isinstance(axis, dict) and axis.get("unit")
        }
        sizes = dict(zip(axes, scale, strict=True))
        known = [a for a in axes if a in SPACE + TIME and (units.get(a) or sizes[a] != 1)]
        channels = [
            Channel(str(c.get("label", "")), str(c.get("color", "")).upper())
            for c in (omero or {}).get("channels", [])
        ]
        return cls(
            {a: float(sizes[a]) for a in known},
            {a: units[a] for a in known if units.get(a)},
            {a: float(s) for a, s in zip(axes, shift, strict=True) if s},
            tuple(channels),
            str(multiscale.get("name", "")),
        )

    def to_ome(self, layout: Layout, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Metadata arguments from which tifffile writes OME-XML for pixels of a dtype."""
        values: dict[str, Any] = {}
        for axis in SPACE:
            if axis in self.sizes:
                key = f"PhysicalSize{axis.upper()}"
                values[key] = self.sizes[axis]
                values[key + "Unit"] = UNITS[self.units[axis]][0] if axis in self.units else "pixel"
        if "t" in self.sizes:
            values["TimeIncrement"] = self.sizes["t"]
            values["TimeIncrementUnit"] = UNITS[self.units.get("t", "second")][0]
        leading = [(n, a) for n, a in zip(layout.shape, layout.axes, strict=True) if a not in "yxs"]
        is_plain = {axis for _, axis in leading} <= set("tzc")  # else t may hold a further axis
        if is_plain and (len(self.times), "t") in leading:
            frames = np.indices([n for n, _ in leading])[leading.index((len(self.times), "t"))]
            times = np.take(self.times, frames.ravel()).tolist()
            values["Plane"] = {"DeltaT": times, "DeltaTUnit": ["s"] * len(times)}
        if any(c.name for c in self.channels):
            values["Channel"] = {"Name": [c.name for c in self.channels]}
        colours = [_signed(c.colour) for c in self.channels if c.colour]
        if colours and len(colours) == len(self.channels):
            values.setdefault("Channel", {})["Color"] = colours
        if self.bits and dtype.kind in "iu" and self.bits <= 8 * dtype.itemsize:
            values["SignificantBits"] = self.bits
        if self.name:
            values["Name"] = self.name
        return values

    def to_ngff(self, axes: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """OME-Zarr metadata of a multiscale image with one level, including omero."""
        kinds = {"t": "time", "c": "channel", "s": "channel", **dict.fromkeys(SPACE, "space")}
        described = []
        for axis in axes:
            entry = {"name": axis}
            if axis in kinds:
                entry["type"] = kinds[axis]
            if axis in self.units:
                entry["unit"] = self.units[axis]
            described.append(entry)
        scale = [self.sizes.get(a, 1.0) for a in axes]
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if self.origin:
            shift = [self.origin.get(a, 0.0) for a in axes]
            changes.append({"type": "translation", "translation": shift})
        image: dict[str, Any] = {
            "axes": described,
            "datasets": [{"path": "0", "coordinateTransformations": changes}],
        }
        if self.name:
            image["name"] = self.name
        omero = None
        if self.channels and ("c" in axes or (len(self.channels) == 1 and "s" not in axes)):
            omero = {
                "channels": [
                    {"label": c.name, "color": c.colour or "FFFFFF", "active": True}
                    for c in self.channels
                ]
            }
        return image, omero


def _plane_times(pixels: Any) -> dict[int, float]:
    """Seconds after the start of an acquisition at which each frame's first plane was recorded."""
    times: dict[int, float] = {}
    for plane in pixels:
        unit = SECONDS.get(unit_named(plane.get("DeltaTUnit", "s")))
        if _tag(plane) != "Plane" or unit is None:
            continue
        try:
            number, time = int(plane.get("TheT", 0)), float(plane.get("DeltaT", "nan")) * unit
        except ValueError:  # damaged metadata
            continue
        if np.isfinite(time):
            times[number] = min(time, times.get(number, time))
    return times


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _signed(colour: str) -> int:
    """Convert RRGGBB to the signed RGBA of OME-XML."""
    value = int(colour + "FF", 16)
    return value - 2**32 if value >= 2**31 else value
