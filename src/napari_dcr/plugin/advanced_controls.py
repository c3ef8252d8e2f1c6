"""Controls below the button *Advanced*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FileEdit, LineEdit, PushButton, Widget

from napari_dcr.image.intensity import DTYPES
from napari_dcr.options import PRECISIONS, Options, parse_noise
from napari_dcr.plugin.form import OWN_FILE, Form, let_shrink, unfolding
from napari_dcr.plugin.scrolling import scroll_to

if TYPE_CHECKING:
    from napari.layers import Image

TILES = ("auto", 256, 512, 1024, 2048)

LAYER_LIMITS = "contrast limits"


class AdvancedControls:
    """Controls that are hidden until *Advanced* is pressed.

    While they are hidden, the button names those that differ from their defaults.

    Parameters
    ----------
    form : Form
        Form that the controls are added to.
    *beside : Widget
        Buttons to show on the right of *Advanced*.

    Attributes
    ----------
    controls : list of Widget
        The controls in the order of their rows.
    """

    def __init__(self, form: Form, *beside: Widget) -> None:
        self._form = form
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
            " and corrected (auto), left unchanged (off), or read from a file.",
        )  # fmt: skip
        self.defects_file = FileEdit(
            name="defects_file", label="file", filter="Defects (*.npz)",
            tooltip="An .npz file that napari_dcr.Defects.save wrote, from dark frames or another image.",
        )  # fmt: skip
        self.noise = LineEdit(
            name="noise", value="",
            tooltip="The camera's noise, if you know it: units per electron, units without light, read"
            " noise in electrons, such as 2.2, 100, 1.4. Empty: estimated from the image. For weights"
            " that keep intensities (microscopy).",
        )  # fmt: skip
        self.link_frames = CheckBox(
            name="link_frames", text="same brightness for all frames", label="", value=Options.link_frames,
            tooltip="Use the same tone curve for every frame, which prevents flicker. If it is off,"
            " each frame has its own.",
        )  # fmt: skip
        self.output = ComboBox(
            name="output", label="data type", choices=[("as input", "same"), *((name, name) for name in DTYPES)], value=Options.output,
            tooltip="Data type of the result. 'as input' keeps the image's type and units; for another"
            " type, floats run from 0 to 1.",
        )  # fmt: skip
        self.folder = FileEdit(
            name="folder", label="save in folder", mode="d", nullable=True,
            tooltip="Write the result to an OME-Zarr in this folder instead of keeping it in memory."
            " For the region 'all'.",
        )  # fmt: skip
        self.defect_map = CheckBox(
            name="defect_map", text="defects layer", label="", value=False,
            tooltip="Add a layer with the correction that is subtracted from each pixel for defects"
            " of the sensor; hot and dead pixels are brightest. For the region 'all'.",
        )  # fmt: skip
        self.controls: list[Widget] = [
            self.tile, self.precision, self.input_range, self.defects, self.defects_file,
            self.noise, self.link_frames, self.output, self.folder, self.defect_map,
        ]  # fmt: skip
        form.add_buttons(self.more, *beside)
        form.add(*self.controls)
        let_shrink(self.input_range)
        self._defaults = {control.name: control.value for control in self.controls}
        self.more.clicked.connect(self._toggle)
        self.defects.changed.connect(self._show_defects_file)
        for control in self.controls:
            control.changed.connect(self._name_changed)
        self.show(False)

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

    def options(self, layer: Image | None, keeps_intensities: bool) -> dict[str, Any]:
        """Options that these controls set, for a layer, or for files if it is None.

        Parameters
        ----------
        layer : Image, optional
        keeps_intensities : bool
            Whether the model keeps intensities; only then is the noise passed.

        Raises
        ------
        ValueError
            If the values of the controls are not allowed.
        """
        if self.defects.value == OWN_FILE and self.defects_file.value == Path():
            raise ValueError("Choose an .npz file of defects first.")
        input_range: Any = self.input_range.value
        if input_range == LAYER_LIMITS:
            if layer is None:
                raise ValueError(
                    f"input range: got {LAYER_LIMITS!r}, but files have no contrast limits;"
                    " allowed are auto and dtype"
                )
            input_range = tuple(float(limit) for limit in layer.contrast_limits)
        return {
            "input_range": input_range,
            "defects": self.chosen_defects,
            "noise": self.chosen_noise if keeps_intensities else None,
            "link_frames": self.link_frames.value,
            "output": self.output.value,
            "tile": self.tile.value,
            "precision": self.precision.value,
            "return_defects": self.defect_map.enabled and self.defect_map.value,
        }

    def show_model(self, keeps_intensities: bool, whole: bool) -> None:
        """Enable the controls that have an effect on this model, and on whole layers."""
        self.folder.enabled = self.defect_map.enabled = whole
        self.noise.enabled = keeps_intensities

    def show(self, shown: bool) -> None:
        """Show or hide the controls."""
        self._shown = shown
        for control in self.controls:
            self._form.show(control, shown)
        self._show_defects_file()
        self._name_changed()

    def _toggle(self, _: object = None) -> None:
        self.show(not self._shown)
        if self._shown:
            scroll_to(self.more.native, self.controls[-1].native)

    def _show_defects_file(self, _: object = None) -> None:
        self._form.show(self.defects_file, self._shown and self.defects.value == OWN_FILE)

    def _name_changed(self, _: object = None) -> None:
        """Name hidden controls that differ from their defaults on the button."""
        self.more.text = unfolding("Advanced", self._shown)
        changed = [
            (c.label or c.text).partition(" (")[0]
            for c in self.controls
            if c is not self.defects_file and c.value != self._defaults[c.name]
        ]
        if changed and not self._shown:
            self.more.text += f" ({', '.join(changed)})"
