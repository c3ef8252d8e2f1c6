"""Comparison of source and result in one place, with the same contrast limits."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_dcr.plugin.layers import (
    RECORD,
    inherited_state,
    matching_limits,
    set_limits,
    takes_limits,
)
from napari_dcr.plugin.pixels import layer_levels, layer_pixels, layer_shape
from napari_dcr.plugin.shown import units_factor

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.engine.regions import Region
    from napari_dcr.plugin.helper_layers import HelperLayers


LINE = "#ffd54a"
"""Colour of the frame around the source, which is visible on dark and on bright images."""

REACH = 8
"""Distance in screen pixels within which the divider can be dragged."""


class Comparison:
    """Shows the source over the left part of its result, up to a divider that can be dragged.

    The source layer is not changed.  A second layer shows its array, without a copy, in the contrast
    limits of the result, because automatic limits would make a dim image look like its enhancement.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Temporary layers of the viewer.

    Attributes
    ----------
    dragged : Signal(float)
        Emitted with the share of the width to which the divider was dragged.
    """

    dragged = Signal(float)

    def __init__(self, viewer: Viewer, helpers: HelperLayers) -> None:
        self._viewer, self._helpers = viewer, helpers
        self._share = 0.0
        self._before: Image | None = None
        self._result: Image | None = None
        self._source: Image | None = None

    @property
    def layer(self) -> Image | None:
        """Layer that shows the source, or None."""
        return self._before

    def show(self, source: Image, result: Image, share: float) -> None:
        """Show the source over the left ``share`` of a result's width, 0 to 1."""
        record = result.metadata[RECORD]
        self._share = share
        pixels = _left_part(source, record, share)
        if pixels is None:
            self.hide()
            return
        if self._before not in self._viewer.layers:  # the user has deleted it
            self._before = None
        before = self._before
        if source is not self._source or (
            before is not None and before.multiscale != isinstance(pixels, list)
        ):
            self.hide()
            before = None
        if result is not self._result:
            self._follow(result)
        self._source = source
        if before is None:
            state = inherited_state(source, _region(record))
            if takes_limits(source.rgb, source.dtype):
                state["contrast_limits"] = matching_limits(record, result.contrast_limits)
            state["name"] = f"{source.name} [before]"
            self._before = before = self._helpers.add(pixels, state, "before")
            # The right side of the frame is the divider.
            before.bounding_box.points = False
            before.bounding_box.line_thickness = 1.5
            before.bounding_box.line_color = LINE
            before.bounding_box.visible = True
            callbacks = self._viewer.mouse_drag_callbacks
            if self._drag not in callbacks:
                callbacks.append(self._drag)
            return
        before.data = pixels
        before.translate = result.translate
        self._share_limits()
        layers = self._viewer.layers
        if layers.index(before) < layers.index(result):
            layers.move(layers.index(before), len(layers))

    def hide(self) -> None:
        """Remove the layer that shows the source."""
        self._follow(None)
        callbacks = self._viewer.mouse_drag_callbacks
        if self._drag in callbacks:
            callbacks.remove(self._drag)
        before, self._before, self._source = self._before, None, None
        self._helpers.remove(before)

    def _drag(self, viewer: Viewer, event: Any) -> Generator[None, None, None]:
        """Move the divider with the mouse if the button was pressed on it."""
        result, share = self._result, self._share_at(event.position)
        if result is None or share is None or viewer.dims.ndisplay != 2:
            return
        camera = getattr(viewer, "scene", viewer).camera
        axis = result.metadata[RECORD]["axes"].index("x")
        factor = units_factor(result, viewer.dims)[axis]
        width = layer_shape(result)[axis] * abs(float(result.scale[axis])) / factor * camera.zoom
        if abs(share - self._share) * width > REACH:
            return
        pan, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                share = self._share_at(event.position)
                if share is not None:
                    self.dragged.emit(min(max(share, 0.01), 1.0))
                yield
        finally:
            camera.mouse_pan = pan

    def _share_at(self, position: Any) -> float | None:
        """Share of the result's width to the left of a position in the viewer."""
        result = self._result
        if result is None:
            return None
        axis = result.metadata[RECORD]["axes"].index("x")
        world = np.asarray(position, float)[-result.ndim :] * units_factor(
            result, self._viewer.dims
        )
        place = float(result.world_to_data(world)[axis])
        return (place + 0.5) / layer_shape(result)[axis]

    def _follow(self, result: Image | None) -> None:
        """Follow the contrast limits of another result."""
        if self._result is not None:
            self._result.events.contrast_limits.disconnect(self._share_limits)
        if result is not None:
            result.events.contrast_limits.connect(self._share_limits)
        self._result = result

    def _share_limits(self, _: object = None) -> None:
        before, result = self._before, self._result
        if before is None or result is None or not takes_limits(before.rgb, before.dtype):
            return
        limits = matching_limits(result.metadata[RECORD], result.contrast_limits)
        set_limits(before, limits)


def _region(record: dict[str, Any]) -> Region | None:
    """Region of the source that a result was computed from; None for all of it."""
    return tuple(slice(*span) for span in record["region"]) if "region" in record else None


def _left_part(source: Image, record: dict[str, Any], share: float) -> Any:
    """Left ``share`` of the source region of a result, or None if it is empty."""
    axis = record["axes"].index("x")
    part = _region(record)
    levels = layer_levels(source) if part is None else [layer_pixels(source)]
    region = list(part or (slice(0, n) for n in levels[0].shape))
    start, stop = region[axis].start, region[axis].stop
    width = min(stop - start, round((stop - start) * share))
    if width <= 0:
        return None
    shown = []
    for level in levels:
        # Take the same part of coarser levels, at least one pixel.
        zoom = level.shape[axis] / levels[0].shape[axis]
        region[axis] = slice(start, start + max(1, round(width * zoom)))
        whole = [slice(None)] * len(region) if part is None else region
        index = [*whole]
        index[axis] = region[axis]
        shown.append(level[tuple(index)])
    return shown if len(shown) > 1 else shown[0]
