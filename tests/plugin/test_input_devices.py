"""Tests of mouse wheel, page keys, shortcuts and resets of the widget's controls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QApplication, QComboBox

from napari_dcr.options import Options
from napari_dcr.plugin.input_devices import KEYS
from napari_dcr.plugin.widget import EnhanceWidget


def turn_wheel(native: Any, notches: int) -> None:
    """Turn the mouse wheel over the middle of a control."""
    middle = QPointF(native.rect().center())
    event = QWheelEvent(
        middle, QPointF(native.mapToGlobal(native.rect().center())), QPoint(), QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(native, event)


def inner(control: Any, kind: type) -> Any:
    """Find the Qt widget inside a magicgui control."""
    native = control.native
    return native if isinstance(native, kind) else native.findChildren(kind)[0]


@pytest.mark.gui
def test_the_wheel_changes_nothing_without_focus(viewer: Any, widget: EnhanceWidget) -> None:
    for name in ("model", "depth", "strength", "exposure", "extent", "device"):
        control = getattr(widget.controls, name)
        kind = QComboBox if name in ("model", "extent", "device") else QAbstractSlider
        native = inner(control, kind)
        native.clearFocus()
        before = control.value
        for notches in (-2, 1, 3):
            turn_wheel(native, notches)
        assert control.value == before
        assert native.focusPolicy() == Qt.FocusPolicy.StrongFocus


@pytest.mark.gui
def test_page_keys_and_wheel_move_a_slider_visibly(
    viewer: Any, widget: EnhanceWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.add_image(np.zeros((20, 20), np.uint8))
    for name, start, step in (("strength", 0.5, 0.1), ("exposure", 0.0, 0.5), ("depth", 1, 1)):
        control = getattr(widget.controls, name)
        control.value = start
        slider = inner(control, QAbstractSlider)
        QTest.keyClick(slider, Qt.Key.Key_PageUp)
        assert abs(control.value - (start + step)) < 1e-6
        QTest.keyClick(slider, Qt.Key.Key_PageDown)
        monkeypatch.setattr(
            slider, "hasFocus", lambda: True
        )  # without a window manager, no window gets the focus
        turn_wheel(slider, -1)
        assert abs(control.value - start) >= (step / 10 if name != "depth" else 1) * 0.99


@pytest.mark.gui
def test_values_are_rounded_as_displayed(viewer: Any, widget: EnhanceWidget) -> None:
    layer = viewer.add_image(np.zeros((20, 20), np.uint8))
    controls = widget.controls
    controls.strength.value, controls.exposure.value = 0.99998, 0.251
    options = controls.options(layer)
    assert (options.strength, options.exposure) == (1.0, 0.25)


@pytest.mark.gui
def test_reset_and_double_click(viewer: Any, widget: EnhanceWidget) -> None:
    controls = widget.controls
    changes = {
        "model": "microscopy", "depth": 1, "detail": False, "strength": 0.3, "exposure": 1.5,
        "extent": "view", "tile": 256, "output": "float32", "residual": True,
    }  # fmt: skip
    for name, value in changes.items():
        getattr(controls, name).value = value
    assert "data type" in controls.more.text
    assert "tile size" in controls.more.text
    label = controls.form.label(controls.strength)
    QTest.mouseDClick(label, Qt.MouseButton.LeftButton)
    assert controls.strength.value == 1
    assert controls.exposure.value == 1.5
    controls.reset.native.click()
    for name in ("detail", "strength", "exposure", "tile", "output"):
        assert getattr(controls, name).value == getattr(Options, name), name
    assert (controls.model.value, controls.depth.value) == ("auto", 3)
    assert controls.extent.value == "all"
    assert not controls.residual.value
    assert "(" not in controls.more.text


@pytest.mark.gui
def test_screen_readers_and_tooltips(viewer: Any, widget: EnhanceWidget) -> None:
    controls = widget.controls
    for control in (controls.image, controls.strength, controls.tile, widget.divider, widget.bar):
        assert control.native.accessibleName(), control.name
    for control in (controls.image, controls.depth, widget.run, controls.folder):
        assert control.tooltip.startswith("<p>")
    assert controls.colour_alike.native.accessibleName() == "denoise colours equally"
    number = inner(controls.strength, QAbstractSpinBox)
    assert number.parentWidget().toolTip() == controls.strength.tooltip


@pytest.mark.gui
def test_the_region_is_not_remembered(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    from napari_dcr.plugin import settings

    widget.controls.extent.value = "view"
    widget.controls.model.value = "photo"
    widget.controls.remember()
    assert settings.load("general", settings.GENERAL) == {"model": "photo", "device": "cpu"}


def test_shortcuts_differ_from_those_of_napari() -> None:
    from app_model.types import KeyBinding
    from napari._app_model import get_app_model
    from napari.utils.shortcuts import default_shortcuts
    from qtpy.QtGui import QKeySequence

    def spelled(binding: Any) -> str:
        return str(binding).replace("Enter", "Return")

    theirs = {
        spelled(KeyBinding.validate(key)) for keys in default_shortcuts.values() for key in keys
    }
    theirs |= {spelled(rule.keybinding) for rule in get_app_model().keybindings}
    ours = {spelled(KeyBinding.validate(key.replace("Return", "Enter"))) for key in KEYS.values()}
    assert theirs
    assert len(ours) == len(KEYS)
    assert not ours & theirs
    assert all(QKeySequence(key).count() == 1 for key in KEYS.values())
