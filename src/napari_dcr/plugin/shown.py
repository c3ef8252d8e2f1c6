"""Find the part of a layer's array that the viewer shows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Image

    from napari_dcr.engine.regions import Region


def shown_region(
    layer: Image, dims: Dims, *, visible: bool, view: NDArray[np.float64] | None = None
) -> Region | None:
    """Find the part of a layer's array that the viewer shows.

    Along displayed axes this is the visible range or the whole axis; in a 3D view it is always
    the whole axis, because a volume is transparent.  Along the other axes it is the plane at the
    position of the slider, or all planes of a thick slice if the layer projects them.

    Parameters
    ----------
    layer : Image
    dims : Dims
        Dims of the viewer; its positions are in the viewer's units.
    visible : bool
        Restrict the region to the visible part of the slice.
    view : ndarray, shape (2, displayed axes), optional
        Corners of the canvas in the viewer's units, see `canvas_corners`.  Required if these
        units differ from the layer's.

    Returns
    -------
    tuple of slice, or None if the viewer shows nothing of the layer
    """
    shape = _shape(layer)
    offset = dims.ndim - layer.ndim
    displayed = [axis - offset for axis in dims.order if axis >= offset][-dims.ndisplay :]
    stepped = [axis for axis in range(layer.ndim) if axis not in displayed]
    region = [slice(0, size) for size in shape]
    for axis, span in zip(stepped, _planes(layer, dims, stepped), strict=True):
        region[axis] = span
    if visible and dims.ndisplay == 2:
        for axis, span in _on_screen(layer, dims, displayed, view).items():
            region[axis] = span
    if any(not 0 <= span.start < span.stop <= n for span, n in zip(region, shape, strict=True)):
        return None
    return tuple(region)


def canvas_corners(viewer: ViewerModel) -> NDArray[np.float64] | None:
    """Corners of a 2D canvas in the viewer's units, shape (2, 2); None if they are not available.

    Notes
    -----
    This replaces ``layer.corner_pixels``, which napari 0.9 computes incorrectly if the units of the
    viewer and the layer differ.
    """
    scene = getattr(viewer, "scene", viewer)  # napari 0.9 has moved the camera to the scene
    size = getattr(getattr(viewer, "canvas", None), "size", None)
    if size is None or viewer.dims.ndisplay != 2:
        return None
    centre = np.array(scene.camera.center, np.float64)[-2:]
    half = np.array(size, np.float64) / scene.camera.zoom / 2
    return np.stack([centre - half, centre + half])


def _shape(layer: Image) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def units_factor(layer: Image, dims: Dims) -> NDArray[np.float64]:
    """Number of layer units per viewer unit, for each axis of the layer."""
    units = getattr(dims, "units", None)  # napari before 0.9 does not convert units
    if units is None or len(units) < layer.ndim:
        return np.ones(layer.ndim)
    pairs = zip(units[len(units) - layer.ndim :], layer.units, strict=True)
    return np.array([float((1.0 * theirs).m_as(own)) for theirs, own in pairs])


def _planes(layer: Image, dims: Dims, stepped: list[int]) -> list[slice]:
    """Planes that napari shows along the axes that are not displayed."""
    if not stepped:  # the conversion below takes nearly a millisecond
        return []

    def to_data(values: Any) -> NDArray[np.float64]:
        world = np.zeros(layer.ndim)
        own = np.asarray(values, float)[dims.ndim - layer.ndim :] * units_factor(layer, dims)
        # As in napari, positions along displayed axes do not move the slice.
        world[stepped] = own[stepped]
        return np.asarray(layer.world_to_data(world), float)

    point, origin = to_data(dims.point), to_data(np.zeros(dims.ndim))
    if str(layer.projection_mode) == "none":
        return [slice(round(point[axis]), round(point[axis]) + 1) for axis in stepped]
    before, after = (to_data(margin) - origin for margin in (dims.margin_left, dims.margin_right))
    spans = []
    for axis in stepped:
        size = _shape(layer)[axis]
        low, high = sorted((point[axis] - before[axis], point[axis] + after[axis]))
        if round(high) < 0 or round(low) >= size:
            spans.append(slice(0, 0))
            continue
        start, stop = max(round(low), 0), max(round(high), 0)
        if start == stop or np.isclose(stop, high):
            stop += 1  # napari includes the plane on which a thick slice ends
        spans.append(slice(start, min(stop, size)))
    return spans


def _on_screen(
    layer: Image, dims: Dims, displayed: list[int], view: NDArray[np.float64] | None
) -> dict[int, slice]:
    """Visible range along each displayed axis; an empty range if the layer is not visible."""
    shape = _shape(layer)
    axes, factor = displayed, units_factor(layer, dims)
    known = view is not None and [a + dims.ndim - layer.ndim for a in axes] == list(dims.displayed)
    if view is None or not known or np.allclose(factor[axes], 1):
        # For a multiscale layer, the corners belong to the level on screen.
        zoom = (
            layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(layer.ndim)
        )
        first, last = (np.asarray(corner, float) for corner in layer.corner_pixels)
        is_visible = {axis: last[axis] > first[axis] or shape[axis] == 1 for axis in axes}
        low, high = first * zoom, (last + 1) * zoom
    else:
        world = np.zeros((4, layer.ndim))
        world[:, axes] = np.array(list(itertools.product(*view.T))) * factor[axes]
        data = np.array([layer.world_to_data(corner) for corner in world])
        low, high = data.min(0), data.max(0) + 1
        is_visible = dict.fromkeys(axes, True)
    spans = {}
    for axis in axes:
        start, stop = max(0, int(np.floor(low[axis]))), min(shape[axis], int(np.ceil(high[axis])))
        spans[axis] = slice(start, stop if is_visible[axis] else start)
    return spans
