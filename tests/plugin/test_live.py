"""The *Live* switch: a layer whose pixels change is enhanced frame by frame."""

from __future__ import annotations

import threading
import time
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_dcr.engine.live import LiveEnhancer
from napari_dcr.plugin.live import Live
from napari_dcr.plugin.live_frames import Frame, LatestFrame
from napari_dcr.plugin.widget import EnhanceWidget


def frame(seed: int, side: int = 512, lamp: float = 1.0) -> NDArray[np.uint16]:
    y, x = np.mgrid[:side, :side]
    light = 40 + 30 * np.sin(x / 30) * np.cos(y / 40)
    return (np.random.default_rng(seed).poisson(lamp * light) + 100).astype(np.uint16)


class Camera(QObject):  # type: ignore[misc]
    """A camera whose thread pushes frames to the window."""

    arrived = Signal(object)

    def __init__(self, frames: list[NDArray[np.uint16]], count: int, interval: float) -> None:
        super().__init__()
        self._frames, self._count, self._interval = frames, count, interval
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for number in range(self._count):
            self.arrived.emit(self._frames[number % len(self._frames)])
            time.sleep(self._interval)


def start(widget: EnhanceWidget, qtbot: Any, layer: Any) -> Any:
    """Switch on and wait for the first enhanced frame."""
    widget.controls.image.value = layer
    widget.controls.depth.value = 0
    widget.live.value = True
    qtbot.waitUntil(lambda: widget.view_panel.follower.layer is not None, timeout=120_000)
    return widget.view_panel.follower


