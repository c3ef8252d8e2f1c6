"""Handling of mouse wheel, clicks and keys, so that controls do not change by accident."""

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

    def __init__(self, label: QLabel, called: Callable[[], None]) -> None:
        super().__init__()  # a parent would keep the callback alive
        self._called = called
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """React to double clicks."""
        if event is not None and event.type() == QEvent.Type.MouseButtonDblClick:
            self._called()
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


def on_double_click(label: QLabel, called: Callable[[], None]) -> QObject:
    """Call a function when a label is double-clicked; keep the returned object alive."""
    return _DoubleClick(label, called)


KEYS = {"run": "Ctrl+Return", "cancel": "Ctrl+.", "compare": "Ctrl+B"}
"""Keys of the buttons; napari 0.9.2 uses none of them."""


def bind_key(window: QWidget, widget: QWidget, key: str, called: Callable[[], None]) -> None:
    """Let a key press a button anywhere in a window, and say so in the button's tooltip."""
    sequence = QKeySequence(key)
    # Of the keyboard's numeric pad, too.
    also = [QKeySequence("Ctrl+Enter")] if key == "Ctrl+Return" else []
    for each in [sequence, *also]:
        shortcut = QShortcut(each, window)
        shortcut.activated.connect(called)
        widget.destroyed.connect(shortcut.deleteLater)
    shown = sequence.toString(QKeySequence.SequenceFormat.NativeText)
    widget.setToolTip(f"{widget.toolTip()} ({shown})")


def name(widget: QWidget, text: str) -> None:
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
