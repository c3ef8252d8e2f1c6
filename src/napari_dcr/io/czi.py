"""CZI, the format of Zeiss microscopes and slide scanners, read by region."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import import_optional, stamp_of, warnings_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import chosen, closed_on_error, mean_step, rounded, stack

PIXELS = {
    "Gray8": ("u1", 1), "Gray16": ("u2", 1), "Gray32Float": ("f4", 1),
    "Bgr24": ("u1", 3), "Bgr48": ("u2", 3), "Bgr96Float": ("f4", 3),
}  # fmt: skip
"""Dtype and samples of the pixel types that are read."""

LEAST_COVERED = 1000
"""Part of the pixels of a scene, as a divisor, that the tiles of all planes must cover."""

AXES = "TCZHVIRB"
"""Axes beside y and x: time, channel, z, detector phase, view, illumination, rotation, block."""


def open_czi(path: Path, scene: int | str | None = None) -> Opened:
    """Open a CZI without reading its pixels.

    Pixels that no tile covers and planes that are not stored are masked, because they are no signal.

    Raises
    ------
    ValueError
        If it holds several scenes and none is chosen, or pixels of an unsupported type.
    """
    czi = import_optional("pylibCZIrw.czi", "microscopes")
    reader = czi.CziReader(str(path))
    with closed_on_error(reader.close):
        return _opened(path, reader, scene)


def _opened(path: Path, reader: Any, scene: int | str | None) -> Opened:
    """Describe the image in an open file."""
    directory = _directory(reader)
    ranges = directory.ranges
    unknown = {a for a, span in ranges.items() if a not in AXES + "S" and len(span) > 1}
    if unknown:
        raise ValueError(f"its axes {', '.join(sorted(unknown))} are not supported")
    described = _find(reader.metadata, "ImageDocument", "Metadata") or {}
    names = _scene_names(described)
    scenes = sorted(directory.scenes, key=lambda key: -1 if key is None else key)
    labels = ["" if key is None else names.get(key, "") for key in scenes]
    number = scenes[chosen(labels, scene)]
    frame = directory.scenes[number]
    frame.check_covered()
    kinds = sorted(set(directory.kinds.values()))
    if not set(kinds) <= set(PIXELS) or len({PIXELS[k][1] for k in kinds}) > 1:
        allowed = ", ".join(PIXELS)
        raise ValueError(f"its pixels are {' and '.join(kinds)}; allowed are {allowed}")
    dtype = np.result_type(*(PIXELS[k][0] for k in kinds))
    samples = PIXELS[kinds[0]][1]
    leading = {a.lower(): len(ranges[a]) for a in AXES if len(ranges.get(a, "")) > 1}
    channels = ranges.get("C", range(1))

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        # An axis of length one may be missing from the tiles, which then do not match it.
        plane = {a.upper(): ranges[a.upper()][i] for a, i in place.items()}
        roi = frame.left + columns.start, frame.top + rows.start, columns.stop - columns.start, rows.stop - rows.start  # fmt: skip
        gone = np.ones((roi[3], roi[2]), np.bool_)

        def cover(_: int, tile: Any) -> bool:
            r = tile.logicalRect
            top, left = max(0, r.y - roi[1]), max(0, r.x - roi[0])
            gone[top : max(top, r.y + r.h - roi[1]), left : max(left, r.x + r.w - roi[0])] = False
            return True

        tiles = plane if number is None else {**plane, "S": number}
        reader.enumerate_subblocks_subset(cover, tiles or None, roi, only_layer0=True)
        shape = (*gone.shape, samples) if samples > 1 else gone.shape
        if gone.all():
            return np.ma.MaskedArray(np.zeros(shape, dtype), np.ones(shape, np.bool_))
        kind = directory.kinds[plane.get("C", channels.start)]
        pixels = np.asarray(reader.read(roi=roi, plane=plane, scene=number, pixel_type=kind))
        # Colours are stored as blue, green, red.
        pixels = pixels[..., ::-1] if samples > 1 else pixels[..., 0]
        if not gone.any():
            return pixels
        full = np.repeat(gone[..., None], samples, 2) if samples > 1 else gone
        return np.ma.MaskedArray(np.where(full, 0, pixels), full)

    array, axes = stack(
        leading, (*frame.shape, samples) if samples > 1 else frame.shape, dtype, read,
        by_region=True, close=reader.close,
    )  # fmt: skip
    calibration = _calibration(described, names.get(number or 0, ""))
    if len(calibration.channels) >= channels.stop:
        named = calibration.channels[channels.start : channels.stop]
        calibration = replace(calibration, channels=named)
    return Opened(
        array, axes, lambda: stamp_of(path, number),
        metadata=Metadata(calibration=calibration), bits=calibration.bits,
        samples="rgb" if samples > 1 else "", warnings=warnings_of(path, ()),
        measured=samples == 1,
    )  # fmt: skip


@dataclass
class _Frame:
    """Rectangle around the tiles of a scene, in pixels, and the sum of their areas."""

    left: int
    top: int
    right: int
    bottom: int
    covered: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def add(self, tile: Any) -> None:
        """Extend the rectangle by that of a tile."""
        self.left, self.top = min(self.left, tile.x), min(self.top, tile.y)
        self.right = max(self.right, tile.x + tile.w)
        self.bottom = max(self.bottom, tile.y + tile.h)
        self.covered += tile.w * tile.h

    def check_covered(self) -> None:
        """Raise an error if tiles cover next to nothing, as where one has a wrong place."""
        height, width = self.shape
        if self.covered * LEAST_COVERED < height * width:
            raise ValueError(
                f"its tiles cover {self.covered} of {height} x {width} pixels: its directory is"
                " damaged"
            )


class _Directory(NamedTuple):
    """What the tiles of the finest level cover, in all axes.

    Attributes
    ----------
    ranges : dict
        Indices by axis. They need not begin at 0, as in a part cut out of a recording.
    scenes : dict
        Frame of each scene that is stored; that of tiles without a scene has the key None.
    kinds : dict
        Pixel type of each channel.
    """

    ranges: dict[str, range]
    scenes: dict[int | None, _Frame]
    kinds: dict[int, str]


def _directory(reader: Any) -> _Directory:
    """Summarise the tiles; the library's own summary omits where axes begin.

    Raises
    ------
    ValueError
        If there is no tile.
    """
    directory = _Directory({}, {}, {})

    def add(_: int, tile: Any) -> bool:
        place, r = tile.coordinate.to_dict(), tile.logicalRect
        for axis, i in place.items():
            span = directory.ranges.get(axis, range(i, i + 1))
            if i not in span:
                span = range(min(i, span.start), max(i + 1, span.stop))
            directory.ranges[axis] = span
        directory.kinds.setdefault(place.get("C", 0), tile.pixelType.name)
        frame = directory.scenes.setdefault(place.get("S"), _Frame(r.x, r.y, r.x, r.y))
        frame.add(r)
        return True

    reader.enumerate_subblocks_subset(add, None, None, only_layer0=True)
    if not directory.scenes:
        raise ValueError("it holds no pixels")
    return directory


def _find(tree: Any, *names: str) -> Any:
    """Look up names in nested dictionaries; None if one is missing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _listed(value: Any) -> list[Any]:
    """Convert one or several entries to a list."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _scene_names(described: Any) -> dict[int, str]:
    entries = _listed(
        _find(described, "Information", "Image", "Dimensions", "S", "Scenes", "Scene")
    )
    return {int(e["@Index"]): str(e.get("@Name", "")) for e in entries if isinstance(e, dict)}


def _calibration(described: Any, name: str) -> Calibration:
    steps: dict[str, float] = {}
    units: dict[str, str] = {}
    for entry in _listed(_find(described, "Scaling", "Items", "Distance")):
        value = float(entry.get("Value") or 0)
        axis = str(entry.get("@Id", "")).lower()
        if value > 0 and axis in ("x", "y", "z"):
            steps[axis], units[axis] = rounded(value * 1e6), "micrometer"
    image = _find(described, "Information", "Image")
    positions = _find(image, "Dimensions", "T", "Positions")
    offsets = str(_find(positions, "List", "Offsets") or "").split()
    interval = float(_find(positions, "Interval", "Increment") or 0)
    interval = interval or mean_step([float(v) for v in offsets])
    if interval > 0:
        steps["t"], units["t"] = interval, "second"
    shown = {
        str(c.get("@Id")): c
        for c in _listed(_find(described, "DisplaySetting", "Channels", "Channel"))
    }
    channels, bits = [], int(_find(image, "ComponentBitCount") or 0)
    for entry in _listed(_find(image, "Dimensions", "Channels", "Channel")):
        other = shown.get(str(entry.get("@Id")), {})
        colour = str(entry.get("Color") or other.get("Color") or "").lstrip("#")
        title = entry.get("@Name") or other.get("@Name") or ""
        channels.append(Channel(str(title), colour[-6:].upper()))
        bits = max(bits, int(entry.get("ComponentBitCount") or 0))
    return Calibration(steps, units, {}, tuple(channels), name, bits)
