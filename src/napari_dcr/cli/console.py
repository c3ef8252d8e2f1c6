"""Output of the shell command: progress, a line for each file, warnings and records."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TextIO

from napari_dcr.batch.batch import Batch, Event, Failed, Finished, Started, reason_of
from napari_dcr.engine.progress_bar import ProgressBar, duration
from napari_dcr.engine.result import Progress
from napari_dcr.io.jobs import Job

LINE_AFTER = 30.0
"""Seconds between two lines of progress, if standard error is not a terminal."""


class Console:
    """Context manager that shows the steps of a batch on standard error.

    If standard error is a terminal, it shows progress bars, otherwise a line every 30 seconds.

    Parameters
    ----------
    batch : Batch
    quiet : bool
        Show errors and warnings only.
    records : bool
        Write the record of each file to standard output, as one JSON object per line.
    """

    def __init__(self, batch: Batch, quiet: bool, records: bool) -> None:
        self._batch, self._quiet, self._records = batch, quiet, records
        self._bar: ProgressBar | ProgressLines | None = None
        self._job: Job | None = None
        self._has_begun = False  # whether the result of the job has been written to
        self._failures: list[tuple[str, str]] = []

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
        self._close_bar()
        if error is not None:  # the run was interrupted
            self._show_how_to_resume()
        elif self._failures and len(self._batch.jobs) > 1:
            self._show_failures()

    def show(self, event: Event) -> None:
        """Show a step."""
        if isinstance(event, Started):
            self._job, name, self._has_begun = event.job, event.job.name, False
            if _is_terminal():
                self._bar = ProgressBar(name, self._quiet)
            elif not self._quiet:
                self._bar = ProgressLines(name)
        elif isinstance(event, (Finished, Failed)):
            self._close_bar()
            if isinstance(event, Failed):
                if self._has_begun:  # else resuming was refused, and would be again
                    self._show_how_to_resume()
                self._show_failure(event)
            else:
                self._show_result(event)
            if self._records:
                print(json.dumps(self._batch.entries[-1]), flush=True)
            self._job = None
        else:
            self._has_begun = event.progress.done > 0
            if self._bar is not None:
                self._bar(event.progress)

    def _close_bar(self) -> None:
        if isinstance(self._bar, ProgressBar):
            self._bar.close()
        self._bar = None

    def _show_result(self, event: Finished) -> None:
        job, reports = event.job, event.enhancement.reports
        if not self._quiet:
            record = event.enhancement.record
            details = f"axes {record['axes']}" + ", denoised first" * ("denoise_first" in record)
            if "model_reason" in record:
                details += f"; model {record['model']}, because {record['model_reason']}"
            if "neighbours" in record:
                details += ", with neighbours along {axis}".format(**record["neighbours"])
                if averaged := record["neighbours"].get("averaged"):
                    details += f": means of {averaged:.1f} frames"
            source = job.name if job.sources else short(job.source)
            print(f"{source} ({details}) -> {short(job.target)}", file=sys.stderr)
        shown = event.enhancement.record["warnings"]  # each was printed when it was issued
        for number, report in enumerate(reports):
            channel = f" channel {number + 1}" if len(reports) > 1 else ""
            own = tuple(text for text in report.warnings if text not in shown)
            verdict = replace(report, warnings=own).verdict
            print(f"{job.name}{channel}: {verdict}", file=sys.stderr)

    def _show_failure(self, event: Failed) -> None:
        name = short(event.job.source)
        reason = reason_of(event.job, event.error)
        self._failures.append((name, reason))
        _say(str(event.error) if len(self._batch.jobs) == 1 else f"{name}: {reason}")

    def _show_failures(self) -> None:
        """List the failed files with their reasons at the end of the output."""
        _say(f"{len(self._failures)} of {len(self._batch.jobs)} files failed:")
        width = max(len(name) for name, _ in self._failures)
        for name, reason in self._failures:
            print(f"  {name:{width}}  {reason}", file=sys.stderr)

    def _show_how_to_resume(self) -> None:
        """Print how to resume, if the result is an incomplete zarr."""
        if self._job is not None and self._batch.is_incomplete(self._job):
            _say(f"{short(self._job.target)} is not complete; --resume continues it")


class ProgressLines:
    """Prints the progress of an image as occasional lines, for logs.

    Parameters
    ----------
    name : str
        Name of the image.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = self._shown = time.monotonic()

    def __call__(self, step: Progress) -> None:
        """Print a step if the interval since the last line has passed."""
        now = time.monotonic()
        if now - self._shown < LINE_AFTER:
            return
        self._shown = now
        text = step.message
        if step.done:
            share, seconds = step.done / step.total, now - self._started
            rate = f"{share * step.frames / seconds:.2g} frames per second, " * bool(step.frames)
            text = f"{100 * step.done // step.total} %, {rate}{duration(seconds * (1 / share - 1))} left; {text}"
        _say(f"{self._name}: {text}")


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def _say(text: str) -> None:
    print(f"napari-dcr: {text}", file=sys.stderr)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Print a warning in the format of error messages."""
    _say(f"warning: {message}")


def short(path: Path) -> str:
    """Path for display: relative to the working directory if it is inside it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
