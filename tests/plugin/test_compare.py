"""Before and after in one place, and the stages."""

from __future__ import annotations

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
    widget.wipe.value = 1
    assert before.data.shape == dim.shape
    result.contrast_limits = (150, 900)
    assert tuple(before.contrast_limits) == (150, 900)
    widget.wipe.value = 0
    assert "cells [before]" not in viewer.layers
    widget.wipe.value = 0.5
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
