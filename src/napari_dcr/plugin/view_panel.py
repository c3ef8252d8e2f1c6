"""Check boxes *Preview*, *Live* and *Compare*, with the slider of the divider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, FloatSlider
from psygnal import Signal

from napari_dcr.plugin import input_devices
from napari_dcr.plugin.compare import Comparison
from napari_dcr.plugin.live import Live
from napari_dcr.plugin.preview import Preview

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.options import Options
    from napari_dcr.plugin.helper_layers import HelperLayers
    from napari_dcr.plugin.results import Results


class ViewPanel:
    """Switches the preview, live frames, and the comparison of before and after.

    The comparison uses the preview while there is one, otherwise the newest result of the chosen
    layer.

    Parameters
    ----------
    viewer : Viewer
    helpers : HelperLayers
        Temporary layers of that viewer.
    results : Results
        Results in that viewer.
    chosen : callable
        Returns the layer that is chosen in the widget, or None.
    options : callable
        Returns the options of that layer; raises ValueError if the values are not allowed.

    Attributes
    ----------
    preview, live, compare : CheckBox
    divider : FloatSlider
        Share of the width that shows the image before its enhancement.
    updater : Preview
        The preview itself.
    follower : Live
        The live frames.
    comparison : Comparison
        The comparison itself.
    state_changed : Signal(str)
        Emitted with a description of the state of the preview or the live frames.
    """

    state_changed = Signal(str)

    def __init__(
        self,
        viewer: Viewer,
        helpers: HelperLayers,
        results: Results,
        chosen: Callable[[], Image | None],
        options: Callable[[Image], Options],
    ) -> None:
        self._results, self._chosen, self._options = results, chosen, options
        self.preview = CheckBox(
            name="preview", text="Preview", label="", value=False,
            tooltip="Enhance what is on screen while you move the controls or the view.",
        )  # fmt: skip
        self.live = CheckBox(
            name="live", text="Live", label="", value=False,
            tooltip="Enhance a layer whose pixels change, such as the view of a running camera, frame"
            " by frame. Frames that arrive too fast are dropped; the status line shows the rate.",
        )  # fmt: skip
        self.compare = CheckBox(
            name="compare", text="Compare", label="", value=False,
            tooltip="Show before (left) and after (right) in the same contrast limits; drag to move"
            " the divider.",
        )  # fmt: skip
        self.divider = FloatSlider(
            name="divider", min=0, max=1, step=0.01, value=0.5, readout=False, enabled=False,
            tooltip="Share of the width that shows the image before its enhancement.",
        )  # fmt: skip
        self.updater = Preview(viewer, helpers, self._wanted)
        self.follower = Live(viewer, helpers, self._wanted)
        self.comparison = Comparison(viewer, helpers)
        self.preview.changed.connect(self.updater.switch)
        self.compare.changed.connect(self.show_comparison)
        self.divider.changed.connect(self.show_comparison)
        self.updater.state_changed.connect(lambda text: self.state_changed.emit(text))
        self.updater.closed.connect(self._on_preview_closed)
        self.updater.updated.connect(self.show_comparison)
        self.live.changed.connect(self._switch_live)
        self.follower.state_changed.connect(lambda text: self.state_changed.emit(text))
        self.follower.closed.connect(self._on_live_closed)
        self.comparison.dragged.connect(self._move_divider)
        input_devices.set_accessible_name(self.divider.native, "Position of the divider")

    def show_comparison(self, _: object = None) -> None:
        """Show, move or hide the comparison, and enable its controls."""
        pair = self._pair()
        self.compare.enabled = pair is not None
        self.divider.enabled = pair is not None and self.compare.value
        if self.compare.value and pair is not None:
            self.comparison.show(*pair, self.divider.value)
        else:
            self.comparison.hide()

    def refresh(self, _: object = None) -> None:
        """Follow another layer or other settings."""
        self.updater.refresh()
        self.follower.refresh()

    def enable(self, ready: bool) -> None:
        """Enable the switches that compute, if there is a layer and no run is in progress."""
        self.live.enabled = ready
        self.preview.enabled = ready and not self.live.value

    def close(self) -> None:
        """Switch everything off."""
        self.preview.value = self.live.value = self.compare.value = False

    def abandon(self) -> None:
        """Stop without touching the viewer, because its window has been closed."""
        self.updater.abandon()
        self.follower.abandon()

    def toggle_compare(self) -> None:
        """Switch the comparison on or off, if there is something to compare."""
        if self.compare.enabled:
            self.compare.value = not self.compare.value

    def _pair(self) -> tuple[Image, Image] | None:
        """Source and result to compare."""
        if self.updater.layer is not None and self.updater.source is not None:
            return self.updater.source, self.updater.layer
        return self._results.newest(self._chosen())

    def _wanted(self) -> tuple[Image, Options] | None:
        layer = self._chosen()
        return None if layer is None else (layer, self._options(layer))

    def _on_preview_closed(self) -> None:
        self.preview.value = False

    def _switch_live(self, on: bool) -> None:
        if on:
            self.preview.value = False  # both show the same place
        self.preview.enabled = not on
        self.follower.switch(on)

    def _on_live_closed(self) -> None:
        self.live.value = False

    def _move_divider(self, share: float) -> None:
        self.divider.value = share
