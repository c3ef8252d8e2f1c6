"""The shell command: its start, warnings and exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from napari_dcr.batch.batch import Batch
from napari_dcr.cli import info
from napari_dcr.cli.arguments import parser
from napari_dcr.cli.console import Console, show_warning
from napari_dcr.cli.signals import Stopped, message_of, stopping_on_signals
from napari_dcr.engine.file_errors import in_plain_words
from napari_dcr.input_warnings import InputWarning
from napari_dcr.options import Options


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser({"info": info.run, "enhance": _enhance}).parse_args(arguments)
    try:
        with stopping_on_signals(), warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = show_warning
            status: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, so nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (ValueError, TypeError, OSError, MemoryError) as error:
        print(f"napari-dcr: {in_plain_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
        print(message_of(number), file=sys.stderr)
        return 128 + number
    return status


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
