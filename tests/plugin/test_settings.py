"""Settings are remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish, ready


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
    widget.start()
    finish(widget, qtbot)
    controls.model.value = "auto"
    assert controls.depth.value == 3
    assert controls.detail.value
    controls.model.value = "photo"
    assert (controls.depth.value, controls.strength.value) == (1, 0.6)
    another = EnhanceWidget(viewer)
    qtbot.addWidget(another.native)
    assert another.controls.model.value == "photo"
    assert (another.controls.depth.value, another.controls.detail.value) == (1, False)
    ready(another, qtbot)
