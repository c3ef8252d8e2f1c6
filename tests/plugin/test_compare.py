"""Comparison of before and after, and of the stages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_comparing_and_the_stages(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    dim = np.random.default_rng(5).integers(100, 300, (2, 60, 80), np.uint16)
    source = viewer.add_image(dim, scale=(1, 2, 2), name="cells", colormap="green")
    limits = tuple(source.contrast_limits)
    assert not widget.compare.enabled
    widget.controls.model.value = "photo"
    widget.controls.depth.value = 2
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    widget.controls.image.value = source
    widget.compare.value = True
    before = viewer.layers["cells [before]"]
    assert before.data.shape == (2, 60, 40)
    assert np.shares_memory(before.data, dim)
    assert tuple(before.contrast_limits) == tuple(result.contrast_limits) != limits
    assert before not in widget.controls.image.choices
    widget.divider.value = 1
    assert before.data.shape == dim.shape
    result.contrast_limits = (150, 900)
    assert tuple(before.contrast_limits) == (150, 900)
    widget.divider.value = 0
    assert "cells [before]" not in viewer.layers
    widget.divider.value = 0.5
    widget.compare.value = False
    assert "cells [before]" not in viewer.layers
    assert tuple(source.contrast_limits) == limits
    assert (source.data == dim).all()

    widget.stages.native.click()
    finish(widget, qtbot)
    stages = viewer.layers["cells [DCR stages]"]
    assert stages.axis_labels[0] == "stage"
    record = stages.metadata["napari_dcr"]
    assert record["stages"] == ["tone curve", "sub-U-Net 1", "sub-U-Net 2"]
    assert np.abs(stages.data[2].astype(int) - result.data).max() <= 1
    assert "napari_dcr.enhance(" in as_python(record)


@pytest.mark.gui
@pytest.mark.parametrize("rgb", [True, False], ids=["colour", "grey"])
@pytest.mark.parametrize(
    ("dtype", "full", "output"),
    [("uint16", 65535, "same"), ("float32", 1, "same"), ("uint16", 65535, "float32"),
     ("float32", 1, "uint8")],
)  # fmt: skip
def test_before_and_after_are_shown_with_their_own_brightness(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dtype: str, full: float, output: str, rgb: bool
) -> None:
    light = np.random.default_rng(3).random((60, 80, 3) if rgb else (60, 80)) * 0.08
    pixels = (light * full).astype(dtype)
    source = viewer.add_image(pixels, rgb=rgb, name="street")
    shown = tuple(source.contrast_limits)
    controls = widget.controls
    controls.model.value = "photo"
    controls.depth.value = 0
    controls.input_range.value = "dtype"
    controls.output.value = output
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    controls.image.value = source
    widget.compare.value = True
    before = viewer.layers["street [before]"]

    def brightness(layer: Any) -> float:
        if layer.rgb and layer.dtype == np.uint8:
            return float(layer.data.mean() / 255)
        low, high = layer.contrast_limits
        return float((layer.data.mean(dtype=float) - low) / (high - low))

    assert np.isclose(brightness(before), pixels[:, :40].mean(dtype=float) / full)
    top = (
        255
        if output == "uint8"
        else 1
        if "float" in (output, dtype[:5]) or output == "float32"
        else full
    )
    assert np.isclose(brightness(result), result.data.mean(dtype=float) / top)
    assert brightness(result) > 1.5 * brightness(before)
    assert tuple(source.contrast_limits) == shown
    if not (rgb and output == "uint8"):
        result.contrast_limits = (0, top / 2)
        assert np.isclose(brightness(before), pixels[:, :40].mean(dtype=float) / full * 2)


@pytest.mark.gui
@pytest.mark.parametrize(
    ("extent", "place"),
    [("all", {}), ("slice", {"scale": (2, 0.5, 0.5), "translate": (0, 3, 40)}),
     ("all", {"scale": (1, 0.2, 0.2), "units": ("um", "um", "um")})],
)  # fmt: skip
def test_the_divider_is_drawn_and_dragged_in_the_canvas(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, extent: str, place: dict[str, Any]
) -> None:
    dim = np.random.default_rng(5).integers(100, 300, (2, 60, 80), np.uint16)
    source = viewer.add_image(dim, name="cells", **place)
    if "units" in place:
        viewer.layers.units = ("nm", "nm", "nm")
        viewer.reset_view()
    widget.controls.depth.value = 0
    widget.controls.extent.value = extent
    widget.start()
    finish(widget, qtbot)
    widget.controls.image.value = source
    widget.compare.value = True
    before = viewer.layers["cells [before]"]
    assert before.bounding_box.visible
    ours = widget.view_panel.comparison
    (drag,) = [c for c in viewer.mouse_drag_callbacks if getattr(c, "__self__", None) is ours]
    pairs = zip(source.units, viewer.dims.units, strict=True)
    factor = [float((1.0 * own).m_as(shown)) for own, shown in pairs]

    def at(column: float) -> tuple[float, ...]:
        return tuple(np.asarray(source.data_to_world((0, 20, column - 0.5))) * factor)

    event = SimpleNamespace(type="mouse_press", position=at(70))
    assert list(drag(viewer, event)) == []  # too far from the line: the canvas pans
    event.position = at(40)
    moves = drag(viewer, event)
    next(moves)
    assert not viewer.scene.camera.mouse_pan
    for column in (30, 60):
        event.type, event.position = "mouse_move", at(column)
        next(moves)
        assert widget.divider.value == pytest.approx(column / 80, abs=0.01)
        assert before.data.shape[-1] == round(widget.divider.value * 80)
    event.type = "mouse_release"
    assert list(moves) == []
    assert viewer.scene.camera.mouse_pan
    widget.compare.value = False
    assert drag not in viewer.mouse_drag_callbacks


@pytest.mark.gui
def test_stages_leave_the_units_of_the_viewer(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    """The axis of the stages may be one that the viewer shows in seconds."""
    viewer.add_image(np.zeros((2, 3, 40, 50), np.uint8), units=("s", "um", "um", "um"))
    stack = np.random.default_rng(0).integers(0, 60, (3, 40, 50), np.uint16)
    layer = viewer.add_image(stack, units=("nm",) * 3, scale=(900, 100, 100), name="stack")
    units = viewer.dims.units
    widget.controls.image.value = layer
    widget.controls.depth.value = 1
    widget.show_stages()
    finish(widget, qtbot)
    stages = viewer.layers[-1]
    assert stages.data.shape == (2, 3, 40, 50)
    assert viewer.dims.units == units
    assert [str(unit) for unit in stages.units] == ["second", *["nanometer"] * 3]
