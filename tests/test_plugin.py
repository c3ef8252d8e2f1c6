"""The plugin in a real window."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.utils import progress
from npe2 import PluginManifest
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

import napari_dcr
from napari_dcr.engine import region_run as regions
from napari_dcr.engine import runner
from napari_dcr.io import formats
from napari_dcr.io.files import Picture
from napari_dcr.network import cards
from napari_dcr.plugin.commands import open_widget
from napari_dcr.plugin.controls import Controls
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.scrolling import Scrolling
from napari_dcr.plugin.widget import EnhanceWidget

NAME = "napari-dcr"


@pytest.fixture
def plugin(npe2pm: Any, plugin_settings: Any) -> Iterator[PluginManifest]:
    """The installed manifest, alone in npe2's test plugin manager; settings of its own."""
    manifest = PluginManifest.from_distribution(NAME)
    with npe2pm.tmp_plugin(manifest=manifest):
        yield manifest


@pytest.fixture
def viewer(plugin: PluginManifest, make_napari_viewer: Callable[..., Any]) -> Any:
    """A viewer with the plugin known, whatever else is installed."""
    return make_napari_viewer(show=True)


@pytest.fixture
def widget(viewer: Any, qtbot: Any) -> EnhanceWidget:
    """The widget docked, its choices found."""
    _, found = viewer.window.add_plugin_dock_widget(NAME, "Enhance a low-light image")
    assert isinstance(found, EnhanceWidget)
    ready(found, qtbot)
    return found


def ready(widget: EnhanceWidget, qtbot: Any) -> None:
    """Wait until PyTorch is loaded; then compute on the processor."""
    qtbot.waitUntil(lambda: len(widget.controls.device.choices) > 1, timeout=60_000)
    widget.controls.device.value = "cpu"


def finish(widget: EnhanceWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=120_000)


@pytest.mark.gui
def test_every_control_reaches_the_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    layer = viewer.add_image(dim_rgb, name="street", rgb=True)
    assert widget.controls.image.value is layer
    widget.controls.model.value = "photo"
    widget.controls.depth.value = 1
    widget.controls.detail.value = False
    widget.controls.strength.value = 0.5
    widget.controls.exposure.value = -0.5
    widget.controls.tile.value = 256
    widget.controls.precision.value = "fp32"
    widget.controls.input_range.value = "dtype"
    widget.controls.link_frames.value = False
    widget.controls.output.value = "float32"
    assert widget.controls.shape.value == "75 y x 102 x, RGB"
    before = dim_rgb.copy()
    widget.run.native.click()
    assert widget.running
    assert not widget.run.enabled
    assert widget.cancel.enabled
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    result = viewer.layers[-1]
    assert result.name == "street [DCR depth 1]"
    expected = napari_dcr.enhance(
        dim_rgb, model="photo", depth=1, detail=False, strength=0.5, exposure=-0.5, device="cpu",
        tile=256, precision="fp32", input_range="dtype", link_frames=False, output="float32",
    )  # fmt: skip
    assert result.data.dtype == np.float32
    assert (result.data == expected).all()
    assert (layer.data == before).all()
    record = result.metadata["napari_dcr"]
    assert record["options"]["strength"] == 0.5
    assert record["options"]["exposure"] == -0.5
    assert {"model", "sha256", "version", "device", "seconds"} <= record.keys()
    assert widget.bar.value == widget.bar.max
    assert widget.status.value.startswith("done in")
    assert widget.run.enabled
    assert not widget.cancel.enabled


