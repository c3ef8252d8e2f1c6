"""The dock widget in a real window: controls reach the run, results reach the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.plugin.form import OWN_FILE
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_every_control_reaches_the_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    layer = viewer.add_image(dim_rgb, name="street", rgb=True)
    assert widget.controls.image.value is layer
    widget.controls.model.value = "photo"
    widget.controls.depth.value = 1
    widget.controls.detail.value = False
    widget.controls.strength.value = 0.5
    widget.controls.exposure.value = -0.5
    widget.controls.denoise.value = 0.6
    widget.controls.colour_alike.value = False
    widget.controls.denoise_colour.value = 0.9
    widget.controls.saturation.value = 1.2
    widget.controls.tile.value = 256
    widget.controls.precision.value = "fp32"
    widget.controls.input_range.value = "dtype"
    widget.controls.link_frames.value = False
    widget.controls.output.value = "float32"
    assert widget.controls.shape.value == "102 x 75 pixels, RGB"
    before = dim_rgb.copy()
    widget.run.native.click()
    assert widget.running
    assert not widget.run.enabled
    assert widget.cancel.enabled
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    result = viewer.layers[-1]
    assert result.name == "street [photo, depth 1]"
    expected = napari_dcr.enhance(
        dim_rgb, model="photo", depth=1, detail=False, strength=0.5, exposure=-0.5, device="cpu",
        denoise=0.6, denoise_colour=0.9, saturation=1.2, tile=256, precision="fp32", input_range="dtype", link_frames=False, output="float32",
    )  # fmt: skip
    assert result.data.dtype == np.float32
    assert (result.data == expected).all()
    assert (layer.data == before).all()
    record = result.metadata["napari_dcr"]
    assert record["options"]["strength"] == 0.5
    assert record["options"]["exposure"] == -0.5
    assert {"model", "sha256", "version", "device", "seconds"} <= record.keys()
    assert widget.bar.value == widget.bar.max
    assert widget.status.value.startswith("Done in")
    assert widget.run.enabled
    assert not widget.cancel.enabled


@pytest.mark.gui
def test_a_viewer_without_layers_disables_run(viewer: Any, widget: EnhanceWidget) -> None:
    assert widget.controls.image.value is None
    assert not widget.run.enabled
    assert widget.status.value == "Open an image to begin."
    widget.start()
    assert not widget.running
    layer = viewer.add_image(np.zeros((20, 20), np.uint8))
    assert widget.run.enabled
    assert widget.status.value == ""
    viewer.layers.remove(layer)
    assert widget.status.value == "Open an image to begin."
    viewer.add_labels(np.ones((20, 20), np.uint8))
    assert widget.status.value == "No image layer (labels cannot be enhanced)."


@pytest.mark.gui
def test_own_weights_and_corrected_axes_reach_the_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_model: Path
) -> None:
    channels = np.random.default_rng(3).integers(0, 60, (2, 30, 40), np.uint8)
    viewer.add_image(channels)
    controls = widget.controls
    controls.model.value = "own file..."
    assert controls.weights.native.isVisible()
    controls.weights.value = lively_model
    controls.axes.value = "cyx"
    controls.precision.value = "fp32"
    widget.start()
    finish(widget, qtbot)
    expected = napari_dcr.enhance(
        channels, model=lively_model, axes="cyx", device="cpu", precision="fp32", depth=3
    )
    assert (viewer.layers[-1].data == expected).all()


@pytest.mark.gui
def test_a_slice_of_a_rotated_view(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    stack = np.random.default_rng(2).integers(0, 500, (3, 40, 50), np.uint16)
    layer = viewer.add_image(stack, scale=(2, 0.5, 0.5))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 8)
    widget.controls.extent.value = "slice"
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    assert result.metadata["napari_dcr"]["region"] == [[0, 3], [16, 17], [0, 50]]
    whole = napari_dcr.enhance(stack, axes="zyx", device="cpu")
    assert np.abs(result.data.astype(int) - whole[:, 16:17]).max() <= 1
    assert np.allclose(result.data_to_world((0, 0, 0)), layer.data_to_world((0, 16, 0)))
    assert viewer.dims.order == (1, 0, 2)


@pytest.mark.gui
@pytest.mark.parametrize("extent", ["view", "slice"])
def test_a_part_lies_in_its_place_and_equals_the_whole(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, extent: str
) -> None:
    stack = np.random.default_rng(2).integers(0, 500, (3, 200, 240), np.uint16)
    layer = viewer.add_image(stack, scale=(2, 0.5, 0.5), translate=(1, 10, 20))
    viewer.dims.set_point(0, layer.data_to_world((1, 0, 0))[0])
    if extent == "view":
        viewer.scene.camera.zoom *= 4
    qtbot.wait(300)
    widget.controls.depth.value = 1
    widget.controls.extent.value = extent
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    region = tuple(slice(*span) for span in result.metadata["napari_dcr"]["region"])
    whole = napari_dcr.enhance(stack, axes="zyx", depth=1, device="cpu")
    assert region[0] == slice(1, 2)
    if extent == "slice":
        assert region[1:] == (slice(0, 200), slice(0, 240))
    else:
        assert result.data.size < stack[0].size / 2
    assert np.abs(result.data.astype(int) - whole[region]).max() <= 1
    corner = [part.start for part in region]
    assert np.allclose(result.data_to_world((0, 0, 0)), layer.data_to_world(corner))
    assert viewer.dims.point[0] == layer.data_to_world((1, 0, 0))[0]


@pytest.mark.gui
def test_selected_layers_run_together_and_settings_repeat(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    layers = [viewer.add_image(dim_rgb[i:], name=f"street {i}") for i in range(3)]
    controls = widget.controls
    controls.image.value = layers[0]
    controls.depth.value = 1
    viewer.layers.selection = set(layers[:2])
    assert widget.run.text == "Run on 2 layers"
    widget.run.native.click()
    finish(widget, qtbot)
    names = [layer.name for layer in viewer.layers[3:]]
    assert names == ["street 0 [photo, depth 1]", "street 1 [photo, depth 1]"]
    controls.depth.value = 3
    widget.apply_menu.fill()
    actions = {action.text(): action for action in widget.apply_menu.native.actions()}
    assert {"street 0", "street 2", "all 2"} <= actions.keys()
    actions["street 2"].trigger()
    finish(widget, qtbot)
    repeated = viewer.layers[-1]
    assert repeated.name == "street 2 [photo, depth 1]"
    expected = napari_dcr.enhance(dim_rgb[2:], depth=1, device="cpu")
    assert (repeated.data == expected).all()


@pytest.mark.gui
def test_preview_is_the_result(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_counts: Path
) -> None:
    image = np.random.default_rng(0).poisson(30, (70, 90)).astype(np.uint16)
    viewer.add_image(image, name="cells")
    widget.controls.model.value = OWN_FILE
    widget.controls.weights.value = lively_counts
    widget.controls.extent.value = "slice"
    widget.start()
    finish(widget, qtbot)
    whole = napari_dcr.enhance(image, model=lively_counts, device="cpu")
    np.testing.assert_array_equal(viewer.layers[-1].data, whole)


@pytest.mark.gui
@pytest.mark.slow
@pytest.mark.parametrize("compare", [True, False], ids=["compare", "no compare"])
@pytest.mark.parametrize("model", ["photo", "microscopy"])
@pytest.mark.parametrize("sample", ["earth-at-night", "nuclei"])
def test_the_guides_order_preview_compare_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, sample: str, model: str, compare: bool
) -> None:
    (source,) = viewer.open_sample("napari-dcr", sample)
    qtbot.wait(100)
    widget.controls.model.value = model
    widget.controls.depth.value = 1
    widget.preview.value = True
    qtbot.waitUntil(
        lambda: widget.view_panel.updater.layer is not None and not widget.view_panel.updater.busy,
        timeout=120_000,
    )
    preview = widget.view_panel.updater.layer
    if compare:
        widget.compare.value = True
        before = viewer.layers[f"{source.name} [before]"]
        qtbot.wait(100)
    widget.run.native.click()
    assert preview in viewer.layers
    assert not compare or before in viewer.layers
    finish(widget, qtbot)
    assert widget.status.value.startswith("Done in")
    qtbot.wait(400)
    assert not widget.preview.value
    assert preview not in viewer.layers
    result = widget.results.pairs[-1][1]
    assert list(viewer.layers) == [source, result, *([before] if compare else [])]
    if compare:
        shown = result.data.shape[1] // 2
        np.testing.assert_array_equal(before.data, source.data[:, :shown])
    # Removing the layers in the opposite order does not crash either.
    widget.preview.value = True
    qtbot.waitUntil(lambda: widget.view_panel.updater.layer is not None, timeout=120_000)
    qtbot.wait(300)
    widget.preview.value = widget.compare.value = False
    qtbot.waitUntil(lambda: list(viewer.layers) == [source, result])
    qtbot.wait(200)


@pytest.mark.gui
@pytest.mark.parametrize("beside", [False, True])
def test_a_result_takes_the_place_of_the_last_one_if_asked_to(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, beside: bool
) -> None:
    pixels = np.random.default_rng(3).poisson(40, (60, 80)).astype(np.uint16)
    viewer.add_image(pixels, name="cells")
    viewer.add_image(pixels, name="others")
    controls = widget.controls
    controls.image.value = viewer.layers["cells"]
    viewer.layers.selection.active = viewer.layers["cells"]
    controls.model.value = "microscopy"
    controls.residual.value = beside
    for depth in (1, 2):
        controls.image.value = viewer.layers["cells"]
        controls.depth.value = depth
        widget.start()
        finish(widget, qtbot)
    each = 2 if beside else 1
    assert len(viewer.layers) == 2 + 2 * each  # a layer more for every run
    viewer.layers.move(0, len(viewer.layers))
    controls.image.value = viewer.layers["cells"]
    controls.replace_last.value = True
    controls.depth.value = 3
    at = [layer.name for layer in viewer.layers].index("cells [microscopy, depth 2]")
    widget.start()
    finish(widget, qtbot)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2 + 2 * each, timeout=60_000)
    names = [layer.name for layer in viewer.layers]
    assert names[at] == "cells [microscopy, depth 3]"
    assert "cells [microscopy, depth 1]" in names
    assert not any("depth 2" in name for name in names)


@pytest.mark.gui
def test_keys_run_compare_and_cancel(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    window = viewer.window._qt_window
    window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=60_000)
    control = Qt.KeyboardModifier.ControlModifier
    pixels = np.random.default_rng(3).integers(0, 60, (1200, 1200, 3), np.uint8)
    viewer.add_image(pixels[:80, :90], name="street")
    QTest.keyClick(window, Qt.Key.Key_Return, control)
    assert widget.running
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    QTest.keyClick(window, Qt.Key.Key_B, control)
    assert widget.compare.value
    QTest.keyClick(widget.controls.depth.native, Qt.Key.Key_B, control)
    assert not widget.compare.value
    viewer.add_image(pixels, name="large")
    widget.controls.image.value = viewer.layers["large"]
    QTest.keyClick(window, Qt.Key.Key_Return, control)
    assert widget.running
    QTest.keyClick(window, Qt.Key.Key_Period, control)
    assert widget.status.value.startswith("Cancelling")
    finish(widget, qtbot)
    assert widget.status.value == "Cancelled."
    assert "Ctrl+B" in widget.compare.native.toolTip()


@pytest.mark.gui
def test_a_noisy_grey_frame_says_that_it_was_denoised_first(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    noisy = np.random.default_rng(0).poisson(8, (120, 150)).astype(np.uint8)
    viewer.add_image(noisy, name="mouse")
    widget.controls.model.value = "photo"
    for choice, is_removed in (("auto", True), ("off", False)):
        widget.controls.denoise_first.value = choice
        widget.start()
        finish(widget, qtbot)
        assert ("White noise was removed first." in widget.status.value) is is_removed
    widget.controls.model.value = "microscopy"
    assert not widget.controls.denoise_first.native.isVisible()


@pytest.mark.gui
def test_the_image_box_follows_the_selected_layer(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    first, second = (viewer.add_image(dim_rgb, name=name) for name in ("first", "second"))
    controls, selection = widget.controls, viewer.layers.selection
    assert controls.image.value is second
    selection.active = first
    assert controls.image.value is first
    # A choice in the box holds, also while the preview adds and removes its layer.
    controls.image.value = second
    widget.preview.value = True
    qtbot.waitUntil(lambda: widget.status.value == "Preview ready", timeout=60_000)
    assert controls.image.value is second
    widget.preview.value = False
    controls.depth.value = 0
    widget.start()
    finish(widget, qtbot)
    assert selection.active is viewer.layers[-1]
    assert controls.image.value is second  # results are not chosen
    selection.active = first
    assert controls.image.value is first
