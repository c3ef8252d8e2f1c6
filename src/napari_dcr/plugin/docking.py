"""Docking of the widget: move it to another dock, and keep it when its dock is closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

if TYPE_CHECKING:
    from napari.window import Window


class DockKeeper(QObject):  # type: ignore[misc]
    """Keeps a widget alive when napari closes its dock.

    napari removes the widget from a dock that is closed, and drops it.  This class makes it a
    hidden child of the main window, so that it can be docked again and is destroyed together with
    the window.

    Parameters
    ----------
    widget : QWidget
    closed : callable
        Called after the dock has been closed.
    """

    def __init__(self, widget: QWidget, closed: Callable[[], None]) -> None:
        super().__init__()  # a parent would keep the widget alive
        self._widget, self._closed = widget, closed
        self._main: ReferenceType[QWidget] | None = None
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._adopt)
        widget.installEventFilter(self)

    @property
    def dock(self) -> QDockWidget | None:
        """Dock that contains the widget, or None."""
        parent = self._widget.parentWidget()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parentWidget()
        return parent

    def undock(self, window: Window) -> None:
        """Remove the widget's dock from the window."""
        dock = self.dock
        if dock is not None:
            window.remove_dock_widget(dock)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """React to a change of the widget's parent."""
        kind = None if event is None else event.type()
        if kind in (QEvent.Type.ParentChange, QEvent.Type.Show):
            dock = self.dock
            if dock is not None:
                main = dock.parentWidget()
                self._main = self._main if main is None else ref(main)
            elif kind == QEvent.Type.ParentChange and self._widget.parent() is None:
                self._later.start(0)  # the widget may be docked again immediately
        return False

    def _adopt(self) -> None:
        main = None if self._main is None else self._main()
        if self._widget.parent() is None and main is not None:
            with contextlib.suppress(RuntimeError):  # the main window has been destroyed too
                self._widget.setParent(main)
                self._widget.hide()
                self._closed()
