"""Open the pixels of a layer as an image, and choose its model by the kind of its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_dcr.engine.model_choice import ModelChoice, choose_model, is_picture
from napari_dcr.plugin.layers import FILE

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image

    from napari_dcr.engine.sources import Opened


def choice_for(layer: Image, model: str | Path, axes: str) -> ModelChoice:
    """Choose the model for a layer, given the value of the option ``model``.

    Parameters
    ----------
    layer : Image
    model : str or Path
    axes : str
        One letter per axis of the layer's array.
    """
    return choose_model(
        model, in_colour="s" in axes.lower(), is_picture=_shows_picture(layer),
        is_measured=_is_measured(layer),
    )  # fmt: skip


def open_layer(layer: Image, pixels: Any) -> Opened:
    """Open the pixels of a layer.

    Parameters
    ----------
    layer : Image
    pixels : array
        One level of the layer, see `napari_dcr.plugin.pixels`.
    """
    from napari_dcr.io.opening import open_image

    return replace(
        open_image(pixels), is_picture=_shows_picture(layer), measured=_is_measured(layer)
    )


def _shows_picture(layer: Image) -> bool:
    """Whether a layer was read from a picture or a video."""
    file = layer.metadata.get(FILE)
    if file is not None:
        return all(map(is_picture, file["paths"]))
    return layer.source.path is not None and is_picture(layer.source.path)


def _is_measured(layer: Image) -> bool:
    """Whether a layer was read from a file that holds measurements."""
    return bool(layer.metadata.get(FILE, {}).get("measured"))