@pytest.mark.gui
def test_a_camera_thread_is_followed(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    # The last frame is unlike all others, so that it is recognised when it is shown.
    frames = [frame(n % 3) for n in range(39)] + [frame(3)]
    layer = viewer.add_image(frames[0], name="camera")
    widget.preview.value = True
    follower = start(widget, qtbot, layer)
    assert not widget.preview.value
    assert not widget.preview.enabled
    camera = Camera(frames, len(frames), 0.01)
    camera.arrived.connect(lambda pixels: setattr(layer, "data", pixels))
    camera.thread.start()
    qtbot.waitUntil(lambda: not camera.thread.is_alive(), timeout=60_000)
    last = frames[-1]
    # Depth 0 of the model that keeps intensities returns the pixels, so that the frame is known.
    qtbot.waitUntil(lambda: bool((follower.layer.data == last).all()), timeout=60_000)
    assert viewer.layers["camera [live]"] is follower.layer
    assert follower.layer not in widget.controls.image.choices
    rate, latency = follower.rates()
    assert rate > 0
    assert latency > 0
    qtbot.waitUntil(lambda: "frames/s, latency" in widget.status.value, timeout=10_000)
    assert (layer.data == last).all()
    widget.live.value = False
    assert "camera [live]" not in viewer.layers
    assert widget.preview.enabled


@pytest.mark.gui
def test_pixels_written_in_place_and_slices_of_a_stack(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    stack = np.stack([frame(n, 96) for n in range(3)])
    layer = viewer.add_image(stack, name="stack", scale=(1, 2, 2), axis_labels=("t", "y", "x"))
    viewer.dims.set_point(0, 0)
    follower = start(widget, qtbot, layer)
    shown = follower.layer
    assert tuple(shown.scale) == (1, 2, 2)
    assert (shown.data[0] == stack[0]).all()
    stack[0] = frame(7, 96)
    layer.refresh()
    qtbot.waitUntil(lambda: bool((shown.data[0] == stack[0]).all()), timeout=30_000)
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: bool((shown.data[0] == stack[2]).all()), timeout=30_000)
    assert shown.translate[0] == 2
    viewer.layers.remove(shown)
    qtbot.waitUntil(lambda: not widget.live.value, timeout=5_000)


@pytest.mark.gui
def test_lazy_layers_are_read_by_the_worker(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.stack([frame(n, 96) for n in range(3)])
    layer = viewer.add_image(
        da.from_array(stack, chunks=(1, 96, 96)), name="lazy", axis_labels=("t", "y", "x")
    )
    viewer.dims.set_point(0, 1)
    follower = start(widget, qtbot, layer)
    assert (follower.layer.data[0] == stack[1]).all()
    monkeypatch.setattr("napari_dcr.plugin.live.LARGEST", 5000)
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: "megapixels" in widget.status.value, timeout=10_000)


@pytest.mark.gui
def test_settings_take_effect_and_errors_are_shown(
    viewer: Any, widget: EnhanceWidget, qtbot: Any
) -> None:
    image = np.stack([frame(0, 96) // 2] * 3, -1).astype(np.uint8)
    layer = viewer.add_image(image, name="colour")
    follower = start(widget, qtbot, layer)
    before = follower.layer.data.copy()
    assert (before != image).any()  # colour is brightened
    widget.controls.strength.value = 0.0
    qtbot.waitUntil(lambda: bool((follower.layer.data == image).all()), timeout=30_000)
    other = viewer.add_image(frame(3, 80) > 120, name="mask")
    widget.controls.image.value = other
    qtbot.waitUntil(lambda: not widget.live.value, timeout=30_000)
    assert "dtype bool" in widget.status.value


@pytest.mark.gui
def test_the_window_is_drawn_once_for_each_result(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = widget.view_panel.follower
    monkeypatch.setattr(follower._repainting, "_rest", 1e6)  # only results are drawn
    frames = [frame(n, 96) for n in range(8)]
    layer = viewer.add_image(frames[0], name="camera")
    start(widget, qtbot, layer)
    shown, drawn = [], []
    follower.layer.events.set_data.connect(lambda _: shown.append(1))
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    canvas.events.draw.connect(lambda _: drawn.append(1))
    for pixels in frames[1:]:
        results = len(shown)
        for lamp in range(10):
            layer.data = pixels + np.uint16(lamp)
            QApplication.processEvents()
        qtbot.waitUntil(lambda results=results: len(shown) > results, timeout=30_000)
    qtbot.waitUntil(lambda: bool((follower.layer.data == layer.data).all()), timeout=30_000)
    assert len(frames) - 1 <= len(shown)
    # A change of the window's layout draws too. Without the limit there are tens of drawings more.
    assert len(shown) <= len(drawn) <= len(shown) + 3
    widget.live.value = False
    drawn.clear()
    layer.data = frames[0]
    qtbot.waitUntil(lambda: bool(drawn), timeout=30_000)


@pytest.mark.gui
def test_a_core_is_left_for_the_window(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, numbers = torch.get_num_threads(), []
    enhance = LiveEnhancer.__call__

    def watched(live: LiveEnhancer, pixels: Any) -> Any:
        numbers.append(torch.get_num_threads())
        return enhance(live, pixels)

    monkeypatch.setattr(LiveEnhancer, "__call__", watched)
    layer = viewer.add_image(frame(0, 96), name="camera")
    start(widget, qtbot, layer)
    background = widget.view_panel.follower._background
    widget.live.value = False
    qtbot.waitUntil(lambda: not background.is_alive, timeout=30_000)
    QApplication.processEvents()
    assert set(numbers) == {max(1, used - 1)}
    after: list[int] = []
    thread = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [*after, torch.get_num_threads()] == [used, used]


def expected(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """First result of a new running estimate, as *Live* computes it at depth 1."""
    with LiveEnhancer(model="microscopy", depth=1, device="cpu") as live:
        return live(pixels)


@pytest.mark.gui
def test_another_layer_begins_again_and_never_shows_pixels_of_the_last_one(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = frame(0, 96), frame(1, 96, lamp=3.0)
    camera = viewer.add_image(first, name="camera")
    still = viewer.add_image(second, name="still")
    follower = start(widget, qtbot, camera)
    widget.controls.depth.value = 1
    qtbot.waitUntil(lambda: bool((follower.layer.data == expected(first)).all()), timeout=30_000)
    computing, go_on, enhance = threading.Event(), threading.Event(), LiveEnhancer.__call__

    def slow(live: LiveEnhancer, pixels: Any) -> Any:
        computing.set()
        go_on.wait(60)
        return enhance(live, pixels)

    monkeypatch.setattr(LiveEnhancer, "__call__", slow)
    camera.data = frame(2, 96)
    qtbot.waitUntil(computing.is_set, timeout=30_000)
    shown: list[Any] = []
    viewer.layers.events.inserted.connect(lambda event: shown.append(event.value.data.copy()))
    widget.controls.image.value = still
    qtbot.wait(100)
    go_on.set()
    qtbot.waitUntil(lambda: follower.layer is not None, timeout=30_000)
    monkeypatch.undo()
    assert follower.layer.name == "still [live]"
    assert (shown[0] == expected(second)).all()
    assert (follower.layer.data == shown[0]).all()


@pytest.mark.gui
def test_each_channel_has_its_own_estimate(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    channels = np.stack([frame(0, 96), frame(1, 96, lamp=3.0)])
    layer = viewer.add_image(channels, name="channels", axis_labels=("c", "y", "x"))
    viewer.dims.set_point(0, 0)
    follower = start(widget, qtbot, layer)
    widget.controls.depth.value = 1
    for number in (0, 1):
        viewer.dims.set_point(0, number)
        result = expected(channels[number])
        qtbot.waitUntil(
            lambda result=result: bool((follower.layer.data[0] == result).all()), timeout=30_000
        )


@pytest.mark.gui
def test_removing_the_source_switches_off(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    layer = viewer.add_image(frame(0, 96), name="camera")
    viewer.add_image(frame(1, 96), name="other")
    follower = start(widget, qtbot, layer)
    background = follower._background
    layer.data = frame(2, 96)  # its capture is still waiting when the layer is removed
    viewer.layers.remove(layer)
    assert not widget.live.value
    qtbot.waitUntil(lambda: not background.is_alive, timeout=30_000)
    qtbot.waitUntil(lambda: [each.name for each in viewer.layers] == ["other"], timeout=30_000)


@pytest.mark.gui
def test_an_error_while_a_result_is_shown_does_not_end_live(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = viewer.add_image(frame(0, 96), name="camera")
    follower = start(widget, qtbot, layer)

    def fail(*_: Any) -> None:
        raise RuntimeError("napari cannot draw")

    with monkeypatch.context() as context, qtbot.captureExceptions() as errors:
        context.setattr(Live, "_show", fail)
        layer.data = frame(1, 96)
        qtbot.waitUntil(lambda: bool(errors), timeout=30_000)
    layer.data = frame(2, 96)
    qtbot.waitUntil(lambda: bool((follower.layer.data == layer.data).all()), timeout=30_000)


class Clock:
    """A clock that the test moves on."""

    now = 100.0

    def perf_counter(self) -> float:
        """Time in seconds."""
        return self.now


@pytest.mark.gui
def test_a_slow_camera_has_a_rate_and_a_stopped_one_has_none(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("napari_dcr.plugin.live.time", clock)
    layer = viewer.add_image(frame(0, 96), name="camera")
    follower = start(widget, qtbot, layer)
    for number in range(1, 4):
        clock.now += 2.0
        layer.data = frame(number, 96)
        qtbot.waitUntil(lambda: bool((follower.layer.data == layer.data).all()), timeout=30_000)
        assert follower.rates()[0] == 0.5
    qtbot.waitUntil(lambda: "Live: 0.5 frames/s" in widget.status.value, timeout=30_000)
    clock.now += 4.9
    qtbot.wait(200)
    assert "Live: 0.5 frames/s" in widget.status.value
    clock.now += 0.2
    qtbot.waitUntil(lambda: "no new frame for 5 s" in widget.status.value, timeout=30_000)
    assert follower.rates() == (0.0, 0.0)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: "slices of a layer in 2D" in widget.status.value, timeout=30_000)
    clock.now += 60
    qtbot.wait(200)
    assert "slices of a layer in 2D" in widget.status.value


def test_the_newest_frame_wins() -> None:
    latest_frame = LatestFrame()
    assert latest_frame.take() is None
    source: Any = None
    frames: list[Any] = [Frame(source, n, (), (), None, 0.0) for n in range(3)]  # type: ignore[arg-type]
    for each in frames:
        latest_frame.put(each)
    assert latest_frame.take() is frames[2]
    assert latest_frame.dropped == 2
