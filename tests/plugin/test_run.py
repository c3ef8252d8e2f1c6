"""Runs in the window that are cancelled, fail, or are interrupted by closing the viewer."""

from __future__ import annotations

import errno
import gc
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import region_run as regions
from napari_dcr.options import Options
from napari_dcr.plugin.run import Job, Run, Step, explain
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


@pytest.mark.gui
@pytest.mark.usefixtures("slow_tiles")
@pytest.mark.parametrize("saved", [False, True], ids=["memory", "zarr"])
def test_cancel_leaves_no_layer_and_run_works_again(
    viewer: Any,
    widget: EnhanceWidget,
    qtbot: Any,
    tmp_path: Path,
    saved: bool,
) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (400, 420, 3), np.uint8))
    folder = tmp_path / "results"
    folder.mkdir()
    if saved:
        widget.controls.folder.value = folder
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    widget.cancel.native.click()
    assert widget.status.value == "Cancelling after this tile..."
    finish(widget, qtbot)
    assert widget.status.value == "Cancelled."
    assert len(viewer.layers) == 1
    assert not list(folder.iterdir())
    widget.controls.depth.value = 0
    widget.start()
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    assert len(list(folder.iterdir())) == saved


@pytest.mark.gui
def test_errors_are_shown_and_the_widget_recovers(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr("napari_dcr.plugin.run_panel.show_error", messages.append)
    viewer.add_image(np.zeros((20, 20), np.int8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        widget.start()
        finish(widget, qtbot)
    assert len(messages) == 1
    assert "image: got dtype int8; allowed are uint8" in messages[0]
    assert "Failed: image: got dtype int8" in widget.status.value
    assert widget.run.enabled


@pytest.mark.gui
@pytest.mark.usefixtures("slow_tiles")
def test_closing_the_viewer_in_the_middle_of_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (400, 420, 3), np.uint8))
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    run = widget.run_panel.current
    assert run is not None
    viewer.close()
    qtbot.waitUntil(lambda: not run.is_alive, timeout=60_000)


@pytest.mark.gui
@pytest.mark.parametrize("extent", ["all", "slice"])
@pytest.mark.parametrize("shape", [(60, 80), (30, 40), (90, 100)])
def test_pixels_that_are_replaced_during_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, shape: tuple[int, ...], extent: str
) -> None:
    """The result is that of the pixels when the run began, and says so."""
    rng = np.random.default_rng(3)
    first = rng.integers(100, 900, (60, 80), np.uint16)
    layer = viewer.add_image(first, name="cells")
    widget.controls.depth.value = 1
    widget.controls.extent.value = extent
    widget.start()
    layer.data = rng.integers(100, 900, shape, np.uint16)
    finish(widget, qtbot)
    result = viewer.layers[-1]
    expected = napari_dcr.enhance(first, depth=1, device="cpu")
    assert np.abs(result.data.astype(int) - expected).max() <= 1
    assert "given other pixels during the run" in widget.status.value
    assert not widget.compare.enabled  # the layer no longer holds the pixels before
    widget.start()
    finish(widget, qtbot)
    assert viewer.layers[-1].data.shape == shape
    assert "given other pixels" not in widget.status.value
    assert widget.compare.enabled
    layer.data = first[:20, :20]
    widget.view_panel.show_comparison()
    assert not widget.compare.enabled


@pytest.mark.gui
@pytest.mark.parametrize("stages", [False, True])
def test_axes_that_are_replaced_during_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch, stages: bool
) -> None:
    monkeypatch.setattr("napari_dcr.plugin.run_panel.show_error", lambda _: None)
    layer = viewer.add_image(np.random.default_rng(3).integers(100, 900, (60, 80), np.uint16))
    widget.controls.depth.value = 0
    (widget.show_stages if stages else widget.start)()
    layer.data = np.zeros((3, 60, 80), np.uint16)
    finish(widget, qtbot)
    assert widget.status.value.endswith(
        "Failed: image: during the run, the 2 axes of the layer were replaced by 3; press Run again"
    )
    assert len(viewer.layers) == 1


