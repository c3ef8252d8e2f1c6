"""Form with one labelled row per control, and helpers for controls of all kinds."""

from __future__ import annotations

import unicodedata

from magicgui.widgets import CheckBox, ComboBox, FileEdit, FloatSlider, Label, Widget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

OWN_FILE = "own file..."
"""Choice of a box that shows a field for a file below it."""

WARNING = unicodedata.lookup("WARNING SIGN")


class Form:
    """Column of controls, each with its label on the left; labels of paths are above them.

    Attributes
    ----------
    native : QWidget
        Widget with all rows.
    """

    def __init__(self) -> None:
        self.native = QWidget()
        self._rows = QFormLayout(self.native)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._labels: dict[Widget, QLabel] = {}

    def add(self, *controls: Widget) -> None:
        """Append one row for each control."""
        for control in controls:
            titled = not isinstance(control, (CheckBox, Label))
            label = QLabel(control.label if titled else " ")
            label.setToolTip(control.tooltip)
            control.native.setToolTip(control.tooltip)  # also for the number beside a slider
            self._labels[control] = label
            if isinstance(control, FileEdit):  # the path needs the whole width
                control.choose_btn.text = "Browse..."
                label.setBuddy(control.line_edit.native)
                self._rows.addRow(label)
                self._rows.addRow(control.native)
            else:
                label.setBuddy(control.native)
                self._rows.addRow(label, control.native)

    def add_buttons(self, wide: Widget, *narrow: Widget) -> None:
        """Append a row of buttons without a label; the first one takes the remaining width."""
        row = QHBoxLayout()
        row.addWidget(wide.native, 1)
        for button in narrow:
            row.addWidget(button.native)
        self._rows.addRow(row)

    def label(self, control: Widget) -> QLabel:
        """Label of a control."""
        return self._labels[control]

    def show(self, control: Widget, shown: bool) -> None:
        """Show or hide the row of a control."""
        self.label(control).setVisible(shown)
        control.native.setVisible(shown)


def note(name: str) -> Label:
    """Create a line that explains the control above it, with the width of the dock."""
    line = Label(name=name, value="")
    line.native.setWordWrap(True)
    line.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    line.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return line


def let_shrink(*boxes: ComboBox) -> None:
    """Let boxes shrink, so that a long name does not widen the dock."""
    for box in boxes:
        box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        box.native.setMinimumWidth(80)


def stepped(slider: FloatSlider) -> float:
    """Value of a slider rounded to its step, as it is displayed."""
    return float(round(round(slider.value / slider.step) * slider.step, 6))


def unfolding(text: str, unfolded: bool) -> str:
    """Text of a button that shows or hides what is below it.

    Examples
    --------
    >>> unfolding("Advanced", False)[2:]
    'Advanced'
    """
    direction = "DOWN" if unfolded else "RIGHT"
    return f"{unicodedata.lookup(f'BLACK {direction}-POINTING SMALL TRIANGLE')} {text}"
