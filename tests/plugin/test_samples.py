"""Sample data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_dcr
from napari_dcr.plugin.report import verdict
from napari_dcr.plugin.synthetic_cells import GAIN, OFFSET, photons, recording
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import NAME


@pytest.mark.gui
@pytest.mark.parametrize("key", ["earth-at-night", "nuclei"])
def test_samples_open_and_are_dim(viewer: Any, key: str) -> None:
    layers = viewer.open_sample(NAME, key)
    assert len(layers) == 1
    assert np.asarray(layers[0].data).mean() < 40
    assert tuple(layers[0].contrast_limits) == (0, 255)


@pytest.mark.gui
def test_the_synthetic_sample_is_a_labelled_calibrated_recording(
    viewer: Any, widget: EnhanceWidget
) -> None:
    (layer,) = viewer.open_sample(NAME, "cells")
    assert layer.data.dtype == np.uint16
    assert tuple(layer.axis_labels) == ("c", "z", "y", "x")
    assert [str(unit) for unit in layer.units] == ["pixel", *["micrometer"] * 3]
    assert widget.controls.axes.value == "czyx"
    assert widget.controls.shape.value == "2 channels, 9 planes, 384 x 384 pixels"


@pytest.mark.slow
@pytest.mark.parametrize("output", ["same", "float32"])
def test_microscopy_restores_the_synthetic_sample(output: str) -> None:
    recorded, expected = recording()[:, 3:6], photons()[:, 3:6]
    restored, reports = napari_dcr.enhance(
        recorded, model="microscopy", axes="czyx", output=output, return_report=True
    )
    truth = OFFSET + GAIN * expected
    for channel, report in enumerate(reports):
        before, after = (
            np.sqrt(((image[channel] - truth[channel]) ** 2).mean())
            for image in (recorded, restored)
        )
        assert after < before / 4
        assert report.warnings == ()
        assert "Intensities kept, noise removed." in verdict(channel, report.to_dict(), 2)
