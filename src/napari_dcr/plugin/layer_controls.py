"""Controls for the layer to enhance and its axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from magicgui.widgets import ComboBox, LineEdit
from napari.layers import Image

from napari_dcr.plugin.axes import Axes, describe, doubt, find_axes
from napari_dcr.plugin.form import WARNING, Form, let_shrink, note
from napari_dcr.plugin.pixels import layer_shape


class LayerControls:
    """Box of layers, with the axes of the chosen one.

    The user's corrections of the axes are remembered for each layer.

    Parameters
    ----------
    form : Form
        Form that the controls are added to.
    images : callable
        Returns the layers that can be enhanced.
    viewer_labels : callable
        Returns the axis labels of the viewer's sliders.

    Attributes
    ----------
    axes_fit : bool
        Whether the axes fit the chosen layer.
    """

    def __init__(
        self,
        form: Form,
        images: Callable[[], Sequence[Image]],
        viewer_labels: Callable[[], Sequence[str]],
    ) -> None:
        self._viewer_labels = viewer_labels
        self._corrections: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._found: Axes | None = None  # axes of the chosen layer, without a correction
        self._followed: Image | None = None  # layer whose labels and shape are followed
        self._described: tuple[int, ...] | None = None
        self.axes_fit = True
        self.image = ComboBox(
            name="image", choices=lambda _: images(), nullable=False,
            tooltip="Layer to enhance. The box follows the layer that you select in the layer list. The layer"
            " is never changed; the result is a new layer.",
        )  # fmt: skip
        self.axes = LineEdit(
            name="axes",
            tooltip="One letter per axis: y and x, t (time), z (planes), c (channels), s (RGB). Each"
            " time point, plane and channel is processed separately. Correct wrong letters.",
        )  # fmt: skip
        self.shape = note("shape")
        form.add(self.image, self.axes, self.shape)
        let_shrink(self.image)
        self.image.changed.connect(self.show_image)
        self.axes.changed.connect(self._on_axes)
        self.show_image()

    def refresh_images(self) -> None:
        """React to layers that were added, removed or renamed."""
        before = self.image.value
        with self.image.changed.blocked():
            self.image.reset_choices()
            if before in self.image.choices:  # its name has changed
                self.image.value = before
        if self.image.value is not before:
            self.image.changed.emit(self.image.value)

    def axes_of(self, layer: Image) -> Axes:
        """Axes of a layer: the user's correction, or those that were found."""
        corrected = self._corrections.get(layer)
        if corrected is not None:
            return Axes(corrected, False)
        if layer is self.image.value and self._found is not None:
            return self._found
        return find_axes(layer, self._viewer_labels())

    def doubt(self, layer: Image) -> str | None:
        """Question about a layer's axes that the user should answer before a run, or None."""
        return doubt(layer_shape(layer), self.axes_of(layer))

    def show_image(self, _: object = None) -> None:
        """Show the axes of the chosen layer, and follow its labels."""
        layer = self.image.value
        if layer is not self._followed:
            if self._followed is not None:
                self._followed.events.axis_labels.disconnect(self.show_image)
                self._followed.events.data.disconnect(self._on_data)
            if layer is not None:
                layer.events.axis_labels.connect(self.show_image)
                layer.events.data.connect(self._on_data)
            self._followed = layer
        self._found = None if layer is None else find_axes(layer, self._viewer_labels())
        self._described = None if layer is None else layer_shape(layer)
        with self.axes.changed.blocked():
            self.axes.value = "" if layer is None else self.axes_of(layer).letters
        self.axes.changed.emit(self.axes.value)

    def _on_data(self, _: object = None) -> None:
        """Describe the layer again if its new pixels have another shape."""
        if self._followed is not None and layer_shape(self._followed) != self._described:
            self.show_image()

    def _on_axes(self, text: str) -> None:
        layer, found = self.image.value, self._found
        if layer is not None and found is not None:
            if text.strip() == found.letters:
                self._corrections.pop(layer, None)
            else:
                self._corrections[layer] = text.strip()
        self._show_shape()

    def _show_shape(self) -> None:
        layer = self.image.value
        self.axes.enabled = layer is not None
        self.axes_fit = True
        if layer is None:
            self.shape.value = "Open an image to begin."
            return
        axes = self.axes_of(layer)
        try:
            text = describe(layer_shape(layer), axes.letters, guessed=axes.guessed)
            if axes.guessed and self.doubt(layer):
                text = f"{WARNING} {text}"
        except ValueError as error:
            text, self.axes_fit = f"{WARNING} {error}", False
        self.shape.value = text
