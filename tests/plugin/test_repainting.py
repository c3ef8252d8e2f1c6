"""A window is redrawn at once where it matters, and otherwise only for part of the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_dcr.plugin import repainting
from napari_dcr.plugin.repainting import Repainting


class Window(QWidget):  # type: ignore[misc]
    """A window that counts how often it is drawn, and takes a second for it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.drawn, self.requests = clock, 0, 0

    def paintEvent(self, _: Any) -> None:
        """Count the drawing."""
        self.drawn += 1
        self.clock.now += 1.0

    def event(self, event: Any) -> bool:
        """Handle an event in Python, as napari's window does."""
        if event.type() == QEvent.Type.UpdateRequest:
            self.requests += 1
        return bool(super().event(event))

    def changed(self) -> int:
        """Change the window and process events; returns how often it was drawn for that."""
        before = self.drawn
        self.update()
        QApplication.processEvents()
        return self.drawn - before


class Clock:
    """A clock that the test moves on."""

    now = 100.0

    def perf_counter(self) -> float:
        """Time in seconds."""
        return self.now


@pytest.fixture
def window(qapp: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    clock = Clock()
    monkeypatch.setattr(repainting, "time", clock)
    window = Window(clock)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitUntil(lambda: window.drawn > 0)
    QApplication.processEvents()
    yield window
    window.close()


@pytest.mark.gui
def test_changes_wait_in_proportion_to_the_time_of_a_drawing(window: Window) -> None:
    limited = Repainting(window)
    assert window.changed() == 1
    limited.limit(True)
    assert window.changed() == 1  # takes a second, so the next one waits for four
    window.clock.now += repainting.REST
    assert window.changed() == 1
    window.clock.now += repainting.REST - 0.5
    assert window.changed() == 0
    limited.redraw()
    window.clock.now += repainting.REST - 0.5
    assert window.changed() == 0
    limited.redraw()
    window.clock.now += repainting.REST
    assert window.changed() == 1
    limited.abandon()


@pytest.mark.gui
def test_no_change_is_lost(window: Window, qtbot: Any) -> None:
    limited = Repainting(window)
    limited.limit(True)
    assert window.changed() == 1
    assert window.changed() == 0
    before = window.drawn
    limited.redraw()
    assert window.drawn == before + 1
    # What waits when the limit ends is drawn then; afterwards the window is drawn as usual.
    assert window.changed() == 0
    before = window.drawn
    limited.limit(False)
    assert window.drawn == before + 1
    assert [window.changed(), window.changed()] == [1, 1]
    # Without further changes, a timer draws what waits.
    limited = Repainting(window, 0.05)
    limited.limit(True)
    assert window.changed() == 1
    before = window.drawn
    window.update()
    qtbot.waitUntil(lambda: window.drawn == before + 1)
    limited.limit(False)


@pytest.mark.gui
def test_a_drawing_does_not_pass_through_python(window: Window) -> None:
    """While `QWidget.event` is called from Python, PyQt keeps Python's lock, and workers wait."""
    limited = Repainting(window, 0)
    limited.limit(True)
    before, drawn = window.requests, window.drawn
    assert window.changed() == 1
    window.update()
    limited.redraw()
    assert window.drawn == drawn + 2
    assert window.requests == before
    limited.limit(False)
    assert window.changed() == 1
    assert window.requests == before + 1
