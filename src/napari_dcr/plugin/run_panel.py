"""Buttons *Run* and *Cancel*, the progress bar and the status line."""

from __future__ import annotations

import time
from collections.abc import Sequence

from magicgui.widgets import Label, ProgressBar, PushButton
from napari.utils.notifications import show_error
from psygnal import Signal
from qtpy.QtWidgets import QSizePolicy

from napari_dcr.plugin.form import WARNING
from napari_dcr.plugin.run import TICKS, Job, Product, Run


class RunPanel:
    """Starts and cancels runs, and shows their progress and which layers failed.

    Attributes
    ----------
    run, cancel : PushButton
    bar : ProgressBar
    status : Label
    current : Run or None
        Run in progress.
    produced : Signal(Product)
        Emitted with the result of each layer.
    ended : Signal(bool)
        Emitted after a run, with whether it was completed.
    """

    produced = Signal(Product)
    ended = Signal(bool)

    def __init__(self) -> None:
        self.run = PushButton(name="run", text="Run", tooltip="Enhance into a new layer.")
        self.cancel = PushButton(
            name="cancel", text="Cancel", enabled=False,
            tooltip="Stop after the current tile. Unfinished results are removed.",
        )  # fmt: skip
        self.bar = ProgressBar(name="bar", min=0, max=TICKS, value=0)
        self.status = Label(name="status", value="")
        self.status.native.setWordWrap(True)
        self.status.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.current: Run | None = None
        self._failures: list[tuple[str, str]] = []  # names of layers, and their errors
        self._layers = 0
        self._started = 0.0
        self._outcome = ""
        self.cancel.clicked.connect(self.stop)

    @property
    def seconds(self) -> str:
        """Time since the run started, with its unit."""
        return f"{time.perf_counter() - self._started:.1f} s"

    def start(self, jobs: Sequence[Job], failures: Sequence[tuple[str, str]] = ()) -> None:
        """Run jobs in a thread.

        Parameters
        ----------
        jobs : sequence of Job
            Without one, only the failures are shown.
        failures : sequence of tuple of str
            Names of layers that cannot be run on, and their errors.
        """
        self._failures, self._outcome = [], ""
        for name, text in failures:
            self._add_failure(name, text)
        if not jobs:
            self._show_failures(len(failures))
            return
        self._started = time.perf_counter()
        self.current = run = Run(jobs)
        run.progressed.connect(self._show_progress)
        run.produced.connect(lambda product: self.produced.emit(product))
        run.failed.connect(self._add_failure)
        run.ended.connect(self._on_end)
        self._layers = len(jobs) + len(failures)
        self.bar.value = 0
        self.status.value = "Starting..."
        run.start()

    def stop(self) -> None:
        """Request that the run stops after the current tile."""
        if self.current is not None:
            self.current.cancel()
            self.cancel.enabled = False
            self.status.value = "Cancelling after this tile..."

    def abandon(self) -> None:
        """Stop without emitting signals, because the window has been closed."""
        if self.current is not None:
            self.current.abandon()

    def set_outcome(self, text: str, details: str) -> None:
        """Set the text to show when the run is done, and the tooltip of that text."""
        self._outcome = text
        self.status.tooltip = details

    def show_failure(self, text: str) -> None:
        """Show an error that concerns no single layer."""
        self.start([], [("", text)])

    def _add_failure(self, name: str, text: str) -> None:
        self._failures.append((name, text))
        show_error(f"napari-dcr: {name}: {text}" if name else f"napari-dcr: {text}")

    def _show_failures(self, layers: int) -> None:
        """Show in the status line which layers failed, and why."""
        if not self._failures:
            return
        if layers == 1:
            self.status.value = f"{WARNING} Failed: {self._failures[0][1]}"
            return
        lines = [f"{WARNING} {name}: {text}" for name, text in self._failures]
        self.status.value = "\n".join([f"{layers - len(lines)} of {layers} done.", *lines])

    def _show_progress(self, share: float, text: str) -> None:
        # The bar has no end until the first pixels are done, while the image is being surveyed.
        self.bar.native.setMaximum(TICKS if share else 0)
        self.bar.value = round(TICKS * share)
        self.status.value = text

    def _on_end(self, outcome: str) -> None:
        self.current = None
        self.bar.native.setMaximum(TICKS)
        done = outcome == "done"
        self.bar.value = TICKS if done else 0
        self.status.value = self._outcome if done else "Cancelled."
        self._show_failures(self._layers)
        self.ended.emit(done)
