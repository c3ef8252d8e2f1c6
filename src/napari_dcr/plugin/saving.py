"""Path and calibration (scale, units, position) of the file that a layer's result is saved to."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_dcr.io.calibration import SPACE, TIME, Calibration
from napari_dcr.io.ome_zarr import described

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dcr.engine.sources import Opened


def unused_path(folder: Path, name: str) -> Path:
    """Path of an OME-Zarr image that is named after a layer and does not exist yet."""
    name = re.sub(r"[^\w .()-]+", "_", name)
    numbered = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
    paths = (folder / f"{name}.ome.zarr" for name in numbered)
    return next(path for path in paths if not path.exists())


def layer_calibration(layer: Image, axes: str) -> Calibration:
    """Size, unit and position of a layer's pixels.

    It does not include rotation, shear and affine transforms, see `is_placed_by_axes`.

    Parameters
    ----------
    layer : Image
    axes : str
        One letter per axis of the layer's array.
    """
    spatial = axes[: layer.ndim]
    return Calibration(
        sizes={a: float(size) for a, size in zip(spatial, layer.scale, strict=True)},
        units={
            a: str(unit)
            for a, unit in zip(spatial, layer.units, strict=True)
            if a in SPACE + TIME and str(unit) != "pixel"
        },
        origin={
            a: float(shift) for a, shift in zip(spatial, layer.translate, strict=True) if shift
        },
        name=layer.name,
    )


def placed(opened: Opened, layer: Image, axes: str) -> Opened:
    """Add a layer's calibration to its image, unless only the layer's file is calibrated."""
    if opened.pyramid is not None and not is_calibrated(layer):
        return opened
    if not is_placed_by_axes(layer):
        opened.warnings.add(
            "the saved file has the layer's scale and position; its rotation, shear and affine"
            " transform are kept in the layer only"
        )
    kept = {k: v for k, v in (opened.pyramid or {}).items() if k != "coordinateTransformations"}
    return replace(
        opened, pyramid={**kept, **(described(axes, layer_calibration(layer, axes)) or {})}
    )


def is_calibrated(layer: Image) -> bool:
    """Whether a layer has a scale, a position or units."""
    return bool(
        np.any(np.asarray(layer.scale) != 1)
        or np.any(layer.translate)
        or any(str(unit) != "pixel" for unit in layer.units)
    )


def is_placed_by_axes(layer: Image) -> bool:
    """Whether scale and position define a layer's place completely, without rotation or shear."""
    identity = np.eye(layer.ndim)
    shear = np.asarray(layer.shear)
    straight = np.allclose(shear, identity) if shear.ndim == 2 else not np.any(shear)
    return bool(
        straight
        and np.allclose(layer.rotate, identity)
        and np.allclose(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
    )
