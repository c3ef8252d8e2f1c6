"""The plugin in a real window: manifest, viewer and docked widget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from npe2 import PluginManifest

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


def ready(widget: EnhanceWidget, qtbot: Any) -> None:
    """Wait until PyTorch is loaded; then compute on the processor."""
    qtbot.waitUntil(lambda: len(widget.controls.device.choices) > 1, timeout=60_000)
    widget.controls.device.value = "cpu"


def finish(widget: EnhanceWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=120_000)
