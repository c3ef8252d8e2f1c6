"""One widget for each viewer, whichever way it is opened, closed and opened again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.utils import progress
from qtpy.QtWidgets import QDockWidget

from napari_dcr.plugin.commands import open_widget
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import NAME, finish, ready

TITLE = "Enhance"


def docks(widget: EnhanceWidget) -> list[QDockWidget]:
    """Docks with a widget of ours."""
    main = widget.native.window()
    return [
        d
        for d in main.findChildren(QDockWidget)
        if widget.native in d.findChildren(type(widget.native))
    ]


@pytest.mark.gui
@pytest.mark.parametrize("first", ["menu", "api", "command"])
def test_every_way_opens_the_same_widget(viewer: Any, qtbot: Any, first: str) -> None:
    def by_menu() -> None:
        get_app_model().commands.execute_command("napari-dcr.enhance").result()

    def by_api() -> None:
        viewer.window.add_plugin_dock_widget(NAME, TITLE)

    ways = {"menu": by_menu, "api": by_api, "command": lambda: open_widget(viewer)}
    ways[first]()
    widget = EnhanceWidget.of(viewer)
    assert widget is not None
    ready(widget, qtbot)
    widget.controls.strength.value = 0.4
    for way in ("command", "api"):
        ways[way]()
        qtbot.wait(50)
        assert EnhanceWidget.of(viewer) is widget
        assert len(docks(widget)) == 1
        assert widget.native.isVisible()
        assert widget.controls.strength.value == 0.4


@pytest.mark.gui
def test_commands_run_with_what_the_open_widget_shows(viewer: Any, qtbot: Any) -> None:
    get_app_model().commands.execute_command("napari-dcr.enhance").result()
    widget = EnhanceWidget.of(viewer)
    assert widget is not None
    ready(widget, qtbot)
    viewer.add_image(np.random.default_rng(0).integers(0, 60, (40, 50), np.uint8), name="dim")
    widget.controls.depth.value = 1
    widget.controls.strength.value = 0.3
    get_app_model().commands.execute_command("napari-dcr.enhance_again").result()
    finish(widget, qtbot)
    record = viewer.layers[-1].metadata["napari_dcr"]
    assert (record["depth"], record["options"]["strength"]) == (1, 0.3)
    assert widget.compare.enabled
    assert len(docks(widget)) == 1


@pytest.mark.gui
@pytest.mark.usefixtures("slow_tiles")
def test_a_widget_closed_during_a_run_can_be_cancelled_and_reopened(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (400, 420, 3), np.uint8))
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    dock = widget.dock_keeper.dock
    assert dock is not None
    dock.destroyOnClose()
    qtbot.wait(50)
    assert not widget.native.isVisible()
    assert widget.running
    assert open_widget(viewer) is widget
    assert widget.native.isVisible()
    assert widget.cancel.enabled
    (activity,) = progress._all_instances
    activity.cancel()
    finish(widget, qtbot)
    assert widget.status.value == "Cancelled."
    assert len(viewer.layers) == 1
    assert len(docks(widget)) == 1


@pytest.mark.gui
def test_a_closed_widget_ends_with_its_window(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    dock = widget.dock_keeper.dock
    assert dock is not None
    dock.destroyOnClose()
    qtbot.wait(50)
    assert EnhanceWidget.of(viewer) is widget
    viewer.close()
    qtbot.waitUntil(lambda: EnhanceWidget.of(viewer) is None, timeout=10_000)
