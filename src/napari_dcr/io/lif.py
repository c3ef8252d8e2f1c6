"""LIF, LOF and XLEF, the formats of Leica microscopes, read frame by frame."""

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

LETTERS = {"T": "t", "C": "c", "Z": "z", "λ": "l", "Λ": "e", "M": "m", "A": "a", "N": "n", "L": "o", "B": "b", "Y": "v", "X": "u", "Q": "q"}  # fmt: skip
"""Letters of leading axes: ``l`` is the emission's wavelength, ``e`` the excitation's."""

COLOURS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF", "magenta": "FF00FF", "yellow": "FFFF00", "gray": "FFFFFF", "grey": "FFFFFF"}  # fmt: skip
"""Colours of channels by the name of Leica's lookup table."""


def open_lif(path: Path, scene: int | str | None = None) -> Opened:
    """Open an image of a LIF without reading its pixels.

    The rows and columns of the picture are the two scanned axes, which need not be x and y.

    Raises
    ------
    ValueError
        If it holds several images and none is chosen, or if the image has no rows and columns.
    """
    liffile = import_optional("liffile", "microscopes")
    file = liffile.LifFile(path)
    with closed_on_error(file.close):
        return _opened(path, file, scene)


def _opened(path: Path, file: Any, scene: int | str | None) -> Opened:
    """Describe the image in an open file."""
    _number_names(file.xml_element)
    images = list(file.images)
    if not images:
        raise ValueError("it holds no image")
    number = chosen([str(image.path if _twice(images, image) else image.name) for image in images], scene)  # fmt: skip
    image = images[number]
    dims, sizes = list(image.dims), dict(image.sizes)
    samples = int(sizes.pop("S", 1))
    leading, (rows_axis, columns_axis) = _split(dims, image.name)
    if min(sizes[rows_axis], sizes[columns_axis]) < 2:
        raise ValueError(
            f"{image.name}: its frames of {sizes[rows_axis]} {rows_axis} x {sizes[columns_axis]}"
            f" {columns_axis} are not pictures, which have at least two rows and columns"
        )
    block, available = image.memory_block, path.stat().st_size
    if path.suffix.lower() == ".lif" and available < block.offset + block.size:
        raise ValueError(
            f"it is cut off: it has {available} of the {block.offset + block.size} bytes"
            f" that {image.name} needs"
        )
    if samples not in (1, 3):
        raise ValueError(f"{image.name}: it has {samples} samples per pixel; allowed are 1 and 3")

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        indices = {a: place[LETTERS[a]] for a in leading}
        return np.asarray(image.frame(**indices))[rows, columns]

    inner = (sizes[rows_axis], sizes[columns_axis])
    array, axes = stack(
        {LETTERS[a]: sizes[a] for a in leading}, (*inner, 3) if samples == 3 else inner,
        np.dtype(image.dtype), read, close=file.close,
    )  # fmt: skip
    notes = []
    if (rows_axis, columns_axis) != ("Y", "X"):
        notes.append(
            f"the rows and columns of {image.name} are its axes {rows_axis} and {columns_axis}; they are"
            " treated as y and x, and have these names in the result"
        )
    if "Y" in leading:
        notes.append("its axis Y is not an axis of its frames; it is named v")
    calibration = _calibration(image, leading, rows_axis, columns_axis)
    return Opened(
        array, axes, lambda: stamp_of(path, number),
        metadata=Metadata(calibration=calibration), bits=calibration.bits,
        samples="rgb" if samples == 3 else "", warnings=warnings_of(path, tuple(notes)),
        measured=samples == 1,
    )  # fmt: skip


def _number_names(parent: Any) -> None:
    """Number elements of the same name in one folder, of which the library would keep the last."""
    taken: set[str] = set()
    for element in (*parent.findall("./Children/Element"), *parent.findall("./Element")):
        name = unique = element.get("Name", "")
        number = 2
        while unique in taken:
            unique, number = f"{name} #{number}", number + 1
        taken.add(unique)
        element.set("Name", unique)
        _number_names(element)


def _twice(images: list[Any], image: Any) -> bool:
    return sum(other.name == image.name for other in images) > 1


def _split(dims: list[str], name: str) -> tuple[list[str], list[str]]:
    """Split the axes into leading axes and those of a frame.

    Raises
    ------
    ValueError
        If an axis is unknown.
    """
    inner = [a for a in dims if a != "S"]
    leading, frame = inner[:-2], inner[-2:]
    unknown = [a for a in leading if a not in LETTERS]
    if unknown or len(frame) < 2:
        raise ValueError(f"{name}: its axes are {', '.join(dims)}, of which not all are known")
    return leading, frame


def _calibration(image: Any, leading: list[str], rows: str, columns: str) -> Calibration:
    steps: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, letter in {**{a: LETTERS[a] for a in leading}, rows: "y", columns: "x"}.items():
        # Wavelengths are in metres too, but they are not pixel sizes.
        if axis in "XYZ" and axis in image.coords:
            factor, unit = 1e6, "micrometer"
        elif axis == "T" and axis in image.coords:
            factor, unit = 1.0, "second"
        else:
            continue
        step = rounded(mean_step(image.coords[axis]) * factor)
        if step > 0:
            steps[letter], units[letter] = step, unit
    channels, bits = [], 0
    for entry in image.xml_element.iter("ChannelDescription"):
        table = str(entry.get("LUTName") or "")
        names = [
            e.findtext("Value") or ""
            for e in entry.iter("ChannelProperty")
            if e.findtext("Key") == "DyeName"
        ]
        channels.append(Channel(names[0] if names else table, COLOURS.get(table.lower(), "")))
        bits = max(bits, int(entry.get("Resolution") or 0))
    return Calibration(steps, units, {}, tuple(channels), str(image.name), bits)
