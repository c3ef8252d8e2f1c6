"""Residual, uncertainty and report of a result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import napari_dcr
from napari_dcr.engine import assessment, doubts
from napari_dcr.image.noise_model import NoiseModel
from tests.engine.conftest import recording


def test_residual_and_uncertainty_have_the_images_shape(lively_counts: Path) -> None:
    image = np.stack([recording(i) for i in range(4)]).reshape(2, 2, 160, 160)
    out, report, residual, uncertainty = napari_dcr.enhance(
        image, model=lively_counts, axes="tcyx", return_report=True, return_residual=True,
        return_uncertainty=True,
    )  # fmt: skip
    assert out.shape == residual.shape == uncertainty.shape == image.shape
    assert len(report) == 2
    np.testing.assert_array_equal(residual, image.astype(np.float32) - out)
    assert (uncertainty > 0).all()
    plain = napari_dcr.enhance(image, model=lively_counts, axes="tcyx")
    np.testing.assert_array_equal(out, plain)


@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
@pytest.mark.parametrize(("side", "strip"), [(280, 24), (900, 60)])
def test_a_scene_between_the_sampled_windows_is_assessed(
    side: int, strip: int, lively_counts: Path
) -> None:
    image = np.zeros((side, side), np.uint16)
    image[-strip:] = np.tile(recording(), (1, 6))[:strip, :side]
    _, report = napari_dcr.enhance(image, model=lively_counts, return_report=True)
    assert report.noise_before > 1
    assert abs(report.slope - 1) < 0.2


@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
def test_a_scene_that_no_window_holds_is_not_assessed(
    monkeypatch: pytest.MonkeyPatch, lively_counts: Path
) -> None:
    monkeypatch.setattr(assessment, "TRIED", 1)
    image = np.zeros((600, 600), np.uint16)
    image[-40:, -200:] = np.tile(recording(), (1, 2))[:40, :200]
    _, report = napari_dcr.enhance(image, model=lively_counts, return_report=True)
    assert np.isnan(report.slope)
    assert any("not compared" in note for note in report.warnings)


@pytest.mark.parametrize("name", ["return_report", "return_residual", "return_uncertainty"])
def test_results_that_cannot_be_returned_raise_an_error(
    name: str, lively_model: Path, lively_counts: Path, tmp_path: Path
) -> None:
    image = recording()
    with pytest.raises(ValueError, match=f"{name}: got True with the model"):
        napari_dcr.enhance(image, model=lively_model, **{name: True})
    with pytest.raises(ValueError, match=f"{name}: got True"):
        napari_dcr.enhance(image, model=lively_counts, out=tmp_path / "x.tif", **{name: True})
    with pytest.raises(TypeError, match=f"{name}: got 1"):
        napari_dcr.enhance(image, model=lively_counts, **{name: 1})


@pytest.mark.parametrize(("gain", "is_noisy"), [(10.9, True), (0.0, False)])
def test_noise_of_the_lit_part_counts_where_most_of_the_image_is_empty(
    gain: float, is_noisy: bool
) -> None:
    """As in a deconvolved recording: half of the blocks are 0, without noise."""
    means = np.repeat([0.0, 5.0, 1300.0], [60, 20, 20])
    survey: Any = SimpleNamespace(noise={"mean": means})
    noise: Any = SimpleNamespace(model=NoiseModel(gain, offset=0.9, dark=1 / 12))
    assert doubts._is_noisy(survey, noise, np.dtype(np.uint16)) == is_noisy
