"""A generator stepped in a thread, its steps and its end told in the GUI thread."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker


@dataclass(frozen=True)
class Failure:
    """An error as a result: left to itself, a worker drops RuntimeErrors."""

    error: Exception


class Background:
    """Steps a generator in a thread, between two steps of which it can be cancelled.

    Parameters
    ----------
    steps : generator
        Returns its result, or a `Failure`.
    on_step : callable
        Given each thing that is yielded, until it is cancelled.
    on_end : callable
        Given the result, or None if it was cancelled; nothing comes after it.
    """

    _alive: set[Background] = set()  # noqa: RUF012 - Qt keeps no object for the sake of its methods

    def __init__(
        self,
        steps: Generator[Any, None, Any],
        on_step: Callable[[Any], None],
        on_end: Callable[[Any], None],
    ) -> None:
        self._steps = steps
        self._on_step, self._on_end = on_step, on_end
        self._result: Any = None
        self._cancelled = self._abandoned = False
        # A thread of its own: what it inherits must not stay with those of Qt's pool.
        self._thread = ThreadPoolExecutor(1, "enhance", initializer=_step_back)
        self._worker: Any = create_worker(
            low_light_enhancement, steps, self._thread, _start_thread=False
        )
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.finished.connect(self._on_finished)

    def start(self) -> None:
        """Begin."""
        self._alive.add(self)
        self._worker.start()

    def cancel(self) -> None:
        """Ask it to stop; it does after the current step."""
        self._cancelled = True
        self._worker.quit()

    def abandon(self) -> None:
        """Ask it to stop, and tell nobody when it has."""
        self._abandoned = True
        self.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancelled

    @property
    def is_alive(self) -> bool:
        """Whether its thread is still at work."""
        return bool(self._worker.is_running)

    def _on_yielded(self, step: Any) -> None:
        if not self._cancelled:
            self._on_step(step)

    def _on_returned(self, result: Any) -> None:
        if not self._cancelled:
            self._result = result

    def _on_finished(self) -> None:
        self._alive.discard(self)
        # napari keeps every worker until its window closes; what the generator holds must go now.
        self._thread.submit(self._steps.close).result()
        self._thread.shutdown(wait=False)
        result, self._result = self._result, None
        if not self._abandoned:
            self._on_end(result)


def low_light_enhancement(
    steps: Generator[Any, None, Any], thread: ThreadPoolExecutor
) -> Generator[Any, None, Any]:
    """Step through in that thread; napari shows this name when it is closed in the middle."""
    while not isinstance(step := thread.submit(_advance, steps).result(), _End):
        yield step
    return step.result


NICENESS = 10
"""Added to that of the threads that compute: the window's thread goes first."""


def _step_back() -> None:
    """Let other threads go first; those that this one starts, such as OpenMP's, inherit it."""
    if sys.platform == "linux":  # elsewhere it is whole processes that are nice
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(
                os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            )


@dataclass(frozen=True)
class _End:
    """What a generator returned."""

    result: Any


def _advance(steps: Generator[Any, None, Any]) -> Any:
    try:
        return next(steps)
    except StopIteration as end:
        return _End(end.value)
