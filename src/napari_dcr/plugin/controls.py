"""The controls of the widget: what to enhance, and how."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    FileEdit,
    FloatSlider,
    Label,
    LineEdit,
    PushButton,
    Slider,
    Widget,
)
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QSizePolicy, QWidget

from napari_dcr.image.intensity import DTYPES
from napari_dcr.network import cards
from napari_dcr.options import DENOISE_FIRST, PRECISIONS, Options, parse_noise
from napari_dcr.plugin import input_devices
from napari_dcr.plugin.axes import Axes, describe, doubt, find_axes
from napari_dcr.plugin.guide import show_guide
from napari_dcr.plugin.pixels import layer_shape

OWN_FILE = "own file..."

WARNING = unicodedata.lookup("WARNING SIGN")

EXTENTS = ("view", "slice", "all")

LAYER_LIMITS = "contrast limits"

TILES = ("auto", 256, 512, 1024, 2048)

DEEPEST = 3
"""Stages offered until the weights have been read."""

PERSISTED = (
    "depth", "detail", "strength", "exposure", "denoise", "denoise_first", "colour_alike",
    "denoise_colour", "saturation",
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
    """

    def __init__(
        self,
        images: Callable[[], Sequence[Image]],
        viewer_labels: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._viewer_labels = viewer_labels
        self._corrected: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._found: Axes | None = None
        self._labelled: Image | None = None
        self.image = ComboBox(
            name="image", choices=lambda _: images(), nullable=False,
            tooltip="Layer to enhance. It is never changed: the result is a new layer.",
        )  # fmt: skip
        self.axes = LineEdit(
            name="axes",
            tooltip="One letter per axis: y and x, t (time), z (planes), c (channels), s (RGB). Each"
            " time point, plane and channel is processed separately. Correct them if they are wrong.",
        )  # fmt: skip
        self.shape = _note("shape")
        self._uses = {
            "auto": "Photo model: brightens and cleans pictures for viewing.",
            **{name: cards.purpose(path) for name, path in cards.shipped().items()},
            OWN_FILE: "Weights that you trained yourself (.safetensors).",
        }
        self.model = ComboBox(
            name="model", choices=list(self._uses), value=Options.model,
            tooltip="What kind of image this is.",
        )  # fmt: skip
        self.weights = FileEdit(
            name="weights", label="file", filter="Weights (*.safetensors)",
            tooltip="A .safetensors file that napari_dcr.training wrote.",
        )  # fmt: skip
        self.use = _note("use")
        self.depth = Slider(
            name="depth", label="cleaning", min=0, max=DEEPEST, value=DEEPEST,
            tooltip="How strongly to clean (cascade depth). More stages remove more noise and take"
            " longer. 0 only brightens.",
        )  # fmt: skip
        self.stage = _note("stage")
        self.detail = CheckBox(
            name="detail", text="preserve fine detail", label="", value=Options.detail,
            tooltip="On keeps fine structure crisp, off is smoother (detail module). Has no effect"
            " at depth 0.",
        )  # fmt: skip
        self.strength = FloatSlider(
            name="strength", min=0, max=1, step=0.01, value=Options.strength,
            tooltip="Mixes the image (0) with its enhancement (1).",
        )  # fmt: skip
        self.exposure = FloatSlider(
            name="exposure", label="exposure (EV)", min=-4, max=4, step=0.05, value=Options.exposure,
            tooltip="Brightens or darkens the result, in stops (EV): +1 is twice the light."
            " Highlights are kept.",
        )  # fmt: skip
        self.denoise = FloatSlider(
            name="denoise", min=0, max=1, step=0.01, value=Options.denoise,
            tooltip="How much of the noise goes: all that the network can take (1), or none (0).",
        )  # fmt: skip
        self.denoise_first = ComboBox(
            name="denoise_first", label="denoise first", choices=DENOISE_FIRST,
            value=Options.denoise_first,
            tooltip="Remove white noise before the image is brightened: for noisy grey frames (auto),"
            " always (on, which takes up to ten times longer), or never (off).",
        )  # fmt: skip
        self.colour_alike = CheckBox(
            name="colour_alike", text="colour noise alike", label="", value=True,
            tooltip="Off, colour noise has a slider of its own: blotches can go and grain can stay.",
        )  # fmt: skip
        self.denoise_colour = FloatSlider(
            name="denoise_colour", label="colour noise", min=0, max=1, step=0.01, value=1.0,
            tooltip="How much of the colour noise goes (1: all that the network can take).",
        )  # fmt: skip
        self.saturation = FloatSlider(
            name="saturation", min=0, max=2, step=0.01, value=Options.saturation,
            tooltip="Strength of the colours: 0 grey, 1 natural, 2 twice as strong.",
        )  # fmt: skip
        self.extent = ComboBox(
            name="extent", label="region", choices=EXTENTS, value="all",
            tooltip="How much to enhance: 'view' is what is on screen, 'slice' the current slice,"
            " 'all' the whole layer. A place looks the same in each of them.",
        )  # fmt: skip
        self.replace_last = CheckBox(
            name="replace_last", text="replace the last result", label="", value=False,
            tooltip="Remove the last result of this layer when the new one is there. Off, every run"
            " adds a layer.",
        )  # fmt: skip
        self.device = ComboBox(
            name="device", choices=["auto"], value=Options.device,
            tooltip="Processor to use; its free memory is shown below. 'auto' uses a GPU if there is"
            " one.",
        )  # fmt: skip
        self._devices: dict[str, str] = {}
        self.memory = _note("memory")
        self.more = PushButton(
            name="more", text="Advanced", tooltip="Show or hide advanced settings."
        )
        self.tile = ComboBox(
            name="tile", label="tile size (px)", choices=TILES, value=Options.tile,
            tooltip="Side of the tiles that are computed at once. Smaller tiles use less memory; the"
            " result is the same.",
        )  # fmt: skip
        self.precision = ComboBox(
            name="precision", choices=PRECISIONS, value=Options.precision,
            tooltip="Number format used for computing. 'auto' uses a faster one than fp32 for 8-bit"
            " results, where the device has it.",
        )  # fmt: skip
        self.input_range = ComboBox(
            name="input_range", label="input range", choices=["auto", "dtype", LAYER_LIMITS],
            value=Options.input_range,
            tooltip="Black and white point: found from the image (auto), the whole range of its data"
            " type, or the layer's contrast limits.",
        )  # fmt: skip
        self.defects = ComboBox(
            name="defects", choices=["auto", "off", OWN_FILE], value=Options.defects,
            tooltip="Offsets of the sensor's columns and rows, hot and dead pixels: found in the image"
            " and corrected (auto), left alone (off), or read from a file.",
        )  # fmt: skip
        self.defects_file = FileEdit(
            name="defects_file", label="file", filter="Defects (*.npz)",
            tooltip="An .npz file that napari_dcr.Defects.save wrote, from dark frames or another image.",
        )  # fmt: skip
        self.noise = LineEdit(
            name="noise", value="",
            tooltip="The camera's noise, if you know it: units per electron, units without light, read"
            " noise in electrons, such as 2.2, 100, 1.4. Empty: found in the image. For weights that"
            " keep intensities (microscopy).",
        )  # fmt: skip
        self.link_frames = CheckBox(
            name="link_frames", text="same brightness for all frames", label="", value=Options.link_frames,
            tooltip="Use the same tone curve for every frame, which prevents flicker. Off, each frame"
            " gets its own.",
        )  # fmt: skip
        self.output = ComboBox(
            name="output", label="data type", choices=["same", *DTYPES], value=Options.output,
            tooltip="Data type of the result. 'same' keeps the image's type and units; for another"
            " type, floats run from 0 to 1.",
        )  # fmt: skip
        self.folder = FileEdit(
            name="folder", label="save in folder", mode="d", nullable=True,
            tooltip="Write the result to an OME-Zarr in this folder instead of keeping it in memory."
            " For the region 'all'.",
        )  # fmt: skip
        self.residual = CheckBox(
            name="residual", text="residual layer", label="", value=False,
            tooltip="Add a layer with input minus result: it should look like noise. For models"
            " that keep intensities (microscopy), and the region 'all'.",
        )  # fmt: skip
        self.uncertainty = CheckBox(
            name="uncertainty", text="uncertainty layer", label="", value=False,
            tooltip="Add a layer with the standard error of each pixel, in the image's units."
            " For models that keep intensities (microscopy), and the region 'all'.",
        )  # fmt: skip
        self.defect_map = CheckBox(
            name="defect_map", text="defects layer", label="", value=False,
            tooltip="Add a layer with what is subtracted from each pixel as a defect of the sensor;"
            " hot and dead pixels are brightest. For the region 'all'.",
        )  # fmt: skip
        self.native = QWidget()
        self._form = QFormLayout(self.native)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._advanced: list[Widget] = [
            self.tile, self.precision, self.input_range, self.defects, self.defects_file,
            self.noise, self.link_frames, self.output, self.folder, self.defect_map,
        ]  # fmt: skip
        self.reset = PushButton(
            name="reset", text="Reset", tooltip="Set all controls below the axes to their defaults."
            " A double click on the name of one control resets that one.",
        )  # fmt: skip
        self.help = PushButton(name="help", text="?", tooltip="Open the guide to these controls.")
        self.help.native.setMaximumWidth(2 * self.help.native.sizeHint().height())
        for control in (
            self.image, self.axes, self.shape, self.model, self.weights, self.use, self.depth,
            self.stage, self.detail, self.strength, self.exposure, self.denoise,
            self.denoise_first, self.colour_alike, self.denoise_colour, self.saturation, self.extent,
            self.residual, self.uncertainty, self.replace_last, self.device, self.memory, self.more, *self._advanced,
        ):  # fmt: skip
            self._add_row(control)
        for box in (self.image, self.device, self.model, self.input_range):
            _let_shrink(box)
        self.image.changed.connect(self.show_image)
        self.axes.changed.connect(self._on_axes)
        self.model.changed.connect(self._show_use)
        self.weights.changed.connect(self._show_use)
        self.depth.changed.connect(self._show_stage)
        self.colour_alike.changed.connect(self._show_colour)
        self.extent.changed.connect(self._show_extent)
        self.device.changed.connect(self._show_device)
        self.defects.changed.connect(self._show_defects_file)
        self.more.clicked.connect(self._toggle_advanced)
        self.reset.clicked.connect(self.reset_all)
        self.help.clicked.connect(lambda _=None: show_guide(self.native))
        self.show_image()
        self._show_use()
        self.show_advanced(False)
        self._defaults = {control.name: control.value for control in self._resettable}
        self._double_clicks = []
        for control in self._resettable:
            label = self._form.labelForField(control.native)
            self._double_clicks.append(
                input_devices.on_double_click(label, partial(self._reset, control))
            )
            control.changed.connect(self._mark_advanced)
        input_devices.tame(self.native)
        for control in (self.image, self.axes, *self._resettable):
            input_devices.name(control.native, control.label or getattr(control, "text", ""))

    def _add_row(self, control: Widget) -> None:
        if control is self.more:
            row = QHBoxLayout()
            row.addWidget(self.more.native, 1)
            row.addWidget(self.reset.native)
            row.addWidget(self.help.native)
            self._form.addRow(row)
            return
        titled = not isinstance(control, (CheckBox, Label))
        self._form.addRow(control.label if titled else " ", control.native)
        self._form.labelForField(control.native).setToolTip(control.tooltip)

    def _show_row(self, control: Widget, shown: bool) -> None:
        self._form.labelForField(control.native).setVisible(shown)
        control.native.setVisible(shown)

    @property
    def settings(self) -> list[Widget]:
        """Controls that determine the enhancement but not the region; the preview follows them."""
        return [
            self.axes, self.model, self.weights, self.depth, self.detail, self.strength,
            self.exposure, self.denoise, self.denoise_first, self.colour_alike, self.denoise_colour, self.saturation,
            self.device, self.tile, self.precision, self.input_range,
            self.defects, self.defects_file, self.noise, self.link_frames, self.output,
        ]  # fmt: skip

    @property
    def chosen_model(self) -> str:
        """Value of the option ``model``."""
        return str(self.weights.value) if self.model.value == OWN_FILE else self.model.value

    @property
    def chosen_defects(self) -> str:
        """Value of the option ``defects``."""
        own = self.defects.value == OWN_FILE
        return str(self.defects_file.value) if own else self.defects.value

    @property
    def chosen_noise(self) -> Any:
        """Value of the option ``noise``."""
        text = self.noise.value.strip()
        return parse_noise(text) if text and self.noise.enabled else None

    @property
    def chosen_folder(self) -> Path | None:
        """Folder that results of whole layers are written to; None keeps them in memory."""
        return self.folder.value if self.folder.enabled else None

    def options(self, layer: Image | None) -> Options:
        """Options from the values of the controls, for a layer, or for files if it is None.

        Raises
        ------
        ValueError
            If the values of the controls are not allowed.
        """
        axes = None if layer is None else self.axes_of(layer).letters
        input_range: Any = self.input_range.value
        if input_range == LAYER_LIMITS:
            if layer is None:
                raise ValueError(
                    f"input range: got {LAYER_LIMITS!r}, which files have not; allowed are auto and dtype"
                )
            input_range = tuple(float(limit) for limit in layer.contrast_limits)
        return Options(
            model=self.chosen_model,
            depth=self.depth.value,
            detail=self.detail.value or self._keeps_intensities,
            strength=_stepped(self.strength),
            exposure=_stepped(self.exposure),
            denoise=_stepped(self.denoise),
            **self._of_pictures(),
            axes=axes,
            input_range=input_range,
            defects=self.chosen_defects,
            noise=self.chosen_noise,
            link_frames=self.link_frames.value,
            output=self.output.value,
            tile=self.tile.value,
            device=self.device.value,
            precision=self.precision.value,
            return_residual=self.residual.enabled and self.residual.value,
            return_uncertainty=self.uncertainty.enabled and self.uncertainty.value,
            return_defects=self.defect_map.enabled and self.defect_map.value,
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
        self._devices = {"auto": next(iter(devices.values())), **devices}
        self.device.choices = list(self._devices)
        self._show_device()
        self.depth.max = stages
        self._show_stage()

    def refresh_images(self) -> None:
        """React to layers that were added, removed or renamed."""
        before = self.image.value
        with self.image.changed.blocked():
            self.image.reset_choices()
            if before in self.image.choices:  # it was not found again under its new name
                self.image.value = before
        if self.image.value is not before:
            self.image.changed.emit(self.image.value)

    def axes_of(self, layer: Image) -> Axes:
        """Axes of a layer: the user's correction, or those that were found."""
        corrected = self._corrected.get(layer)
        if corrected is not None:
            return Axes(corrected, False)
        if layer is self.image.value and self._found is not None:
            return self._found
        return find_axes(layer, self._viewer_labels())

    def show_image(self, _: object = None) -> None:
        """Read the axes of the chosen layer, and follow its labels."""
        layer = self.image.value
        if layer is not self._labelled:
            for other, connect in ((self._labelled, False), (layer, True)):
                if other is not None:
                    labels = other.events.axis_labels
                    (labels.connect if connect else labels.disconnect)(self.show_image)
            self._labelled = layer
        self._found = None if layer is None else find_axes(layer, self._viewer_labels())
        with self.axes.changed.blocked():
            self.axes.value = "" if layer is None else self.axes_of(layer).letters
        self.axes.changed.emit(self.axes.value)

    def _on_axes(self, text: str) -> None:
        layer, found = self.image.value, self._found
        if layer is not None and found is not None:
            if text.strip() == found.letters:
                self._corrected.pop(layer, None)
            else:
                self._corrected[layer] = text.strip()
        self._show_shape()

    @property
    def axes_fit(self) -> bool:
        """Whether the axes fit the chosen layer."""
        return self._axes_fit

    def doubt(self, layer: Image) -> str | None:
        """Question about a layer's axes that the user should answer before a run, or None."""
        return doubt(layer_shape(layer), self.axes_of(layer))

    def _show_shape(self) -> None:
        layer = self.image.value
        self.axes.enabled = layer is not None
        self._axes_fit = True
        if layer is None:
            self.shape.value = "Open an image to begin."
            return
        axes = self.axes_of(layer)
        try:
            text = describe(layer_shape(layer), axes.letters, guessed=axes.guessed)
            if axes.guessed and self.doubt(layer):
                text = f"{WARNING} {text}"
        except ValueError as error:
            text, self._axes_fit = f"{WARNING} {error}", False
        self.shape.value = text

    def _show_use(self, _: object = None) -> None:
        self._show_row(self.weights, self.model.value == OWN_FILE)
        self.use.value = self._uses[self.model.value]
        path = cards.shipped().get(self.chosen_model, Path(self.chosen_model))
        self._keeps_intensities = cards.keeps_intensities(path)
        self._show_stage()
        self._show_colour()
        self._show_extent()

    def _show_defects_file(self, _: object = None) -> None:
        shown = self._advanced_shown and self.defects.value == OWN_FILE
        self._show_row(self.defects_file, shown)

    def _show_colour(self, _: object = None) -> None:
        """Show the controls of pictures, unless the model keeps intensities."""
        has_colour = not self._keeps_intensities
        for control in (self.denoise_first, self.colour_alike, self.saturation):
            self._show_row(control, has_colour)
        for control in (self.residual, self.uncertainty):
            self._show_row(control, not has_colour)
        self._show_row(self.denoise_colour, has_colour and not self.colour_alike.value)

    def _of_pictures(self) -> dict[str, Any]:
        if self._keeps_intensities:
            return {}
        alike = self.colour_alike.value
        return {
            # Depth 0 only brightens.
            "denoise_first": self.denoise_first.value if self.depth.value else "auto",
            "denoise_colour": None if alike else _stepped(self.denoise_colour),
            "saturation": _stepped(self.saturation),
        }

    def _show_stage(self, _: object = None) -> None:
        depth, deepest = self.depth.value, self.depth.max
        verb = "denoising" if self._keeps_intensities else "cleaning"
        if depth == 0:
            off, brightens = "Off: image unchanged", "Brightens only; no neural cleaning"
            self.stage.value = off if self._keeps_intensities else brightens
        elif depth == deepest:
            self.stage.value = f"Full {verb} (all {deepest} stages)"
        else:
            how = "Light" if depth == 1 else "Medium"
            self.stage.value = f"{how} {verb} ({depth} of {deepest} stages)"
        self.detail.enabled = depth > 0 and not self._keeps_intensities
        self.denoise_first.enabled = depth > 0
        idle = " (no effect here)" if self._keeps_intensities else ""
        self.detail.text = f"preserve fine detail{idle}"

    def _show_extent(self, _: object = None) -> None:
        whole = self.extent.value == "all"
        self.folder.enabled = self.defect_map.enabled = whole
        self.noise.enabled = self._keeps_intensities
        self.residual.enabled = self.uncertainty.enabled = whole and self._keeps_intensities

    def _show_device(self, _: object = None) -> None:
        self.memory.value = self._devices.get(self.device.value, "")

    def _toggle_advanced(self, _: object = None) -> None:
        self.show_advanced(not self._advanced_shown)

    def show_advanced(self, shown: bool) -> None:
        """Show or hide the advanced controls."""
        self._advanced_shown = shown
        for control in self._advanced:
            self._show_row(control, shown)
        self._show_defects_file()
        self._mark_advanced()

    def _mark_advanced(self, _: object = None) -> None:
        """Name hidden controls that differ from their defaults on the button."""
        shown = self._advanced_shown
        triangle = "DOWN" if shown else "RIGHT"
        self.more.text = (
            unicodedata.lookup(f"BLACK {triangle}-POINTING SMALL TRIANGLE") + " Advanced"
        )
        if not shown and hasattr(self, "_defaults"):
            changed = [
                (c.label or c.text).partition(" (")[0]
                for c in self._advanced
                if c.value != self._defaults.get(c.name, c.value)
            ]
            if changed:
                self.more.text += f" ({', '.join(changed)})"

    @property
    def _resettable(self) -> list[Widget]:
        """Controls with a default."""
        ours = [c for c in self.settings if c not in (self.axes, self.weights, self.defects_file)]
        rest = [c for c in self._advanced if c is not self.defects_file]
        shown = [self.extent, self.residual, self.uncertainty, self.replace_last]
        return list(dict.fromkeys([*ours, *shown, *rest]))

    def reset_all(self, _: object = None) -> None:
        """Set all controls below the axes to their defaults."""
        for control in self._resettable:
            self._reset(control)

    def _reset(self, control: Widget) -> None:
        default = self._defaults[control.name]
        control.value = min(default, control.max) if control is self.depth else default

    def persisted(self) -> dict[str, Any]:
        """Values to remember for the chosen model."""
        return {name: getattr(self, name).value for name in PERSISTED}

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


def _stepped(slider: FloatSlider) -> float:
    """Value of a slider rounded to its step, as it is displayed."""
    return float(round(round(slider.value / slider.step) * slider.step, 6))


def _note(name: str) -> Label:
    """Create a line that explains the control above it, with the width of the dock."""
    note = Label(name=name, value="")
    note.native.setWordWrap(True)
    note.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    note.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return note


def _let_shrink(box: ComboBox) -> None:
    """Let a control shrink, so that a long name does not widen the dock."""
    box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.native.setMinimumWidth(80)
