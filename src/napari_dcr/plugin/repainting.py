"""Redraw a window while a worker computes: without blocking the worker, and not too often."""

from __future__ import annotations

import contextlib
import math
import time
import weakref
from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtGui import QExposeEvent, QRegion

REST = 4.0
"""Time between two drawings for *Live*, relative to the time that one takes."""


class Repainting(QObject):  # type: ignore[misc]
    """Redraws a window at once when it is asked to, and otherwise for a part of the time.

    A camera at 60 frames a second makes napari redraw its window as often as it can.  With OpenGL in
    software, this occupies two processor cores, and hardly any time is left for a worker thread.

    Qt requests the redrawing of a window by an event, and asks no more until it is redrawn.  This
    filter delays the event, so that several changes are drawn together.  With fast graphics the delay
    is not noticeable, because it is proportional to the time of the last drawing.

    Parameters
    ----------
    window : QWidget
        Top-level window.
    rest : float
        Shortest time between two drawings, relative to the time that one takes.
    """

    def __init__(self, window: Any, rest: float = REST) -> None:
        super().__init__()
        self._rest = rest
        self._window = weakref.ref(window)  # napari's tests check that closed windows are released
        self._limited = self._drawing = False
        self._next = 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.redraw)

    def limit(self, on: bool) -> None:
        """Begin or end to limit how often the window is redrawn."""
        window = self._window()
        if on == self._limited or window is None:
            return
        self._limited = on
        if on:
            self._next = 0.0
            window.installEventFilter(self)
        else:
            window.removeEventFilter(self)
            if self._timer.isActive():
                self.redraw()

    def abandon(self) -> None:
        """Stop without touching the window, because it has been closed."""
        self._limited = False
        with contextlib.suppress(RuntimeError):  # at interpreter exit Qt has deleted the timer
            self._timer.stop()

    def redraw(self) -> None:
        """Draw all changes of the window now."""
        window = self._window()
        handle = None if window is None else window.windowHandle()
        if handle is None:
            return
        self._timer.stop()
        started = time.perf_counter()
        self._drawing = True
        try:
            # A request to redraw would pass through Python code of the window, and PyQt would then keep
            # Python's lock until OpenGL has finished. An exposed pixel makes Qt draw all changes as well,
            # with the lock released, so that a worker thread can compute meanwhile.
            QCoreApplication.sendEvent(handle, QExposeEvent(QRegion(0, 0, 1, 1)))
        finally:
            self._drawing = False
        ended = time.perf_counter()
        self._next = ended + self._rest * (ended - started)

    def eventFilter(self, _: Any, event: Any) -> bool:
        """Delay the drawing of the window until enough time has passed since the last one."""
        if event.type() != QEvent.Type.UpdateRequest or self._drawing or not self._limited:
            return False
        wait = self._next - time.perf_counter()
        if wait <= 0:
            self.redraw()
        elif not self._timer.isActive():
            self._timer.start(math.ceil(1000 * wait))
        return True
