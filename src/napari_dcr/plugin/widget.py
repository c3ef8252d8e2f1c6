"""The dock widget: choose an image and settings, preview, run, compare, and copy as code."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from magicgui.widgets import (
    CheckBox,
    Container,
    FloatSlider,
    Label,
    ProgressBar,
    PushButton,
    Widget,
)
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QMenu, QSizePolicy

from napari_dcr.options import Options
from napari_dcr.plugin import input_devices, settings
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.compare import Comparison
from napari_dcr.plugin.controls import OWN_FILE, PERSISTED, WARNING, Controls
from napari_dcr.plugin.docking import DockKeeper
from napari_dcr.plugin.files import FilesWindow
from napari_dcr.plugin.helper_layers import HelperLayers, is_helper
from napari_dcr.plugin.layers import (
    RECORD,
    result_layer,
    side_layers,
    stages_layer,
)
from napari_dcr.plugin.pixels import is_lazy, layer_pixels
from napari_dcr.plugin.preview import Preview
from napari_dcr.plugin.report import ReportPanel
from napari_dcr.plugin.run import TICKS, Job, Product, Run, explain
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.scrolling import Scrolling
from napari_dcr.plugin.shown import canvas_corners, shown_region

if TYPE_CHECKING:
    from napari.viewer import Viewer


LOADING = "Loading PyTorch..."

LOAD_AFTER_MS = 100
"""Delay in milliseconds that lets the widget be drawn first."""


class EnhanceWidget(Container):  # type: ignore[misc]
    """Dock widget that enhances image layers off the GUI thread; one for each viewer.

    Creating it again returns the existing widget and moves it to the new dock, because menu, commands
    and napari's API use docks with different names.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Viewer that napari passes; results are added to it.
    """

    _open: ClassVar[list[EnhanceWidget]] = []

    def __new__(cls, napari_viewer: Viewer) -> EnhanceWidget:
        """Return the widget of a viewer, if it has one."""
        existing = cls.of(napari_viewer)
        if existing is not None:
            existing.dock_keeper.undock(existing._viewer.window)
            return existing
        made: EnhanceWidget = super().__new__(cls)
        return made

    @classmethod
    def of(cls, napari_viewer: Viewer) -> EnhanceWidget | None:
        """Return the widget of a viewer, or None if it has none yet."""
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        return next((widget for widget in cls._open if widget._viewer is viewer), None)

    def __init__(self, napari_viewer: Viewer) -> None:
        if self in self._open:
            return
        self._open.append(self)
        # Layers are compared by identity, which napari's proxy objects do not preserve.
        self._viewer = viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._run: Run | None = None
        self._failures: list[tuple[str, str]] = []
        self._asked: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._done = ""
        self._last: dict[str, Any] | None = None  # record of the newest result, including stages
        self._results: list[tuple[Image, Image]] = []  # pairs of source and result, the newest last
        self._beside: WeakKeyDictionary[Image, list[Image]] = WeakKeyDictionary()
        self._started = 0.0
        self.controls = Controls(self._images, lambda: viewer.dims.axis_labels)
        self.preview = CheckBox(
            name="preview", text="Preview", label="", value=False,
            tooltip="Enhance what is on screen while you move the controls or the view.",
        )  # fmt: skip
        self.compare = CheckBox(
            name="compare", text="Compare", label="", value=False,
            tooltip="Show before (left) and after (right) in the same contrast limits; drag to move"
            " the divider.",
        )  # fmt: skip
        self.wipe = FloatSlider(
            name="wipe", min=0, max=1, step=0.01, value=0.5, readout=False, enabled=False,
            tooltip="Share of the width that shows the image as it was: left after, right before.",
        )  # fmt: skip
        self.run = PushButton(name="run", text="Run", tooltip="Enhance into a new layer.")
        self.cancel = PushButton(
            name="cancel", text="Cancel", enabled=False,
            tooltip="Stop after the current tile; nothing half-made is kept.",
        )  # fmt: skip
        self.bar = ProgressBar(name="bar", min=0, max=TICKS, value=0)
        self.status = Label(name="status", value="")
        self.stages = PushButton(
            name="stages", text="Compare depths",
            tooltip="Add a layer with the result at every depth, to see what each stage adds.",
        )  # fmt: skip
        self.copy = PushButton(
            name="copy", text="Copy as Python", enabled=False,
            tooltip="Copy Python code that reproduces the last result.",
        )  # fmt: skip
        self.repeat = PushButton(
            name="repeat", text="Apply to...", enabled=False,
            tooltip="Enhance another layer with the settings of the last result.",
        )  # fmt: skip
        self.files = PushButton(
            name="files", text="Enhance files...",
            tooltip="Enhance files or all images of a folder with these settings, without opening them.",
        )  # fmt: skip
        self._files_window: FilesWindow | None = None
        super().__init__(name="enhance", labels=False)
        self.dock_keeper = DockKeeper(self.native, self._on_closed)
        column = self.native.layout()
        column.addWidget(Scrolling(self.controls.native))
        column.addLayout(_row(self.preview, self.compare, self.wipe))
        column.addLayout(_row(self.run, self.cancel))
        column.addWidget(self.bar.native)
        column.addWidget(self.status.native)
        self.report = ReportPanel()
        column.addWidget(self.report)
        column.addLayout(_row(self.stages, self.copy, self.repeat))
        column.addWidget(self.files.native)
        self.status.native.setWordWrap(True)
        self.status.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._menu = QMenu(self.repeat.native)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.repeat.native.setMenu(self._menu)

        self._helpers = HelperLayers(viewer)
        self._preview = Preview(viewer, self._helpers, self._to_preview)
        self._comparison = Comparison(viewer, self._helpers)
        self._connect()
        self._restore()
        # Importing torch takes seconds, so do it in a thread and after the widget has been drawn.
        self._loader = Background(_find_choices(), lambda _: None, self._show_choices)
        self._drawn = QTimer(self.native)
        self._drawn.setSingleShot(True)
        self._drawn.timeout.connect(self._loader.start)
        self._drawn.start(LOAD_AFTER_MS)
        self.status.value = LOADING
        self._show_readiness(keep_status=True)

    def _connect(self) -> None:
        self.run.clicked.connect(self.ask_and_start)
        self.cancel.clicked.connect(self.stop)
        self.stages.clicked.connect(self.show_stages)
        self.copy.clicked.connect(self.copy_as_python)
        self.files.clicked.connect(self.show_files)
        self.preview.changed.connect(self._preview.switch)
        self._preview.told.connect(self._show_preview_state)
        self._preview.closed.connect(lambda: setattr(self.preview, "value", False))
        self._preview.updated.connect(self._show_comparison)
        self.compare.changed.connect(self._show_comparison)
        self.wipe.changed.connect(self._show_comparison)
        self._comparison.dragged.connect(lambda share: setattr(self.wipe, "value", share))
        controls = self.controls
        for control in (controls.image, *controls.settings):
            control.changed.connect(self._preview.refresh)
        controls.image.changed.connect(self._on_image)
        controls.model.changed.connect(self._restore_model)
        layers = self._viewer.layers
        layers.events.inserted.connect(self._on_layers)
        layers.events.removed.connect(self._on_layers)
        layers.events.reordered.connect(self._on_layers)
        layers.events.renamed.connect(self._on_layers)
        layers.selection.events.changed.connect(self._show_readiness_again)
        self._viewer.dims.events.axis_labels.connect(controls.show_image)
        controls.axes.changed.connect(self._show_readiness_again)
        layers.selection.events.changed.connect(self._show_report)
        for button, pressed in (
            (self.run, self._press_run), (self.cancel, self.stop), (self.compare, self._press_compare),
        ):  # fmt: skip
            key = input_devices.KEYS[button.name]
            window = self._viewer.window._qt_window
            input_devices.bind_key(window, button.native, key, pressed)
        input_devices.tame(self.native)
        input_devices.wrap_tooltips(self.native)
        input_devices.name(self.wipe.native, "Position of the divider")
        input_devices.name(self.bar.native, "Progress")
        self.native.destroyed.connect(self._abandon)

    # Layers and choices

    def _images(self) -> list[Image]:
        return [x for x in self._viewer.layers if isinstance(x, Image) and not is_helper(x)]

    def _on_layers(self, event: Any) -> None:
        layer = getattr(event, "value", None)
        if isinstance(layer, Layer) and is_helper(layer):
            return  # caused by this widget, or handled by the preview
        self.controls.refresh_images()
        layers = self._viewer.layers
        self._results = [pair for pair in self._results if all(x in layers for x in pair)]
        self._show_comparison()
        self._show_readiness(keep_status=True)

    def _on_image(self, _: object = None) -> None:
        self._show_comparison()
        if not self.running:
            self.bar.value = 0
        self._show_report()
        self._show_readiness(keep_status=self.status.value == LOADING)

    @property
    def targets(self) -> list[Image]:
        """Layers to run on: the selected ones if they include the chosen layer, otherwise that layer."""
        chosen = self.controls.image.value
        if chosen is None:
            return []
        selected = [x for x in self._images() if x in self._viewer.layers.selection]
        sources = [x for x in selected if RECORD not in x.metadata or x is chosen]
        return sources if chosen in sources else [chosen]

    @property
    def running(self) -> bool:
        """Whether a run is in progress."""
        return self._run is not None

    def _show_report(self, _: object = None) -> None:
        """Show the report of the selected result, or of the newest result of the chosen image."""
        active, chosen = self._viewer.layers.selection.active, self.controls.image.value
        records = [
            layer.metadata[RECORD]
            for layer in (active, chosen)
            if layer is not None and RECORD in layer.metadata and not is_helper(layer)
        ]
        records += [r.metadata[RECORD] for source, r in self._results[::-1] if source is chosen]
        self.report.show_record(records[0] if records else None)

    # Running

    def ask_and_start(self) -> None:
        """Enhance, after a question if the axes are doubtful."""
        for layer in self.targets:
            question, axes = self.controls.doubt(layer), self.controls.axes_of(layer).letters
            if question is not None and self._asked.get(layer) != axes:
                self._asked[layer] = axes
                name = f"{layer.name}: " if len(self.targets) > 1 else ""
                self.status.value = (
                    f"{WARNING} {name}{question} Press Run again to go on, or correct the axes."
                )
                return
        self.start()

    def start(self) -> None:
        """Enhance the chosen layer, or the selected ones, in a thread."""
        self._begin(self.targets, stages=False)

    def show_stages(self) -> None:
        """Add a layer with all outputs of the cascade."""
        self._begin(self.targets[:1], stages=True)

    def repeat_on(self, layers: Sequence[Image]) -> None:
        """Enhance other layers with the settings of the last result."""
        if not self._results or self.running:
            return
        record = self._results[-1][1].metadata[RECORD]
        last = Options(**record["options"])
        self._launch(
            [
                Job(
                    layer,
                    replace(last, axes=self.controls.options(layer).axes),
                    folder=self.controls.chosen_folder,
                )
                for layer in layers
            ]
        )

    def _begin(self, layers: Sequence[Image], *, stages: bool) -> None:
        if not layers or self.running:
            return
        jobs = []
        self._failures = []
        for layer in layers:
            try:
                options = self.controls.options(layer)
            except (ValueError, TypeError) as error:
                self._tell_error(layer.name, str(error))
                self._show_failures(len(layers))
                return
            region = None
            if self.controls.extent.value != "all":
                view = self.controls.extent.value == "view"
                region = shown_region(
                    layer, self._viewer.dims, visible=view, view=canvas_corners(self._viewer)
                )
                if region is None:
                    self._tell_error(
                        layer.name, "The image is not in view; choose the region 'all'."
                    )
                    self._show_failures(len(layers))
                    return
            folder = None if stages else self.controls.chosen_folder
            jobs.append(Job(layer, options, region, stages, folder))
        self._remember()
        self._launch(jobs)

    def _launch(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        self._failures, self._done = [], ""
        self._preview.hold(True)  # it would compute at the same time as the run
        self._started = time.perf_counter()
        self._run = Run(jobs)
        self._run.progressed.connect(self._show_progress)
        self._run.produced.connect(self._add_result)
        self._run.failed.connect(self._tell_error)
        self._run.ended.connect(self._finish)
        self.bar.value = 0
        self.status.value = "Starting..."
        self._show_readiness(keep_status=True)
        self._run.start()

    def _press_run(self) -> None:
        if self.run.enabled:
            self.ask_and_start()

    def _press_compare(self) -> None:
        if self.compare.enabled:
            self.compare.value = not self.compare.value

    def stop(self) -> None:
        """Request that the run stops after the current tile."""
        if self._run is not None:
            self._run.cancel()
            self.cancel.enabled = False
            self.status.value = "Cancelling after this tile..."

    def _show_progress(self, share: float, text: str) -> None:
        # The bar has no end until the first pixels are done, while the image is being surveyed.
        self.bar.native.setMaximum(TICKS if share else 0)
        self.bar.value = round(TICKS * share)
        self.status.value = text

    def _add_result(self, product: Product) -> None:
        job = product.job
        make = stages_layer if job.stages else result_layer
        data, arguments, _ = make(job.layer, product.enhancement, job.region)
        result = self._viewer.add_image(data, **arguments)
        sides, beside = [], []
        for pixels, shown, _ in side_layers(job.layer, product.enhancement):
            beside.append(self._viewer.add_image(pixels, **shown, visible=False))
            sides.append(shown["metadata"][RECORD]["quantity"])
        if not job.stages and job.layer in self._viewer.layers:
            if self.controls.replace_last.value:
                self._take_place_of_last(job.layer, [result, *beside])
            self._results.append((job.layer, result))
            self._beside[result] = beside
        if job.layer is self._preview.source:
            self.preview.value = (
                False  # the result exists now, so the comparison switches from the preview to it
            )
        self._last = record = result.metadata[RECORD]
        seconds = f"{time.perf_counter() - self._started:.1f} s"
        self.status.tooltip = f"On {record['device']}, in {record['precision']}."
        if job.stages:
            self._done = f"Done in {seconds}; use the 'stage' slider to compare depths 0 to {record['depth']}."
        elif "path" in record:
            self._done = f"Saved to {Path(record['path']).name} ({seconds})."
            self.status.tooltip += f" {record['path']}"
        elif is_lazy(layer_pixels(result)):
            self._done = "Ready: frames are computed as you look at them."
        else:
            self._done = f"Done in {seconds}."
        if "denoise_first" in record:
            self._done += " White noise was removed first."
        if sides:
            self._done += f" {' and '.join(sides).capitalize()}: in the layer list, hidden."
        self._viewer.layers.selection.active = result
        self._show_report()
        self._show_comparison()

    def _take_place_of_last(self, source: Image, new: Sequence[Image]) -> None:
        """Put new layers where the last result of an image was, and remove that."""
        results = [result for of, result in self._results if of is source]
        if not results:
            return
        last, layers = results[-1], self._viewer.layers
        for number, layer in enumerate(new):
            layers.move(layers.index(layer), layers.index(last) + 1 + number)
        for layer in [last, *self._beside.pop(last, [])]:
            self._helpers.remove(layer)

    def _finish(self, outcome: str) -> None:
        jobs = len(self._run.jobs) if self._run else 0
        self._run = None
        self.bar.native.setMaximum(TICKS)
        if outcome == "done":
            self.preview.value = False
            self.bar.value = TICKS
            self.status.value = self._done
        else:
            self.bar.value = 0
            self.status.value = "Cancelled."
        self._show_failures(jobs)
        self._preview.hold(False)
        self._show_readiness(keep_status=True)

    def _tell_error(self, name: str, text: str) -> None:
        self._failures.append((name, text))
        show_error(f"napari-dcr: {name}: {text}" if name else f"napari-dcr: {text}")

    def _show_failures(self, jobs: int) -> None:
        """Show in the status line which layers failed, and why."""
        if not self._failures:
            return
        if jobs == 1:
            self.status.value = f"{WARNING} Failed: {self._failures[0][1]}"
            return
        lines = [f"{WARNING} {name}: {text}" for name, text in self._failures]
        self.status.value = "\n".join([f"{jobs - len(lines)} of {jobs} done.", *lines])

    # Readiness

    def _show_readiness_again(self, _: object = None) -> None:
        self._show_readiness(keep_status=True)

    def _show_readiness(self, *, keep_status: bool = False) -> None:
        targets = self.targets
        ready = bool(targets) and not self.running and self.controls.axes_fit
        self.run.text = f"Run on {len(targets)} layers" if len(targets) > 1 else "Run"
        self.run.enabled = self.stages.enabled = ready
        self.preview.enabled = bool(targets) and not self.running
        self.cancel.enabled = self._run is not None and not self._run.cancelling
        self.compare.enabled = self._pair() is not None
        self.wipe.enabled = self.compare.enabled and self.compare.value
        self.repeat.enabled = bool(self._results) and not self.running
        self.copy.enabled = self._last is not None and not self.running
        if not keep_status and not self.running:
            self.status.value = "" if targets else self._nothing

    @property
    def _nothing(self) -> str:
        """Message that explains why no image can be enhanced."""
        if any(isinstance(layer, Labels) for layer in self._viewer.layers):
            return "No image layer (labels cannot be enhanced)."
        return "Open an image to begin."

    # Preview and comparison

    def _to_preview(self) -> tuple[Image, Options] | None:
        layer = self.controls.image.value
        return None if layer is None else (layer, self.controls.options(layer))

    def _show_preview_state(self, text: str) -> None:
        if not self.running:
            self.status.value = text

    def _pair(self) -> tuple[Image, Image] | None:
        """Source and result to compare: those of the preview, or the newest ones of the chosen layer."""
        if self._preview.layer is not None and self._preview.source is not None:
            return self._preview.source, self._preview.layer
        chosen = self.controls.image.value
        pairs = [pair for pair in self._results if chosen in pair]
        return pairs[-1] if pairs else None

    def _show_comparison(self, _: object = None) -> None:
        pair = self._pair()
        if self.compare.value and pair is not None:
            self._comparison.show(*pair, self.wipe.value)
        else:
            self._comparison.hide()
        self.compare.enabled = pair is not None
        self.wipe.enabled = pair is not None and self.compare.value

    # Copying as code

    def copy_as_python(self) -> None:
        """Copy the Python call that reproduces the last result to the clipboard."""
        if self._last is not None:
            code = as_python(self._last)
            QApplication.clipboard().setText(code)
            self.status.value = "Copied to the clipboard."

    def _fill_menu(self) -> None:
        self._menu.clear()
        done = self._results[-1][0] if self._results else None
        others = [x for x in self._images() if x is not done and RECORD not in x.metadata]
        for layer in others:
            action = self._menu.addAction(layer.name)
            action.triggered.connect(lambda _=False, layer=layer: self.repeat_on([layer]))
        if len(others) > 1:
            self._menu.addSeparator()
            action = self._menu.addAction(f"all {len(others)}")
            action.triggered.connect(lambda _=False: self.repeat_on(others))
        if not others:
            self._menu.addAction("no other image").setEnabled(False)

    def show_files(self) -> FilesWindow:
        """Show the window that enhances files with these settings."""
        if self._files_window is None:
            parent = self._viewer.window._qt_window
            self._files_window = FilesWindow(parent, lambda: self.controls.options(None))
        self._files_window.show()
        self._files_window.raise_()
        self._files_window.activateWindow()
        return self._files_window

    # Remembering

    def _restore(self) -> None:
        self.controls.restore(settings.load("general", settings.GENERAL))
        self._restore_model()

    def _restore_model(self, _: object = None) -> None:
        section = settings.section_of(self.controls.model.value)
        self.controls.restore(settings.load(section, PERSISTED))

    def _remember(self) -> None:
        controls = self.controls
        general = {name: getattr(controls, name).value for name in settings.GENERAL}
        if controls.model.value == OWN_FILE:  # the file may not exist the next time
            del general["model"]
        settings.save("general", general)
        settings.save(settings.section_of(controls.model.value), controls.persisted())

    # Beginning and end

    def _show_choices(self, found: Choices | Failure | None) -> None:
        if isinstance(found, Failure):
            self._tell_error("", explain(found.error))
            self._show_failures(1)
            return
        if found is None:  # cancelled
            return
        self.controls.offer(*found)
        self._restore()
        if self.status.value == LOADING:
            self._show_readiness()

    def _on_closed(self) -> None:
        """React to the closed dock: a run continues, but the preview is switched off."""
        self.preview.value = self.compare.value = False

    def _abandon(self) -> None:
        """Stop the run and the preview when the viewer closes."""
        if self in self._open:
            self._open.remove(self)
        layers = self._viewer.layers
        events = layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            emitter.disconnect(self._on_layers)
        layers.selection.events.changed.disconnect(self._show_readiness_again)
        layers.selection.events.changed.disconnect(self._show_report)
        self._viewer.dims.events.axis_labels.disconnect(self.controls.show_image)
        self._loader.abandon()
        self._preview.abandon()
        self._helpers.abandon()
        if self._run is not None:
            self._run.abandon()
        if self._files_window is not None:
            self._files_window.abandon()


def _row(*widgets: Widget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget.native)
    return row


Choices = tuple[dict[str, str], int]
"""Choices that require PyTorch: devices and the deepest cascade, see `Controls.offer`."""


def _find_choices() -> Generator[None, None, Choices | Failure]:
    """Find the choices that require PyTorch; runs in a thread."""
    yield
    try:
        from napari_dcr.engine.devices import list_devices
        from napari_dcr.network import weights

        devices = {
            d.name: f"{d.name} - {d.label}, {d.free / 2**30:.1f} GiB free" for d in list_devices()
        }
        return devices, weights.load("auto").network.stages
    except Exception as error:
        return Failure(error)
