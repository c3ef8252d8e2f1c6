"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-dcr")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"
