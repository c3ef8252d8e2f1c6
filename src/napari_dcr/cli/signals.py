"""Signals that stop the shell command, before and after its imports."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HOW = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signals that stop the command, with the word for each in the message."""


class Stopped(KeyboardInterrupt):
    """The process has received one of these signals.

    Attributes
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def message_of(number: int) -> str:
    """Line that tells the user why the command ends."""
    how = HOW[signal.Signals(number)]
    return f"napari-dcr: {how}; finished files are complete, no other was written"


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Context manager in which a signal ends the process at once, for a time without open files.

    No exception is raised, because extension modules that are being imported would replace it.
    """

    def leave(number: int, frame: object) -> None:
        os.write(2, f"{message_of(number)}\n".encode())
        os._exit(128 + number)

    with _handled(leave):
        yield


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Context manager in which the first signal raises `Stopped`; cleaning up is not interrupted."""

    def stop(number: int, frame: object) -> None:
        for each in HOW:
            if signal.getsignal(each) is stop:
                signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    with _handled(stop):
        yield


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Context manager that handles the signals, unless it runs in another thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Shells make background processes ignore SIGINT, which is respected here.
    before = {each: signal.getsignal(each) for each in HOW}
    before = {each: found for each, found in before.items() if found != signal.SIG_IGN}
    for each in before:
        signal.signal(each, handler)
    try:
        yield
    finally:
        for each, found in before.items():
            signal.signal(each, found)
