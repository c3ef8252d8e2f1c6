"""Sample data: two real dim images, whose licences allow redistribution (see NOTICE), and a synthetic one."""

from __future__ import annotations

from importlib import resources
from typing import Any

from napari_dcr.io import opening

LayerData = tuple[Any, dict[str, Any], str]


def _sample(name: str, layer_name: str) -> list[LayerData]:
    with resources.as_file(resources.files("napari_dcr.plugin") / "sample_data" / name) as path:
        picture = opening.read(path)
    # Fixed contrast limits show how dim the image is; automatic limits would hide that.
    arguments: dict[str, Any] = {"name": layer_name, "rgb": picture.axes.endswith("s")}
    if not arguments["rgb"]:
        arguments["contrast_limits"] = (0, 255)
    return [(picture.pixels, arguments, "image")]


def earth_at_night() -> list[LayerData]:
    """Cities at night from orbit (NASA, public domain)."""
    return _sample("earth-at-night.jpg", "Earth at night")


def nuclei() -> list[LayerData]:
    """Dim fluorescent nuclei (Data Science Bowl 2018, CC0)."""
    return _sample("nuclei.png", "Nuclei")


def cells() -> list[LayerData]:
    """A synthetic 16-bit stack of two channels, with axis labels, a scale and a known camera."""
    from napari_dcr.plugin import synthetic_cells

    arguments = {
        "name": "Cells",
        "axis_labels": ("c", "z", "y", "x"),
        "scale": (1.0, *synthetic_cells.SCALE),
        "units": ("pixel", "um", "um", "um"),
        "contrast_limits": (synthetic_cells.OFFSET, 260),
    }
    return [(synthetic_cells.recording(), arguments, "image")]
