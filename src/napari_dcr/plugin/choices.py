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
        import napari_dcr.engine.region_run  # noqa: F401 - would delay the first preview
        from napari_dcr.engine.devices import fast_precision, find_device, list_devices
        from napari_dcr.network import weights

        devices = {
            d.name: f"{d.name} - {d.label}, {d.free / 2**30:.1f} GiB free" for d in list_devices()
        }
        fast_precision(find_device("auto"))  # its test would delay the first preview
        return devices, weights.load("photo").network.stages
    except Exception as error:
        return Failure(error)
