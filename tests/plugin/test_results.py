"""Tests of results in a viewer: their description in the status line, and the record that is shown."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_dcr.plugin.helper_layers import HelperLayers
from napari_dcr.plugin.layers import RECORD
from napari_dcr.plugin.results import Results


def result(name: str = "result", lazy: bool = False, **record: Any) -> Image:
    pixels = np.zeros((8, 9), np.uint8)
    return Image(da.asarray(pixels) if lazy else pixels, name=name, metadata={RECORD: record})


@pytest.fixture
def results(qapp: Any) -> Results:
    viewer = ViewerModel()
    return Results(viewer, HelperLayers(viewer))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({}, "Done in 2.5 s."),
        ({"lazy": True}, "Ready: frames are computed as you look at them."),
        ({"path": "/data/out/cells DCR.ome.zarr"}, "Saved to cells DCR.ome.zarr (2.5 s)."),
        (
            {"stages": ["tone curve"], "depth": 3},
            "Done in 2.5 s; use the 'stage' slider to compare depths 0 to 3.",
        ),
        (
            {"noise": [{}], "region": [[0, 1], [0, 8], [0, 9]]},
            "Done in 2.5 s. Choose the region 'all' for a verdict on noise and intensities.",
        ),
        ({"denoise_first": [[]]}, "Done in 2.5 s. White noise was removed first."),
    ],
)
def test_every_kind_of_result_is_described(
    results: Results, record: dict[str, Any], text: str
) -> None:
    assert results.describe(result(**record), "2.5 s") == text


def test_hidden_layers_are_named(results: Results) -> None:
    layer = result()
    results._side_layers[layer] = [result(quantity=q) for q in ("residual", "uncertainty")]
    text = results.describe(layer, "1.0 s")
    assert text.endswith("Residual and uncertainty: in the layer list, hidden.")


def test_the_record_of_a_selected_result_comes_before_the_newest(results: Results) -> None:
    source = Image(np.zeros((8, 9), np.uint8))
    first, second = result(number=1), result(number=2)
    results._viewer.layers.extend([source, first, second])
    results.pairs += [(source, first), (source, second)]
    assert results.record_to_show([source, source], source) == {"number": 2}
    assert results.record_to_show([first, source], source) == {"number": 1}
    assert results.record_to_show([None], None) is None
    assert results.newest(first) == (source, first)
    results._viewer.layers.remove(second)
    results.forget_removed()
    assert results.record_to_show([source, source], source) == {"number": 1}
