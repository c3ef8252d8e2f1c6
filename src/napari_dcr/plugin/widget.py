"""The enhance widget: choose, run, cancel."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSlider,
    Label,
    ProgressBar,
    PushButton,
    Slider,
    create_widget,
)
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error

from napari_dcr.options import Options
from napari_dcr.plugin.layers import in_memory, layer_axes, layer_pixels, result_layer

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_dcr.enhancement import Enhancement, Progress

STEPS = 1000
"""Ticks of the progress bar."""

DEEPEST = 3
"""Stages offered until the weights have been read."""


@dataclass(frozen=True)
class Failure:
    """An error of a worker's, as its result: left to itself, a worker drops RuntimeErrors."""

    error: Exception


class EnhanceWidget(Container):  # type: ignore[misc]
    """Dock widget that enhances an image layer off the GUI thread.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari; results are added to it.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._viewer = napari_viewer
        self._worker: Any = None
        self._started = 0.0
        self.image = create_widget(
            annotation=Image, name="image", label="image",
            options={"tooltip": "Layer to enhance; it is not changed."},
        )  # fmt: skip
        self.model = ComboBox(
            name="model", choices=["auto", "photo"], value=Options.model,
            tooltip="Weights. 'photo' is for photographs, video and astronomy; grey images and"
            " channels go through it one by one.",
        )  # fmt: skip
        self.depth = Slider(
            name="depth", min=0, max=DEEPEST, value=DEEPEST,
            tooltip="Cascade depth: sub-U-Nets to run. 0 is the global tone curve alone; each"
            " further one cleans more and takes its share of the time.",
        )  # fmt: skip
        self.detail = CheckBox(
            name="detail", text="detail module", label="", value=Options.detail,
            tooltip="Regional part of the detail modules: keeps fine structure crisp. Off is smoother.",
        )  # fmt: skip
        self.strength = FloatSlider(
            name="strength", min=0, max=1, step=0.01, value=Options.strength,
            tooltip="Blends between the input (0) and the enhanced image (1).",
        )  # fmt: skip
        self.exposure = FloatSlider(
            name="exposure", label="exposure (EV)", min=-2, max=2, step=0.05, value=Options.exposure,
            tooltip="Brightens or darkens the result, in stops. Highlights are kept.",
        )  # fmt: skip
        self.device = ComboBox(
            name="device", choices=["auto", "cpu"], value=Options.device,
            tooltip="Where to compute; 'auto' takes a GPU if there is one.",
        )  # fmt: skip
        self.run = PushButton(name="run", text="Run", tooltip="Enhance the layer into a new one.")
        self.cancel = PushButton(
            name="cancel", text="Cancel", enabled=False, tooltip="Stop after the current tile."
        )
        self.bar = ProgressBar(name="bar", min=0, max=STEPS, value=0)
        self.status = Label(name="status", value="")
        buttons = Container(widgets=[self.run, self.cancel], layout="horizontal", labels=False)
        progress = Container(widgets=[buttons, self.bar, self.status], labels=False, label=" ")
        for group in (buttons, progress):
            group.margins = (0, 0, 0, 0)
        super().__init__(
            name="enhance",
            widgets=[
                self.image, self.model, self.depth, self.detail, self.strength, self.exposure,
                self.device, progress,
            ],
        )  # fmt: skip
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.image.changed.connect(self._show_readiness)
        # Torch takes seconds to import: not before the widget is on screen, nor in its thread.
        self._loader = create_worker(_find_choices)
        self._loader.returned.connect(self._show_choices)
        self._loader.start()
        self.native.destroyed.connect(self._abandon)
        self._show_readiness()

    @property
    def options(self) -> Options:
        """What the controls say, for the chosen layer."""
        return Options(
            model=self.model.value,
            depth=self.depth.value,
            detail=self.detail.value,
            strength=self.strength.value,
            exposure=self.exposure.value,
            device=self.device.value,
            axes=layer_axes(self.image.value),
        )

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._worker is not None

    def start(self) -> None:
        """Enhance the chosen layer in a thread."""
        layer = self.image.value
        if layer is None or self.running:
            return
        self._started = time.perf_counter()
        self._worker = create_worker(_enhance, layer_pixels(layer), self.options)
        self._worker.yielded.connect(self._show_progress)
        self._worker.returned.connect(lambda result: self._show_result(layer, result))
        self._worker.aborted.connect(self._show_cancelled)
        self._worker.finished.connect(self._finish)
        self.run.enabled, self.cancel.enabled = False, True
        self.status.value = "starting"
        self._worker.start()

    def stop(self) -> None:
        """Ask the run to stop; it does after the current tile."""
        if self.running:
            self.cancel.enabled = False
            self.status.value = "cancelling"
            self._worker.quit()

    def _show_progress(self, step: Progress) -> None:
        if not self.cancel.enabled:  # cancelling
            return
        self.bar.value = round(STEPS * step.done / step.total)
        left = ""
        if step.done:
            seconds = (time.perf_counter() - self._started) * (step.total / step.done - 1)
            left = f", {seconds:.0f} s left" if seconds >= 1 else ""
        self.status.value = step.message + left

    def _show_result(self, layer: Image, enhancement: Enhancement | Failure) -> None:
        if isinstance(enhancement, Failure):
            self._show_error(enhancement.error)
            return
        data, arguments, _ = result_layer(layer, enhancement)
        self._viewer.add_image(data, **arguments)
        record = enhancement.record
        self.bar.value = STEPS
        self.status.value = (
            f"done in {record['seconds']:.1f} s on {record['device']} ({record['precision']})"
        )

    def _show_cancelled(self) -> None:
        self.bar.value = 0
        self.status.value = "cancelled"

    def _show_error(self, error: BaseException) -> None:
        self.bar.value = 0
        self.status.value = "failed"
        show_error(f"napari-dcr: {error}")

    def _finish(self) -> None:
        self._worker = None
        self.cancel.enabled = False
        self._show_readiness(keep_status=True)

    def _show_readiness(self, _: object = None, *, keep_status: bool = False) -> None:
        ready = self.image.value is not None
        self.run.enabled = ready and not self.running
        if not keep_status and not self.running:
            self.status.value = "" if ready else "open an image to begin"

    def _abandon(self) -> None:
        """Stop what is going on when the viewer closes: there is nobody to show it to."""
        for worker in (self._loader, self._worker):
            if worker is not None:
                for name in ("yielded", "returned", "aborted", "finished"):
                    # A worker of a plain function yields nothing; a signal may not be connected.
                    with contextlib.suppress(AttributeError, TypeError, RuntimeError):
                        getattr(worker, name).disconnect()
                worker.quit()

    def _show_choices(self, found: tuple[list[str], list[str], int] | Failure) -> None:
        if isinstance(found, Failure):
            self._show_error(found.error)
            return
        models, devices, stages = found
        self.model.choices = ["auto", *models]
        self.device.choices = ["auto", *devices]
        self.depth.max = stages


def _find_choices() -> tuple[list[str], list[str], int] | Failure:
    """Names of models and devices, and the deepest cascade."""
    try:
        from napari_dcr.engine.devices import list_devices
        from napari_dcr.network import weights

        names = list(weights.shipped())
        return names, [d.name for d in list_devices()], weights.load("auto").network.stages
    except OSError as error:
        # Windows loads torch's libraries reliably only before Qt's (pytorch#166628).
        return Failure(
            RuntimeError(
                f"PyTorch could not be loaded ({error}). On Windows, start napari with"
                ' python -c "import torch, napari; napari.Viewer(); napari.run()"'
            )
        )
    except Exception as error:
        return Failure(error)


def _enhance(pixels: Any, options: Options) -> Generator[Progress, None, Enhancement | Failure]:
    """Run in the worker's thread."""
    from napari_dcr.enhancement import enhance_steps

    try:
        return (yield from enhance_steps(in_memory(pixels), options))
    except Exception as error:
        return Failure(error)
