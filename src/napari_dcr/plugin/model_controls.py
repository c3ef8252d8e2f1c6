"""Controls for the model and what it does to the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FileEdit, FloatSlider, Slider
from napari.layers import Image
from psygnal import Signal

from napari_dcr.engine.model_choice import AUTO, ModelChoice
from napari_dcr.network import cards
from napari_dcr.options import DENOISE_FIRST, Options
from napari_dcr.plugin.form import OWN_FILE, Form, let_shrink, note, stepped
from napari_dcr.plugin.layer_controls import LayerControls
from napari_dcr.plugin.origin import choice_for

DEEPEST = 3
"""Stages offered until the weights have been read."""


class ModelControls:
    """Model, cascade depth, and the strength of each of its effects.

    Parameters
    ----------
    form : Form
        Form that the controls are added to.
    layer : LayerControls
        Controls of the layer, on which the automatic choice of the model depends.

    Attributes
    ----------
    keeps_intensities : bool
        Whether results of the model for the chosen layer have the units of the image (microscopy).
    model_shown : Signal()
        Emitted after ``keeps_intensities`` and the rows follow another model.
    """

    model_shown = Signal()

    def __init__(self, form: Form, layer: LayerControls) -> None:
        self._form, self._layer = form, layer
        self._uses = {
            AUTO: "Automatic: photo for images in colour, pictures and videos; microscopy, which"
            " keeps intensities, for all others.",
            **{name: cards.purpose(path) for name, path in cards.shipped().items()},
            OWN_FILE: "Weights that you trained yourself (.safetensors).",
        }
        self.model = ComboBox(
            name="model", choices=list(self._uses), value=Options.model,
            tooltip="What kind of image this is: 'photo' brightens pictures for viewing, 'microscopy'"
            " removes noise and keeps intensities. The line below says what 'auto' chooses, and why.",
        )  # fmt: skip
        self.weights = FileEdit(
            name="weights", label="file", filter="Weights (*.safetensors)",
            tooltip="A .safetensors file that napari_dcr.training wrote.",
        )  # fmt: skip
        self.use = note("use")
        self.depth = Slider(
            name="depth", label="cleaning", min=0, max=DEEPEST, value=DEEPEST,
            tooltip="Number of stages that remove noise (cascade depth). More stages remove more noise and"
            " take longer. 0 removes none.",
        )  # fmt: skip
        self.stage = note("stage")
        self.detail = CheckBox(
            name="detail", text="preserve fine detail", label="", value=Options.detail,
            tooltip="If it is on, fine structure stays crisp; if it is off, the result is smoother (detail"
            " module). It has no effect at cleaning 0, or with models that keep intensities.",
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
            tooltip="How much of the noise to remove: 1 is as much as the network can, 0 is none.",
        )  # fmt: skip
        self.denoise_first = ComboBox(
            name="denoise_first", label="denoise first", choices=DENOISE_FIRST,
            value=Options.denoise_first,
            tooltip="Remove white noise before the image is brightened: for noisy grey frames (auto),"
            " always (on, which takes up to ten times longer), or never (off).",
        )  # fmt: skip
        self.colour_alike = CheckBox(
            name="colour_alike", text="denoise colours equally", label="", value=True,
            tooltip="If it is off, a second slider, colour noise, appears, so that you can remove"
            " blotches of colour and keep the grain.",
        )  # fmt: skip
        self.denoise_colour = FloatSlider(
            name="denoise_colour", label="colour noise", min=0, max=1, step=0.01, value=1.0,
            tooltip="Share of the colour noise to remove: 1 removes as much as the network can,"
            " 0 removes none.",
        )  # fmt: skip
        self.saturation = FloatSlider(
            name="saturation", min=0, max=2, step=0.01, value=Options.saturation,
            tooltip="Strength of the colours: 0 grey, 1 natural, 2 twice as strong.",
        )  # fmt: skip
        self._stepped = ""
        self.neighbours = ComboBox(
            name="neighbours", choices=["auto", "none"], value="auto",
            tooltip="Frames on each side that help to remove the noise of a frame. They are aligned,"
            " and left out where they do not match. 'auto' uses none, because short"
            " weak transients lose part of their amplitude.",
        )  # fmt: skip
        form.add(
            self.model, self.weights, self.use, self.depth, self.stage, self.detail, self.strength,
            self.exposure, self.denoise, self.denoise_first, self.colour_alike,
            self.denoise_colour, self.saturation, self.neighbours,
        )  # fmt: skip
        let_shrink(self.model, self.neighbours)
        self.model.changed.connect(self._show_model)
        layer.axes.changed.connect(self._show_model)
        self.weights.changed.connect(self._show_model)
        self.depth.changed.connect(self._show_stage)
        self.colour_alike.changed.connect(self._show_colour)
        self._show_model()

    @property
    def chosen_model(self) -> str:
        """Value of the option ``model``."""
        return str(self.weights.value) if self.model.value == OWN_FILE else self.model.value

    def choice(self, layer: Image) -> ModelChoice:
        """Model for a layer, and why it was chosen."""
        return choice_for(layer, self.chosen_model, self._layer.axes_of(layer).letters)

    def keeps_intensities_of(self, layer: Image | None) -> bool:
        """Whether the model for a layer keeps intensities; for files, whether it always does."""
        model = self.chosen_model if layer is None else self.choice(layer).model
        return cards.keeps_intensities(cards.shipped().get(str(model), Path(model)))

    def options(self, layer: Image | None) -> dict[str, Any]:
        """Options that these controls set, for a layer, or for files if it is None."""
        if self.model.value == OWN_FILE and self.weights.value == Path():
            raise ValueError("Choose a .safetensors file first.")
        keeps_intensities = self.keeps_intensities_of(layer)
        chosen = {
            "model": self.chosen_model,
            "depth": self.depth.value,
            "detail": self.detail.value or keeps_intensities,
            "strength": stepped(self.strength),
            "exposure": stepped(self.exposure),
            "denoise": stepped(self.denoise),
        }
        chosen |= self._chosen_neighbours(layer)
        if keeps_intensities:
            return chosen
        alike = self.colour_alike.value
        return {
            **chosen,
            # Depth 0 only brightens.
            "denoise_first": self.denoise_first.value if self.depth.value else "auto",
            "denoise_colour": None if alike else stepped(self.denoise_colour),
            "saturation": stepped(self.saturation),
        }

    def _chosen_neighbours(self, layer: Image | None) -> dict[str, Any]:
        """Options of neighbouring frames; at depth 0 there is nothing that they could help with."""
        value = self.neighbours.value
        if value == "none":
            return {"neighbours": 0}
        if value == "auto" or layer is None or not self.depth.value:
            return {}
        return {"neighbours": int(value[0]), "neighbour_axis": value[-1]}

    def offer_neighbours(self, axes: str) -> None:
        """Offer the axes along which the chosen layer has frames, t before z."""
        stepped = [axis for axis in axes.lower() if axis.isalpha() and axis not in "yxsc"]
        stepped.sort(key=lambda axis: ("tz".find(axis) % 3, axis))
        self._stepped = "".join(dict.fromkeys(stepped))
        along = [f"{count} along {axis}" for axis in self._stepped for count in (1, 2)]
        choices = ["auto", "none", *along]
        if list(self.neighbours.choices) != choices:
            value = self.neighbours.value
            self.neighbours.choices = choices
            self.neighbours.value = value if value in choices else "auto"
        self._show_neighbours()

    def _show_neighbours(self) -> None:
        self._form.show(self.neighbours, bool(self._stepped))

    def offer_stages(self, stages: int) -> None:
        """Set the largest depth."""
        self.depth.max = stages
        self._show_stage()

    def _show_model(self, _: object = None) -> None:
        self._form.show(self.weights, self.model.value == OWN_FILE)
        layer = self._layer.image.value
        choice = None if layer is None else self.choice(layer)
        automatic = choice is not None and choice.reason
        self.use.value = f"Automatic: {choice}." if automatic else self._uses[self.model.value]
        self.keeps_intensities = self.keeps_intensities_of(layer)
        self._show_stage()
        self._show_colour()
        self.model_shown.emit()

    def _show_colour(self, _: object = None) -> None:
        """Show the controls of pictures for viewing, and those of colours for layers in colour."""
        viewing, layer = not self.keeps_intensities, self._layer.image.value
        in_colour = viewing and (layer is None or bool(layer.rgb))
        self._form.show(self.denoise_first, viewing)
        for control in (self.colour_alike, self.saturation):
            self._form.show(control, in_colour)
        self._form.show(self.denoise_colour, in_colour and not self.colour_alike.value)
        self._show_neighbours()

    def _show_stage(self, _: object = None) -> None:
        depth, deepest = self.depth.value, self.depth.max
        verb = "denoising" if self.keeps_intensities else "cleaning"
        if depth == 0:
            off, brightens = "Off: image unchanged", "Brightens only; no neural cleaning"
            self.stage.value = off if self.keeps_intensities else brightens
        elif depth == deepest:
            self.stage.value = f"Full {verb} (all {deepest} stages)"
        else:
            how = "Light" if depth == 1 else "Medium"
            self.stage.value = f"{how} {verb} ({depth} of {deepest} stages)"
        self.detail.enabled = depth > 0 and not self.keeps_intensities
        self.denoise_first.enabled = depth > 0
