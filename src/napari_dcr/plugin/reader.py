"""Reader of the formats that napari cannot open itself: upright, lazy layers with the file's metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io import formats, opening
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.stacks import SeveralScenes
from napari_dcr.plugin.layers import FILE

LayerData = tuple[Any, dict[str, Any], str]

OF_NAPARI = (".tif", ".tiff", ".lsm", ".stk", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
"""Suffixes that napari opens."""

EAGER = 64 << 20
"""Largest single plane, in bytes, that is read completely when the file is opened."""

WHOLE_PLANE = 1 << 24
"""Largest plane, in pixels, that is a single chunk."""


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return the reader of a file, or of several that are stacked; None for other formats."""
    paths = [path] if isinstance(path, str) else list(path)
    for each in map(Path, paths):
        if formats.suffix_of(each) not in formats.SUFFIXES or not each.is_file():
            return None
        if formats.other_kind(each):
            return None
    return read


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Open a file, or several as one recording, without reading its pixels.

    Every channel of every image in the file becomes a layer.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    paths = [path] if isinstance(path, str) else [str(each) for each in path]
    image: Any = paths[0] if len(paths) == 1 else paths
    try:
        return _layers(opening.open_image(image, upright=True), paths, None)
    except ValueError as error:
        several = error.__cause__
        if not isinstance(several, SeveralScenes):
            raise
    return [
        layer
        for number in range(len(several.names))
        for layer in _layers(
            opening.open_image(image, scene=number, upright=True), paths, number, several.names[number]
        )
    ]  # fmt: skip


def _layers(
    opened: Opened, paths: list[str], scene: int | None, label: str = ""
) -> list[LayerData]:
    layout = opening.layout_of(opened, None)
    pixels, axes = _pixels(opened, layout.axes), layout.axes
    rgb = "s" in axes and pixels.shape[axes.index("s")] in (3, 4)
    calibration = getattr(opened.metadata, "calibration", Calibration())
    name = Path(paths[0]).name
    if scene is not None:
        name += f" [{label or scene}]"
    planar = rgb and not axes.endswith("s")
    if planar:
        pixels = np.moveaxis(pixels, axes.index("s"), -1)
        axes = axes.replace("s", "") + "s"
    apart = "c" if "c" in axes else "s" if "s" in axes and not rgb else ""
    shown = [a for a in axes if a != apart and not (rgb and a == "s")]
    arguments: dict[str, Any] = {
        "axis_labels": tuple(shown),
        "scale": tuple(calibration.sizes.get(a, 1.0) for a in shown),
        "translate": tuple(calibration.origin.get(a, 0.0) for a in shown),
        "units": tuple(calibration.units.get(a, "pixel") for a in shown),
        "rgb": rgb,
    }
    file = {"paths": paths, "scene": scene, "index": "", "measured": opened.measured}
    # Scripts index the array in the order of the file's own axes.
    kept = {} if planar else {FILE: file}
    if not apart:
        if len(calibration.channels) == 1 and not rgb:
            (channel,) = calibration.channels
            name = f"{channel.name} - {name}" if channel.name else name
            arguments |= {"colormap": f"#{channel.colour}"} if channel.colour else {}
        return [(pixels, {**arguments, "name": name, "metadata": kept}, "image")]
    axis, made = axes.index(apart), []
    count = pixels.shape[axis]
    channels = calibration.channels if len(calibration.channels) == count else (Channel(),) * count
    for number, channel in enumerate(channels):
        index = (*[slice(None)] * axis, number)
        own = {**arguments, "name": f"{channel.name or f'channel {number}'} - {name}"}
        if kept:
            own["metadata"] = {FILE: {**file, "index": f"[{':, ' * axis}{number}]"}}
        if not rgb:
            own |= {"colormap": f"#{channel.colour}" if channel.colour else "gray"}
            own |= {"blending": "additive"}
        made.append((pixels[index], own, "image"))
    return made


def _pixels(opened: Opened, axes: str) -> Any:
    """Pixels as a dask array; in memory if they are one plane that is not large."""
    array = opened.array
    size = int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize
    planes = [n for n, a in zip(array.shape, axes, strict=True) if a not in "yxs"]
    window = _Filled(array)
    if int(np.prod(planes)) == 1 and size <= EAGER:
        return window[(slice(None),) * array.ndim]
    import dask.array

    height, width = (array.shape[axes.index(a)] for a in "yx")
    whole = height * width <= WHOLE_PLANE
    stored = getattr(array, "chunks", array.shape)
    chunks = tuple(
        n if a == "s" or (whole and a in "yx") else min(n, c) if a in "yx" else 1
        for n, a, c in zip(array.shape, axes, stored, strict=True)
    )
    stamp = opened.fingerprint()
    return dask.array.from_array(
        window, chunks=chunks, name=f"napari-dcr-{stamp}" if stamp else None
    )


class _Filled:
    """Array in which pixels without data are 0; accepts the integers and steps that dask uses."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.ndim = tuple(int(n) for n in array.shape), len(array.shape)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        spans, then = [], []
        for i, n in zip(index, self.shape, strict=True):
            span = range(n)[i : i + 1] if isinstance(i, (int, np.integer)) else range(n)[i]
            spans.append(slice(min(span, default=0), max(span, default=-1) + 1))
            then.append(slice(None, None, span.step) if isinstance(i, slice) else 0)
        window = np.ma.filled(np.asanyarray(self._array[tuple(spans)]), 0)
        return np.ascontiguousarray(window[tuple(then)], self.dtype)
