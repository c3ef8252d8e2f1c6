"""The *Live* switch: enhance a layer whose pixels change, frame by frame, while a camera runs."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_dcr.options import Options
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.layers import (
    black_and_white,
    follow_pixels,
    result_layer,
    result_limits,
    set_limits,
    takes_limits,
)
from napari_dcr.plugin.live_frames import Enhanced, Frame, LatestFrame, enhance_frames
from napari_dcr.plugin.origin import choice_for
from napari_dcr.plugin.pixels import layer_pixels
from napari_dcr.plugin.repainting import Repainting
from napari_dcr.plugin.run import explain
from napari_dcr.plugin.shown import shown_region

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.engine.regions import Region
    from napari_dcr.plugin.helper_layers import HelperLayers

STATUS_INTERVAL = 0.5
"""Seconds between two updates of the status line."""

RATE_PERIOD = 2.0
"""Seconds over which the frame rate and the latency are averaged."""

IDLE = 5.0
"""Seconds without a frame after which the status line says so, and no longer a frame rate."""

LARGEST = 16_000_000
"""Largest frame in pixels."""

LIMITS_CHANGE = 0.005
"""Smallest change of the black or white point, relative to their distance, that changes the contrast limits."""


class Live:
    """Shows the enhanced frames of a layer in a new layer above it.

    napari is accessed in the GUI thread only.  A worker thread enhances the latest frame. Of the
    frames that arrive during that time, all but the latest are dropped.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Helper layers of the viewer.
    wanted : callable
        Returns the layer to enhance and the options, or None if no layer is selected.

    Attributes
    ----------
    state_changed : Signal(str)
        Emitted with frames per second and latency, or with a description of a problem.
    closed : Signal()
        Emitted when the user has deleted the layer or its source.
    """

    state_changed = Signal(str)
    closed = Signal()

    def __init__(
        self,
        viewer: Viewer,
        helpers: HelperLayers,
        wanted: Callable[[], tuple[Image, Options] | None],
    ) -> None:
        self._viewer, self._helpers, self._wanted = viewer, helpers, wanted
        self._on = False
        self._source: Image | None = None
        self._layer: Image | None = None
        self._region: Region | None = None
        self._limits: tuple[float, float] | None = None
        self._latest_frame = LatestFrame()
        self._repainting = Repainting(viewer.window._qt_window)
        self._background: Background | None = None
        self._latencies: deque[tuple[float, float]] = deque()
        self._reported_at = 0.0
        self._has_problem = False
        self._arrived = 0.0
        # One change of a layer emits several events; the timer combines them.
        self._capture = QTimer()
        self._capture.setSingleShot(True)
        self._capture.setInterval(0)
        self._capture.timeout.connect(self._put_frame)

    @property
    def is_on(self) -> bool:
        """Whether the switch is on."""
        return self._on

    @property
    def layer(self) -> Image | None:
        """Layer that shows the enhanced frames, or None."""
        return self._layer

    @property
    def dropped(self) -> int:
        """Number of frames that were dropped since the switch was turned on."""
        return self._latest_frame.dropped

    def rates(self) -> tuple[float, float]:
        """Displayed frames per second, and mean latency in seconds from a change to its display.

        They are those of the last `RATE_PERIOD`, or of the last two frames if they are further apart.
        Both are 0 if no frame was shown for `IDLE` seconds.
        """
        shown, now = self._latencies, time.perf_counter()
        if not shown or shown[-1][0] < now - IDLE:
            return 0.0, 0.0
        while len(shown) > 2 and shown[0][0] < now - RATE_PERIOD:
            shown.popleft()
        mean = sum(latency for _, latency in shown) / len(shown)
        period = max(shown[-1][0] - shown[0][0], now - shown[-1][0])
        return (len(shown) - 1) / max(period, 1e-3), mean

    def switch(self, on: bool) -> None:
        """Switch live enhancement on or off; switching off removes the layer."""
        if on == self._on:
            return
        self._on = on
        events = self._viewer.layers.events.removed
        if on:
            events.connect(self._on_removed)
            self._latest_frame = LatestFrame()
            self._latencies.clear()
            self._has_problem = False
            self._background = Background(
                enhance_frames(self._latest_frame), self._on_step, self._on_end
            )
            self._background.start()
            self._repainting.limit(True)
            self.refresh()
        else:
            events.disconnect(self._on_removed)
            self._stop()
            self._repainting.limit(False)
            self._remove_layer()

    def refresh(self, _: object = None) -> None:
        """Apply changed settings, or follow another layer."""
        if not self._on:
            return
        if self._source is not None and self._source not in self._viewer.layers:
            self.closed.emit()  # the widget chooses another layer before this class hears of it
            return
        wanted = self._wanted_now()
        source = None if wanted is None else wanted[0]
        if source is not self._source:
            self._remove_layer()
            self._watch(source)
        self._on_pixels()

    def abandon(self) -> None:
        """Stop without touching the viewer, because its window has been closed."""
        self._on = False
        self._stop()
        self._repainting.abandon()

    def _stop(self) -> None:
        self._watch(None)
        background, self._background = self._background, None
        if background is not None:
            background.abandon()
        self._latest_frame.shown.release()

    def _watch(self, source: Image | None) -> None:
        """Follow the pixels of another layer."""
        follow_pixels(self._source, source, self._on_pixels)
        self._source = source

    def _wanted_now(self) -> tuple[Image, Options] | None:
        try:
            return self._wanted()
        except (ValueError, TypeError) as error:
            self._complain(str(error))
            return None

    def _complain(self, problem: str) -> None:
        """Describe why frames are not enhanced; the description stays until a frame is."""
        self._has_problem = True
        self.state_changed.emit(problem)

    def _on_pixels(self, _: object = None) -> None:
        if not self._capture.isActive():
            self._arrived = time.perf_counter()
            self._capture.start()

    def _put_frame(self) -> None:
        """Pass the visible pixels of the layer to the worker."""
        wanted, viewer = self._wanted_now() if self._on else None, self._viewer
        if wanted is None or wanted[0] is not self._source:
            return
        source, options = wanted
        region = shown_region(source, viewer.dims, visible=False)
        axes = options.axes or ""
        if region is None or viewer.dims.ndisplay != 2 or len(axes) != len(region):
            self._complain("Live shows slices of a layer in 2D.")
            return
        if any(s.stop - s.start != 1 for s, a in zip(region, axes, strict=True) if a not in "yxs"):
            self._complain("Live shows single slices; set the projection mode to none.")
            return
        size = math.prod(s.stop - s.start for s, a in zip(region, axes, strict=True) if a in "yx")
        if size > LARGEST:
            self._complain(
                f"The frame has {size / 1e6:.0f} megapixels; Live takes up to {LARGEST / 1e6:.0f}."
            )
            return
        try:
            window = layer_pixels(source)
        except (MemoryError, ValueError, TypeError) as error:
            self._complain(explain(error))
            return
        if isinstance(window, np.ndarray):
            window = window[region].copy()  # a camera writes the next frame into the same memory
        options = replace(
            options, axes="".join(a for a in axes if a in "yxs"),
            model=choice_for(source, options.model, axes).model, return_residual=False,
            return_uncertainty=False, return_defects=False,
        )  # fmt: skip
        plane = tuple(slice(None) if a in "yxs" else 0 for a in axes)
        self._has_problem = False
        stream = tuple(s.start for s, a in zip(region, axes, strict=True) if a not in "yxstz")
        self._latest_frame.put(Frame(source, window, region, plane, options, self._arrived, stream))

    def _on_step(self, enhanced: Enhanced | None) -> None:
        if enhanced is not None:
            try:
                self._show(enhanced)
                self._repainting.redraw()
            finally:  # otherwise the worker would wait for ever after an error in napari
                self._latest_frame.shown.release()
            now = time.perf_counter()
            self._latencies.append((now, now - enhanced.frame.arrived))
        self._report()

    def _report(self) -> None:
        """Describe the rate at intervals, also after the last frame, and say if no more frames arrive."""
        if self._has_problem or not self._latencies:
            return
        now, last = time.perf_counter(), self._latencies[-1][0]
        if last > self._reported_at and now > self._reported_at + STATUS_INTERVAL:
            self._reported_at = now
            rate, latency = self.rates()
            frames = f"{rate:.{0 if rate >= 10 else 1}f} frames/s, " if rate else ""
            dropped = f", {self.dropped} frames dropped" if self.dropped else ""
            self.state_changed.emit(f"Live: {frames}latency {1000 * latency:.0f} ms{dropped}")
        elif last + IDLE > self._reported_at and now > last + IDLE:
            self._reported_at = now
            self.state_changed.emit(f"Live: no new frame for {IDLE:g} s; the last one is shown.")

    def _on_end(self, result: Failure | None) -> None:
        if isinstance(result, Failure):
            self.state_changed.emit(explain(result.error))
            self._background = None
            self.closed.emit()

    def _show(self, enhanced: Enhanced) -> None:
        from napari_dcr.engine.result import Enhancement

        source, layer, frame = self._source, self._layer, enhanced.frame
        if source is None or frame.source is not source:
            return  # the user has chosen another layer while the worker computed
        record, pixels = enhanced.record, enhanced.pixels
        kept = (
            layer is not None
            and layer in self._viewer.layers
            and layer.data.shape == pixels.shape
            and layer.data.dtype == pixels.dtype
        )
        if not kept or frame.region != self._region:
            enhancement = Enhancement(pixels, record)
            data, state, _ = result_layer(source, enhancement, frame.region)
            state["name"] = f"{source.name} [live]"
            self._region = frame.region
            if not kept:
                self._remove_layer()
                self._region, self._limits = frame.region, black_and_white(record)
                self._layer = self._helpers.add(data.copy(), state, "live")
                return
            assert layer is not None
            layer.translate = state["translate"]
        assert layer is not None
        np.copyto(layer.data, pixels)
        layer.refresh(thumbnail=False, extent=False, highlight=False)
        self._follow_limits(layer, enhanced)

    def _follow_limits(self, layer: Image, enhanced: Enhanced) -> None:
        """Adapt the contrast limits to the black and white point, for pictures for viewing only."""
        record, limits = enhanced.record, black_and_white(enhanced.record)
        if "noise" in record or not takes_limits(layer.rgb, layer.dtype) or limits == self._limits:
            return
        old = self._limits or limits
        if max(abs(a - b) for a, b in zip(old, limits, strict=True)) > LIMITS_CHANGE * (limits[1] - limits[0]):  # fmt: skip
            self._limits = limits
            set_limits(layer, result_limits(record, enhanced.pixels, limits))

    def _remove_layer(self) -> None:
        layer, self._layer = self._layer, None
        self._helpers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer and self._layer is not None:
            self._layer = None
            self.closed.emit()
        elif event.value is self._source:
            self.closed.emit()
