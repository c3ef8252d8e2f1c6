"""What users do while a run is in progress, and layers and viewers beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.experimental import link_layers
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import runner
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import NAME, finish, ready


def counts(seed: int = 0, side: int = 400) -> NDArray[np.uint16]:
    y, x = np.mgrid[:side, :side]
    light = 40 + 30 * np.sin(x / 30) * np.cos(y / 40)
    return (np.random.default_rng(seed).poisson(light) + 100).astype(np.uint16)


@pytest.fixture
def many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runner.AUTOMATIC_PIXELS, "fp32", 30_000)


def previewed(widget: EnhanceWidget, qtbot: Any) -> None:
    updater = widget.view_panel.updater
    qtbot.waitUntil(lambda: updater.layer is not None and not updater.busy, timeout=120_000)


@pytest.mark.gui
def test_two_viewers_each_with_the_widget(
    viewer: Any, widget: EnhanceWidget, make_napari_viewer: Callable[..., Any], qtbot: Any
) -> None:
    other = make_napari_viewer(show=True)
    _, second = other.window.add_plugin_dock_widget(NAME, "Enhance")
    ready(second, qtbot)
    images = counts(0, 300), counts(1, 260)
    both = (viewer, widget), (other, second)
    for (each, panel), image in zip(both, images, strict=True):
        each.add_image(image, name="cells")
        panel.controls.depth.value = 1
        panel.preview.value = True
    for _, panel in both:
        previewed(panel, qtbot)
    for _, panel in both:
        panel.start()
    for (each, panel), image in zip(both, images, strict=True):
        finish(panel, qtbot)
        result = each.layers[-1].data
        expected = napari_dcr.enhance(image, depth=1, device="cpu")
        assert np.abs(result.astype(int) - expected).max() <= 1
        qtbot.waitUntil(lambda each=each: len(each.layers) == 2, timeout=10_000)
    widget.compare.value = True
    second.compare.value = True
    qtbot.wait(200)
    other.close()
    qtbot.wait(200)
    widget.compare.value = False
    widget.preview.value = True
    previewed(widget, qtbot)
    widget.start()
    finish(widget, qtbot)
    assert widget.status.value.startswith("Done in")


@pytest.mark.gui
def test_linked_layers(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    first, second = (viewer.add_image(counts(n, 200), name=f"c{n}") for n in (0, 1))
    link_layers([first, second])
    widget.controls.image.value = first
    widget.controls.depth.value = 1
    widget.preview.value = True
    previewed(widget, qtbot)
    widget.compare.value = True
    qtbot.wait(300)
    widget.compare.value = False
    qtbot.wait(300)
    assert first.visible
    assert second.visible
    widget.start()
    finish(widget, qtbot)
    qtbot.wait(300)
    result = widget.results.pairs[-1][1]
    link_layers([first, result])
    widget.compare.value = True
    qtbot.wait(300)
    first.contrast_limits = (90, 200)
    widget.compare.value = False
    qtbot.wait(300)
    assert all(layer.visible for layer in (first, second, result))
    widget.start()
    finish(widget, qtbot)
    assert widget.status.value.startswith("Done in")
    np.testing.assert_array_equal(first.data, counts(0, 200))


@pytest.mark.gui
def test_labels_are_painted_and_undone_during_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, many_tiles: None
) -> None:
    image = viewer.add_image(counts(), name="cells")
    labels = viewer.add_labels(np.zeros((400, 400), int))
    widget.controls.image.value = image
    widget.controls.depth.value = 1
    widget.start()
    number = 0
    while widget.running and number < 10:
        number += 1
        labels.paint((20 + number, 30), number % 5 + 1)
        if number % 2:
            labels.undo()
        qtbot.wait(20)
    finish(widget, qtbot)
    assert number > 1
    labels.undo()
    labels.redo()
    expected = napari_dcr.enhance(image.data, depth=1, device="cpu")
    assert np.abs(viewer.layers[-1].data.astype(int) - expected).max() <= 1
    assert labels.data.any()


@pytest.mark.gui
@pytest.mark.parametrize("what", ["preview", "compare", "live", "close"])
def test_cancel_together_with(
    what: str, viewer: Any, widget: EnhanceWidget, qtbot: Any, many_tiles: None
) -> None:
    layer = viewer.add_image(counts(), name="cells")
    widget.controls.depth.value = 1
    if what == "compare":
        widget.start()
        finish(widget, qtbot)
        widget.compare.value = True
    elif what == "live":
        widget.live.value = True
        qtbot.waitUntil(lambda: widget.view_panel.follower.layer is not None, timeout=120_000)
    else:
        widget.preview.value = True
        previewed(widget, qtbot)
    before = len(viewer.layers)
    widget.start()
    run = widget.run_panel.current
    assert run is not None
    qtbot.waitUntil(lambda: widget.bar.value > 0 or not widget.running, timeout=60_000)
    widget.stop()
    if what == "close":
        viewer.close()
        qtbot.waitUntil(lambda: not run.is_alive, timeout=60_000)
        return
    if what == "preview":
        widget.preview.value = False
        widget.preview.value = True
    finish(widget, qtbot)
    qtbot.wait(300)
    assert len(viewer.layers) <= before
    widget.compare.value = widget.preview.value = widget.live.value = False
    qtbot.wait(300)
    assert layer.visible
    widget.start()
    finish(widget, qtbot)
    assert widget.status.value.startswith("Done in")


@pytest.mark.gui
@pytest.mark.parametrize("what", ["remove", "rename", "remove and cancel", "rename and add"])
def test_layers_that_change_during_a_run(
    what: str, viewer: Any, widget: EnhanceWidget, qtbot: Any, many_tiles: None
) -> None:
    layer = viewer.add_image(counts(), name="cells")
    widget.controls.depth.value = 1
    widget.preview.value = True
    previewed(widget, qtbot)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    if "remove" in what:
        viewer.layers.remove(layer)
    else:
        layer.name = "nuclei"
        if "add" in what:
            viewer.add_image(np.zeros((9, 9), np.uint16), name="cells")
    if "cancel" in what:
        widget.stop()
    finish(widget, qtbot)
    qtbot.wait(400)
    names = [each.name for each in viewer.layers]
    if "cancel" in what:
        assert names == []
    elif "remove" in what:
        assert len(names) == 1
    else:
        result = widget.results.pairs[-1][1]
        assert result.name.startswith("nuclei"), names
