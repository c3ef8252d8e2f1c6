"""Weights that keep intensities, in the real window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_dcr import Defects
from napari_dcr.plugin.form import OWN_FILE
from napari_dcr.plugin.report import CHECK, WARNING, ReportPanel, summary, verdict
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
    controls.model.value = "photo"
    assert not controls.residual.enabled
    controls.model.value = OWN_FILE
    controls.weights.value = lively_counts
    assert controls.residual.enabled
    assert controls.stage.value.startswith("Full denoising")
    controls.residual.value = controls.uncertainty.value = True
    widget.start()
    finish(widget, qtbot)
    assert [x.name for x in viewer.layers] == [
        "cells", "cells [counts, depth 3]", "cells [DCR residual]", "cells [DCR uncertainty]",
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
    # The script makes all three.
    code = as_python(record)
    assert "result, residual, uncertainty = napari_dcr.enhance(" in code
    space: dict[str, Any] = {"viewer": viewer}
    exec(code, space)
    np.testing.assert_array_equal(space["result"], result.data)
    np.testing.assert_array_equal(space["residual"], residual.data)
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
    assert "Look out." in panel.verdict.text()
    drawn = panel.plot.grab().toImage()
    colours = {drawn.pixel(x, y) for x in range(drawn.width()) for y in range(drawn.height())}
    assert len(colours) > 2
    panel.show_record(None)
    assert not panel.isVisible()


@pytest.mark.gui
def test_defects_are_named_and_shown(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_counts: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 8, (160, 1))
    image = np.rint(100 + rng.poisson(40, (2, 160, 180)) + rows).astype(np.uint16)
    image[:, 50, 60] = 4000
    viewer.add_image(image, name="cells", axis_labels=("t", "y", "x"))
    controls = widget.controls
    controls.model.value, controls.weights.value = OWN_FILE, lively_counts
    controls.advanced.show(True)
    assert not controls.defects_file.native.isVisible()
    controls.defect_map.value = True
    widget.start()
    finish(widget, qtbot)
    result, shown = viewer.layers[1:]
    assert "1 hot or dead pixel" in widget.report.verdict.text()
    assert result.metadata["napari_dcr"]["defects"][0]["hot_pixels"] == 1
    assert shown.name == "cells [DCR defects]"
    assert shown.data.shape == image.shape
    assert np.std(shown.data[0, :, 9] - (rows[:, 0] - rows.mean())) < 2
    assert shown.data[1, 50, 60] == shown.data.max()
    # Defects are read from a file, and then not corrected.
    Defects(160, 180, hot=np.array([[0, 5, 6]])).save(tmp_path / "camera.npz")
    controls.defects.value, controls.defects_file.value = OWN_FILE, tmp_path / "camera.npz"
    assert controls.defects_file.native.isVisible()
    assert controls.options(viewer.layers[0]).defects == str(tmp_path / "camera.npz")
    controls.defects.value, controls.defect_map.value = "off", False
    widget.start()
    finish(widget, qtbot)
    record = viewer.layers[-1].metadata["napari_dcr"]
    assert "defects" not in record
    assert "    defects='off'," in as_python(record)


GOOD = {
    "slope": 0.998, "total_ratio": 1.0, "noise_before": 12.0, "noise_after": 1.0, "saturated": 0.0,
    "warnings": [], "means": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "noise", "words", "sign"),
    [
        ({}, {"whiteness": 1.0}, "Intensities kept, noise removed.", CHECK),
        ({"slope": 0.9}, {"whiteness": 1.0}, "Intensities changed; noise removed.", WARNING),
        ({"total_ratio": 1.04}, {}, "Intensities changed; noise removed.", WARNING),
        ({"noise_after": 11.0}, {"whiteness": 0.9}, "little noise was removed.", WARNING),
        ({"noise_after": 4.0}, {"whiteness": 0.4, "binning": [1, 1]},
         "little noise was removed: it is correlated between neighbouring pixels.", WARNING),
        ({"noise_after": 4.0}, {"whiteness": 0.4, "binning": [2, 2]},
         "noise removed although it is correlated between neighbouring pixels.", CHECK),
        ({"noise_before": float("nan")}, {}, "Left as it is.", WARNING),
    ],
)  # fmt: skip
def test_a_verdict_comes_before_the_figures(
    changes: dict[str, float], noise: dict[str, Any], words: str, sign: str
) -> None:
    first = verdict(0, {**GOOD, **changes}, 1, noise).splitlines()[0]
    assert words in first
    assert first.startswith(sign)
    figures = summary(0, {**GOOD, **changes}, 1, noise)
    white = noise.get("whiteness", 1) > 0.75 and changes.get("noise_before", 1) == changes.get(
        "noise_before", 1
    )
    assert ("before" in figures) == white
    assert "channel 2" in verdict(1, GOOD, 3)


@pytest.mark.gui
def test_the_report_follows_the_selected_layer(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_counts: Path
) -> None:
    rng = np.random.default_rng(0)
    first, second = (
        viewer.add_image(rng.poisson(level, (64, 64)).astype(np.uint16), name=f"at {level}")
        for level in (30, 300)
    )
    widget.controls.model.value = OWN_FILE
    widget.controls.weights.value = lively_counts
    texts = []
    for layer in (first, second):
        widget.controls.image.value = layer
        widget.start()
        finish(widget, qtbot)
        texts.append(widget.report.text.text())
    assert texts[0] != texts[1]
    widget.controls.image.value = first
    viewer.layers.selection.active = first
    assert widget.report.text.text() == texts[0]
    viewer.layers.selection.active = viewer.layers["at 300 [counts, depth 3]"]
    assert widget.report.text.text() == texts[1]
    widget.report.more.click()
    assert widget.report.plot.isVisible()
