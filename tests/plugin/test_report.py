"""Weights that keep intensities, in the real window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_dcr.plugin.controls import OWN_FILE
from napari_dcr.plugin.report import ReportPanel
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_result_comes_with_residual_uncertainty_and_report(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_counts: Path
) -> None:
    image = np.random.default_rng(0).poisson(30, (70, 90)).astype(np.uint16)
    layer = viewer.add_image(image, name="cells", scale=(0.2, 0.2), colormap="green")
    controls = widget.controls
    assert not controls.residual.enabled
    controls.model.value = OWN_FILE
    controls.weights.value = lively_counts
    assert controls.residual.enabled
    assert controls.stage.value.startswith("image to sub-U-Net")
    controls.residual.value = controls.uncertainty.value = True
    widget.start()
    finish(widget, qtbot)
    assert [x.name for x in viewer.layers] == [
        "cells", "cells [DCR depth 3]", "cells [DCR residual]", "cells [DCR uncertainty]",
    ]  # fmt: skip
    result, residual, uncertainty = viewer.layers[1:]
    for made in (result, residual, uncertainty):
        assert tuple(made.scale) == tuple(layer.scale)
    np.testing.assert_array_equal(residual.data, image.astype(np.float32) - result.data)
    low, high = residual.contrast_limits
    assert low == -high
    assert (uncertainty.data > 0).all()
    assert not residual.visible
    # Brightness is the limits' affair, not the intensities'.
    assert result.contrast_limits[1] < 120
    record = result.metadata["napari_dcr"]
    json.dumps(record)
    assert widget.report.isVisible()
    assert "slope" in widget.report.text.text()
    assert widget.targets == [layer]
    # The script gives the image alone.
    code = as_python(record)
    assert "return_" not in code
    space: dict[str, Any] = {"viewer": viewer}
    exec(code, space)
    np.testing.assert_array_equal(space["result"], result.data)
    controls.extent.value = "view"
    assert not controls.residual.enabled


@pytest.mark.gui
def test_the_panel_draws_and_hides(qtbot: Any) -> None:
    panel = ReportPanel()
    qtbot.addWidget(panel)
    report = {
        "slope": 0.99, "total_ratio": 1.0, "noise_before": 3.0, "noise_after": 0.5,
        "saturated": 0.01, "warnings": ["look out"], "means": [[1.0, 1.1], [5.0, 4.9]],
    }  # fmt: skip
    panel.show()
    panel.show_record({"reports": [report, report]})
    assert panel.isVisible()
    assert "channel 2" in panel.text.text()
    assert "look out" in panel.text.text()
    drawn = panel.plot.grab().toImage()
    colours = {drawn.pixel(x, y) for x in range(drawn.width()) for y in range(drawn.height())}
    assert len(colours) > 2
    panel.show_record(None)
    assert not panel.isVisible()
