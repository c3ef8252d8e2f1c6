"""Settings are remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from napari_dcr.plugin import settings
from napari_dcr.plugin.controls import PERSISTED
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
def test_settings_are_remembered_per_model(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    viewer.add_image(dim_rgb)
    controls = widget.controls
    controls.model.value = "photo"
    controls.depth.value = 1
    controls.strength.value = 0.6
    controls.detail.value = False
    controls.denoise.value = 0.4
    controls.colour_alike.value = False
    controls.denoise_colour.value = 0.7
    controls.saturation.value = 1.2
    widget.start()
    finish(widget, qtbot)
    controls.model.value = "auto"
    assert controls.depth.value == 3
    assert controls.detail.value
    assert (controls.denoise.value, controls.saturation.value) == (1, 1)
    assert controls.colour_alike.value
    controls.model.value = "photo"
    assert (controls.depth.value, controls.strength.value) == (1, 0.6)
    controls.reset_all()
    controls.model.value = "microscopy"
    widget.controls.restore_all()  # as at the next start
    assert controls.model.value == "photo"
    assert (controls.depth.value, controls.detail.value) == (1, False)
    assert (controls.denoise.value, controls.saturation.value) == (0.4, 1.2)
    assert not controls.colour_alike.value
    assert controls.denoise_colour.value == 0.7


def test_every_remembered_control_is_in_the_manifest() -> None:
    """Without its property, napari raises an error when the widget opens."""
    manifest = yaml.safe_load((Path(__file__).parents[2] / "napari.yaml").read_text("utf-8"))
    sections = manifest["contributions"]["configurations"]
    assert set(sections["general"]["properties"]) == set(settings.GENERAL)
    for section in (*settings.SECTIONS, "own"):
        assert set(sections[section]["properties"]) == set(PERSISTED)
