"""Controls scroll where the window is low."""

from __future__ import annotations

from typing import Any

import pytest

from napari_dcr.plugin.scrolling import Scrolling
from napari_dcr.plugin.widget import EnhanceWidget


@pytest.mark.gui
def test_where_the_window_is_low_the_controls_scroll_and_run_stays_in_sight(
    widget: EnhanceWidget, qtbot: Any
) -> None:
    widget.controls.advanced.show(True)
    (area,) = widget.native.findChildren(Scrolling)
    dock, bar = widget.native.window(), area.verticalScrollBar()
    last, run = widget.controls.defect_map.native, widget.run.native

    def in_sight(native: Any) -> bool:
        return bool(native.visibleRegion().boundingRect().size() == native.size())

    dock.resize(1200, 700)
    qtbot.waitUntil(lambda: bar.isVisible() and in_sight(run))
    assert not in_sight(last)

    def at_the_end() -> bool:
        bar.setValue(bar.maximum())
        return in_sight(last)

    qtbot.waitUntil(at_the_end)
    dock.resize(1200, 1150)
    qtbot.waitUntil(lambda: not bar.isVisible() and in_sight(run) and in_sight(last))
