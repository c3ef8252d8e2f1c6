"""The visible part of a layer, for any units, axes and views."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.plugin.shown import canvas_corners, shown_region
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish

UNITS = ("nm", "um", "mm")


def numbered(*shape: int) -> NDArray[np.uint16]:
    """Every plane has its own number as its value."""
    planes = np.arange(np.prod(shape[:-2], dtype=int), dtype=np.uint16)
    return np.broadcast_to(planes.reshape(*shape[:-2], 1, 1), shape).copy()


def on_screen(layer: Any) -> NDArray[Any]:
    """Pixels that napari has sliced."""
    return np.asarray(layer._slice.image.raw)


@pytest.mark.parametrize(("own", "shown"), list(itertools.permutations(UNITS, 2)))
def test_the_plane_on_screen_is_enhanced_in_all_units_of_the_viewer(own: str, shown: str) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        numbered(10, 6, 7), scale=(2, 0.5, 0.5), translate=(3, 0, 0), units=(own,) * 3
    )
    viewer.layers.units = (shown,) * 3
    for plane in (0, 6, 9):
        factor = float((1.0 * layer.units[0]).m_as(viewer.dims.units[0]))
        viewer.dims.set_point(0, (3 + 2 * plane) * factor)
        assert on_screen(layer).max() == plane
        region = shown_region(layer, viewer.dims, visible=False)
        assert region == (slice(plane, plane + 1), slice(0, 6), slice(0, 7))


@settings(max_examples=25)
@given(
    plane=st.integers(0, 8),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
    others=st.sampled_from(UNITS),
    own=st.sampled_from(UNITS),
    thickness=st.sampled_from([0, 1.4, 3.2, 4.6, 100]),
    mode=st.sampled_from(["none", "mean", "max", "sum"]),
)
def test_planes_are_those_that_napari_projects(
    plane: int, scale: float, shift: float, others: str, own: str, thickness: float, mode: str
) -> None:
    viewer = ViewerModel()
    planes = (1 << np.arange(9, dtype=np.uint16))[:, None, None] * np.ones((1, 4, 5), np.uint16)
    layer = viewer.add_image(
        planes, scale=(scale, 1, 1), translate=(shift, 0, 0), units=(own,) * 3, projection_mode=mode
    )
    viewer.add_image(np.zeros((4, 5), np.uint8), units=(others,) * 2)
    factor = float((1.0 * layer.units[0]).m_as(viewer.dims.units[0]))
    viewer.dims.set_point(0, (shift + scale * plane) * factor)
    viewer.dims.thickness = (thickness * scale * factor, 0, 0)
    region = shown_region(layer, viewer.dims, visible=False)
    assert region is not None
    taken = planes[region[0]]
    projected = {"none": taken[0], "mean": taken.mean(0), "max": taken.max(0), "sum": taken.sum(0)}
    np.testing.assert_allclose(on_screen(layer), projected[mode])
    if thickness > 3:
        assert (len(taken) > 1) == (mode != "none")


def test_a_slab_beyond_the_stack_has_the_existing_planes() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(numbered(6, 4, 5), projection_mode="max")
    viewer.add_image(np.zeros((30, 4, 5), np.uint8))
    for point, thickness, planes in ((1, 6, slice(0, 5)), (5, 4, slice(3, 6)), (7, 4, slice(5, 6))):
        viewer.dims.set_point(0, point)
        viewer.dims.thickness = (thickness, 0, 0)
        region = shown_region(layer, viewer.dims, visible=False)
        assert region is not None
        assert region[0] == planes
        assert on_screen(layer).max() == planes.stop - 1
    viewer.dims.set_point(0, 12)
    assert shown_region(layer, viewer.dims, visible=False) is None


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 40, 50)])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 3, 2)])
def test_a_volume_is_enhanced_completely(angles: tuple[float, ...], order: tuple[int, ...]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 30, 16, 18), np.uint8))
    viewer.dims.order = order
    viewer.dims.ndisplay = 3
    viewer.dims.set_point(order[0], 2)
    getattr(viewer, "scene", viewer).camera.angles = angles
    layer.corner_pixels = np.array([[0, 14, 2, 2], [0, 15, 9, 9]])
    region = shown_region(layer, viewer.dims, visible=True)
    whole = [slice(0, n) for n in layer.data.shape]
    whole[order[0]] = slice(2, 3)
    assert region == tuple(whole)


def test_a_flat_layer_under_a_turned_stack_is_shown_whole() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 40, 50), np.uint8))
    flat = viewer.add_image(np.zeros((40, 50), np.uint8))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 7)
    assert on_screen(flat).shape == (40, 50)
    assert shown_region(flat, viewer.dims, visible=False) == (slice(0, 40), slice(0, 50))


@pytest.mark.gui
@pytest.mark.parametrize(("own", "shown"), [("um", "nm"), ("um", "mm"), ("s", "ms")])
def test_view_and_slice_beside_a_layer_in_another_unit(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, own: str, shown: str
) -> None:
    stack = numbered(8, 90, 120) * 20 + np.random.default_rng(0).integers(
        0, 9, (8, 90, 120), np.uint16
    )
    lengths = ("um", "um") if own == "s" else (own, own)
    layer = viewer.add_image(stack, scale=(2, 0.5, 0.5), units=(own, *lengths), name="stack")
    viewer.layers.units = (shown, *(("nm", "nm") if own == "s" else (shown, shown)))
    factor = float((1.0 * layer.units[0]).m_as(viewer.dims.units[0]))
    viewer.dims.set_point(0, 2 * 6 * factor)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 2.5
    qtbot.wait(200)
    corners = canvas_corners(viewer)
    assert corners is not None
    widget.controls.depth.value = 0
    whole = napari_dcr.enhance(stack, axes="zyx", depth=0, device="cpu")
    for extent in ("view", "slice"):
        widget.controls.image.value = layer
        widget.controls.extent.value = extent
        widget.start()
        finish(widget, qtbot)
        result = viewer.layers[-1]
        assert result is not layer, widget.status.value
        region = tuple(slice(*span) for span in result.metadata["napari_dcr"]["region"])
        assert region[0] == slice(6, 7)
        if extent == "slice":
            assert region[1:] == (slice(0, 90), slice(0, 120))
        else:
            assert 0 < np.prod(result.data.shape) < 90 * 120 / 2
            # The region contains the middle of the canvas.
            middle = corners.mean(0) * float((1.0 * viewer.dims.units[1]).m_as(layer.units[1]))
            row, column = layer.world_to_data((12, *middle))[1:]
            assert region[1].start < row < region[1].stop
            assert region[2].start < column < region[2].stop
        assert np.abs(result.data.astype(int) - whole[region]).max() <= 1
        assert on_screen(result).size  # it lies at the plane where one looks


@pytest.mark.gui
def test_the_visible_region_is_the_same_in_any_unit(viewer: Any, qtbot: Any) -> None:
    """The corners are compared with napari's own, for the same camera and layer."""
    layer = viewer.add_image(np.zeros((200, 300), np.uint8), scale=(0.5, 0.5), units=("um", "um"))
    viewer.reset_view()
    camera = viewer.scene.camera
    camera.zoom *= 3
    camera.center = (0, 40, 60)
    qtbot.wait(200)
    expected = shown_region(layer, viewer.dims, visible=True)
    viewer.layers.units = ("nm", "nm")
    camera.zoom /= 1000
    camera.center = (0, 40_000, 60_000)
    qtbot.wait(200)
    region = shown_region(layer, viewer.dims, visible=True, view=canvas_corners(viewer))
    assert expected is not None
    assert region is not None
    for own, other in zip(expected, region, strict=True):
        assert abs(own.start - other.start) <= 1
        assert abs(own.stop - other.stop) <= 1


