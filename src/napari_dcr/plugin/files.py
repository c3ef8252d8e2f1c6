"""Window *Enhance files...*: enhance image files and folders with the widget's settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dcr.engine.progress_bar import duration
from napari_dcr.io import formats
from napari_dcr.io.jobs import parse_scene
from napari_dcr.io.outputs import Wording
from napari_dcr.options import Options
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.run import TICKS, explain

if TYPE_CHECKING:
    from napari_dcr.batch.batch import Batch, Event

LOG = logging.getLogger(__name__)

WORDING = Wording(
    inputs="Files",
    output="Save in",
    overwrite="tick 'Replace results that exist', or save in another folder",
    resume="",
)
"""Names of the window's fields in messages."""


class FilesWindow(QWidget):  # type: ignore[misc]
    """Window that enhances files; one for each widget.

    Closing the window hides it, and a run continues.

    Parameters
    ----------
    parent : QWidget
        Window in front of which this one stays, and together with which it is destroyed.
    options : callable
        Returns the widget's options; raises ValueError or TypeError if they are not allowed.
    """

    def __init__(self, parent: QWidget, options: Callable[[], Options]) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Enhance files")
        self.setAcceptDrops(True)
        self.resize(760, 460)
        self._options, self._inputs = options, list[str]()
        self._run: Background | None = None
        self._batch: Batch | None = None
        self._finished, self._began = 0, 0.0
        self.add_files = QPushButton("Add files...")
        self.add_folder = QPushButton("Add folder...")
        self.add_folder.setToolTip(
            "All images in a folder and below it, or an OME-Zarr image or plate."
        )
        self.clear = QPushButton("Clear")
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["File", "Outcome"])
        self.list.setRootIsDecorated(False)
        self.list.setAccessibleName("Files and their outcome")
        header = self.list.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        header.resizeSection(0, 280)
        header.setStretchLastSection(True)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("a folder; results have the names of their files")
        self.folder.setAccessibleName("Folder to save results in")
        self.browse = QPushButton("Browse...")
        self.axes = QLineEdit()
        self.axes.setPlaceholderText("from the files")
        self.axes.setToolTip(
            "One letter per axis, such as tyx, if the files state no axes or wrong ones."
        )
        self.axes.setAccessibleName("Axes of the files")
        self.axes.setMaximumWidth(130)
        self.scene = QLineEdit()
        self.scene.setPlaceholderText("number or name")
        self.scene.setToolTip(
            "Image to enhance in files that contain several: its number from 0, or its name."
        )
        self.scene.setAccessibleName("Scene of files that hold several images")
        self.scene.setMaximumWidth(130)
        self.as_one = QCheckBox("All are one recording")
        self.as_one.setToolTip(
            "<p>Join the files along time, in the order of their names, so that noise, defects and"
            " brightness are estimated once for all of them. Each file has its own result.</p>"
        )
        self.replace = QCheckBox("Replace results that exist")
        self.settings = QLabel()
        self.settings.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setRange(0, TICKS)
        self.bar.setAccessibleName("Progress")
        self.status = QLabel("Add files or a folder, or drop them here.")
        self.status.setWordWrap(True)
        self.run, self.cancel = QPushButton("Run"), QPushButton("Cancel")
        column = QVBoxLayout(self)
        column.addLayout(_row(self.add_files, self.add_folder, self.clear, None))
        column.addWidget(self.list, 1)
        column.addLayout(_row(QLabel("Save in"), self.folder, self.browse))
        column.addLayout(
            _row(
                QLabel("Axes"),
                self.axes,
                QLabel("Scene"),
                self.scene,
                self.as_one,
                self.replace,
                None,
            )
        )
        column.addWidget(self.settings)
        column.addWidget(self.bar)
        last = _row(self.status, self.run, self.cancel)
        last.setStretch(0, 1)
        column.addLayout(last)
        self.add_files.clicked.connect(self._choose_files)
        self.add_folder.clicked.connect(self._choose_folder)
        self.clear.clicked.connect(self._clear)
        self.browse.clicked.connect(self._browse)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.folder.textChanged.connect(lambda _: self._show_readiness())
        self._show_readiness()

    # Files to enhance

    def add(self, paths: Sequence[str]) -> None:
        """Add files and folders."""
        self._inputs += [path for path in paths if path not in self._inputs]
        self._show_inputs()

    def _clear(self) -> None:
        self._inputs.clear()
        self._show_inputs()

    def _choose_files(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in formats.SUFFIXES)
        paths, _ = QFileDialog.getOpenFileNames(
            self, "Images to enhance", "", f"Images ({patterns});;All files (*)"
        )
        self.add(paths)

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of images to enhance")
        self.add([path] if path else [])

    def _browse(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder to save results in")
        if path:
            self.folder.setText(path)

    def dragEnterEvent(self, event: Any) -> None:
        """Accept files that are dragged onto the window."""
        if event.mimeData().hasUrls() and not self.running:
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Add files that were dropped."""
        self.add([url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()])

    def _show_inputs(self) -> None:
        self.list.clear()
        for path in self._inputs:
            self._add_row(path, "folder" if Path(path).is_dir() else "")
        self.bar.setValue(0)
        self.status.setText("")
        self._show_readiness()

    def _add_row(self, path: str | Path, outcome: str) -> QTreeWidgetItem:
        row = QTreeWidgetItem([Path(path).name, outcome])
        row.setToolTip(0, str(path))
        self.list.addTopLevelItem(row)
        return row

    # Running

    @property
    def running(self) -> bool:
        """Whether a run is in progress."""
        return self._run is not None

    def start(self) -> None:
        """Enhance the files in a thread."""
        if self.running:
            return
        self._show_inputs()  # no outcomes of an earlier run, if this one is refused
        try:
            options = self._current_options()
        except (ValueError, TypeError) as error:
            self.status.setText(str(error))
            return
        arguments = {
            "overwrite": self.replace.isChecked(), "wording": WORDING, "keep_unfinished": False,
            "scene": parse_scene(self.scene.text().strip()), "as_one": "t" if self.as_one.isChecked() else None,
        }  # fmt: skip
        # The trailing separator marks it as a folder, even if its name has a suffix.
        folder = self.folder.text().strip().rstrip("/\\") + "/"
        self._batch, self._finished, self._began = None, 0, time.perf_counter()
        self.bar.setRange(0, 0)
        self.status.setText("Looking for images...")
        steps = work(list(self._inputs), folder, options, arguments)
        self._run = Background(steps, self._on_step, self._on_end)
        self._show_readiness()
        self._run.start()

    def stop(self) -> None:
        """Request that the run stops after the current tile; finished files are kept."""
        if self._run is not None:
            self._run.cancel()
            self.cancel.setEnabled(False)
            self.status.setText("Cancelling after this tile...")

    def abandon(self) -> None:
        """Stop without updating the window, because the viewer has been closed."""
        if self._run is not None:
            self._run.abandon()

    def _current_options(self) -> Options:
        axes = self.axes.text().strip() or None
        return replace(self._options(), axes=axes)

    def _on_step(self, event: Batch | Event) -> None:
        from napari_dcr.batch.batch import Batch, Failed, Finished, Started

        if isinstance(event, Batch):
            self._show_jobs(event)
            return
        assert self._batch is not None
        row = self.list.topLevelItem(self._batch.jobs.index(event.job))
        if isinstance(event, Started):
            row.setText(1, "opening")
            self.list.scrollToItem(row)
        elif isinstance(event, (Finished, Failed)):
            self._finished += 1
            self._show_outcome(self._batch.jobs.index(event.job))
        else:
            self._show_progress(row, event.progress)

    def _show_jobs(self, batch: Batch) -> None:
        """List the images that were found, instead of the given files and folders."""
        self._batch = batch
        self.list.clear()
        for job in batch.jobs:
            self._add_row(job.source if not job.sources else job.name, "waiting")
        for left in batch.left_out:
            self._add_row(left.path, f"{left.reason}; it is left out")
        self.bar.setRange(0, TICKS)

    def _show_outcome(self, number: int) -> None:
        assert self._batch is not None
        row, outcome = self.list.topLevelItem(number), self._batch.outcomes[number]
        row.setText(1, outcome.splitlines()[0])
        row.setToolTip(1, outcome)

    def _show_progress(self, row: QTreeWidgetItem, progress: Any) -> None:
        assert self._batch is not None
        share = progress.done / max(1, progress.total)
        row.setText(1, f"{100 * share:.0f} %, {progress.message}" if share else progress.message)
        jobs = len(self._batch.jobs)
        done = (self._finished + share) / jobs
        self.bar.setValue(round(TICKS * done))
        text = f"File {self._finished + 1} of {jobs}"
        if done > 0:
            left = (time.perf_counter() - self._began) * (1 / done - 1)
            text += f", {duration(left)} left"
        self.status.setText(text)

    def _on_end(self, result: Failure | None) -> None:
        cancelled = self._run is not None and self._run.cancelled
        self._run = None
        self.bar.setRange(0, TICKS)
        if isinstance(result, Failure):
            self.bar.setValue(0)
            LOG.debug("enhancing files failed", exc_info=result.error)
            self.status.setText(explain(result.error))
        elif self._batch is not None:
            self._show_end(self._batch, cancelled)
        elif cancelled:
            self.status.setText("Cancelled.")
        self._show_readiness()

    def _show_end(self, batch: Batch, cancelled: bool) -> None:
        ended = len(batch.outcomes)  # some may have ended after the cancellation
        parts = [f"{ended - batch.failed} of {len(batch.jobs)} done"]
        if batch.failed:
            parts.append(f"{batch.failed} failed")
        if cancelled:
            for number in range(self._finished, ended):
                self._show_outcome(number)
            for number in range(ended, len(batch.jobs)):
                self.list.topLevelItem(number).setText(1, "Cancelled")
            parts.append("cancelled")
        else:
            self.bar.setValue(TICKS)
        took = duration(time.perf_counter() - self._began)
        text = f"{', '.join(parts)}, in {took}."
        if ended > batch.failed:
            text += f" Results are in {batch.output}."
        self.status.setText(text)

    def _show_readiness(self) -> None:
        idle = not self.running
        for control in (
            self.add_files, self.add_folder, self.clear, self.folder, self.browse, self.axes, self.scene,
            self.as_one, self.replace,
        ):  # fmt: skip
            control.setEnabled(idle)
        self.run.setEnabled(idle and bool(self._inputs) and bool(self.folder.text().strip()))
        self.cancel.setEnabled(self._run is not None and not self._run.cancelled)
        self._show_settings()

    def _show_settings(self) -> None:
        try:
            text = f"Settings of the widget: {describe(self._options())}."
        except (ValueError, TypeError) as error:
            text = str(error)
        self.settings.setText(text)

    def event(self, event: QEvent | None) -> bool:
        """Show the widget's settings as they are when the window comes to the front."""
        if event is not None and event.type() == QEvent.Type.WindowActivate and not self.running:
            self._show_settings()
        return bool(super().event(event))


def work(
    inputs: Sequence[str], folder: str, options: Options, arguments: dict[str, Any]
) -> Generator[Batch | Event, None, Failure | None]:
    """Enhance files one by one, in the worker thread."""
    try:
        from napari_dcr.batch.batch import Batch

        batch = Batch(inputs, folder, options, **arguments)
        yield batch
        yield from batch.steps()
    except Exception as error:
        return Failure(error)
    return None


def describe(options: Options) -> str:
    """Describe the model, the depth and all options that differ from their defaults.

    Examples
    --------
    >>> describe(Options(depth=1, strength=0.5))
    'model auto, depth 1, strength 0.5'
    """
    values, defaults = options.to_dict(), Options().to_dict()
    depth = "all" if options.depth is None else options.depth
    parts = [f"model {Path(values['model']).name}", f"depth {depth}"]
    for name, value in values.items():
        skipped = name in ("model", "depth", "axes") or name.startswith("return_")
        if not skipped and value != defaults[name]:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


def _row(*widgets: QWidget | None) -> QHBoxLayout:
    """Lay out widgets side by side; None is a stretch that takes the remaining width."""
    row = QHBoxLayout()
    for widget in widgets:
        if widget is None:
            row.addStretch(1)
        else:
            row.addWidget(widget)
    return row
