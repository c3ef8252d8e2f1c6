"""The live preview."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import devices
from napari_dcr.engine import region_run as regions
from napari_dcr.enhancement import run_to_completion
from napari_dcr.plugin.choices import find_choices
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_the_preview_follows_and_equals_the_result(
    viewer: Any,
    widget: EnhanceWidget,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    dim_rgb: NDArray[np.uint8],
) -> None:
    runs: list[int] = []
    run = regions.run_tile
    monkeypatch.setattr(regions, "run_tile", lambda *a: (runs.append(a[2]), run(*a))[1])
    source = viewer.add_image(dim_rgb, name="street")
    viewer.add_image(dim_rgb[:40], name="other", visible=False)
    controls = widget.controls
    controls.image.value = source
    controls.depth.value = 2
    viewer.layers.selection = {source}

    def settle() -> None:
        qtbot.waitUntil(lambda: not widget.view_panel.updater.busy, timeout=60_000)

    widget.preview.value = True
    settle()
    preview = widget.view_panel.updater.layer
    assert preview is viewer.layers["street [preview]"]
    assert set(viewer.layers.selection) == {source}
    assert preview not in controls.image.choices
    done = list(runs)
    for name, value in (
        ("strength", 0.4), ("exposure", 0.5), ("denoise", 0.3), ("saturation", 1.4), ("depth", 0),
    ):  # fmt: skip
        getattr(controls, name).value = value
        settle()
        (top, bottom), (left, right), _ = preview.metadata["napari_dcr"]["region"]
        expected = napari_dcr.enhance(
            dim_rgb, device="cpu", depth=controls.depth.value, strength=controls.strength.value,
            exposure=controls.exposure.value, denoise=controls.denoise.value,
            saturation=controls.saturation.value,
        )[top:bottom, left:right]  # fmt: skip
        assert np.abs(preview.data.astype(int) - expected).max() <= 1
    assert runs == done  # all of it from what was kept
    controls.depth.value = 1
    settle()
    assert runs == [*done, [1]]
    viewer.scene.camera.zoom *= 3
    qtbot.wait(200)
    settle()
    assert preview.data.size < dim_rgb.size
    origin = [span[0] for span in preview.metadata["napari_dcr"]["region"][:2]]
    assert np.allclose(preview.data_to_world((0, 0)), source.data_to_world(origin))
    # The preview stays until the result is ready; deleting the layer switches it off.
    widget.start()
    assert preview in viewer.layers
    finish(widget, qtbot)
    assert not widget.preview.value
    assert [x.name for x in viewer.layers] == ["street", "other", "street [photo, depth 1]"]
    widget.preview.value = True
    settle()
    viewer.layers.remove(widget.view_panel.updater.layer)
    assert not widget.preview.value
    assert widget.view_panel.updater._enhancer is None


def settle(widget: EnhanceWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.view_panel.updater.busy, timeout=60_000)
    qtbot.wait(150)
    qtbot.waitUntil(lambda: not widget.view_panel.updater.busy, timeout=60_000)


FRAMES = {
    "2D": (60, 80),
    "stack": (3, 60, 80),
}


@pytest.mark.gui
@pytest.mark.parametrize("model", ["photo", "microscopy"])
@pytest.mark.parametrize("change", ["replaced", "in place", "in place, strided"])
@pytest.mark.parametrize("shape", FRAMES.values(), ids=FRAMES)
def test_the_preview_follows_pixels_that_change(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, shape: tuple[int, ...], change: str, model: str
) -> None:
    rng = np.random.default_rng(0)

    def scene(level: float) -> NDArray[np.uint16]:
        return rng.poisson(level, shape).astype(np.uint16)

    pixels = scene(3000)
    if change == "in place, strided":
        pixels = np.asfortranarray(pixels)
    layer = viewer.add_image(pixels, name="live")
    viewer.scene.camera.zoom /= 2
    qtbot.wait(200)
    widget.controls.model.value = model
    widget.controls.depth.value = 1
    widget.preview.value = True
    settle(widget, qtbot)
    for level in (40, 900):
        frame = scene(level)
        if change == "replaced":
            layer.data = frame
        else:
            layer.data[...] = frame
            layer.refresh()
        settle(widget, qtbot)
        preview = widget.view_panel.updater.layer
        region = tuple(slice(*span) for span in preview.metadata["napari_dcr"]["region"])
        axes = "zyx"[-len(shape) :]
        expected = napari_dcr.enhance(frame, model=model, depth=1, axes=axes, device="cpu")[region]
        np.testing.assert_allclose(preview.data.astype(float), expected, atol=1)


@pytest.mark.gui
def test_a_refresh_without_a_change_computes_nothing(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = viewer.add_image(np.random.default_rng(0).integers(0, 60, (3, 60, 80), np.uint8))
    widget.controls.depth.value = 1
    widget.preview.value = True
    settle(widget, qtbot)
    enhancer, looked = widget.view_panel.updater._enhancer, []
    monkeypatch.setattr(type(enhancer), "is_current", lambda self: (looked.append(1), True)[1])
    layer.refresh()
    settle(widget, qtbot)
    assert len(looked) == 1
    assert widget.view_panel.updater._enhancer is enhancer
    viewer.dims.set_point(0, 2)  # another slice belongs to the same image
    settle(widget, qtbot)
    assert len(looked) == 1
    widget.preview.value = False
    assert widget.status.value == ""
    layer.refresh()
    settle(widget, qtbot)
    assert len(looked) == 1


@pytest.mark.gui
def test_a_preview_that_is_switched_on_begins_at_once(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    """Only further changes wait until there are no more of them."""
    viewer.add_image(dim_rgb[:40, :40])
    widget.controls.depth.value = 0
    updater = widget.view_panel.updater
    updater._timer.setInterval(1_000_000)
    widget.preview.value = True
    qtbot.waitUntil(lambda: updater.layer is not None and not updater.busy, timeout=60_000)
    widget.controls.strength.value = 0.5
    assert updater.busy
    widget.preview.value = False
    assert not updater.busy


def test_the_device_is_tested_before_the_first_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    tested: list[object] = []
    monkeypatch.setattr(devices, "fast_precision", lambda device: tested.append(device) or "fp32")
    choices = run_to_completion(find_choices())
    assert isinstance(choices, tuple)
    assert tested == [devices.find_device(next(iter(choices[0])))]
