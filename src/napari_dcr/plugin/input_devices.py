"""Mouse wheel, double clicks and keys of the widget, and names and tooltips of its controls."""

from __future__ import annotations

import html
from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QLabel, QWidget

PAGE_STEPS = 10
"""Number of steps that a slider moves for a click beside its handle, PageUp or PageDown."""


class _WheelFilter(QObject):  # type: ignore[misc]
    """Passes wheel events to the scroll area, unless the control has the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ignore wheel events of controls without focus, so that their parent receives them."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        if watched.hasFocus():
            return False
        event.ignore()
        return True


class _DoubleClick(QObject):  # type: ignore[misc]
    """Calls a function when a label is double-clicked."""

    def __init__(self, label: QLabel, callback: Callable[[], None]) -> None:
        super().__init__()  # a parent would keep the callback alive
        self._callback = callback
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Call the function on a double click."""
        if event is not None and event.type() == QEvent.Type.MouseButtonDblClick:
            self._callback()
            return True
        return False


def require_focus(root: QWidget) -> None:
    """Make the mouse wheel change only the focused control, and sliders move by visible steps."""
    wheel = _WheelFilter(root)
    for kind in (QComboBox, QAbstractSlider, QAbstractSpinBox):
        for control in root.findChildren(kind):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the wheel must not set the focus
            control.installEventFilter(wheel)
            if isinstance(control, QAbstractSlider):
                step, span = control.singleStep(), control.maximum() - control.minimum()
                control.setPageStep(PAGE_STEPS * step if span > 2 * PAGE_STEPS * step else step)


def on_double_click(label: QLabel, callback: Callable[[], None]) -> QObject:
    """Call a function when a label is double-clicked; keep the returned object alive."""
    return _DoubleClick(label, callback)


KEYS = {"run": "Ctrl+Return", "cancel": "Ctrl+.", "compare": "Ctrl+B"}
"""Keys of the buttons; napari 0.9.2 uses none of them."""


def bind_key(window: QWidget, widget: QWidget, key: str, callback: Callable[[], None]) -> None:
    """Call a function when a key is pressed anywhere in a window, and show the key in a tooltip.

    Parameters
    ----------
    window : QWidget
        Window in which the key works.
    widget : QWidget
        Button that does the same; its tooltip shows the key.
    key : str
        Key in the notation of Qt, such as "Ctrl+B".
    callback : callable
    """
    sequence = QKeySequence(key)
    # Qt calls the key of the numeric pad Enter, and the other one Return.
    numeric_pad = [QKeySequence("Ctrl+Enter")] if key == "Ctrl+Return" else []
    for each in [sequence, *numeric_pad]:
        shortcut = QShortcut(each, window)
        shortcut.activated.connect(callback)
        widget.destroyed.connect(shortcut.deleteLater)
    shown = sequence.toString(QKeySequence.SequenceFormat.NativeText)
    widget.setToolTip(f"{widget.toolTip()} ({shown})")


def set_accessible_name(widget: QWidget, text: str) -> None:
    """Set the name that screen readers use for a control and the controls in it."""
    widget.setAccessibleName(text)
    for kind in (QComboBox, QAbstractSlider, QAbstractSpinBox):
        for control in widget.findChildren(kind):
            control.setAccessibleName(text)


def wrap_tooltips(root: QWidget) -> None:
    """Convert tooltips to rich text, because Qt only wraps the lines of rich text."""
    for widget in [root, *root.findChildren(QWidget)]:
        text = widget.toolTip()
        if text and not text.startswith("<"):
            widget.setToolTip(f"<p>{html.escape(text)}</p>")
