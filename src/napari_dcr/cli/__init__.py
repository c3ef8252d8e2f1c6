"""``napari-dcr``: enhance image files from a shell."""

from napari_dcr.cli.command import main

__all__ = ["main"]
