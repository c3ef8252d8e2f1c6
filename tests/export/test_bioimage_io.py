"""Packages are valid bioimage.io models, and their test results are those of `enhance`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_dcr
from napari_dcr.export.bioimage_io import CAMERA, package
from napari_dcr.export.onnx_files import session
from napari_dcr.network import weights
from napari_dcr.network.cascade import CascadeConfig
from tests.export.test_onnx_files import SMALL, small


@pytest.mark.slow
@pytest.mark.parametrize("base", ["curve", "counts"])
def test_it_is_valid_and_its_test_result_is_that_of_enhance(base: Any, tmp_path: Path) -> None:
    from bioimageio import spec

    config = CascadeConfig(channels=1 if base == "counts" else 3, base=base, **SMALL)
    path = small(tmp_path, "mine", config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = package(weights.load(path), tmp_path / "mine.zip")
        description = spec.load_model_description(tmp_path / "mine.zip")
    assert exported.deviations["enhanced"] < 1e-5
    assert description.validation_summary.status == "valid-format"
    assert description.weights.onnx.opset_version == 18
    image, found = (
        np.load(tensor.test_tensor.get_reader())[0]
        for tensor in (description.inputs[0], description.outputs[0])
    )
    again = _run(description, tmp_path)
    assert np.abs(again - found).max() < 1e-5 * np.ptp(found)
    if base == "counts":
        expected = napari_dcr.enhance(
            image[0], model=path, noise=napari_dcr.NoiseModel.of_camera(*CAMERA), defects="off",
            output="float32", device="cpu", precision="fp32",
        )  # fmt: skip
        assert np.abs(found[0] - expected).max() < 1e-5 * np.ptp(expected)
        assert (found[1] > 0).all()
    else:
        expected = napari_dcr.enhance(
            image.transpose(1, 2, 0), model=path, device="cpu", precision="fp32"
        )
        assert np.abs(found.transpose(1, 2, 0) - expected).max() < 0.51  # is rounded there


def _run(description: Any, folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Result of the package as its description states it: steps before, network, steps after."""

    def processed(array: Any, steps: list[Any]) -> Any:
        for step in steps:
            if step.id == "ensure_dtype":
                array = array.astype(step.kwargs.dtype)
            else:
                assert step.id == "scale_linear"
                array = array * step.kwargs.gain + step.kwargs.offset
        return array

    network = folder / "network.onnx"
    network.write_bytes(description.weights.onnx.get_reader().read())
    inputs = {
        str(tensor.id): processed(np.load(tensor.test_tensor.get_reader()), tensor.preprocessing)
        for tensor in description.inputs
    }
    (output,) = description.outputs
    return processed(session(network)(inputs)[str(output.id)], output.postprocessing)[0]
