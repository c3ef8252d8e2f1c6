"""The live preview."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import region_run as regions
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
    run = regions._run
    monkeypatch.setattr(regions, "_run", lambda *a: (runs.append(a[2]), run(*a))[1])
    source = viewer.add_image(dim_rgb, name="street")
    viewer.add_image(dim_rgb[:40], name="other", visible=False)
    controls = widget.controls
    controls.image.value = source
    controls.depth.value = 2
    viewer.layers.selection = {source}

    def settle() -> None:
        qtbot.waitUntil(lambda: not widget._preview.busy, timeout=60_000)

    widget.preview.value = True
    settle()
    preview = widget._preview.layer
    assert preview is viewer.layers["street [preview]"]
    assert set(viewer.layers.selection) == {source}
    assert preview not in controls.image.choices
    done = list(runs)
    for name, value in (("strength", 0.4), ("exposure", 0.5), ("depth", 1)):
        getattr(controls, name).value = value
        settle()
        (top, bottom), (left, right), _ = preview.metadata["napari_dcr"]["region"]
        expected = napari_dcr.enhance(
            dim_rgb, device="cpu", depth=controls.depth.value, strength=controls.strength.value,
            exposure=controls.exposure.value,
        )[top:bottom, left:right]  # fmt: skip
        assert np.abs(preview.data.astype(int) - expected).max() <= 1
    assert runs == done  # all of it from what was kept
    viewer.scene.camera.zoom *= 3
    qtbot.wait(200)
    settle()
    assert preview.data.size < dim_rgb.size
    origin = [span[0] for span in preview.metadata["napari_dcr"]["region"][:2]]
    assert np.allclose(preview.data_to_world((0, 0)), source.data_to_world(origin))
    # A run takes the preview away; deleting the layer switches it off.
    widget.start()
    assert not widget.preview.value
    finish(widget, qtbot)
    assert [x.name for x in viewer.layers] == ["street", "other", "street [DCR depth 1]"]
    widget.preview.value = True
    settle()
    viewer.layers.remove(widget._preview.layer)
    assert not widget.preview.value
    assert widget._preview._enhancer is None
