"""The controls explain themselves and fit a narrow dock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image

from napari_dcr.network import cards
from napari_dcr.plugin.controls import Controls
from napari_dcr.plugin.form import OWN_FILE
from napari_dcr.plugin.widget import EnhanceWidget


@pytest.mark.gui
def test_controls_fit_a_narrow_dock_and_have_tooltips(viewer: Any, widget: EnhanceWidget) -> None:
    viewer.add_image(np.zeros((30, 40), np.uint16), name="a layer with a very long name " * 5)
    controls = widget.controls
    assert not controls.tile.native.isVisible()
    controls.more.native.click()
    assert controls.tile.native.isVisible()
    assert widget.native.minimumSizeHint().width() <= 350
    assert controls.native.minimumSizeHint().width() <= 350
    buttons = [widget.preview, widget.compare, widget.divider, widget.run, widget.cancel]
    buttons += [widget.stages, widget.copy, widget.repeat]
    for control in (controls.image, controls.extent, *controls.settings, *buttons):
        assert len(control.tooltip) > 20, control.name


@pytest.mark.gui
def test_controls_explain_themselves(viewer: Any, widget: EnhanceWidget) -> None:
    controls = widget.controls
    viewer.add_image(
        np.zeros((3, 2, 20, 30), np.uint8), axis_labels=("time", "channel", "y", "x"), name="cells"
    )
    assert controls.axes.value == "tcyx"
    assert controls.shape.value == "3 time points, 2 channels, 30 x 20 pixels"
    controls.axes.value = "tzyx"
    assert controls.shape.value == "3 time points, 2 planes, 30 x 20 pixels"
    assert controls.options(controls.image.value).axes == "tzyx"
    controls.axes.value = "tz"
    assert "This image has 4 axes; enter 4 different letters" in controls.shape.value
    assert controls.use.value.startswith("Automatic: model microscopy, because the image is grey")
    assert "choose photo" in controls.use.value
    assert controls.saturation.native.isHidden()
    controls.model.value = "photo"
    controls.depth.value = 0
    assert controls.stage.value.startswith("Brightens only")
    assert not controls.detail.enabled
    controls.depth.value = 2
    assert "Medium cleaning (2 of 3" in controls.stage.value
    assert controls.detail.enabled
    assert "photographs" in controls.use.value
    assert controls.weights.native.isHidden()
    controls.input_range.value = "contrast limits"
    assert controls.saturation.native.isHidden()
    viewer.add_image(np.zeros((40, 50, 3), np.uint8), name="colour")
    assert not controls.saturation.native.isHidden()
    assert not controls.colour_alike.native.isHidden()
    controls.image.value = viewer.layers["cells"]
    viewer.layers["cells"].contrast_limits = (3, 90)
    assert controls.options(controls.image.value).input_range == (3, 90)
    assert controls.options(controls.image.value).noise is None
    controls.noise.value = "2, 100, 1.5"
    assert not controls.noise.enabled  # pictures for viewing have no use for it
    assert controls.options(controls.image.value).noise is None
    controls.model.value = "microscopy"
    noise = controls.options(controls.image.value).noise
    assert (noise.gain, noise.offset, noise.dark) == (2, 100, 9)
    for wrong, named in (
        ("2, 100", "noise: got '2, 100'"),
        ("2, 100, -1", r"noise: got gain 2\.0, offset 100\.0, read noise -1\.0"),
    ):
        controls.noise.value = wrong
        with pytest.raises(ValueError, match=named):
            controls.options(controls.image.value)
    controls.noise.value = ""
    controls.model.value = "photo"
    assert controls.folder.enabled
    controls.extent.value = "slice"
    assert not controls.folder.enabled
    for device in controls.device.choices:
        controls.device.value = device
        assert "GiB free" in controls.memory.value


@pytest.mark.gui
def test_the_list_of_images_follows_their_names(viewer: Any, widget: EnhanceWidget) -> None:
    layers = [viewer.add_image(np.zeros((3, 20, 20), np.uint8), name=name) for name in "ab"]
    controls = widget.controls
    controls.image.value = layers[1]
    controls.axes.value = "cyx"
    layers[1].name = "another name"
    shown = controls.image.native
    assert [shown.itemText(i) for i in range(shown.count())] == ["a", "another name"]
    assert controls.image.value is layers[1]
    assert controls.axes.value == "cyx"  # as it was corrected


@pytest.mark.gui
def test_models_come_from_the_package(
    qapp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stars.md").write_text("# stars: card\n\nFor stars\nalone.\n\nMore.\n")
    shipped = {**cards.shipped(), "stars": tmp_path / "stars.safetensors"}
    monkeypatch.setattr(cards, "shipped", lambda: shipped)
    controls = Controls(list)
    assert controls.model.choices == ("auto", *shipped, "own file...")
    for model in controls.model.choices:
        controls.model.value = model
        assert len(controls.use.value) >= 10
    controls.model.value = "stars"
    assert controls.use.value == "For stars alone."


@pytest.mark.gui
def test_neighbouring_frames_are_offered_along_the_axes_of_the_layer(
    viewer: Any, widget: EnhanceWidget
) -> None:
    controls = widget.controls
    layer = viewer.add_image(np.zeros((2, 3, 20, 30), np.uint16), name="cells")
    controls.axes.value = "ztyx"
    controls.model.value = "microscopy"
    assert controls.neighbours.native.isVisible()
    along = ["1 along t", "2 along t", "1 along z", "2 along z"]
    assert list(controls.neighbours.choices) == ["auto", "none", *along]
    chosen = {"auto": ("auto", None), "none": (0, None), "1 along z": (1, "z")}
    for value, expected in chosen.items():
        controls.neighbours.value = value
        options = controls.options(layer)
        assert (options.neighbours, options.neighbour_axis) == expected
    assert controls.options(None).neighbours == "auto"  # files have axes of their own
    controls.depth.value = 0
    assert controls.options(layer).neighbours == "auto"
    controls.axes.value = "tcyx"
    assert controls.neighbours.value == "auto"
    assert list(controls.neighbours.choices) == ["auto", "none", *along[:2]]
    controls.axes.value = "csyx"
    assert not controls.neighbours.native.isVisible()
    controls.axes.value = "tcyx"
    controls.model.value = "photo"
    assert controls.neighbours.native.isVisible()
    controls.neighbours.value = "2 along t"
    controls.depth.value = 1
    assert controls.options(layer).neighbours == 2


def test_the_description_follows_the_shape_of_new_pixels(qapp: Any) -> None:
    layer = Image(np.zeros((9, 384, 384), np.uint8))
    controls = Controls(lambda: [layer])
    assert controls.shape.value == "guessed: 9 frames, 384 x 384 pixels"
    layer.data = np.zeros((2, 200, 180), np.uint8)
    assert controls.shape.value.endswith("guessed: 2 frames, 180 x 200 pixels")


@pytest.mark.parametrize(
    ("name", "message"),
    [("model", "Choose a .safetensors file first"), ("defects", "Choose an .npz file of defects")],
)
def test_a_file_that_was_not_chosen_is_asked_for(qapp: Any, name: str, message: str) -> None:
    layer = Image(np.zeros((20, 30), np.uint8))
    controls = Controls(lambda: [layer])
    getattr(controls, name).value = OWN_FILE
    with pytest.raises(ValueError, match=message):
        controls.options(layer)
