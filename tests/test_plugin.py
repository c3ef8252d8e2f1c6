"""The plugin in a real window."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.layers import Image
from npe2 import PluginManifest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.enhancement import drain
from napari_dcr.plugin.layers import layer_axes, result_layer
from napari_dcr.plugin.widget import EnhanceWidget

NAME = "napari-dcr"


@pytest.fixture
def plugin(npe2pm: Any) -> Iterator[PluginManifest]:
    """The installed manifest, alone in npe2's test plugin manager."""
    manifest = PluginManifest.from_distribution(NAME)
    with npe2pm.tmp_plugin(manifest=manifest):
        yield manifest


@pytest.fixture
def viewer(plugin: PluginManifest, make_napari_viewer: Callable[..., Any]) -> Any:
    """A viewer with the plugin known, whatever else is installed."""
    return make_napari_viewer()


@pytest.fixture
def widget(viewer: Any, qtbot: Any) -> EnhanceWidget:
    """The widget docked, its choices found."""
    _, found = viewer.window.add_plugin_dock_widget(NAME, "Enhance a low-light image")
    assert isinstance(found, EnhanceWidget)
    qtbot.waitUntil(lambda: "photo" in found.model.choices, timeout=60_000)
    found.device.value = "cpu"
    return found


def finish(widget: EnhanceWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=120_000)


@pytest.mark.gui
def test_every_control_reaches_the_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, dim_rgb: NDArray[np.uint8]
) -> None:
    layer = viewer.add_image(dim_rgb, name="street", rgb=True)
    assert widget.image.value is layer
    widget.model.value = "photo"
    widget.depth.value = 1
    widget.detail.value = False
    widget.strength.value = 0.5
    widget.exposure.value = -0.5
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
        dim_rgb, model="photo", depth=1, detail=False, strength=0.5, exposure=-0.5, device="cpu"
    )
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
def test_work_is_off_the_gui_thread(
    viewer: Any,
    widget: EnhanceWidget,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    dim_rgb: NDArray[np.uint8],
) -> None:
    threads: list[threading.Thread] = []
    from napari_dcr.engine.runner import TileRunner

    run_tiles = TileRunner._run_tiles

    def watched(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return run_tiles(*arguments)

    monkeypatch.setattr(TileRunner, "_run_tiles", watched)
    viewer.add_image(dim_rgb)
    widget.start()
    finish(widget, qtbot)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.gui
def test_cancel_keeps_nothing_and_run_works_again(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_dcr.engine.runner.AUTOMATIC_BYTES", 50_000_000)  # many tiles
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (1500, 1600, 3), np.uint8))
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    widget.cancel.native.click()
    assert widget.status.value == "cancelling"
    finish(widget, qtbot)
    assert widget.status.value == "cancelled"
    assert len(viewer.layers) == 1
    widget.depth.value = 0
    widget.start()
    finish(widget, qtbot)
    assert len(viewer.layers) == 2


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
    qtbot.waitUntil(lambda: "photo" in widget.model.choices, timeout=60_000)


@pytest.mark.gui
def test_an_empty_viewer_is_no_error(viewer: Any, widget: EnhanceWidget) -> None:
    assert widget.image.value is None
    assert not widget.run.enabled
    assert widget.status.value == "open an image to begin"
    widget.start()
    assert not widget.running
    viewer.add_image(np.zeros((20, 20), np.uint8))
    assert widget.run.enabled


@pytest.mark.gui
def test_closing_the_viewer_in_the_middle_of_a_run(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_dcr.engine.runner.AUTOMATIC_BYTES", 50_000_000)  # many tiles
    viewer.add_image(np.random.default_rng(0).integers(0, 40, (1500, 1600, 3), np.uint8))
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value > 0, timeout=60_000)
    worker = widget._worker
    viewer.close()
    worker.quit()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=60_000)


def layer_kinds() -> dict[str, Image]:
    """Layers of every kind, none of whose settings is a default."""
    rng = np.random.default_rng(1)

    def dim(*shape: int) -> NDArray[np.uint8]:
        return rng.integers(0, 50, shape, np.uint8)

    def spatial(ndim: int) -> dict[str, Any]:
        return {
            "scale": tuple(range(2, 2 + ndim)),
            "translate": tuple(range(5, 5 + ndim)),
            "rotate": 30 if ndim == 2 else np.eye(ndim),
            "shear": [0.1] * (ndim * (ndim - 1) // 2),
            "affine": np.diag([*range(3, 3 + ndim), 1.0]),
            "units": ("um",) * ndim,
            "axis_labels": ("t", "z", "y", "x")[-ndim:],
            "blending": "additive",
            "opacity": 0.7,
            "gamma": 0.8,
        }

    return {
        "grey": Image(dim(40, 50), colormap="magma", **spatial(2)),
        "stack": Image(dim(3, 40, 50), colormap="green", **spatial(3)),
        "time and z": Image(dim(2, 3, 40, 50).astype(np.uint16) * 9, colormap="red", **spatial(4)),
        "float": Image(dim(40, 50) / 900, colormap="cyan", **spatial(2)),
        "colour": Image(dim(40, 50, 3), rgb=True, **spatial(2)),
        "colour stack": Image(dim(3, 40, 50, 3), rgb=True, **spatial(3)),
        "alpha": Image(dim(40, 50, 4), rgb=True, **spatial(2)),
        "multiscale": Image([dim(64, 64), dim(32, 32)], multiscale=True, **spatial(2)),
    }


@pytest.mark.parametrize("kind", layer_kinds())
def test_results_keep_where_and_how_their_source_is_shown(kind: str) -> None:
    layer = layer_kinds()[kind]
    pixels = layer.data[0] if layer.multiscale else layer.data
    steps = napari_dcr.enhance_steps(
        np.asarray(pixels), napari_dcr.Options(depth=0, axes=layer_axes(layer), device="cpu")
    )
    data, arguments, layer_type = result_layer(layer, drain(steps))
    result = Image(data, **arguments)
    assert layer_type == "image"
    assert result.data.shape == pixels.shape
    assert result.data.dtype == pixels.dtype
    for name in ("scale", "translate", "shear", "rotate"):
        assert np.allclose(getattr(result, name), getattr(layer, name)), name
    assert np.allclose(result.affine.affine_matrix, layer.affine.affine_matrix)
    for name in ("units", "axis_labels", "blending", "opacity", "gamma", "rgb"):
        assert getattr(result, name) == getattr(layer, name), name
    if not layer.rgb:
        assert result.colormap.name == layer.colormap.name
        black, white = result.contrast_limits
        assert black < np.median(data) < white
    assert result.metadata["napari_dcr"]["options"]["depth"] == 0
    assert layer.metadata == {}


def test_axis_letters_come_from_the_labels_where_they_are_letters() -> None:
    stack = np.zeros((2, 3, 8, 8), np.uint8)
    assert layer_axes(Image(stack, axis_labels=("T", "z", "y", "x"))) == "tzyx"
    assert layer_axes(Image(stack)) == "tzyx"
    assert layer_axes(Image(stack, axis_labels=("time", "z", "y", "x"))) == "tzyx"
    assert layer_axes(Image(np.zeros((8, 8, 3), np.uint8), rgb=True)) == "yxs"
    assert layer_axes(Image(np.zeros((2, 8, 8, 4), np.uint8), rgb=True)) == "zyxs"


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
    assert in_filter_menu == ["napari-dcr.enhance"]
