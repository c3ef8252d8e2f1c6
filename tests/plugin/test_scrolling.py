"""Controls scroll where the window is low."""

from __future__ import annotations

from typing import Any

import pytest

from napari_dcr.plugin.report import ReportPanel
from napari_dcr.plugin.scrolling import Scrolling
from napari_dcr.plugin.widget import EnhanceWidget


@pytest.mark.gui
def test_where_the_window_is_low_the_controls_scroll_and_run_stays_in_sight(
    widget: EnhanceWidget, qtbot: Any
) -> None:
    widget.controls.advanced.show(True)
    areas = widget.native.findChildren(Scrolling)
    (area,) = (a for a in areas if a.isAncestorOf(widget.controls.native))
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


@pytest.mark.gui
def test_advanced_settings_are_in_sight_when_they_unfold(widget: EnhanceWidget, qtbot: Any) -> None:
    controls = widget.controls
    widget.native.window().resize(1200, 700)
    controls.more.native.click()
    first = controls.tile.native
    qtbot.waitUntil(lambda: first.visibleRegion().boundingRect().size() == first.size())
    assert not controls.more.native.visibleRegion().isEmpty()


def test_a_long_report_scrolls_in_a_low_window(qapp: Any) -> None:
    report = ReportPanel()
    figures = {"slope": 0.9, "total_ratio": 1.0, "noise_before": 3.0, "noise_after": 1.0,
               "saturated": 0.0, "means": [[1, 1], [2, 2]], "warnings": ["a long warning " * 9]}  # fmt: skip
    report.show_record({"reports": [figures] * 4})
    report.more.click()
    report.resize(300, 120)
    report.show()
    (area,) = report.findChildren(Scrolling)
    for _ in range(5):
        qapp.processEvents()
    bar = area.verticalScrollBar()
    assert bar.maximum() > 0
    bar.setValue(bar.maximum())
    qapp.processEvents()
    end = report.text.mapTo(area.viewport(), report.text.rect().bottomLeft())
    assert end.y() <= area.viewport().height()
    report.close()
