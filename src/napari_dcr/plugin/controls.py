"""The controls: what to enhance and how, in the order of thought."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from qtpy.QtWidgets import QFormLayout, QSizePolicy, QWidget

from napari_dcr.image.intensity import DTYPES
from napari_dcr.network import cards
from napari_dcr.options import PRECISIONS, Options
from napari_dcr.plugin.layers import describe, layer_axes, stage_name
from napari_dcr.plugin.pixels import layer_shape

OWN_FILE = "own file..."

EXTENTS = ("view", "slice", "all")

LAYER_LIMITS = "contrast limits"

TILES = ("auto", 256, 512, 1024, 2048)

DEEPEST = 3
"""Stages offered until the weights have been read."""

PERSISTED = (
    "depth", "detail", "strength", "exposure", "denoise", "colour_alike", "denoise_colour",
    "saturation",
)  # fmt: skip
"""What is remembered per model."""


class Controls:
    """Everything that is chosen before a run.

    Parameters
    ----------
    images : callable
        Returns the layers that can be enhanced.

    Attributes
    ----------
    native : QWidget
        With a row for each of them.
    """

    def __init__(self, images: Callable[[], Sequence[Image]]) -> None:
        self.image = ComboBox(
            name="image", choices=lambda _: images(), nullable=False,
            tooltip="Layer to enhance. It is never changed: the result is a new layer.",
        )  # fmt: skip
        self.axes = LineEdit(
            name="axes",
            tooltip="A letter per axis: y, x; t and z are stepped over; c are channels, enhanced one"
            " by one; s are the samples of a colour. Read from the layer; correct it if it is wrong.",
        )  # fmt: skip
        self.shape = _note("shape")
        self._uses = {
            "auto": "The photo weights: for pictures to look at.",
            **{name: cards.purpose(path) for name, path in cards.shipped().items()},
            OWN_FILE: "Weights that you trained yourself (.safetensors).",
        }
        self.model = ComboBox(
            name="model", choices=list(self._uses), value=Options.model,
            tooltip="Weights of the network: what kind of images it was trained on.",
        )  # fmt: skip
        self.weights = FileEdit(
            name="weights", label="file", filter="Weights (*.safetensors)",
            tooltip="A .safetensors file that napari_dcr.training wrote.",
        )  # fmt: skip
        self.use = _note("use")
        self.depth = Slider(
            name="depth", min=0, max=DEEPEST, value=DEEPEST,
            tooltip="Cascade depth: how many sub-U-Nets run after the tone curve. Each further one"
            " cleans more and takes its share of the time.",
        )  # fmt: skip
        self.stage = _note("stage")
        self.detail = CheckBox(
            name="detail", text="detail module", label="", value=Options.detail,
            tooltip="On keeps fine structure crisp, off is smoother. Nothing to do at depth 0.",
        )  # fmt: skip
        self.strength = FloatSlider(
            name="strength", min=0, max=1, step=0.01, value=Options.strength,
            tooltip="Mixes the image (0) with its enhancement (1).",
        )  # fmt: skip
        self.exposure = FloatSlider(
            name="exposure", label="exposure (EV)", min=-2, max=2, step=0.05, value=Options.exposure,
            tooltip="Brightens or darkens the result, in stops (EV): +1 is twice the light."
            " Highlights are kept.",
        )  # fmt: skip
        self.denoise = FloatSlider(
            name="denoise", min=0, max=1, step=0.01, value=Options.denoise,
            tooltip="How much of the noise goes: all that the network can take (1), or none (0).",
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
            name="extent", choices=EXTENTS, value="all",
            tooltip="How much to enhance: 'view' is what is on screen, 'slice' the whole slice that"
            " the sliders are at, 'all' the whole layer. The place looks the same in each.",
        )  # fmt: skip
        self.device = ComboBox(
            name="device", choices=["auto"], value=Options.device,
            tooltip="Where to compute, with the memory that is free there. 'auto' takes a GPU if"
            " there is one.",
        )  # fmt: skip
        self._devices: dict[str, str] = {}
        self.memory = _note("memory")
        self.more = PushButton(
            name="more", text="Advanced", tooltip="Show or hide what is rarely needed."
        )
        self.tile = ComboBox(
            name="tile", label="window (px)", choices=TILES, value=Options.tile,
            tooltip="Side in pixels of what is computed at once. Smaller takes less memory and a"
            " little more time; the result is the same.",
        )  # fmt: skip
        self.precision = ComboBox(
            name="precision", choices=PRECISIONS, value=Options.precision,
            tooltip="Of the network's arithmetic. 'auto' takes a faster one than fp32 for 8-bit"
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
        self.link_frames = CheckBox(
            name="link_frames", text="link frames", label="", value=Options.link_frames,
            tooltip="One brightening for all slices of a stack, so that it does not flicker; off,"
            " each slice gets its own.",
        )  # fmt: skip
        self.output = ComboBox(
            name="output", choices=["same", *DTYPES], value=Options.output,
            tooltip="Data type of the result. 'same' keeps type and units of the image; floats run"
            " from 0 to 1.",
        )  # fmt: skip
        self.folder = FileEdit(
            name="folder", label="save to zarr", mode="d", nullable=True,
            tooltip="Folder to write the result of a whole layer into, as an OME-Zarr image; its"
            " layer is read from there as you look at it. Takes little memory. Empty: the result"
            " stays in memory.",
        )  # fmt: skip
        self.residual = CheckBox(
            name="residual", text="residual layer", label="", value=False,
            tooltip="Add a layer with input minus result: it should look like noise. For weights"
            " that keep intensities (microscopy), and the extent 'all'.",
        )  # fmt: skip
        self.uncertainty = CheckBox(
            name="uncertainty", text="uncertainty layer", label="", value=False,
            tooltip="Add a layer with the deviation of each pixel's error, in the image's units."
            " For weights that keep intensities (microscopy), and the extent 'all'.",
        )  # fmt: skip
        self.defect_map = CheckBox(
            name="defect_map", text="defects layer", label="", value=False,
            tooltip="Add a layer with what is subtracted from each pixel as a defect of the sensor;"
            " hot and dead pixels are brightest. For the extent 'all'.",
        )  # fmt: skip
        self.native = QWidget()
        self._form = QFormLayout(self.native)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._advanced: list[Widget] = [
            self.tile, self.precision, self.input_range, self.defects, self.defects_file,
            self.link_frames, self.output, self.folder, self.residual, self.uncertainty,
            self.defect_map,
        ]  # fmt: skip
        for control in (
            self.image, self.axes, self.shape, self.model, self.weights, self.use, self.depth,
            self.stage, self.detail, self.strength, self.exposure, self.denoise,
            self.colour_alike, self.denoise_colour, self.saturation, self.extent, self.device,
            self.memory, self.more, *self._advanced,
        ):  # fmt: skip
            self._add_row(control)
        for box in (self.image, self.device, self.model, self.input_range):
            _let_shrink(box)
        self.image.changed.connect(self.show_image)
        self.axes.changed.connect(self._show_shape)
        self.model.changed.connect(self._show_use)
        self.weights.changed.connect(self._show_use)
        self.depth.changed.connect(self._show_stage)
        self.colour_alike.changed.connect(self._show_colour)
        self.extent.changed.connect(self._show_extent)
        self.device.changed.connect(self._show_device)
        self.defects.changed.connect(self._show_defects_file)
        self.more.clicked.connect(self._toggle_advanced)
        self.show_image()
        self._show_use()
        self.show_advanced(False)

    def _add_row(self, control: Widget) -> None:
        if isinstance(control, PushButton):
            self._form.addRow(control.native)
            return
        titled = not isinstance(control, (CheckBox, Label))
        self._form.addRow(control.label if titled else " ", control.native)
        self._form.labelForField(control.native).setToolTip(control.tooltip)

    def _show_row(self, control: Widget, shown: bool) -> None:
        self._form.labelForField(control.native).setVisible(shown)
        control.native.setVisible(shown)

    @property
    def settings(self) -> list[Widget]:
        """Controls that say how, not where: what a preview follows."""
        return [
            self.axes, self.model, self.weights, self.depth, self.detail, self.strength,
            self.exposure, self.denoise, self.colour_alike, self.denoise_colour, self.saturation,
            self.device, self.tile, self.precision, self.input_range,
            self.defects, self.defects_file, self.link_frames, self.output,
        ]  # fmt: skip

    @property
    def chosen_model(self) -> str:
        """What ``model=`` takes."""
        return str(self.weights.value) if self.model.value == OWN_FILE else self.model.value

    @property
    def chosen_defects(self) -> str:
        """What ``defects=`` takes."""
        own = self.defects.value == OWN_FILE
        return str(self.defects_file.value) if own else self.defects.value

    @property
    def chosen_folder(self) -> Path | None:
        """Where results of whole layers are written; None keeps them in memory."""
        return self.folder.value if self.folder.enabled else None

    def options(self, layer: Image) -> Options:
        """What the controls say, for a layer.

        Raises
        ------
        ValueError
            If they say something that cannot be.
        """
        axes = self.axes.value.strip() if layer is self.image.value else layer_axes(layer)
        input_range: Any = self.input_range.value
        if input_range == LAYER_LIMITS:
            input_range = tuple(float(limit) for limit in layer.contrast_limits)
        return Options(
            model=self.chosen_model,
            depth=self.depth.value,
            detail=self.detail.value or self._keeps_intensities,
            strength=self.strength.value,
            exposure=self.exposure.value,
            denoise=self.denoise.value,
            **self._colour(),
            axes=axes,
            input_range=input_range,
            defects=self.chosen_defects,
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
        """Fill in what only PyTorch can tell.

        Parameters
        ----------
        devices : dict of str
            What they are, by name; the one that "auto" takes first.
        stages : int
            Largest depth.
        """
        self._devices = {"auto": next(iter(devices.values())), **devices}
        self.device.choices = list(self._devices)
        self._show_device()
        self.depth.max = stages
        self._show_stage()

    def refresh_images(self) -> None:
        """Layers came, went or got another name."""
        before = self.image.value
        with self.image.changed.blocked():
            self.image.reset_choices()
            if before in self.image.choices:  # under another name it was not found again
                self.image.value = before
        if self.image.value is not before:
            self.image.changed.emit(self.image.value)

    def show_image(self, _: object = None) -> None:
        """Read the axes of the chosen layer."""
        layer = self.image.value
        self.axes.value = "" if layer is None else layer_axes(layer)
        self._show_shape()

    def _show_shape(self, _: object = None) -> None:
        layer = self.image.value
        self.axes.enabled = layer is not None
        if layer is None:
            self.shape.value = "open an image to begin"
            return
        try:
            self.shape.value = describe(layer_shape(layer), self.axes.value.strip())
        except ValueError as error:
            self.shape.value = str(error)

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
        """Offer what there is of colour: nothing where intensities are kept."""
        has_colour = not self._keeps_intensities
        for control in (self.colour_alike, self.saturation):
            self._show_row(control, has_colour)
        self._show_row(self.denoise_colour, has_colour and not self.colour_alike.value)

    def _colour(self) -> dict[str, Any]:
        if self._keeps_intensities:
            return {}
        alike = self.colour_alike.value
        return {
            "denoise_colour": None if alike else self.denoise_colour.value,
            "saturation": self.saturation.value,
        }

    def _show_stage(self, _: object = None) -> None:
        depth = self.depth.value
        first = stage_name(0, self._keeps_intensities)
        if depth == 0:
            what = "nothing changes" if self._keeps_intensities else "brightens, invents nothing"
            self.stage.value = f"{first} alone: {what}"
        else:
            last = ": cleanest" if depth == self.depth.max else ""
            self.stage.value = f"{first} to {stage_name(depth)}{last}"
        self.detail.enabled = depth > 0 and not self._keeps_intensities
        idle = ": no difference with these weights" if self._keeps_intensities else ""
        self.detail.text = f"detail module{idle}"

    def _show_extent(self, _: object = None) -> None:
        whole = self.extent.value == "all"
        self.folder.enabled = self.defect_map.enabled = whole
        self.residual.enabled = self.uncertainty.enabled = whole and self._keeps_intensities

    def _show_device(self, _: object = None) -> None:
        self.memory.value = self._devices.get(self.device.value, "")

    def _toggle_advanced(self, _: object = None) -> None:
        self.show_advanced(not self._advanced_shown)

    def show_advanced(self, shown: bool) -> None:
        """Unfold or fold what is rarely needed."""
        self._advanced_shown = shown
        for control in self._advanced:
            self._show_row(control, shown)
        self._show_defects_file()
        triangle = "DOWN" if shown else "RIGHT"
        self.more.text = (
            unicodedata.lookup(f"BLACK {triangle}-POINTING SMALL TRIANGLE") + " Advanced"
        )

    def persisted(self) -> dict[str, Any]:
        """What is remembered for the chosen model."""
        return {name: getattr(self, name).value for name in PERSISTED}

    def restore(self, values: dict[str, Any]) -> None:
        """Set what was remembered, as far as it can still be set."""
        for name, value in values.items():
            control = getattr(self, name)
            if isinstance(control, ComboBox):
                if value in control.choices:
                    control.value = value
            elif isinstance(control, (Slider, FloatSlider)):
                control.value = min(max(value, control.min), control.max)
            else:
                control.value = value


def _note(name: str) -> Label:
    """A line that explains the control above it, as wide as the dock lets it be."""
    note = Label(name=name, value="")
    note.native.setWordWrap(True)
    note.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    note.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return note


def _let_shrink(box: ComboBox) -> None:
    """A long name must not widen the dock."""
    box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.native.setMinimumWidth(80)
