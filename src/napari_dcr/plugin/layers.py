"""Create result layers that keep position, appearance and metadata of their source layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import full_scale
from napari_dcr.plugin.pixels import layer_shape

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dcr.engine.regions import Region
    from napari_dcr.enhancement import Enhancement

SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
APPEARANCE = (
    "blending",
    "opacity",
    "gamma",
    "interpolation2d",
    "interpolation3d",
    "rendering",
    "depiction",
    "projection_mode",
    "plane",
    "experimental_clipping_planes",
    "attenuation",
    "iso_threshold",
    "custom_interpolation_kernel_2d",
)

FILE = "napari_dcr_file"
"""Key, in a layer's metadata, of the paths, scene and index that it was read from by our reader."""

RECORD = "napari_dcr"
"""Key of the record in a result's metadata."""

SAMPLED = 1_000_000
"""Number of pixels from which contrast limits are determined."""


def region_translate(layer: Image, region: Region) -> NDArray[np.float64]:
    """Value of ``translate`` for a layer that shows a region of another layer's array."""
    origin = [part.start for part in region[: layer.ndim]]
    world = np.asarray(layer.data_to_world(origin))
    return np.asarray(layer.affine.inverse(world))


def inherited_state(layer: Image, region: Region | None = None) -> dict[str, Any]:
    """Position and appearance of a layer, as arguments for a layer that is derived from it."""
    _, state, _ = layer.as_layer_data_tuple()
    kept = {key: state[key] for key in (*SPATIAL, *APPEARANCE) if key in state}
    kept["rgb"] = state["rgb"]
    if not layer.rgb:
        kept["colormap"] = state["colormap"]
    if region is not None:
        kept["translate"] = region_translate(layer, region)
        origin = [part.start for part in region[: layer.ndim]]
        planes = [kept["plane"]] if "plane" in kept else []
        for plane in planes + list(kept.get("experimental_clipping_planes", ())):
            # Positions are in pixels of the array, along the axes that a 3D view shows.
            behind = len(plane["position"]) - len(origin)
            start = [0] * max(0, behind) + origin[max(0, -behind) :]
            plane["position"] = tuple(np.subtract(plane["position"], start).tolist())
    return kept


def takes_limits(rgb: bool, dtype: np.dtype[Any]) -> bool:
    """Whether napari applies contrast limits to an image: to all except 8-bit colour."""
    return not rgb or dtype != np.uint8


def matching_limits(record: dict[str, Any], limits: Sequence[float]) -> tuple[float, float]:
    """Contrast limits of a source that correspond to those of its result.

    They are the same limits, unless the source's black and white point were mapped to the full
    range of another dtype.
    """
    low, high = (float(limit) for limit in limits)
    if record["options"]["output"] == "same" or "noise" in record:
        return low, high
    black, white = black_and_white(record)
    full = full_scale(np.dtype(record["options"]["output"])).white
    return black + low / full * (white - black), black + high / full * (white - black)


def black_and_white(record: dict[str, Any]) -> tuple[float, float]:
    """Lowest black point and highest white point of a run."""
    blacks, whites = zip(*record["ranges"], strict=True)
    return min(blacks), max(whites)


def result_limits(
    record: dict[str, Any], pixels: Any, shown: tuple[float, float]
) -> tuple[float, float]:
    """Contrast limits for a result.

    For display models these are the black and white point of the run, or the full range of another
    dtype.  Models that keep intensities do not brighten, so the limits range from black to the
    99.9 percentile of the result; if it is not in memory, the limits of its source are used.
    """
    if "noise" in record:
        if not isinstance(pixels, np.ndarray):
            return shown
        values = _sample(pixels, record["axes"], record["options"]["nodata"])
        black = min(black for black, _ in record["ranges"])
        white = float(np.quantile(values, 0.999)) if len(values) else black
        return (black, white) if white > black else shown
    output = record["options"]["output"]
    if output != "same":
        return 0.0, full_scale(np.dtype(output)).white
    return black_and_white(record)


