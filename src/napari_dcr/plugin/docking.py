"""The dock of the widget: leaving it for another one, and outliving its being closed."""

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
    """Keeps a docked widget with its main window when napari closes its dock.

    napari takes the widget out of a dock that is closed and forgets it. As a hidden child of the
    main window it is still destroyed with it, and can be docked again.

    Parameters
    ----------
    widget : QWidget
    closed : callable
        Called when the dock was closed.
    """

    def __init__(self, widget: QWidget, closed: Callable[[], None]) -> None:
        super().__init__()  # without a parent, which would keep what it holds alive
        self._widget, self._closed = widget, closed
        self._main: ReferenceType[QWidget] | None = None
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._adopt)
        widget.installEventFilter(self)

    @property
    def dock(self) -> QDockWidget | None:
        """The dock that the widget is in."""
        parent = self._widget.parentWidget()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parentWidget()
        return parent

    def undock(self, window: Window) -> None:
        """Leave the dock, which napari then takes away."""
        dock = self.dock
        if dock is not None:
            window.remove_dock_widget(dock)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice a new parent."""
        kind = None if event is None else event.type()
        if kind in (QEvent.Type.ParentChange, QEvent.Type.Show):
            dock = self.dock
            if dock is not None:
                main = dock.parentWidget()
                self._main = self._main if main is None else ref(main)
            elif kind == QEvent.Type.ParentChange and self._widget.parent() is None:
                self._later.start(0)  # unless it is docked again at once
        return False

    def _adopt(self) -> None:
        main = None if self._main is None else self._main()
        if self._widget.parent() is None and main is not None:
            with contextlib.suppress(RuntimeError):  # the main window is gone, too
                self._widget.setParent(main)
                self._widget.hide()
                self._closed()
