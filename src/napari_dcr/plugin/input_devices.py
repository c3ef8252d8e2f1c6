"""How controls take mouse wheel, clicks and keys: nothing changes that was not meant."""

from __future__ import annotations

import html
from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QLabel, QWidget

PAGE_STEPS = 10
"""Steps that a slider moves by for a click beside its handle, PageUp or PageDown."""


class _WheelFilter(QObject):  # type: ignore[misc]
    """Leaves the wheel to what scrolls, unless the control below it has the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ignore wheel events of controls without focus, so that their parent gets them."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        if watched.hasFocus():
            return False
        event.ignore()
        return True


class _DoubleClick(QObject):  # type: ignore[misc]
    """Calls a function when a label is double-clicked."""

    def __init__(self, label: QLabel, called: Callable[[], None]) -> None:
        super().__init__()  # without a parent, which would keep what it calls alive
        self._called = called
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice double clicks."""
        if event is not None and event.type() == QEvent.Type.MouseButtonDblClick:
            self._called()
            return True
        return False


def tame(root: QWidget) -> None:
    """Let the controls in a widget change only when they have the focus, by visible steps."""
    wheel = _WheelFilter(root)
    for kind in (QComboBox, QAbstractSlider, QAbstractSpinBox):
        for control in root.findChildren(kind):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # a wheel gives no focus
            control.installEventFilter(wheel)
            if isinstance(control, QAbstractSlider):
                step, span = control.singleStep(), control.maximum() - control.minimum()
                control.setPageStep(PAGE_STEPS * step if span > 2 * PAGE_STEPS * step else step)


def on_double_click(label: QLabel, called: Callable[[], None]) -> QObject:
    """Call a function when a label is double-clicked, as long as what is returned is kept."""
    return _DoubleClick(label, called)


def name(widget: QWidget, text: str) -> None:
    """Name a control, and the controls in it, for screen readers."""
    widget.setAccessibleName(text)
    for kind in (QComboBox, QAbstractSlider, QAbstractSpinBox):
        for control in widget.findChildren(kind):
            control.setAccessibleName(text)


def wrap_tooltips(root: QWidget) -> None:
    """Let long tooltips break into lines, which Qt does for rich text only."""
    for widget in [root, *root.findChildren(QWidget)]:
        text = widget.toolTip()
        if text and not text.startswith("<"):
            widget.setToolTip(f"<p>{html.escape(text)}</p>")
