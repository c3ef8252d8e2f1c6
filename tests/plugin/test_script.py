"""Tests that the code of *Copy as Python* gives the same array as the run in the widget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_dcr.io import writing
from napari_dcr.io.files import Picture
from napari_dcr.options import Options
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
@pytest.mark.parametrize("on_disk", [True, False])
def test_the_copied_python_gives_the_same_array(
    viewer: Any,
    widget: EnhanceWidget,
    qtbot: Any,
    npe2pm: Any,
    tmp_path: Path,
    dim_rgb: NDArray[np.uint8],
    on_disk: bool,
) -> None:
    if on_disk:
        path = tmp_path / "street.png"
        writing.write(path, Picture(dim_rgb, "yxs"))
        with npe2pm.tmp_plugin(package="napari"):  # provides napari's own readers
            (layer,) = viewer.open(path, plugin="napari")
    else:
        layer = viewer.add_image(dim_rgb, name="it's a street")
    widget.controls.image.value = layer
    widget.controls.strength.value = 0.3
    widget.controls.extent.value = "slice"
    widget.start()
    finish(widget, qtbot)
    widget.copy.native.click()
    code = QApplication.clipboard().text()
    names: dict[str, Any] = {} if on_disk else {"viewer": viewer}
    exec(code, names)
    assert names["result"].dtype == viewer.layers[-1].data.dtype
    assert (names["result"] == viewer.layers[-1].data).all()


@pytest.mark.parametrize("staged", [True, False])
def test_the_copied_python_names_the_neighbours_that_were_used(staged: bool) -> None:
    record = {
        "options": Options(model="microscopy").to_dict(), "model": "microscopy", "depth": 2,
        "axes": "tyx", "neighbours": {"axis": "t", "frames": 2},
        "source": {"layer": "cells", "path": None, "multiscale": False},
        **({"stages": 3} if staged else {}),
    }  # fmt: skip
    code = as_python(record)
    # Neighbours are not allowed at depth 0, which is the first stage.
    assert f"neighbours=2{' if depth else 0' if staged else ''}," in code
    assert "neighbour_axis='t'," in code
    compile(code, "copied", "exec")
