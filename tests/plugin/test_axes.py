"""Tests of how the widget finds the axes of a layer: from labels, the viewer, the file or the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_dcr.plugin.axes import Axes, describe, describe_place, doubt, find_axes, layer_axes
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((2, 3, 8, 8), ("T", "z", "y", "x"), "tzyx"),
        ((2, 3, 8, 8), None, "tzyx"),
        ((2, 3, 8, 8), ("time", "z", "y", "x"), "tzyx"),
        ((2, 3, 8, 8), ("time", "channel", "y", "x"), "tcyx"),
        ((8, 8, 3), ("y", "x", "z"), "yxz"),
        ((2, 3, 8, 8), ("t", "t", "y", "x"), "tzyx"),
        ((3, 8, 8), ("c", "row", "column"), "cyx"),
    ],
)
def test_axis_letters_come_from_the_labels(
    shape: tuple[int, ...], labels: tuple[str, ...] | None, axes: str
) -> None:
    assert layer_axes(Image(np.zeros(shape, np.uint8), axis_labels=labels)) == axes


def test_colour_comes_last() -> None:
    assert layer_axes(Image(np.zeros((8, 8, 3), np.uint8), rgb=True)) == "yxs"
    assert layer_axes(Image(np.zeros((2, 8, 8, 4), np.uint8), rgb=True)) == "zyxs"
    labelled = Image(np.zeros((2, 8, 8, 3), np.uint8), rgb=True, axis_labels=("c", "y", "x"))
    assert layer_axes(labelled) == "zyxs"  # the label c is not used for colour samples


def test_shapes_are_described_in_words() -> None:
    assert describe((12, 30, 64, 48), "tzyx") == "12 time points, 30 planes, 48 x 64 pixels"
    assert describe((1, 64, 48), "cyx") == "1 channel, 48 x 64 pixels"
    with pytest.raises(ValueError, match="This image has 3 axes; enter 3 different letters"):
        describe((1, 64, 48), "yx")


@pytest.mark.parametrize(
    ("labels", "viewer", "found"),
    [
        (None, ("0", "1", "2", "3"), Axes("tzyx", True)),
        (None, ("z", "c", "y", "x"), Axes("zcyx", False)),
        (None, ("frame", "channel", "row", "column"), Axes("tcyx", False)),
        (("t", "c", "y", "x"), ("z", "c", "y", "x"), Axes("tcyx", False)),
    ],
)
def test_labels_of_the_layer_come_before_those_of_the_viewer(
    labels: tuple[str, ...] | None, viewer: tuple[str, ...], found: Axes
) -> None:
    assert find_axes(Image(np.zeros((2, 3, 8, 9), np.uint8), axis_labels=labels), viewer) == found


def test_axes_of_an_image_without_stepped_axes_are_not_guessed() -> None:
    assert not find_axes(Image(np.zeros((8, 9), np.uint8))).guessed
    assert not find_axes(Image(np.zeros((8, 9, 3), np.uint8), rgb=True)).guessed


@pytest.mark.parametrize(
    ("shape", "axes", "asked"),
    [
        ((4, 100, 120), Axes("yxc", False), "120 channels"),
        ((2, 20, 400, 500), Axes("zcyx", False), "20 channels"),
        ((5, 40, 600), Axes("zyx", False), "600 x 40 pixels"),
        ((3, 512, 512), Axes("zyx", True), "3 planes"),
        ((6, 2, 512, 512), Axes("tzyx", True), "2 planes"),
        ((300, 512, 512), Axes("zyx", True), None),
        ((3, 512, 512), Axes("zyx", False), None),
        ((2, 300, 400), Axes("cyx", False), None),
    ],
)
def test_doubtful_axes_are_asked_about(
    shape: tuple[int, ...], axes: Axes, asked: str | None
) -> None:
    question = doubt(shape, axes)
    assert question is None if asked is None else asked in str(question)


@pytest.mark.gui
def test_corrections_stay_with_their_layer_and_labels_are_followed(
    viewer: Any, widget: EnhanceWidget
) -> None:
    layers = [viewer.add_image(np.zeros((3, 2, 20, 30), np.uint8), name=name) for name in "ab"]
    controls = widget.controls
    controls.image.value = layers[0]
    assert controls.shape.value.endswith("guessed: 3 time points, 2 planes, 30 x 20 pixels")
    controls.axes.value = "zcyx"
    assert controls.shape.value == "3 planes, 2 channels, 30 x 20 pixels"
    controls.image.value = layers[1]
    assert controls.axes.value == "tzyx"
    layers[1].axis_labels = ("t", "c", "y", "x")
    assert controls.axes.value == "tcyx"
    controls.image.value = layers[0]
    assert controls.axes.value == "zcyx"
    assert controls.options(layers[1]).axes == "tcyx"
    assert controls.options(layers[0]).axes == "zcyx"
    layers[1].axis_labels = ("-4", "-3", "-2", "-1")
    controls.image.value = layers[1]
    viewer.dims.axis_labels = ("z", "t", "y", "x")
    assert controls.axes.value == "ztyx"
    controls.axes.value = "zt"
    assert not widget.run.enabled
    assert "enter 4 different letters" in controls.shape.value
    controls.axes.value = "ztyx"
    assert widget.run.enabled


@pytest.mark.gui
@pytest.mark.parametrize("axes", ["ZCYX", "TZYX"])
def test_the_file_defines_its_axes(
    viewer: Any, widget: EnhanceWidget, npe2pm: Any, tmp_path: Path, axes: str
) -> None:
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 90, (6, 2, 40, 50), np.uint16)
    if axes == "TZYX":
        pixels = pixels[:, :, None]
    tifffile.imwrite(
        path, pixels, imagej=True,
        metadata={"axes": axes if axes == "ZCYX" else "TZCYX"},
    )  # fmt: skip
    with npe2pm.tmp_plugin(package="napari"):
        (layer,) = viewer.open(path, plugin="napari")
    widget.controls.image.value = layer
    if layer.ndim == len(axes):
        assert widget.controls.axes.value == axes.lower()
        assert "guessed" not in widget.controls.shape.value


@pytest.mark.gui
@pytest.mark.parametrize(("shape", "axes"), [((4, 100, 120), "yxc"), ((3, 40, 50), "zyx")])
def test_run_asks_once_about_doubtful_axes(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, shape: tuple[int, ...], axes: str
) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 90, shape, np.uint8))
    widget.controls.depth.value = 0
    widget.controls.axes.value = axes
    widget.run.native.click()
    assert not widget.running
    assert "Is this right" in widget.status.value
    widget.run.native.click()
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    widget.run.native.click()  # the question is not asked a second time
    finish(widget, qtbot)
    assert len(viewer.layers) == 3


def test_positions_are_described_in_words() -> None:
    assert describe_place("t 46/300, channel 1/2") == "time point 46 of 300, channel 1 of 2"
    assert describe_place("q 2/5, z 3/9") == "step of q 2 of 5, plane 3 of 9"
    assert describe_place("Analysing the image...") == "Analysing the image..."
