"""Given noise models are used by every interface and recorded; wrong ones give a warning."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr import InputWarning, NoiseModel, Options
from napari_dcr.cli import main
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import run_to_completion
from napari_dcr.io.opening import open_image

TRUE = NoiseModel.of_camera(2.0, 100.0, 1.5)
FAST: dict[str, Any] = {"depth": 1, "device": "cpu"}


def recording(seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    light = 3 + 40 * np.outer(np.sin(np.linspace(0, 3, 160)), np.linspace(0, 1, 144))
    values = 100 + 2 * (rng.poisson(light) + 1.5 * rng.standard_normal(light.shape))
    return np.rint(values).clip(0).astype(np.uint16)


@given(below=st.floats(0, 100), exposure=st.sampled_from([0.0, 1.0]))
@settings(max_examples=6, deadline=None)
def test_the_same_noise_described_from_any_level_gives_the_same_result(
    below: float, exposure: float
) -> None:
    image = recording()
    options: dict[str, Any] = {**FAST, "model": "microscopy", "output": "float32"}
    whole = NoiseModel(2.0, 100.0, 209.0)
    other = NoiseModel(2.0, 100.0 - below, 209.0 - 2 * below)
    one, same = (
        napari_dcr.enhance(image, **options, noise=noise, exposure=exposure)
        for noise in (whole, other)
    )
    # The gain of an exposure begins at the given offset.
    expected = one + (2**exposure - 1) * below
    np.testing.assert_allclose(same, expected, rtol=1e-4, atol=0.02)


def test_given_noise_is_used_everywhere_and_recorded(lively_counts: Path, tmp_path: Path) -> None:
    image = recording()
    options = Options(model=lively_counts, noise=TRUE, **FAST)
    done = run_to_completion(napari_dcr.enhance_steps(image, options))
    found = done.record["noise"][0]
    assert (found["gain"], found["offset"], found["dark"]) == (2.0, 100.0, 9.0)
    assert found["is_given"]
    assert done.record["options"]["noise"] == {"gain": 2.0, "offset": 100.0, "dark": 9.0}
    # The record can be given again, as the widget's script does.
    again = napari_dcr.enhance(
        image, model=lively_counts, noise=done.record["options"]["noise"], **FAST
    )
    np.testing.assert_array_equal(again, done.image)
    assert (done.image != napari_dcr.enhance(image, model=lively_counts, **FAST)).any()

    lazily = napari_dcr.enhance(da.from_array(image), model=lively_counts, noise=TRUE, **FAST)
    np.testing.assert_array_equal(np.asarray(lazily), done.image)
    region = slice(30, 90), slice(20, 120)
    part = run_to_completion(RegionEnhancer(open_image(image)).steps(options, region)).image  # type: ignore[arg-type]
    np.testing.assert_array_equal(part, done.image[region])
    tifffile.imwrite(tmp_path / "in.tif", image)
    command = ["enhance", str(tmp_path / "in.tif"), "-o", str(tmp_path / "out.tif"), "-q"]
    command += ["--model", str(lively_counts), "--depth", "1", "--device", "cpu"]
    assert main([*command, "--noise", "2,100,1.5"]) == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), done.image)


@pytest.mark.parametrize("unit", [1.0, 1e-3])
@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_a_wrong_noise_model_gives_a_warning_and_the_right_one_does_not(
    lively_counts: Path, gain: float, unit: float
) -> None:
    image = recording() if unit == 1 else recording().astype(np.float32) * np.float32(unit)
    right = NoiseModel(2 * unit, 100 * unit, 9 * unit**2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        napari_dcr.enhance(image, model=lively_counts, noise=right, **FAST)
    wrong = dataclasses.replace(right, gain=gain * right.gain, dark=gain * right.dark)
    with pytest.warns(InputWarning, match="noise: the image's residual has a standard deviation"):
        _, report = napari_dcr.enhance(
            image, model=lively_counts, noise=wrong, return_report=True, **FAST
        )
    (text,) = (text for text in report.warnings if text.startswith("noise: "))
    times = re.search(r"\(([\d.]+) times as much\)", text)
    assert times is not None
    assert float(times[1]) == pytest.approx(gain**-0.5, rel=0.15)


def test_impossible_noise_models_raise_an_error(lively_model: Path, lively_counts: Path) -> None:
    image = recording()
    with pytest.raises(ValueError, match="noise: got .* with the model"):
        napari_dcr.enhance(image, model=lively_model, noise=TRUE)
    for value in (NoiseModel(-1, 0, 1), NoiseModel(0, 0, 0), NoiseModel(1, np.nan, 1)):
        with pytest.raises(ValueError, match="noise: got gain"):
            napari_dcr.enhance(image, model=lively_counts, noise=value)
    for wrong in (2.0, "2,100,1", {"gain": 1.0}):
        with pytest.raises(TypeError, match="noise: got"):
            napari_dcr.enhance(image, model=lively_counts, noise=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="GAIN,OFFSET,READ"):
        NoiseModel.parse("2,100")
    with pytest.raises(SystemExit):
        main(["enhance", "x.tif", "-o", "y.tif", "--noise", "2"])


@pytest.mark.parametrize(
    "text",
    ["2,100,-1", "2,100,nan", "2,inf,1", "nan,1,1", "0,100,2", "-1,100,2", "1e200,0,1e200"],
)
def test_impossible_figures_of_a_camera_raise_an_error(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed = "a gain above 0 and a read noise from 0"
    with pytest.raises(ValueError, match=f"^noise: got gain .*{allowed}"):
        NoiseModel.parse(text)
    with pytest.raises(ValueError, match=f"^noise: got gain .*{allowed}"):
        NoiseModel.of_camera(*map(float, text.split(",")))
    with pytest.raises(SystemExit):
        main(["enhance", "x.tif", "-o", "y.tif", f"--noise={text}"])
    assert f"--noise: got gain {float(text.split(',')[0])}" in capsys.readouterr().err


def test_correlation_is_still_found(lively_counts: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((256, 256))
    for axis in (0, 1):
        noise = (np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)) / 6**0.5
    image = (500 + 20 * noise).astype(np.float32)
    options = Options(model=lively_counts, noise=NoiseModel(0, 0, 400.0), **FAST)
    found = run_to_completion(napari_dcr.enhance_steps(image, options)).record["noise"][0]
    assert found["binning"] == [3, 3]
