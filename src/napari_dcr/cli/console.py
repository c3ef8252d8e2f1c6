"""What the shell shows of a run: bars, a line for each file, warnings."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TextIO

from napari_dcr.batch import Batch, Event, Failed, Finished, Started
from napari_dcr.engine.progress_bar import ProgressBar
from napari_dcr.io.jobs import Job


class Console:
    """Shows the steps of a batch on standard error; to be used as a context manager.

    Parameters
    ----------
    batch : Batch
    quiet : bool
        Show errors and warnings only.
    """

    def __init__(self, batch: Batch, quiet: bool) -> None:
        self._batch, self._quiet = batch, quiet
        self._bar: ProgressBar | None = None
        self._job: Job | None = None

    def __enter__(self) -> Console:
        for each in self._batch.left_out:
            _say(f"{short(each.path)} {each.reason}; it is left out")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        if error is not None:  # interrupted
            self._tell_if_incomplete()
        elif self._batch.failed and len(self._batch.jobs) > 1:
            _say(f"{self._batch.failed} of {len(self._batch.jobs)} files failed")

    def show(self, event: Event) -> None:
        """Show a step."""
        if isinstance(event, Started):
            self._job = event.job
            self._bar = ProgressBar(event.job.source.name, self._quiet)
        elif isinstance(event, (Finished, Failed)):
            assert self._bar is not None
            self._bar.__exit__(None, None, None)
            if isinstance(event, Failed):
                self._tell_if_incomplete()
                self._show_failure(event)
            else:
                self._show_result(event)
            self._job = self._bar = None
        elif self._bar is not None:
            self._bar(event.progress)

    def _show_result(self, event: Finished) -> None:
        job, reports = event.job, event.enhancement.reports
        if not self._quiet:
            axes = event.enhancement.record["axes"]
            print(f"{short(job.source)} (axes {axes}) -> {short(job.target)}", file=sys.stderr)
        for number, report in enumerate(reports):
            channel = f" channel {number + 1}" if len(reports) > 1 else ""
            print(f"{job.source.name}{channel}: {report.verdict}", file=sys.stderr)

    def _show_failure(self, event: Failed) -> None:
        if len(self._batch.jobs) == 1:
            _say(str(event.error))
            return
        source = event.job.source
        _say(f"{short(source)}: {str(event.error).removeprefix(f'{source}: ')}")

    def _tell_if_incomplete(self) -> None:
        """Say how to continue a zarr that was not completed."""
        if self._job is not None and self._batch.is_incomplete(self._job):
            _say(f"{short(self._job.target)} is not complete; --resume continues it")


def _say(text: str) -> None:
    print(f"napari-dcr: {text}", file=sys.stderr)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Show a warning in the form of the errors."""
    _say(f"warning: {message}")


def short(path: Path) -> str:
    """A path as it is shown: from the working folder on, if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
