"""Commands of the menus and the command palette."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari import current_viewer
from napari.utils.notifications import show_info

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_dcr.plugin.widget import EnhanceWidget

PLUGIN = "napari-dcr"
TITLE = "Enhance"


def open_widget(viewer: Viewer) -> EnhanceWidget:
    """Return the widget of a viewer, and dock it if necessary."""
    from napari_dcr.plugin.widget import EnhanceWidget

    widget = EnhanceWidget.of(viewer)
    dock = None if widget is None else widget.dock_keeper.dock
    if widget is None or dock is None:
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
    dock.show()
    dock.raise_()
    return widget


def open_command() -> None:
    """Show the widget, ready to brighten or denoise a dim image."""
    viewer = current_viewer()
    if viewer is not None:
        open_widget(viewer)


def run() -> None:
    """Run with the widget's settings."""
    viewer = current_viewer()
    if viewer is not None:
        open_widget(viewer).ask_and_start()


def cancel() -> None:
    """Cancel the widget's run."""
    widget = _existing()
    if widget is not None:
        widget.stop()


def enhance_files() -> None:
    """Show the window that enhances files and folders."""
    viewer = current_viewer()
    if viewer is not None:
        open_widget(viewer).show_files()


def compare() -> None:
    """Show or hide the comparison of before and after."""
    widget = _existing()
    if widget is not None and widget.compare.enabled:
        widget.compare.value = not widget.compare.value


def _existing() -> EnhanceWidget | None:
    from napari_dcr.plugin.widget import EnhanceWidget

    viewer = current_viewer()
    return None if viewer is None else EnhanceWidget.of(viewer)


def enhance_again() -> None:
    """Enhance the selected layers with the widget's settings, which are those of the last time."""
    _enhance(None)


def enhance_shallow() -> None:
    """Enhance the selected layers at depth 1."""
    _enhance(1)


def _enhance(depth: int | None) -> None:
    viewer = current_viewer()
    if viewer is None:
        return
    widget = open_widget(viewer)
    active = viewer.layers.selection.active
    if active in widget.controls.image.choices:
        widget.controls.image.value = active
    if widget.controls.image.value is None:
        show_info("napari-dcr: open an image to enhance")
        return
    if depth is not None:
        widget.controls.depth.value = depth
    widget.start()
