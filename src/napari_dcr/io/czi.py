"""CZI, the format of Zeiss microscopes and slide scanners, read by region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    box = {a: (int(first), int(n)) for a, (first, n) in reader.total_bounding_box.items()}
    unknown = {a for a, (_, n) in box.items() if a not in AXES + "XY" and n > 1}
    if unknown:
        raise ValueError(f"its axes {', '.join(sorted(unknown))} are not supported")
    described = _find(reader.metadata, "ImageDocument", "Metadata") or {}
    scenes = dict(sorted(reader.scenes_bounding_rectangle.items()))
    names = _scene_names(described)
    number = None
    if scenes:
        labels = [names.get(key, "") for key in scenes]
        number = list(scenes)[chosen(labels, scene)]
        frame = scenes[number]
    else:
        chosen([""], scene)
        frame = reader.total_bounding_rectangle
    _check_covered(reader, number, frame)
    kinds = sorted({str(kind) for kind in reader.pixel_types.values()})
    if not kinds or not set(kinds) <= set(PIXELS) or len({PIXELS[k][1] for k in kinds}) > 1:
        allowed = ", ".join(PIXELS)
        raise ValueError(
            f"its pixels are {' and '.join(kinds) or 'missing'}; allowed are {allowed}"
        )
    dtype = np.result_type(*(PIXELS[k][0] for k in kinds))
    samples = PIXELS[kinds[0]][1]
    leading = {a.lower(): box[a][1] for a in AXES if box.get(a, (0, 1))[1] > 1}

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        plane = {a: box[a][0] + place.get(a.lower(), 0) for a in AXES if a in box}
        roi = frame.x + columns.start, frame.y + rows.start, columns.stop - columns.start, rows.stop - rows.start  # fmt: skip
        gone = np.ones((roi[3], roi[2]), np.bool_)

        def cover(_: int, tile: Any) -> bool:
            r = tile.logicalRect
            top, left = max(0, r.y - roi[1]), max(0, r.x - roi[0])
            gone[top : max(top, r.y + r.h - roi[1]), left : max(left, r.x + r.w - roi[0])] = False
            return True

        # An axis of length one may be missing from the tiles, which then do not match it.
        tiles = {a: i for a, i in plane.items() if a.lower() in place}
        if number is not None:
            tiles["S"] = number
        reader.enumerate_subblocks_subset(cover, tiles or None, roi, only_layer0=True)
        shape = (*gone.shape, samples) if samples > 1 else gone.shape
        if gone.all():
            return np.ma.MaskedArray(np.zeros(shape, dtype), np.ones(shape, np.bool_))
        pixels = np.asarray(reader.read(roi=roi, plane=plane, scene=number))
        # Colours are stored as blue, green, red.
        pixels = pixels[..., ::-1] if samples > 1 else pixels[..., 0]
        if not gone.any():
            return pixels
        full = np.repeat(gone[..., None], samples, 2) if samples > 1 else gone
        return np.ma.MaskedArray(np.where(full, 0, pixels), full)

    array, axes = stack(
        leading, (frame.h, frame.w, samples) if samples > 1 else (frame.h, frame.w), dtype, read,
        by_region=True, close=reader.close,
    )  # fmt: skip
    calibration = _calibration(described, names.get(number or 0, ""))
    return Opened(
        array, axes, lambda: stamp_of(path, number),
        metadata=Metadata(calibration=calibration), bits=calibration.bits,
        samples="rgb" if samples > 1 else "", warnings=warnings_of(path, ()),
        measured=samples == 1,
    )  # fmt: skip


def _check_covered(reader: Any, scene: int | None, frame: Any) -> None:
    """Raise an error if tiles cover next to nothing of a scene, as where one has a wrong place."""
    area = 0

    def add(_: int, tile: Any) -> bool:
        nonlocal area
        area += tile.logicalRect.w * tile.logicalRect.h
        return True

    chosen_tiles = None if scene is None else {"S": scene}
    reader.enumerate_subblocks_subset(add, chosen_tiles, None, only_layer0=True)
    if area * LEAST_COVERED < frame.w * frame.h:
        raise ValueError(
            f"its tiles cover {area} of {frame.h} x {frame.w} pixels: its directory is damaged"
        )


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
