"""The live preview: enhance the visible region while the user moves the controls or the view."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_dcr.options import Options
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.form import WARNING
from napari_dcr.plugin.layers import follow_pixels, result_layer, set_limits
from napari_dcr.plugin.origin import open_layer
from napari_dcr.plugin.pixels import layer_pixels
from napari_dcr.plugin.repainting import Repainting
from napari_dcr.plugin.run import explain
from napari_dcr.plugin.shown import canvas_corners, shown_region

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.engine.region_run import RegionEnhancer, RegionStep
    from napari_dcr.engine.regions import Region
    from napari_dcr.enhancement import Enhancement
    from napari_dcr.plugin.helper_layers import HelperLayers

PACE = 0.2
"""Seconds between two updates of a growing preview, because each redraws all of it."""

DELAY_MS = 60
"""Time in milliseconds without further changes before a change is processed."""

LARGEST = 16_000_000
"""Largest number of visible pixels for a preview."""


class Preview:
    """Shows the enhanced view as a layer above its source.

    All access to napari happens in the GUI thread.  A worker thread enhances, and is stopped as soon
    as something has changed.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Of that viewer.
    wanted : callable
        Returns the layer and the options to preview, or None.

    Attributes
    ----------
    state_changed : Signal(str)
        Emitted with a description of the state.
    updated : Signal()
        Emitted when the layer shows new pixels.
    closed : Signal()
        Emitted when the user has deleted the layer.
    """

    state_changed = Signal(str)
    updated = Signal()
    closed = Signal()

    def __init__(
        self,
        viewer: Viewer,
        helpers: HelperLayers,
        wanted: Callable[[], tuple[Image, Options] | None],
    ) -> None:
        self._viewer, self._helpers, self._wanted = viewer, helpers, wanted
        self._layer: Image | None = None
        self._source: Image | None = None
        self._enhancer: RegionEnhancer | None = None
        self._pixels: Any = None
        self._watched: Image | None = None
        self._place: object = None
        self._changed = False
        self._filling: Any = None
        self._looked = 0.0
        self._background: Background | None = None
        # The window is drawn without delay, but does not block the worker meanwhile.
        self._repainting = Repainting(viewer.window._qt_window, rest=0)
        self._stale = False
        self._on = self._held = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._follow)

    @property
    def is_on(self) -> bool:
        """Whether the preview is switched on."""
        return self._on

    @property
    def busy(self) -> bool:
        """Whether the preview is still being computed."""
        return self._background is not None or self._timer.isActive()

    @property
    def layer(self) -> Image | None:
        """Layer that shows the preview, or None."""
        return self._layer

    @property
    def source(self) -> Image | None:
        """Layer that is previewed, or None."""
        return self._source

    def switch(self, on: bool) -> None:
        """Switch the preview on, or off and remove its layer."""
        if on == self._on:
            return
        self._on, self._held = on, False
        viewer = self._viewer
        # napari 0.9 has moved the camera to the scene.
        camera = getattr(viewer, "scene", viewer).camera.events
        dims = viewer.dims.events
        for emitter in (
            camera.zoom, camera.center, camera.angles, dims.point, dims.order, dims.ndisplay,
        ):  # fmt: skip
            emitter.connect(self.refresh) if on else emitter.disconnect(self.refresh)
        if on:
            viewer.layers.events.removed.connect(self._on_removed)
            self._follow()
        else:
            viewer.layers.events.removed.disconnect(self._on_removed)
            self._stop()
            self._remove_layer()
            self._watch(None)
            self._enhancer = self._pixels = self._filling = None

    def _watch(self, source: Image | None) -> None:
        """React to changed pixels of a layer."""
        if source is self._watched:
            return
        follow_pixels(self._watched, source, self._on_pixels)
        self._watched = source
        self._place = None if source is None else _place(source, self._viewer.dims)

    def _on_pixels(self, _: object = None) -> None:
        source = self._watched
        if source is None:
            return
        place, self._place = self._place, _place(source, self._viewer.dims)
        if place == self._place:  # otherwise the layer only shows another slice or level
            self._changed = True
            self.refresh()

    def hold(self, on: bool) -> None:
        """Pause the preview while something else is computing, or resume it."""
        if self._on and on != self._held:
            self._held = on
            if on:
                self._stop()
            else:
                self.refresh()

    def refresh(self, _: object = None) -> None:
        """Update the preview once there are no further changes."""
        if self._on and not self._held:
            if self._background is not None:
                self._background.cancel()
            self._timer.start()

    def abandon(self) -> None:
        """Stop without touching the viewer, because its window has been closed."""
        self._on = False
        with contextlib.suppress(RuntimeError):  # at interpreter exit Qt has deleted the timer
            self._timer.stop()
        if self._background is not None:
            self._background.abandon()
            self._background = None
        self._repainting.abandon()
        self._watch(None)
        self._enhancer = self._pixels = self._filling = None

    def _stop(self) -> None:
        self._timer.stop()
        self._stale = False
        if self._background is not None:
            self._background.abandon()
            self._background = None
        self._repainting.limit(False)

    def _follow(self) -> None:
        if self._background is not None:
            self._stale = True  # stopping; this method is called again when it has stopped
            return
        try:
            wanted = self._wanted()
        except (ValueError, TypeError) as error:
            self.state_changed.emit(f"{WARNING} {error}")
            return
        if wanted is None:
            self._remove_layer()
            return
        source, options = wanted
        if source is not self._source:
            self._remove_layer()
        self._watch(source)
        viewer = self._viewer
        region = shown_region(source, viewer.dims, visible=True, view=canvas_corners(viewer))
        if region is None:
            self.state_changed.emit("The image is outside the current view.")
            return
        size = math.prod(part.stop - part.start for part in region[: source.ndim])
        if size > LARGEST:
            self.state_changed.emit(
                f"{size / 1e6:.0f} megapixels are in view; zoom in to {LARGEST / 1e6:.0f} for a preview."
            )
            return
        pixels = source.data[0] if source.multiscale else source.data
        if pixels is not self._pixels:
            self._pixels, self._enhancer = pixels, None
        self._source = source
        self._background = Background(
            _work(self._enhancer, source, options, region, check=self._changed),
            lambda step: self._on_step(step, source, region),
            lambda result: self._on_end(result, source, region),
        )
        self._background.start()
        self._repainting.limit(True)

    def _on_step(self, step: RegionStep | RegionEnhancer, source: Image, region: Region) -> None:
        from napari_dcr.engine.region_run import RegionStep

        if not isinstance(step, RegionStep):
            self._enhancer, self._changed = step, False
            return
        layer = self._layer
        if step.coarse is not None:
            self._show(step.coarse, source, region)
        elif (
            layer is not None
            and layer.data is self._filling
            and step.done < step.total  # `_on_end` shows the last tile
            and time.monotonic() > self._looked + PACE
        ):
            layer.refresh(thumbnail=False, extent=False)
            self._looked = time.monotonic()
        if step.done < step.total:
            share = f" {100 * step.done // step.total} %" if step.done else ""
            self.state_changed.emit(f"Preview: {step.message}{share}")

    def _on_end(self, result: Enhancement | Failure | None, source: Image, region: Region) -> None:
        self._background = None
        self._repainting.limit(False)
        if isinstance(result, Failure):
            self.state_changed.emit(f"{WARNING} {explain(result.error)}")
        elif result is not None:
            self._show(result, source, region)
            self.state_changed.emit("Preview ready")
        if self._stale:
            self._stale = False
            self._follow()

    def _show(self, enhancement: Enhancement, source: Image, region: Region) -> None:
        data, state, _ = result_layer(source, enhancement, region)
        state["name"] = f"{source.name} [preview]"
        self._filling = data
        layer = self._layer
        if layer is not None and layer in self._viewer.layers and layer.data.dtype == data.dtype:
            layer.metadata = {**layer.metadata, **state["metadata"]}
            # Each of these assignments redraws the picture, so only make those that are needed.
            if layer.data is data:
                layer.refresh(extent=False)
            else:
                layer.data = data
            if not np.array_equal(layer.translate, state["translate"]):
                layer.translate = state["translate"]
            limits = state.get("contrast_limits")
            if limits is not None and tuple(layer.contrast_limits) != limits:
                set_limits(layer, limits)
        else:
            self._remove_layer()
            self._source = source
            self._layer = self._helpers.add(data, state, "preview")
        self.updated.emit()

    def _remove_layer(self) -> None:
        layer, self._layer, self._source = self._layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._helpers.remove(layer)
            self.updated.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer and self._layer is not None:
            self._layer = None
            self.closed.emit()
        elif event.value is self._source:
            self.closed.emit()


def _place(source: Image, dims: Dims) -> object:
    """State of the viewer that determines which pixels of a layer are visible."""
    corners: object = None
    if source.multiscale:
        corners = source.data_level, np.asarray(source.corner_pixels).tolist()
    margins = tuple(dims.margin_left), tuple(dims.margin_right)
    return tuple(dims.point), tuple(dims.order), dims.ndisplay, margins, corners


def _work(
    enhancer: RegionEnhancer | None, source: Image, options: Options, region: Region, *, check: bool
) -> Generator[Any, None, Enhancement | Failure]:
    """Enhance in the worker thread; first yields the enhancer, which the caller keeps."""
    try:
        from napari_dcr.engine.region_run import RegionEnhancer

        if enhancer is not None and check and not enhancer.is_current():
            enhancer = None
        if enhancer is None:
            enhancer = RegionEnhancer(open_layer(source, layer_pixels(source)))
        yield enhancer
        steps = enhancer.steps(options, region, coarse_first=True)
        with contextlib.closing(steps):
            return (yield from steps)
    except Exception as error:
        return Failure(error)
