"""Tests of the options: defaults, and values that raise an error."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import napari_dcr
from napari_dcr.options import check_defects


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": np.zeros((9, 9), bool)}, TypeError, "image: got dtype bool; allowed are uint8"),
        (
            {"image": np.zeros((9, 9), np.int8)},
            TypeError,
            "image: got dtype int8;.*astype..float32",
        ),
        ({"image": np.zeros((9, 9), complex)}, TypeError, "image: got dtype complex128"),
        ({"image": [["a"]]}, TypeError, "image: got list"),
        (
            {"model": "foto"},
            ValueError,
            "model: got 'foto'; allowed are 'auto', 'microscopy', 'photo'",
        ),
        ({"model": 3}, TypeError, "model: got 3"),
        ({"depth": 4}, ValueError, "depth: got 4; the model 'microscopy' allows 0 to 3"),
        ({"depth": -1}, ValueError, "depth: got -1"),
        ({"depth": 1.5}, ValueError, "depth: got 1.5"),
        ({"detail": 1}, TypeError, "detail: got 1"),
        ({"strength": 1.1}, ValueError, "strength: got 1.1; allowed are numbers from 0 to 1"),
        ({"strength": "1"}, TypeError, "strength: got '1'"),
        ({"exposure": float("nan")}, ValueError, "exposure: got nan"),
        ({"defects": "on"}, ValueError, "defects: got 'on'; allowed are 'auto', 'off', Defects"),
        ({"defects": 3}, TypeError, "defects: got 3"),
        ({"denoise": -0.1}, ValueError, "denoise: got -0.1; allowed are numbers from 0 to 1"),
        ({"denoise": None}, TypeError, "denoise: got None"),
        ({"denoise_colour": 2}, ValueError, "denoise_colour: got 2; allowed are None and numbers"),
        ({"denoise_colour": "all"}, TypeError, "denoise_colour: got 'all'"),
        ({"saturation": 2.1}, ValueError, "saturation: got 2.1; allowed are numbers from 0 to 2"),
        ({"input_range": (5, 5)}, ValueError, "input_range: got .5, 5."),
        ({"input_range": "full"}, ValueError, "input_range: got 'full'"),
        ({"output": "int8"}, ValueError, "output: got 'int8'"),
        ({"tile": 32}, ValueError, "tile: got 32; allowed are 'auto' and integers from 64"),
        ({"device": "tpu"}, ValueError, "device: got 'tpu'; allowed here are 'auto', .*'cpu'"),
        ({"precision": "int8"}, ValueError, "precision: got 'int8'"),
        ({"axes": "zz"}, ValueError, "axes: got 'zz'"),
        ({"nodata": 10**400}, ValueError, "nodata: got an integer beyond the range of float64"),
        ({"exposure": 10**400}, ValueError, "exposure: got 1000"),
        ({"input_range": (0, 10**400)}, ValueError, "input_range: got .0, 1000"),
    ],
)
def test_an_error_names_the_argument_that_is_not_allowed(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        napari_dcr.enhance(**{"image": np.zeros((9, 9), np.uint8), **arguments})


def test_enhance_has_the_defaults_of_options() -> None:
    signature = inspect.signature(napari_dcr.enhance).parameters
    for name, field in napari_dcr.Options.__dataclass_fields__.items():
        assert signature[name].default == field.default


@pytest.mark.parametrize("value", ["on", 3, None, True, "camera.npy", np.zeros(3)])
def test_other_values_of_the_option_defects_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="defects: got .*'auto', 'off'"):
        check_defects(value)
