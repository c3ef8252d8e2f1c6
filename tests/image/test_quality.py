"""Reports: what was done to intensities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.quality import assess
from napari_dcr.training.forward.structures import synthetic_scene


def test_a_report_sees_what_was_done_to_intensities() -> None:
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
    assert any("not white" in text for text in smooth.warnings)
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


def test_a_smoothed_result_is_said_to_follow_the_signal() -> None:
    rng = np.random.default_rng(6)
    truth = 100 * synthetic_scene(256, rng).astype(np.float64) + 20
    own = truth + rng.normal(0, 5, truth.shape)
    for result, flattened in ((truth, False), (ndimage.gaussian_filter(own, 2.0), True)):
        report = assess([(own, result)], NoiseModel(0, 0, 25), 0)
        assert any("flattened" in text for text in report.warnings) == flattened
