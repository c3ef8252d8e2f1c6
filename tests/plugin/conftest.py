"""The plugin in a real window: manifest, viewer and docked widget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from npe2 import PluginManifest

from napari_dcr.engine import runner
from napari_dcr.plugin.widget import EnhanceWidget

NAME = "napari-dcr"


@pytest.fixture
def plugin(npe2pm: Any, plugin_settings: Any) -> Iterator[PluginManifest]:
    """The installed manifest as the only one in npe2's test plugin manager, with separate settings."""
    manifest = PluginManifest.from_distribution(NAME)
    with npe2pm.tmp_plugin(manifest=manifest):
        yield manifest


@pytest.fixture
def viewer(plugin: PluginManifest, make_napari_viewer: Callable[..., Any]) -> Any:
    """A viewer with this plugin only."""
    return make_napari_viewer(show=True)


@pytest.fixture
def widget(viewer: Any, qtbot: Any) -> EnhanceWidget:
    """The docked widget, after its choices have been found."""
    _, found = viewer.window.add_plugin_dock_widget(NAME, "Enhance")
    assert isinstance(found, EnhanceWidget)
    ready(found, qtbot)
    return found


@pytest.fixture
def slow_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small tiles that take long, so that what a test does comes before the last one."""
    for precision in runner.AUTOMATIC_PIXELS:  # whichever this processor takes for 8 bits
        monkeypatch.setitem(runner.AUTOMATIC_PIXELS, precision, 30_000)
    compute = runner.TileRunner._run_tiles

    def slowly(self: runner.TileRunner, *arguments: Any) -> Any:
        time.sleep(0.1)
        return compute(self, *arguments)

    monkeypatch.setattr(runner.TileRunner, "_run_tiles", slowly)


def ready(widget: EnhanceWidget, qtbot: Any) -> None:
    """Wait until PyTorch is loaded; then compute on the processor."""
    qtbot.waitUntil(lambda: len(widget.controls.device.choices) > 1, timeout=60_000)
    widget.controls.device.value = "cpu"


def finish(widget: EnhanceWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=120_000)
