"""The shell command: its start, signals, warnings and exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from napari_dcr.batch.batch import Batch
from napari_dcr.cli import info
from napari_dcr.cli.arguments import parser
from napari_dcr.cli.console import Console, show_warning
from napari_dcr.input_warnings import InputWarning
from napari_dcr.options import Options


class Terminated(KeyboardInterrupt):
    """The process has received SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser({"info": info.run, "enhance": _enhance}).parse_args(arguments)
    try:
        with _stopped_by_signals(), warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = show_warning
            status: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, so nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (ValueError, TypeError, OSError, MemoryError) as error:
        print(f"napari-dcr: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        how, status = (
            ("terminated", 143) if isinstance(stopped, Terminated) else ("interrupted", 130)
        )
        print(
            f"napari-dcr: {how}; finished files are complete, no other was written", file=sys.stderr
        )
        return status
    return status


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Context manager in which the first SIGINT or SIGTERM raises; cleaning up is not interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    # Shells make background processes ignore SIGINT, which is respected here.
    asked = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.getsignal(s) for s in asked}
    for each in asked:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _enhance(arguments: argparse.Namespace) -> int:
    fields = set(Options.__dataclass_fields__)
    options = Options(**{k: v for k, v in vars(arguments).items() if k in fields})
    batch = Batch(
        arguments.input, arguments.output_path, options,
        residual=arguments.residual, uncertainty=arguments.uncertainty, report=arguments.report,
        overwrite=arguments.overwrite, resume=arguments.resume, scene=arguments.scene,
        as_one=arguments.as_one, denoise_only=arguments.denoise_only, quality=arguments.quality,
    )  # fmt: skip
    with Console(batch, arguments.quiet, arguments.json) as console:
        for event in batch.steps():
            console.show(event)
    return 1 if batch.failed else 0
