"""Controls for how much to enhance, which layers to add, and on which device."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox

from napari_dcr.options import Options
from napari_dcr.plugin.form import Form, let_shrink, note

EXTENTS = ("view", "slice", "all")


class RunControls:
    """Region, further layers of the result, and device.

    Parameters
    ----------
    form : Form
        Form that the controls are added to.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._devices: dict[str, str] = {}
        self.extent = ComboBox(
            name="extent", label="region", choices=EXTENTS, value="all",
            tooltip="How much to enhance: 'view' is what is on screen, 'slice' the current slice,"
            " 'all' the whole layer. The region does not change how a pixel is enhanced.",
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
        self.replace_last = CheckBox(
            name="replace_last", text="replace the last result", label="", value=False,
            tooltip="Remove the last result of this layer when the new one is ready. If it is off,"
            " every run adds a layer.",
        )  # fmt: skip
        self.device = ComboBox(
            name="device", choices=["auto"], value=Options.device,
            tooltip="Processor to use; its free memory is shown below. 'auto' uses a GPU if one"
            " is available.",
        )  # fmt: skip
        self.memory = note("memory")
        form.add(
            self.extent, self.residual, self.uncertainty, self.replace_last, self.device,
            self.memory,
        )  # fmt: skip
        let_shrink(self.device)
        self.device.changed.connect(self._show_device)

    @property
    def whole(self) -> bool:
        """Whether the whole layer is enhanced."""
        return bool(self.extent.value == "all")

    def options(self, keeps_intensities: bool) -> dict[str, Any]:
        """Options that these controls set, for a model that keeps intensities or not."""
        return {
            "device": self.device.value,
            "return_residual": keeps_intensities and self.residual.enabled and self.residual.value,
            "return_uncertainty": keeps_intensities
            and self.uncertainty.enabled
            and self.uncertainty.value,
        }

    def offer_devices(self, devices: dict[str, str]) -> None:
        """Set the devices: descriptions by name; the device that "auto" selects comes first."""
        self._devices = {"auto": next(iter(devices.values())), **devices}
        self.device.choices = list(self._devices)
        self._show_device()

    def show_model(self, keeps_intensities: bool) -> None:
        """Offer residual and uncertainty for models that keep intensities, and whole layers."""
        for control in (self.residual, self.uncertainty):
            self._form.show(control, keeps_intensities)
            control.enabled = keeps_intensities and self.whole

    def _show_device(self, _: object = None) -> None:
        self.memory.value = self._devices.get(self.device.value, "")