@pytest.mark.gui
def test_a_run_releases_its_memory(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    from napari_dcr.engine.runner import TileRunner

    def alive() -> list[Any]:
        gc.collect()
        kinds = (TileRunner, regions.RegionEnhancer)
        return [x for x in gc.get_objects() if isinstance(x, kinds)]

    before = alive()  # lazy arrays keep the runners of their process
    viewer.add_image(dim_rgb)
    for extent in ("all", "slice"):
        widget.controls.extent.value = extent
        widget.start()
        finish(widget, qtbot)
    qtbot.wait(50)
    assert [x for x in alive() if not any(x is known for known in before)] == []


@pytest.mark.gui
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_bad_layer_does_not_stop_the_others(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    monkeypatch.setattr("napari_dcr.plugin.run_panel.show_error", lambda _: None)
    kinds = ["uint8"] * 3
    kinds[bad] = "bool" if bad else "int8"
    layers = [
        viewer.add_image(np.ones((20, 30), kind), name=f"n{i}") for i, kind in enumerate(kinds)
    ]
    widget.controls.image.value = layers[0]
    widget.controls.depth.value = 0
    viewer.layers.selection = set(layers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        widget.run.native.click()
        finish(widget, qtbot)
    assert len(viewer.layers) == 5
    assert "2 of 3 done" in widget.status.value
    assert f"n{bad}: image: got dtype {kinds[bad]}" in widget.status.value


def test_many_waiting_steps_do_not_exceed_the_recursion_limit(
    qapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Image(np.zeros((4, 5), np.uint8), name="many frames")
    run = Run([Job(layer, Options())])
    waiting = iter(range(1, 5001))
    shares: list[float] = []
    run.progressed.connect(lambda share, _: shares.append(share))

    def next_step(_: float) -> None:
        done = next(waiting, None)
        if done is not None:
            run._on_step(Step(0, done, 5000, f"t {done}/5000"))

    # As napari's bar, which processes all events that are waiting.
    monkeypatch.setattr(run._activity, "update", lambda n: [next_step(n) for _ in range(5000)])
    next_step(0)
    assert shares[-1] == 1
    assert len(shares) == 5000
    run.abandon()


@pytest.mark.gui
def test_a_layer_out_of_view_does_not_stop_the_others(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    viewer.add_image(dim_rgb, name="here")
    far = viewer.add_image(dim_rgb, name="far away", translate=(0, 5000))
    viewer.reset_view()
    viewer.camera.center = (0, dim_rgb.shape[0] / 2, dim_rgb.shape[1] / 2)
    viewer.camera.zoom = 4
    widget.controls.extent.value = "view"
    widget.controls.depth.value = 0
    widget.controls.image.value = far
    widget.start()
    assert not widget.running
    assert widget.status.value.endswith(
        "Failed: The image is not in view; choose the region 'all'."
    )
    viewer.layers.select_all()
    widget.start()
    finish(widget, qtbot)
    (result,) = viewer.layers[2:]
    assert result.name.startswith("here [photo, depth 0")
    first, second = widget.status.value.splitlines()
    assert first == "1 of 2 done."
    assert second.endswith("far away: The image is not in view; choose the region 'all'.")


def test_errors_of_the_system_say_what_to_do() -> None:
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "/a")) == "No such file: /a."
    assert "choose another folder" in explain(OSError(errno.ENOSPC, "No space left on device"))


def test_the_time_left_does_not_include_the_survey(
    qapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(perf_counter=iter((60.0, 61.0)).__next__)  # the survey took a minute
    monkeypatch.setattr("napari_dcr.plugin.run.time", clock)
    layer = Image(np.zeros((300, 20, 30), np.uint8))
    run = Run([Job(layer, Options(axes="zyx"), guessed_axes=True)])
    texts: list[str] = []
    run.progressed.connect(lambda _, text: texts.append(text))
    for done in (3, 6):
        run._on_step(Step(0, done, 300, f"z {done}/300"))
    run.abandon()
    assert texts == ["Frame 3 of 300", "Frame 6 of 300, 1:38 min left"]