@pytest.mark.gui
def test_work_is_off_the_gui_thread_and_comes_after_it(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[threading.Thread, int] = {}
    from napari_dcr.engine.runner import TileRunner

    run_tiles = TileRunner._run_tiles

    def watched(*arguments: Any) -> Any:
        threads[threading.current_thread()] = niceness()
        return run_tiles(*arguments)

    monkeypatch.setattr(TileRunner, "_run_tiles", watched)
    viewer.add_image(np.full((40, 50), 9, np.uint8))
    widget.start()
    finish(widget, qtbot)
    assert threads
    assert threading.main_thread() not in threads
    if sys.platform == "linux":
        assert min(threads.values()) > niceness()


@pytest.mark.gui
def test_where_the_window_is_low_the_controls_scroll_and_run_stays_in_sight(
    widget: EnhanceWidget, qtbot: Any
) -> None:
    widget.controls.show_advanced(True)
    (area,) = widget.native.findChildren(Scrolling)
    dock, bar = widget.native.window(), area.verticalScrollBar()
    last, run = widget.controls.uncertainty.native, widget.run.native

    def in_sight(native: Any) -> bool:
        return bool(native.visibleRegion().boundingRect().size() == native.size())

    dock.resize(1200, 700)
    qtbot.waitUntil(lambda: bar.isVisible() and in_sight(run))
    assert not in_sight(last)
    bar.setValue(bar.maximum())
    assert in_sight(last)
    dock.resize(1200, 1150)
    qtbot.waitUntil(lambda: not bar.isVisible() and in_sight(run) and in_sight(last))


def niceness() -> int:
    """How much this thread lets others go first."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.gui
@pytest.mark.parametrize("saved", [False, True], ids=["memory", "zarr"])
def test_cancel_keeps_nothing_and_run_works_again(
    viewer: Any,
    widget: EnhanceWidget,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    saved: bool,
) -> None:
    monkeypatch.setitem(runner.AUTOMATIC_PIXELS, "fp32", 100_000)  # many tiles
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (1500, 1600, 3), np.uint8))
    folder = tmp_path / "results"
    folder.mkdir()
    if saved:
        widget.controls.folder.value = folder
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    widget.cancel.native.click()
    assert widget.status.value == "cancelling"
    finish(widget, qtbot)
    assert widget.status.value == "cancelled"
    assert len(viewer.layers) == 1
    assert not list(folder.iterdir())
    widget.controls.depth.value = 0
    widget.start()
    finish(widget, qtbot)
    assert len(viewer.layers) == 2
    assert len(list(folder.iterdir())) == saved


@pytest.mark.gui
def test_errors_are_told_and_the_widget_recovers(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_dcr.plugin.widget.show_error", told.append)
    viewer.add_image(np.zeros((20, 20), np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        widget.start()
        finish(widget, qtbot)
    assert len(told) == 1
    assert "image: got dtype int64; allowed are uint8" in told[0]
    assert widget.status.value == "failed"
    assert widget.run.enabled


@pytest.mark.gui
def test_the_menu_command_opens_the_widget(viewer: Any, qtbot: Any) -> None:
    app = get_app_model()
    for menu in ("napari/layers/filter", "napari/plugins"):
        commands = [getattr(item, "command", None) for item in app.menus.get_menu(menu)]
        assert "napari-dcr.enhance" in [getattr(command, "id", None) for command in commands]
    widget, _ = app.commands.execute_command("napari-dcr.enhance").result()
    assert isinstance(widget, EnhanceWidget)
    ready(widget, qtbot)


@pytest.mark.gui
def test_an_empty_viewer_is_no_error(viewer: Any, widget: EnhanceWidget) -> None:
    assert widget.controls.image.value is None
    assert not widget.run.enabled
    assert widget.status.value == "open an image to begin"
    widget.start()
    assert not widget.running
    layer = viewer.add_image(np.zeros((20, 20), np.uint8))
    assert widget.run.enabled
    assert widget.status.value == ""
    viewer.layers.remove(layer)
    assert widget.status.value == "open an image to begin"


@pytest.mark.gui
def test_closing_the_viewer_in_the_middle_of_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(runner.AUTOMATIC_PIXELS, "fp32", 100_000)  # many tiles
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (1500, 1600, 3), np.uint8))
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    run = widget._run
    assert run is not None
    viewer.close()
    qtbot.waitUntil(lambda: not run.is_alive, timeout=60_000)


@pytest.mark.gui
@pytest.mark.parametrize("key", ["earth-at-night", "nuclei"])
def test_samples_open_and_are_dim(viewer: Any, key: str) -> None:
    layers = viewer.open_sample(NAME, key)
    assert len(layers) == 1
    assert np.asarray(layers[0].data).mean() < 40
    assert tuple(layers[0].contrast_limits) == (0, 255)


def test_manifest_is_valid_and_names_what_exists() -> None:
    manifest = PluginManifest.from_distribution(NAME)
    manifest.validate_imports()
    assert manifest.contributions.menus is not None
    in_filter_menu = [item.command for item in manifest.contributions.menus["napari/layers/filter"]]  # type: ignore[union-attr]
    assert in_filter_menu == [
        "napari-dcr.enhance", "napari-dcr.enhance_again", "napari-dcr.enhance_shallow",
    ]  # fmt: skip


@pytest.mark.gui
def test_everything_fits_a_narrow_dock_and_says_what_it_does(
    viewer: Any, widget: EnhanceWidget
) -> None:
    viewer.add_image(np.zeros((30, 40), np.uint16), name="a layer with a very long name " * 5)
    controls = widget.controls
    assert not controls.tile.native.isVisible()
    controls.more.native.click()
    assert controls.tile.native.isVisible()
    assert widget.native.minimumSizeHint().width() <= 350
    assert controls.native.minimumSizeHint().width() <= 350
    buttons = [widget.preview, widget.compare, widget.wipe, widget.run, widget.cancel]
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
    assert controls.shape.value == "3 t x 20 y x 30 x, 2 channels"
    controls.axes.value = "tzyx"
    assert controls.shape.value == "3 t x 2 z x 20 y x 30 x"
    assert controls.options(controls.image.value).axes == "tzyx"
    controls.axes.value = "tz"
    assert controls.shape.value.startswith("axes: got 'tz'")
    controls.depth.value = 0
    assert controls.stage.value.startswith("tone curve alone")
    assert not controls.detail.enabled
    controls.depth.value = 2
    assert "sub-U-Net 2" in controls.stage.value
    assert controls.detail.enabled
    assert "photographs" not in controls.use.value
    controls.model.value = "photo"
    assert "photographs" in controls.use.value
    assert controls.weights.native.isHidden()
    controls.input_range.value = "contrast limits"
    viewer.layers["cells"].contrast_limits = (3, 90)
    assert controls.options(controls.image.value).input_range == (3, 90)
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
def test_own_weights_and_corrected_axes_reach_the_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, lively_model: Path
) -> None:
    channels = np.random.default_rng(3).integers(0, 60, (2, 30, 40), np.uint8)
    viewer.add_image(channels)
    controls = widget.controls
    controls.model.value = "own file..."
    assert controls.weights.native.isVisible()
    controls.weights.value = lively_model
    controls.axes.value = "cyx"
    controls.precision.value = "fp32"
    widget.start()
    finish(widget, qtbot)
    expected = napari_dcr.enhance(
        channels, model=lively_model, axes="cyx", device="cpu", precision="fp32", depth=3
    )
    assert (viewer.layers[-1].data == expected).all()


@pytest.mark.gui
def test_a_slice_of_a_rotated_view(viewer: Any, widget: EnhanceWidget, qtbot: Any) -> None:
    stack = np.random.default_rng(2).integers(0, 500, (3, 40, 50), np.uint16)
    layer = viewer.add_image(stack, scale=(2, 0.5, 0.5))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 8)
    widget.controls.extent.value = "slice"
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    assert result.metadata["napari_dcr"]["region"] == [[0, 3], [16, 17], [0, 50]]
    whole = napari_dcr.enhance(stack, axes="zyx", device="cpu")
    assert np.abs(result.data.astype(int) - whole[:, 16:17]).max() <= 1
    assert np.allclose(result.data_to_world((0, 0, 0)), layer.data_to_world((0, 16, 0)))
    assert viewer.dims.order == (1, 0, 2)


@pytest.mark.gui
@pytest.mark.parametrize("extent", ["view", "slice"])
def test_a_part_lies_in_its_place_and_equals_the_whole(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, extent: str
) -> None:
    stack = np.random.default_rng(2).integers(0, 500, (3, 200, 240), np.uint16)
    layer = viewer.add_image(stack, scale=(2, 0.5, 0.5), translate=(1, 10, 20))
    viewer.dims.set_point(0, layer.data_to_world((1, 0, 0))[0])
    if extent == "view":
        viewer.scene.camera.zoom *= 4
    qtbot.wait(300)
    widget.controls.depth.value = 1
    widget.controls.extent.value = extent
    widget.start()
    finish(widget, qtbot)
    result = viewer.layers[-1]
    region = tuple(slice(*span) for span in result.metadata["napari_dcr"]["region"])
    whole = napari_dcr.enhance(stack, axes="zyx", depth=1, device="cpu")
    assert region[0] == slice(1, 2)
    if extent == "slice":
        assert region[1:] == (slice(0, 200), slice(0, 240))
    else:
        assert result.data.size < stack[0].size / 2
    assert np.abs(result.data.astype(int) - whole[region]).max() <= 1
    corner = [part.start for part in region]
    assert np.allclose(result.data_to_world((0, 0, 0)), layer.data_to_world(corner))
    assert viewer.dims.point[0] == layer.data_to_world((1, 0, 0))[0]


@pytest.mark.gui
def test_selected_layers_run_together_and_settings_repeat(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    layers = [viewer.add_image(dim_rgb[i:], name=f"street {i}") for i in range(3)]
    controls = widget.controls
    controls.image.value = layers[0]
    controls.depth.value = 1
    viewer.layers.selection = set(layers[:2])
    assert widget.run.text == "Run on 2 layers"
    widget.run.native.click()
    finish(widget, qtbot)
    names = [layer.name for layer in viewer.layers[3:]]
    assert names == ["street 0 [DCR depth 1]", "street 1 [DCR depth 1]"]
    controls.depth.value = 3
    widget._fill_menu()
    actions = {action.text(): action for action in widget._menu.actions()}
    assert {"street 0", "street 2", "all 2"} <= actions.keys()
    actions["street 2"].trigger()
    finish(widget, qtbot)
    repeated = viewer.layers[-1]
    assert repeated.name == "street 2 [DCR depth 1]"
    expected = napari_dcr.enhance(dim_rgb[2:], depth=1, device="cpu")
    assert (repeated.data == expected).all()


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
        formats.write(path, Picture(dim_rgb, "yxs"))
        with npe2pm.tmp_plugin(package="napari"):  # its readers
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


@pytest.mark.gui
@pytest.mark.parametrize(
    ("command", "depth"), [("napari-dcr.enhance_again", 3), ("napari-dcr.enhance_shallow", 1)]
)
def test_menu_commands_enhance(
    viewer: Any, qtbot: Any, dim_rgb: NDArray[np.uint8], command: str, depth: int
) -> None:
    viewer.add_image(dim_rgb, name="street")
    get_app_model().commands.execute_command(command).result()
    widget = open_widget(viewer)
    assert widget is open_widget(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=60_000)
    finish(widget, qtbot)
    ready(widget, qtbot)
    assert viewer.layers[-1].name == f"street [DCR depth {depth}]"


@pytest.mark.gui
def test_a_run_leaves_no_memory_taken(
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
def test_the_activity_dock_shows_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    viewer.add_image(dim_rgb)
    widget.start()
    assert "Low light DCR" in [bar.desc.rstrip(": ") for bar in progress._all_instances]
    finish(widget, qtbot)
    assert not list(progress._all_instances)