def _sample(pixels: NDArray[Any], axes: str, nodata: float | None = None) -> NDArray[Any]:
    """Some of the values of an image, without alpha and pixels that hold no data.

    Parameters
    ----------
    pixels : ndarray
        It may have further leading axes.
    axes : str
        One letter per axis.
    nodata : float, optional
        Value of pixels without data.
    """
    step = max(1, int((pixels.size / SAMPLED) ** 0.5))
    parts = {"s": slice(3), "y": slice(None, None, step), "x": slice(None, None, step)}
    index: Any = (..., *(parts.get(axis, slice(None)) for axis in axes))
    some = pixels[index]
    # NumPy's quantiles ignore masks.
    values: NDArray[Any] = np.ma.getdata(some)[~np.ma.getmaskarray(some)]
    values = values[np.isfinite(values)]
    return values if nodata is None else values[values != nodata]


def set_limits(layer: Image, limits: Sequence[float]) -> None:
    """Set the contrast limits of a layer, and extend the range of its slider to include them."""
    low, high = layer.contrast_limits_range
    layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
    layer.contrast_limits = limits


def follow_pixels(old: Image | None, new: Image | None, on_pixels: Callable[[Any], None]) -> None:
    """Call ``on_pixels`` when pixels of ``new`` are replaced or written in place, no more for ``old``."""
    for layer, connect in ((old, False), (new, True)):
        if layer is not None:
            for emitter in (layer.events.data, layer.events.set_data):
                (emitter.connect if connect else emitter.disconnect)(on_pixels)


def result_name(layer: Image, record: dict[str, Any]) -> str:
    """Name of a result layer, with model, depth and the part of the source that it shows."""
    what = [Path(record["model"]).stem, f"depth {record['depth']}"]
    cut = False
    spans = record.get("region", [])
    for letter, (start, stop), size in zip(record["axes"], spans, layer_shape(layer), strict=False):
        if stop - start == size:
            continue
        if letter in "yx":
            cut = True
        else:
            what.append(f"{letter}={start}" + (f"-{stop - 1}" if stop - start > 1 else ""))
    return f"{layer.name} [{', '.join(what + ['view'] * cut)}]"


def result_layer(
    layer: Image, enhancement: Enhancement, region: Region | None = None
) -> tuple[Any, dict[str, Any], str]:
    """Layer data tuple of a result, with the source's appearance and its own contrast limits."""
    record = {
        **enhancement.record,
        "source": {
            "layer": layer.name,
            "path": None if layer.source.path is None else str(layer.source.path),
            "multiscale": bool(layer.multiscale),
            "file": layer.metadata.get(FILE),
        },
    }
    kept = inherited_state(layer, region)
    pixels = enhancement.image[0] if isinstance(enhancement.image, list) else enhancement.image
    if takes_limits(layer.rgb, pixels.dtype):
        limits = (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))
        kept["contrast_limits"] = result_limits(record, enhancement.image, limits)
    kept["multiscale"] = isinstance(enhancement.image, list)
    kept["name"] = result_name(layer, record)
    kept["metadata"] = {RECORD: record}
    return enhancement.image, kept, "image"


def side_layers(layer: Image, enhancement: Enhancement) -> list[tuple[Any, dict[str, Any], str]]:
    """Layer data tuples of the residual, the uncertainty and the defects, if they were requested."""
    made = []
    for name, pixels in (
        ("residual", enhancement.residual),
        ("uncertainty", enhancement.uncertainty),
    ):
        if pixels is None:
            continue
        kept = inherited_state(layer)
        values = np.abs(_sample(pixels, enhancement.record["axes"]))
        most = float(np.quantile(values, 0.995) if len(values) else 0) or 1.0
        kept["contrast_limits"] = (-most if name == "residual" else 0.0, most)
        kept["colormap"] = "gray" if name == "residual" else "viridis"
        kept["name"] = f"{layer.name} [DCR {name}]"
        kept["metadata"] = {RECORD: {**enhancement.record, "quantity": name}}
        made.append((pixels, kept, "image"))
    if enhancement.record["options"].get("return_defects") and enhancement.defects:
        image = enhancement.image[0] if isinstance(enhancement.image, list) else enhancement.image
        pixels, most = defect_pixels(enhancement, tuple(image.shape))
        kept = inherited_state(layer)
        kept |= {"contrast_limits": (-most, most), "colormap": "gray", "rgb": False}
        kept["name"] = f"{layer.name} [DCR defects]"
        kept["metadata"] = {RECORD: {**enhancement.record, "quantity": "defects"}}
        made.append((pixels, kept, "image"))
    return made


