"""All controls of the widget, and their conversion to options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider, PushButton, Slider, Widget
from napari.layers import Image

from napari_dcr.options import Options
from napari_dcr.plugin import input_devices, settings
from napari_dcr.plugin.advanced_controls import AdvancedControls
from napari_dcr.plugin.form import OWN_FILE, Form
from napari_dcr.plugin.guide import show_guide
from napari_dcr.plugin.layer_controls import LayerControls
from napari_dcr.plugin.model_controls import ModelControls
from napari_dcr.plugin.run_controls import RunControls

PERSISTED = (
    "depth", "detail", "strength", "exposure", "denoise", "denoise_first", "colour_alike",
    "denoise_colour", "saturation", "neighbours",
)  # fmt: skip
"""Names of the controls whose values are remembered for each model."""


class Controls:
    """All settings of a run.

    Parameters
    ----------
    images : callable
        Returns the layers that can be enhanced.
    viewer_labels : callable
        Returns the axis labels of the viewer's sliders.

    Attributes
    ----------
    native : QWidget
        Widget with one row for each control.
    layer, processing, running, advanced
        The controls by kind. The controls themselves are attributes, too, such as ``depth``.
    """

    def __init__(
        self,
        images: Callable[[], Sequence[Image]],
        viewer_labels: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.form = form = Form()
        self.native = form.native
        self.reset = PushButton(
            name="reset", text="Reset", tooltip="Set all controls below the axes to their defaults."
            " A double click on the name of one control resets that one.",
        )  # fmt: skip
        self.help = PushButton(name="help", text="?", tooltip="Open the guide to these controls.")
        self.help.native.setMaximumWidth(2 * self.help.native.sizeHint().height())

        self.layer = layer = LayerControls(form, images, viewer_labels)
        self.image, self.axes, self.shape = layer.image, layer.axes, layer.shape
        self.processing = processing = ModelControls(form, layer)
        self.model, self.weights, self.use = processing.model, processing.weights, processing.use
        self.depth, self.stage, self.detail = processing.depth, processing.stage, processing.detail
        self.strength, self.exposure = processing.strength, processing.exposure
        self.denoise, self.denoise_first = processing.denoise, processing.denoise_first
        self.colour_alike, self.denoise_colour = processing.colour_alike, processing.denoise_colour
        self.saturation, self.neighbours = processing.saturation, processing.neighbours
        self.running = running = RunControls(form)
        self.extent, self.replace_last = running.extent, running.replace_last
        self.residual, self.uncertainty = running.residual, running.uncertainty
        self.device, self.memory = running.device, running.memory
        self.advanced = advanced = AdvancedControls(form, self.reset, self.help)
        self.more, self.tile, self.precision = advanced.more, advanced.tile, advanced.precision
        self.input_range, self.noise = advanced.input_range, advanced.noise
        self.defects, self.defects_file = advanced.defects, advanced.defects_file
        self.link_frames, self.output = advanced.link_frames, advanced.output
        self.folder, self.defect_map = advanced.folder, advanced.defect_map

        processing.offer_neighbours(self.axes.value)
        self.axes.changed.connect(processing.offer_neighbours)
        processing.model_shown.connect(self._show_availability)
        self.extent.changed.connect(self._show_availability)
        self._show_availability()
        self.reset.clicked.connect(self.reset_all)
        self.help.clicked.connect(lambda _=None: show_guide(self.native))
        self._defaults = {control.name: control.value for control in self._resettable}
        self._double_clicks = [
            input_devices.on_double_click(form.label(control), partial(self._reset, control))
            for control in self._resettable
        ]
        input_devices.require_focus(self.native)
        for control in (self.image, self.axes, *self._resettable):
            # magicgui derives the label of a check box from its name, which is not displayed.
            shown = control.text if isinstance(control, CheckBox) else control.label
            input_devices.set_accessible_name(control.native, shown)

    @property
    def settings(self) -> list[Widget]:
        """Controls that determine the enhancement but not the region; the preview follows them."""
        return [
            self.axes, self.model, self.weights, self.depth, self.detail, self.strength,
            self.exposure, self.denoise, self.denoise_first, self.colour_alike,
            self.denoise_colour, self.saturation, self.neighbours, self.device, self.tile, self.precision,
            self.input_range, self.defects, self.defects_file, self.noise, self.link_frames,
            self.output,
        ]  # fmt: skip

    def options(self, layer: Image | None) -> Options:
        """Options from the values of the controls, for a layer, or for files if it is None.

        Raises
        ------
        ValueError
            If the values of the controls are not allowed.
        """
        keeps_intensities = self.processing.keeps_intensities_of(layer)
        return Options(
            axes=None if layer is None else self.layer.axes_of(layer).letters,
            **self.processing.options(layer),
            **self.running.options(keeps_intensities),
            **self.advanced.options(layer, keeps_intensities),
        )

    def offer(self, devices: dict[str, str], stages: int) -> None:
        """Set the choices that require PyTorch.

        Parameters
        ----------
        devices : dict of str
            Description of each device by name; the device that "auto" selects comes first.
        stages : int
            Largest depth.
        """
        self.running.offer_devices(devices)
        self.processing.offer_stages(stages)

    def _show_availability(self, _: object = None) -> None:
        """Enable the controls that have an effect on the chosen model and region."""
        keeps_intensities = self.processing.keeps_intensities
        self.running.show_model(keeps_intensities)
        self.advanced.show_model(keeps_intensities, self.running.whole)

    # Defaults and remembered values

    @property
    def _resettable(self) -> list[Widget]:
        """Controls with a default."""
        files = (self.axes, self.weights, self.defects_file)
        below = [self.extent, self.residual, self.uncertainty, self.replace_last]
        ordered = dict.fromkeys([*self.settings, *below, *self.advanced.controls])
        return [control for control in ordered if control not in files]

    def reset_all(self, _: object = None) -> None:
        """Set all controls below the axes to their defaults."""
        for control in self._resettable:
            self._reset(control)

    def _reset(self, control: Widget) -> None:
        default = self._defaults[control.name]
        control.value = min(default, control.max) if control is self.depth else default

    def remember(self) -> None:
        """Save the values for the next session: model and device, and the others for each model."""
        general = {name: getattr(self, name).value for name in settings.GENERAL}
        if self.model.value == OWN_FILE:  # the file may not exist the next time
            del general["model"]
        settings.save("general", general)
        values = {name: getattr(self, name).value for name in PERSISTED}
        settings.save(settings.section_of(self.model.value), values)

    def restore_all(self) -> None:
        """Set the values of the last session."""
        self.restore(settings.load("general", settings.GENERAL))
        self.restore_model()

    def restore_model(self, _: object = None) -> None:
        """Set the values that were last used with the chosen model."""
        self.restore(settings.load(settings.section_of(self.model.value), PERSISTED))

    def restore(self, values: dict[str, Any]) -> None:
        """Set remembered values, except those that are no longer allowed."""
        for name, value in values.items():
            control = getattr(self, name)
            if isinstance(control, ComboBox):
                if value in control.choices:
                    control.value = value
            elif isinstance(control, (Slider, FloatSlider)):
                control.value = min(max(value, control.min), control.max)
            else:
                control.value = value
