"""Jobs for layers, from the values of the controls or from the last result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_dcr.options import Options
from napari_dcr.plugin.run import Job
from napari_dcr.plugin.shown import canvas_corners, shown_region

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_dcr.plugin.controls import Controls


def job(controls: Controls, viewer: Viewer, layer: Image, *, stages: bool) -> Job:
    """Job for a layer with the values of the controls.

    Parameters
    ----------
    controls : Controls
    viewer : Viewer
    layer : Image
    stages : bool
        Whether to return the outputs of all stages instead of the last one.

    Raises
    ------
    ValueError
        If the values are not allowed, or the layer is outside the chosen region.
    """
    options, region = controls.options(layer), None
    if not controls.running.whole:
        visible = controls.extent.value == "view"
        region = shown_region(layer, viewer.dims, visible=visible, view=canvas_corners(viewer))
        if region is None:
            raise ValueError("The image is not in view; choose the region 'all'.")
    folder = None if stages else controls.advanced.chosen_folder
    guessed = controls.layer.axes_of(layer).guessed
    return Job(layer, options, region, stages, folder, guessed)


def repeated(controls: Controls, record: dict[str, Any], layers: Sequence[Image]) -> list[Job]:
    """Jobs that enhance other layers with the options of a result's record."""
    last, folder = Options(**record["options"]), controls.advanced.chosen_folder
    axes = [controls.layer.axes_of(layer) for layer in layers]
    return [
        Job(layer, replace(last, axes=own.letters), folder=folder, guessed_axes=own.guessed)
        for layer, own in zip(layers, axes, strict=True)
    ]
