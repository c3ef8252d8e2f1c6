"""Choices of the controls that can only be offered once PyTorch has been imported."""

from __future__ import annotations

from collections.abc import Generator

from napari_dcr.plugin.background import Failure

Choices = tuple[dict[str, str], int]
"""Devices with their descriptions, and the largest depth; see `Controls.offer`."""


def find_choices() -> Generator[None, None, Choices | Failure]:
    """Find the choices; runs in a thread, because importing PyTorch takes seconds."""
    yield
    try:
        from napari_dcr.engine.devices import list_devices
        from napari_dcr.network import weights

        devices = {
            d.name: f"{d.name} - {d.label}, {d.free / 2**30:.1f} GiB free" for d in list_devices()
        }
        return devices, weights.load("photo").network.stages
    except Exception as error:
        return Failure(error)