@pytest.mark.gui
@pytest.mark.parametrize(("mode", "thickness"), [("mean", 4), ("max", 2)])
def test_thick_slices_are_enhanced_plane_by_plane(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, mode: str, thickness: int
) -> None:
    stack = np.random.default_rng(1).integers(0, 60, (9, 40, 50), np.uint16)
    layer = viewer.add_image(stack, projection_mode=mode, name="stack")
    viewer.dims.set_point(0, 4)
    viewer.dims.thickness = (thickness, 0, 0)
    viewer.camera.zoom /= 2  # all of it is on screen, however wide the widget is
    planes = slice(4 - thickness // 2, 5 + thickness // 2)
    widget.controls.depth.value = 0
    whole = napari_dcr.enhance(stack, axes="zyx", depth=0, device="cpu")[planes]
    for extent in ("slice", "view"):
        widget.controls.extent.value = extent
        widget.controls.image.value = layer
        widget.start()
        finish(widget, qtbot)
        result = viewer.layers[-1]
        assert result.data.shape[0] == len(whole)
        expected = whole.mean(0) if mode == "mean" else whole.max(0)
        np.testing.assert_allclose(on_screen(result), expected, atol=1)
    widget.preview.value = True
    qtbot.waitUntil(lambda: not widget.view_panel.updater.busy, timeout=60_000)
    np.testing.assert_allclose(on_screen(widget.view_panel.updater.layer), expected, atol=1)


@pytest.mark.gui
def test_a_3d_view_is_enhanced_completely(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    layer = viewer.add_image(
        np.random.default_rng(1).integers(0, 60, (12, 40, 50), np.uint8), name="volume"
    )
    viewer.dims.ndisplay = 3
    qtbot.wait(200)
    widget.controls.depth.value = 0
    widget.controls.extent.value = "view"
    for angles in ((0, 0, 90), (40, 30, 20)):
        viewer.scene.camera.angles = angles
        qtbot.wait(100)
        widget.controls.image.value = layer
        widget.start()
        finish(widget, qtbot)
        assert viewer.layers[-1].data.shape == (12, 40, 50)
