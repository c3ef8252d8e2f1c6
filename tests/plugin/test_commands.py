"""The manifest, and the commands of the menus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from npe2 import PluginManifest
from numpy.typing import NDArray

from napari_dcr.plugin.commands import open_widget
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import NAME, finish, ready


@pytest.mark.gui
def test_the_menu_command_opens_the_widget(viewer: Any, qtbot: Any) -> None:
    app = get_app_model()
    for menu in ("napari/layers/filter", "napari/plugins"):
        commands = [getattr(item, "command", None) for item in app.menus.get_menu(menu)]
        assert "napari-dcr.enhance" in [getattr(command, "id", None) for command in commands]
    widget, _ = app.commands.execute_command("napari-dcr.enhance").result()
    assert isinstance(widget, EnhanceWidget)
    ready(widget, qtbot)


def test_manifest_is_valid_and_names_what_exists() -> None:
    manifest = PluginManifest.from_distribution(NAME)
    manifest.validate_imports()
    assert manifest.contributions.menus is not None
    in_filter_menu = [item.command for item in manifest.contributions.menus["napari/layers/filter"]]  # type: ignore[union-attr]
    assert in_filter_menu == [
        "napari-dcr.enhance", "napari-dcr.enhance_again", "napari-dcr.enhance_shallow",
    ]  # fmt: skip


def test_the_palette_answers_to_what_users_search_for() -> None:
    commands = PluginManifest.from_distribution(NAME).contributions.commands or []
    titles = [command.title.lower() for command in commands]
    for word in ("denoise", "brighten", "low light", "low-light"):
        assert any(word in title for title in titles), word


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
    assert viewer.layers[-1].name == f"street [photo, depth {depth}]"
