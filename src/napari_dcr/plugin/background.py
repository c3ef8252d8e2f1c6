"""Run a generator in a worker thread, and report its steps and its end in the GUI thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker

SWITCH_INTERVAL = 2e-4
"""Longest time in seconds for which the GUI thread keeps Python's lock while a worker waits for it.

After each of the network's many short operations the worker needs the lock.  With Python's default
of 5 ms, it waits for most of the time while the window draws."""


@dataclass(frozen=True)
class Failure:
    """Error that is returned as a result, because napari's workers ignore RuntimeErrors."""

    error: Exception


class Background:
    """Runs a generator in a worker thread; it can be cancelled between two steps.

    Parameters
    ----------
    steps : generator
        Returns its result, or a `Failure`.
    on_step : callable
        Called with each yielded value, until the generator is cancelled.
    on_end : callable
        Called once at the end, with the result, or with None after a cancellation.
    """

    _alive: set[Background] = set()  # noqa: RUF012 - Qt connections do not keep objects alive
    _usual_interval = 0.0

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
        # All steps run in this thread, because Qt's pool may use a different thread for each step.
        # Its priority is not lowered: PyTorch's threads would wait for each other on a busy machine,
        # and a run would take a hundred times longer.
        self._thread = ThreadPoolExecutor(1, "enhance")
        self._worker: Any = create_worker(
            low_light_enhancement, steps, self._thread, _start_thread=False
        )
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.finished.connect(self._on_finished)

    def start(self) -> None:
        """Start the worker thread."""
        if not self._alive:
            Background._usual_interval = sys.getswitchinterval()
            sys.setswitchinterval(min(SWITCH_INTERVAL, self._usual_interval))
        self._alive.add(self)
        self._worker.start()

    def cancel(self) -> None:
        """Request a stop after the current step."""
        self._cancelled = True
        self._worker.quit()

    def abandon(self) -> None:
        """Request a stop without calling ``on_end`` afterwards."""
        self._abandoned = True
        self.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether a stop has been requested."""
        return self._cancelled

    @property
    def is_alive(self) -> bool:
        """Whether the worker thread is still running."""
        return bool(self._worker.is_running)

    def _on_yielded(self, step: Any) -> None:
        if not self._cancelled:
            self._on_step(step)

    def _on_returned(self, result: Any) -> None:
        if not self._cancelled:
            self._result = result

    def _on_finished(self) -> None:
        self._alive.discard(self)
        if not self._alive:
            sys.setswitchinterval(self._usual_interval)
        # napari keeps the worker until its window closes, so release the generator's memory here.
        self._thread.submit(self._steps.close).result()
        self._thread.shutdown(wait=False)
        result, self._result = self._result, None
        if not self._abandoned:
            self._on_end(result)


def low_light_enhancement(
    steps: Generator[Any, None, Any], thread: ThreadPoolExecutor
) -> Generator[Any, None, Any]:
    """Run the steps in a thread.

    If the user closes napari during a run, its dialog shows the name of this function.
    """
    while not isinstance(step := thread.submit(_advance, steps).result(), _End):
        yield step
    return step.result


@dataclass(frozen=True)
class _End:
    """Return value of a generator."""

    result: Any


def _advance(steps: Generator[Any, None, Any]) -> Any:
    try:
        return next(steps)
    except StopIteration as end:
        return _End(end.value)
