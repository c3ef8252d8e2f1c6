"""Before and after in one place, at the same contrast limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dcr.plugin.layers import (
    RECORD,
    kept_state,
    matching_limits,
    takes_limits,
    widened,
)
from napari_dcr.plugin.pixels import layer_levels, layer_pixels

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.engine.region_run import Region
    from napari_dcr.plugin.helper_layers import HelperLayers


class Comparison:
    """Shows the source over its result, up to a line that can be moved.

    The source layer is not touched: a layer of its own shows the same array
    (no copy), in the result's contrast limits.  Automatic limits would make a
    dim image look like its enhancement.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Of that viewer.
    """

    def __init__(self, viewer: Viewer, helpers: HelperLayers) -> None:
        self._viewer, self._helpers = viewer, helpers
        self._before: Image | None = None
        self._result: Image | None = None
        self._source: Image | None = None

    @property
    def layer(self) -> Image | None:
        """The layer that shows the source, while there is one."""
        return self._before

    def show(self, source: Image, result: Image, share: float) -> None:
        """Show the source over the left ``share`` of a result's width, 0 to 1."""
        record = result.metadata[RECORD]
        pixels = _left_part(source, record, share)
        if pixels is None:
            self.hide()
            return
        if self._before not in self._viewer.layers:  # deleted by hand
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
            state = kept_state(source, _region(record))
            if takes_limits(source.rgb, source.dtype):
                state["contrast_limits"] = matching_limits(record, result.contrast_limits)
            state["name"] = f"{source.name} [before]"
            self._before = self._helpers.add(pixels, state, "before")
            return
        before.data = pixels
        before.translate = result.translate
        self._share_limits()
        layers = self._viewer.layers
        if layers.index(before) < layers.index(result):
            layers.move(layers.index(before), len(layers))

    def hide(self) -> None:
        """Take the source away again."""
        self._follow(None)
        before, self._before, self._source = self._before, None, None
        self._helpers.remove(before)

    def _follow(self, result: Image | None) -> None:
        """Keep to the contrast limits of another result."""
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
        before.contrast_limits_range = widened(before.contrast_limits_range, limits)
        before.contrast_limits = limits


def _region(record: dict[str, Any]) -> Region | None:
    """The part of its source that a result was made from; None for all of it."""
    return tuple(slice(*span) for span in record["region"]) if "region" in record else None


def _left_part(source: Image, record: dict[str, Any], share: float) -> Any:
    """The left ``share`` of what a result was made from, or None if that is nothing."""
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
        # Of coarser levels the same part; one pixel at least.
        zoom = level.shape[axis] / levels[0].shape[axis]
        region[axis] = slice(start, start + max(1, round(width * zoom)))
        whole = [slice(None)] * len(region) if part is None else region
        index = [*whole]
        index[axis] = region[axis]
        shown.append(level[tuple(index)])
    return shown if len(shown) > 1 else shown[0]
