"""Progress and failures of runs, as the panel shows them."""

from __future__ import annotations

from typing import Any

import pytest

from napari_dcr.plugin.form import WARNING
from napari_dcr.plugin.run import TICKS
from napari_dcr.plugin.run_panel import RunPanel


def test_the_bar_moves_without_an_end_until_pixels_are_done(qapp: Any) -> None:
    panel = RunPanel()
    panel._show_progress(0, "Analysing the image...")
    assert (panel.bar.native.minimum(), panel.bar.native.maximum()) == (0, 0)
    panel._show_progress(0.25, "time point 5 of 20, 30 s left")
    assert panel.bar.native.maximum() == TICKS
    assert panel.bar.value == TICKS / 4
    assert panel.status.value == "time point 5 of 20, 30 s left"


def test_failures_are_listed_with_their_reasons(qapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("napari_dcr.plugin.run_panel.show_error", shown.append)
    panel = RunPanel()
    panel.show_failure("PyTorch could not be loaded")
    assert panel.status.value == f"{WARNING} Failed: PyTorch could not be loaded"
    panel.start([], [("cells", "too small"), ("mask", "this is a mask")])
    assert panel.status.value.splitlines() == [
        "0 of 2 done.",
        f"{WARNING} cells: too small",
        f"{WARNING} mask: this is a mask",
    ]
    assert shown[-1] == "napari-dcr: mask: this is a mask"
    assert panel.current is None
