"""The dock widget: choose an image and settings, preview, run, compare, and copy as code."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from magicgui.widgets import Container, PushButton, Widget
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QHBoxLayout

from napari_dcr.plugin import input_devices, jobs
from napari_dcr.plugin.apply_menu import ApplyMenu
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.choices import Choices, find_choices
from napari_dcr.plugin.controls import Controls
from napari_dcr.plugin.docking import DockKeeper
from napari_dcr.plugin.files import FilesWindow
from napari_dcr.plugin.form import WARNING
from napari_dcr.plugin.helper_layers import HelperLayers, is_helper
from napari_dcr.plugin.layers import RECORD
from napari_dcr.plugin.report import ReportPanel
from napari_dcr.plugin.results import Results
from napari_dcr.plugin.run import Job, Product, explain
from napari_dcr.plugin.run_panel import RunPanel
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.scrolling import Scrolling
from napari_dcr.plugin.view_panel import ViewPanel

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
        # Axes that the user was asked about, by layer; the next press of Run accepts them.
        self._questioned_axes: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._selected: Callable[[], Layer | None] = lambda: None
        self.controls = Controls(self._images, lambda: viewer.dims.axis_labels)
        self._helpers = HelperLayers(viewer)
        self.results = Results(viewer, self._helpers)
        self.view_panel = view = ViewPanel(
            viewer, self._helpers, self.results, lambda: self.controls.image.value,
            self.controls.options,
        )  # fmt: skip
        self.preview, self.live = view.preview, view.live
        self.compare, self.divider = view.compare, view.divider
        self.run_panel = panel = RunPanel()
        self.run, self.cancel, self.bar, self.status = (
            panel.run, panel.cancel, panel.bar, panel.status
        )  # fmt: skip
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
        column.addLayout(_row(self.preview, self.live))
        column.addLayout(_row(self.compare, self.divider))
        column.addLayout(_row(self.run, self.cancel))
        column.addWidget(self.bar.native)
        column.addWidget(self.status.native)
        self.report = ReportPanel()
        column.addWidget(self.report)
        column.addLayout(_row(self.stages, self.copy, self.repeat))
        column.addWidget(self.files.native)
        self.apply_menu = ApplyMenu(self.repeat.native, self._others, self.repeat_on)

        self._connect()
        self.controls.restore_all()
        # Importing torch takes seconds, so do it in a thread and after the widget has been drawn.
        self._loader = Background(find_choices(), lambda _: None, self._show_choices)
        self._drawn = QTimer(self.native)
        self._drawn.setSingleShot(True)
        self._drawn.timeout.connect(self._loader.start)
        self._drawn.start(LOAD_AFTER_MS)
        self.status.value = LOADING
        self._show_readiness(keep_status=True)

    def _connect(self) -> None:
        self.run.clicked.connect(self.ask_and_start)
        self.run_panel.produced.connect(self._add_result)
        self.run_panel.ended.connect(self._on_end)
        self.stages.clicked.connect(self.show_stages)
        self.copy.clicked.connect(self.copy_as_python)
        self.files.clicked.connect(self.show_files)
        self.view_panel.state_changed.connect(self._show_preview_state)
        self.preview.changed.connect(self._clear_preview_state)
        controls = self.controls
        for control in (controls.image, *controls.settings):
            control.changed.connect(self.view_panel.refresh)
        controls.image.changed.connect(self._on_image)
        controls.model.changed.connect(controls.restore_model)
        layers = self._viewer.layers
        layers.events.inserted.connect(self._on_layers)
        layers.events.removed.connect(self._on_layers)
        layers.events.reordered.connect(self._on_layers)
        layers.events.renamed.connect(self._on_layers)
        layers.selection.events.changed.connect(self._show_readiness_again)
        layers.selection.events.active.connect(self._follow_selection)
        self._viewer.dims.events.axis_labels.connect(controls.layer.show_image)
        controls.axes.changed.connect(self._show_readiness_again)
        layers.selection.events.changed.connect(self._show_report)
        for button, pressed in (
            (self.run, self._press_run), (self.cancel, self.stop),
            (self.compare, self.view_panel.toggle_compare),
        ):  # fmt: skip
            key = input_devices.KEYS[button.name]
            window = self._viewer.window._qt_window
            input_devices.bind_key(window, button.native, key, pressed)
        input_devices.require_focus(self.native)
        input_devices.wrap_tooltips(self.native)
        input_devices.set_accessible_name(self.bar.native, "Progress")
        self.native.destroyed.connect(self._abandon)

    # Layers and choices

    def _images(self) -> list[Image]:
        return [x for x in self._viewer.layers if isinstance(x, Image) and not is_helper(x)]

    def _on_layers(self, event: Any) -> None:
        layer = getattr(event, "value", None)
        if isinstance(layer, Layer) and is_helper(layer):
            return  # caused by this widget, or handled by the preview
        self.controls.layer.refresh_images()
        self.results.forget_removed()
        self.view_panel.show_comparison()
        self._show_readiness(keep_status=bool(self.targets) or self.status.value == LOADING)

    def _on_image(self, _: object = None) -> None:
        self.view_panel.show_comparison()
        if not self.running:
            self.bar.value = 0
        self._show_report()
        self._show_readiness(keep_status=self.status.value == LOADING)

    def _follow_selection(self, _: object = None) -> None:
        """Choose the layer that the user selects, unless it is a result."""
        active = self._viewer.layers.selection.active
        # A temporary layer is selected for a moment, and then the layer of before again.
        if active is None or is_helper(active) or active is self._selected():
            return
        self._selected = weakref.ref(active)
        if active in self.controls.image.choices and RECORD not in active.metadata:
            self.controls.image.value = active

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
        return self.run_panel.current is not None

    def _show_report(self, _: object = None) -> None:
        """Show the report of the selected result, or of the newest result of the chosen image."""
        chosen = self.controls.image.value
        layers = (self._viewer.layers.selection.active, chosen)
        self.report.show_record(self.results.record_to_show(layers, chosen))

    # Running

    def ask_and_start(self) -> None:
        """Enhance, after a question if the axes are doubtful."""
        controls = self.controls.layer
        for layer in self.targets:
            question, axes = controls.doubt(layer), controls.axes_of(layer).letters
            if question is not None and self._questioned_axes.get(layer) != axes:
                self._questioned_axes[layer] = axes
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
        if self.results.pairs and not self.running:
            record = self.results.pairs[-1][1].metadata[RECORD]
            self._launch(jobs.repeated(self.controls, record, layers))

    def _begin(self, layers: Sequence[Image], *, stages: bool) -> None:
        if not layers or self.running:
            return
        ready, failures = [], []
        for layer in layers:
            try:
                ready.append(jobs.job(self.controls, self._viewer, layer, stages=stages))
            except (ValueError, TypeError) as error:
                failures.append((layer.name, str(error)))
        if ready:
            self.controls.remember()
        self._launch(ready, failures)

    def _launch(self, ready: Sequence[Job], failures: Sequence[tuple[str, str]] = ()) -> None:
        if ready:
            self.view_panel.updater.hold(True)  # it would compute at the same time as the run
            self.live.value = False
        self.run_panel.start(ready, failures)
        self._show_readiness(keep_status=True)

    def _press_run(self) -> None:
        if self.run.enabled:
            self.ask_and_start()

    def stop(self) -> None:
        """Request that the run stops after the current tile."""
        self.run_panel.stop()

    def _add_result(self, product: Product) -> None:
        result = self.results.add(product, replace_last=self.controls.replace_last.value)
        record = result.metadata[RECORD]
        if product.job.layer is self.view_panel.updater.source:
            self.preview.value = False  # from now on, compare with the result instead
        details = f"On {record['device']}, in {record['precision']}. {record.get('path', '')}"
        self.run_panel.set_outcome(
            self.results.describe(result, self.run_panel.seconds), details.strip()
        )
        self._show_report()
        self.view_panel.show_comparison()

    def _on_end(self, done: bool) -> None:
        if done:
            self.preview.value = False
        self.view_panel.updater.hold(False)
        self._show_readiness(keep_status=True)

    # Readiness

    def _show_readiness_again(self, _: object = None) -> None:
        self._show_readiness(keep_status=True)

    def _show_readiness(self, *, keep_status: bool = False) -> None:
        targets = self.targets
        ready = bool(targets) and not self.running and self.controls.layer.axes_fit
        self.run.text = f"Run on {len(targets)} layers" if len(targets) > 1 else "Run"
        self.run.enabled = self.stages.enabled = ready
        self.view_panel.enable(bool(targets) and not self.running)
        run = self.run_panel.current
        self.cancel.enabled = run is not None and not run.cancelling
        self.repeat.enabled = bool(self.results.pairs) and not self.running
        self.copy.enabled = self.results.last_record is not None and not self.running
        if not keep_status and not self.running:
            self.status.value = "" if targets else self._nothing

    @property
    def _nothing(self) -> str:
        """Message that explains why no image can be enhanced."""
        if any(isinstance(layer, Labels) for layer in self._viewer.layers):
            return "No image layer (labels cannot be enhanced)."
        return "Open an image to begin."

    def _show_preview_state(self, text: str) -> None:
        if not self.running:
            self.status.value = text

    def _clear_preview_state(self, on: bool) -> None:
        if not on and self.status.value.startswith("Preview"):
            self.status.value = ""

    # Copying as code

    def copy_as_python(self) -> None:
        """Copy the Python call that reproduces the last result to the clipboard."""
        if self.results.last_record is not None:
            code = as_python(self.results.last_record)
            QApplication.clipboard().setText(code)
            self.status.value = "Copied to the clipboard."

    def _others(self) -> list[Image]:
        """Images that the settings of the last result can be applied to."""
        last = self.results.pairs[-1][0] if self.results.pairs else None
        return [x for x in self._images() if x is not last and RECORD not in x.metadata]

    def show_files(self) -> FilesWindow:
        """Show the window that enhances files with these settings."""
        if self._files_window is None:
            parent = self._viewer.window._qt_window
            self._files_window = FilesWindow(parent, lambda: self.controls.options(None))
        self._files_window.show()
        self._files_window.raise_()
        self._files_window.activateWindow()
        return self._files_window

    # Beginning and end

    def _show_choices(self, found: Choices | Failure | None) -> None:
        if isinstance(found, Failure):
            self.run_panel.show_failure(explain(found.error))
            return
        if found is None:  # cancelled
            return
        self.controls.offer(*found)
        self.controls.restore_all()
        if self.status.value == LOADING:
            self._show_readiness()

    def _on_closed(self) -> None:
        """React to the closed dock: a run continues, but the preview is switched off."""
        self.view_panel.close()

    def _abandon(self) -> None:
        """Stop the run and the preview when the viewer closes."""
        if self in self._open:
            self._open.remove(self)
        layers = self._viewer.layers
        events = layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            emitter.disconnect(self._on_layers)
        layers.selection.events.changed.disconnect(self._show_readiness_again)
        layers.selection.events.active.disconnect(self._follow_selection)
        layers.selection.events.changed.disconnect(self._show_report)
        self._viewer.dims.events.axis_labels.disconnect(self.controls.layer.show_image)
        self._loader.abandon()
        self.view_panel.abandon()
        self._helpers.abandon()
        self.run_panel.abandon()
        if self._files_window is not None:
            self._files_window.abandon()


def _row(*widgets: Widget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget.native)
    return row
