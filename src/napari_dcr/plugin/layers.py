"""Layers in and out: what an enhancement needs of a layer, what its result keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Image

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
)


def layer_axes(layer: Image) -> str:
    """Axes of a layer's array in the letters of `napari_dcr.enhance`.

    The last two dimensions are y and x, a colour layer's samples come after
    them; the others take their letter from the layer's axis labels where those
    are letters, and are stepped over.
    """
    leading = [str(label).lower() for label in layer.axis_labels[:-2]]
    usable = all(len(a) == 1 and a.isalpha() and a not in "yxs" for a in leading)
    if not usable or len(set(leading)) < len(leading):
        leading = list("wvurqptz"[-len(leading) :]) if leading else []
    return "".join(leading) + "yx" + "s" * bool(layer.rgb)


def layer_pixels(layer: Image) -> Any:
    """The array to enhance: a multiscale layer's finest level."""
    return layer.data[0] if layer.multiscale else layer.data


def in_memory(pixels: Any) -> NDArray[Any]:
    """A lazy array's values, provided that they and the result fit into memory.

    Raises
    ------
    MemoryError
        If they do not.
    """
    if isinstance(pixels, np.ndarray):
        return pixels
    size = int(np.prod(pixels.shape, dtype=np.int64)) * np.dtype(pixels.dtype).itemsize
    free = psutil.virtual_memory().available
    if size > free // 3:
        raise MemoryError(
            f"the layer needs {size / 2**30:.1f} GiB as an array and {free / 2**30:.1f} GiB are free;"
            " crop it first"
        )
    return np.asarray(pixels)


def result_layer(
    layer: Image, enhancement: Enhancement
) -> tuple[NDArray[Any], dict[str, Any], str]:
    """Layer data tuple of a result: where and how its source is shown, with its own limits.

    Contrast limits are the black and white point that were used, so that the
    result is shown as bright as it is.
    """
    _, state, _ = layer.as_layer_data_tuple()
    record = enhancement.record
    kept = {key: state[key] for key in (*SPATIAL, *APPEARANCE) if key in state}
    kept["rgb"] = state["rgb"]
    if not layer.rgb:
        kept["colormap"] = state["colormap"]
        kept["contrast_limits"] = (
            min(black for black, _ in record["ranges"]),
            max(white for _, white in record["ranges"]),
        )
    kept["name"] = f"{layer.name} [DCR depth {record['depth']}]"
    kept["metadata"] = {"napari_dcr": record}
    return enhancement.image, kept, "image"
