"""Where a layer's result is saved, and what its file says about place and units."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dcr.io import ome_metadata as ome

if TYPE_CHECKING:
    from napari.layers import Image


def unused_path(folder: Path, name: str) -> Path:
    """Path of an OME-Zarr image named after a layer, at which nothing exists yet."""
    name = re.sub(r"[^\w .()-]+", "_", name)
    numbered = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
    paths = (folder / f"{name}.ome.zarr" for name in numbered)
    return next(path for path in paths if not path.exists())


def layer_pyramid(layer: Image, axes: str) -> dict[str, Any]:
    """OME-Zarr metadata with a layer's axes, units, scale and position.

    The form is that of `napari_dcr.engine.sources.Opened.pyramid`. Rotation, shear and affine
    transforms have no place in it: see `is_placed_by_axes`.

    Parameters
    ----------
    layer : Image
    axes : str
        A letter per axis of its array.
    """
    described: list[dict[str, str]] = []
    for letter, unit in itertools.zip_longest(axes, layer.units):
        axis = ome.describe_axis(letter)
        if unit is not None and axis.get("type") in ("space", "time") and str(unit) != "pixel":
            axis["unit"] = str(unit)
        described.append(axis)
    colours = len(axes) - layer.ndim
    changes: list[dict[str, Any]] = [
        {"type": "scale", "scale": [*map(float, layer.scale), *[1.0] * colours]}
    ]
    if np.any(layer.translate):
        shift = [*map(float, layer.translate), *[0.0] * colours]
        changes.append({"type": "translation", "translation": shift})
    return {
        "name": layer.name,
        "axes": described,
        "datasets": [{"path": "layer", "coordinateTransformations": changes}],
        "level": "layer",
    }


def is_calibrated(layer: Image) -> bool:
    """Whether a layer has a scale, a position or units of its own."""
    return bool(
        np.any(np.asarray(layer.scale) != 1)
        or np.any(layer.translate)
        or any(str(unit) != "pixel" for unit in layer.units)
    )


def is_placed_by_axes(layer: Image) -> bool:
    """Whether scale and position say all about a layer's place: it is not rotated or sheared."""
    identity = np.eye(layer.ndim)
    shear = np.asarray(layer.shear)
    straight = np.allclose(shear, identity) if shear.ndim == 2 else not np.any(shear)
    return bool(
        straight
        and np.allclose(layer.rotate, identity)
        and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    )