def defect_pixels(
    enhancement: Enhancement, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], float]:
    """Correction that was subtracted from each pixel, and its largest absolute value.

    Colours are averaged, and hot pixels have the largest value.  Frames with the same defects
    share memory.
    """
    from napari_dcr.engine.groups import groups

    record, found = enhancement.record, enhancement.defects
    layout = Layout.resolve(shape, record["axes"])
    linked = record["options"]["link_frames"]
    if layout.is_rgb and "noise" in record:
        layout = layout.with_colours_apart()
    lines = [each for defects in found for each in (defects.columns, defects.rows)]
    fixed = linked and all(each is None or len(each) == 1 for each in lines)
    axes = layout.axes.replace("s", "")
    whole = [n for n, axis in zip(shape, layout.axes, strict=True) if axis != "s"]
    sizes = [1 if fixed and a not in "yxc" else n for n, a in zip(whole, axes, strict=True)]
    pixels = np.zeros(sizes, np.float32)
    for group, defects in zip(groups(layout, linked), found, strict=True):
        frames = group.frames(layout)
        for frame in frames[:1] if fixed else frames:
            number = layout.frame_number(frame) if linked else 0
            shown = np.mean([defects.map(n, number) for n in range(defects.channels)], 0)
            shown = shown if axes.index("y") < axes.index("x") else shown.T
            steps = iter(frame)
            place = tuple(
                slice(None) if a in "yx" else group.channel if a == "c" else next(steps)
                for a in axes
            )
            pixels[place] += shown / len(layout.bands)
    most = float(np.nanmax(np.abs(pixels), initial=0)) or 1.0
    return np.broadcast_to(np.where(np.isnan(pixels), np.float32(most), pixels), whole), most


def stage_name(depth: int, counts: bool = False) -> str:
    """Name of a depth of the cascade."""
    if depth == 0:
        return "image" if counts else "tone curve"
    return f"sub-U-Net {depth}"


def stages_layer(
    layer: Image, enhancement: Enhancement, region: Region | None = None
) -> tuple[Any, dict[str, Any], str]:
    """Layer data tuple of the outputs of all stages, along a new first axis."""
    data, kept, kind = result_layer(layer, enhancement, region)
    ndim = layer.ndim

    def block(matrix: NDArray[Any]) -> NDArray[np.float64]:
        grown = np.eye(len(matrix) + 1)
        grown[1:, 1:] = matrix
        return grown

    kept["scale"] = (1.0, *kept["scale"])
    kept["translate"] = (0.0, *kept["translate"])
    kept["rotate"] = block(np.asarray(layer.rotate))
    kept["shear"] = block(shear_matrix(np.asarray(layer.shear), ndim))
    kept["affine"] = block(layer.affine.affine_matrix)
    kept["units"] = ("pixel", *kept["units"])
    kept["axis_labels"] = ("stage", *kept["axis_labels"])
    names = [stage_name(depth, "noise" in enhancement.record) for depth in range(len(data))]
    kept["name"] = f"{layer.name} [DCR stages]"
    kept["metadata"] = {RECORD: {**kept["metadata"][RECORD], "stages": names}}
    return data, kept, kind


def shear_matrix(shear: NDArray[Any], ndim: int) -> NDArray[np.float64]:
    """Convert a layer's ``shear``, which may hold only the upper triangle, to a matrix."""
    if shear.ndim == 2:
        return shear
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = shear
    return matrix
