"""Reports on the intensities of results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.quality import Report, assess
from napari_dcr.training.forward.structures import synthetic_scene


def test_a_report_detects_changed_intensities() -> None:
    rng = np.random.default_rng(2)
    truth = 200 * synthetic_scene(256, rng).astype(np.float64) + 20
    noise = NoiseModel(0, 0, 25)
    own = truth + rng.normal(0, 5, truth.shape)
    good = assess([(own, truth)], noise, 0)
    assert good.slope == pytest.approx(1, abs=0.01)
    assert good.r_squared > 0.99
    assert good.total_ratio == pytest.approx(1, abs=0.01)
    assert good.residual_deviation == pytest.approx(1, abs=0.05)
    assert not good.warnings
    bent = assess([(own, 0.8 * truth + 10)], noise, 0)
    assert bent.slope == pytest.approx(0.8, abs=0.01)
    assert bent.intercept == pytest.approx(10, abs=0.5)
    smooth = assess([(own, np.full_like(own, own.mean()))], noise, 0)
    assert any("not pure noise" in text for text in smooth.warnings)
    faint = rng.poisson(4.4, (256, 256)).astype(np.uint16)
    rounded = assess([(faint, np.full_like(faint, 4))], NoiseModel(1, 0, 0.1), 0)
    assert any("rounding" in text for text in rounded.warnings)
    full = np.full((64, 64), 255, np.uint8)
    assert assess([(full, full)], noise, 0).saturated == 1
    assert "slope" not in str(good)
    assert "block means" in str(good)


def test_a_report_names_clipped_values_at_both_ends() -> None:
    rng = np.random.default_rng(4)
    own = np.clip(rng.normal(2, 4, (128, 128)).round(), 0, 255).astype(np.uint8)
    report = assess([(own, own.astype(np.float32))], NoiseModel(0, 0, 16), 0, clipped=0.02)
    assert report.saturated == 0.02
    assert any("saturated" in text for text in report.warnings)
    assert report.zeros == pytest.approx((own == 0).mean())
    assert "pixels at 0: 34.97%" in str(report)
    few = assess([(own + 1, own + 1.0)], NoiseModel(0, 0, 16), 0, clipped=0.002)
    assert "pixels at 0" not in str(few)
    assert not any("saturated" in text for text in few.warnings)


def test_a_report_warns_if_a_smoothed_residual_follows_the_signal() -> None:
    rng = np.random.default_rng(6)
    truth = 100 * synthetic_scene(256, rng).astype(np.float64) + 20
    own = truth + rng.normal(0, 5, truth.shape)
    for result, flattened in ((truth, False), (ndimage.gaussian_filter(own, 2.0), True)):
        report = assess([(own, result)], NoiseModel(0, 0, 25), 0)
        assert any("flattened" in text for text in report.warnings) == flattened


@pytest.mark.parametrize(("gain", "read"), [(2.0, 3.0), (0.5, 8.0)])
def test_residual_is_compared_with_the_noise_model_at_every_level(gain, read):
    rng = np.random.default_rng(3)
    truth = np.linspace(0, 200, 256) * np.ones((256, 1))
    own = rng.normal(truth, np.sqrt(read**2 + gain * truth))
    fits = assess([(own, truth)], NoiseModel(gain, 0, read**2), 0)
    assert [round(ratio, 1) for _, ratio in fits.residual_levels] == [1.0] * 4
    assert [round(level, -1) for level, _ in fits.residual_levels] == pytest.approx(
        [25, 75, 125, 175], abs=6
    )
    assert not [text for text in fits.warnings if "noise model" in text]
    # The model ignores the photons, so that it is too low where the image is bright.
    low = assess([(own, truth)], NoiseModel(0, 0, read**2), 0)
    assert [text for text in low.warnings if "brightest quarter" in text and "noise model" in text]


def test_levels_of_the_residual_are_in_the_units_of_the_image():
    truth = np.linspace(0, 200, 256) * np.ones((256, 1))
    own = truth + np.random.default_rng(4).normal(0, 3, truth.shape)
    report = assess([(own, truth)], NoiseModel(0, 0, 9), 0)
    halved = report.in_unit(2)
    assert [level * 2 for level, _ in halved.residual_levels] == pytest.approx(
        [level for level, _ in report.residual_levels]
    )
    assert "residual by level" in str(report)


def test_the_verdict_on_an_image_without_noise_has_no_figures():
    verdict = Report.of_nothing(["image: every pixel has the value 1; left as it is"]).verdict
    assert verdict.splitlines()[0] == "left as it is"
    assert "nan" not in verdict


@given(
    level=st.floats(0.05, 3000),
    read=st.floats(0, 20),
    above=st.floats(-1, 0.2),
    shape=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_identical_pixels_never_count_as_changed(
    level: float, read: float, above: float, shape: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    own = (rng.poisson(level, shape) + rng.normal(0, read, shape)).round().astype(np.int32)
    noise = NoiseModel(1, 0, read**2 + 0.1)
    # The estimated black level of a frame without structure is near its mean, or above it.
    black = own.mean() - above * own.std()
    report = assess([(own, own.copy())], noise, black)
    assert report.total_ratio == 1
    assert report.slope == pytest.approx(1)
    assert report.verdict.startswith("intensities kept")
    assert not any("rounding" in text for text in report.warnings)


@given(
    level=st.floats(50, 3000),
    black=st.sampled_from([0.0, 30.0, None]),
    kept=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_a_loss_of_intensity_counts_as_changed(
    level: float, black: float | None, kept: float, seed: int
) -> None:
    own = np.random.default_rng(seed).poisson(level, (64, 48)).astype(np.float64)
    dark = own.mean() if black is None else black
    report = assess([(own, kept * own)], NoiseModel(1, 0, 0.1), dark)
    assert report.verdict.startswith("intensities CHANGED")
    assert report.total_ratio < 0.98
    # A dark frame that lost a tenth of the standard deviation of its noise.
    report = assess([(own, own - 0.1 * level**0.5)], NoiseModel(1, 0, 0.1), own.mean())
    assert report.total_ratio == pytest.approx(0.9, abs=0.01)
    assert report.verdict.startswith("intensities CHANGED")


@pytest.mark.parametrize("black", [299.0, 300.0, 310.0])
def test_a_flat_frame_without_its_noise_is_not_changed(black: float) -> None:
    own = np.random.default_rng(0).poisson(300, (256, 256)).astype(np.uint16)
    report = assess([(own, np.full(own.shape, own.mean()))], NoiseModel(1, 0, 0.1), black)
    assert report.verdict.startswith("intensities kept (slope 1.000, total 100.0%); noise removed")
    rounded = assess([(own, np.full_like(own, 301))], NoiseModel(1, 0, 0.1), black)
    assert any(
        "rounding changed the mean by " in text and "of the noise's standard deviation" in text
        for text in rounded.warnings
    )
