"""Models that work in counts: noise found, units kept, light moved and never made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.enhancement import drain
from napari_dcr.image.noise import NoiseModel, estimate_noise
from napari_dcr.image.quality import assess
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.forward.instruments import Camera, Emccd, Pmt, Scmos
from napari_dcr.training.forward.structures import synthetic_scene


@given(st.floats(0, 1.63), st.floats(-20, 1e5))
def test_stabilising_is_undone_and_rises(curvature: float, level: float) -> None:
    counts = Counts(torch.tensor([curvature], dtype=torch.float64)[:, None, None, None])
    x = torch.tensor([level, level + 1e-3], dtype=torch.float64)[None, None, None]
    z = counts.stabilise(x)
    assert torch.allclose(counts.restore(z), x, rtol=1e-9, atol=1e-9)
    assert z[..., 1] > z[..., 0]


@given(st.floats(0, 1.6), st.floats(1, 1e4))
def test_stabilised_noise_has_deviation_one(curvature: float, level: float) -> None:
    counts = Counts(torch.tensor([curvature], dtype=torch.float64)[:, None, None, None])
    x = torch.full((1, 1, 1, 1), level, dtype=torch.float64, requires_grad=True)
    counts.stabilise(x).backward()
    assert x.grad is not None
    # Delta method: slope times deviation.
    assert float(x.grad * counts.deviation(x.detach())) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("camera", [Scmos(), Scmos(tail=0), Emccd(), Pmt(bits=16)], ids=str)
@pytest.mark.parametrize("photons", [0.0, 2.0, 40.0])
def test_cameras_record_the_mean_and_variance_that_they_say(camera: Camera, photons: float) -> None:
    rng = np.random.default_rng(3)
    values = camera.expose(np.full((800, 800), photons), rng).astype(np.float64)
    noise = camera.noise
    mean = noise.offset + (noise.photon or noise.gain) * photons
    variance = noise.dark + noise.gain * (mean - noise.offset)
    assert values.mean() == pytest.approx(mean, abs=0.02 * np.sqrt(variance) + 0.02)
    if isinstance(camera, Pmt) and not photons:
        return  # pulses below 0 are cut off
    assert values.var() == pytest.approx(variance, rel=0.06)


@pytest.mark.parametrize("camera", [Scmos(), Emccd(), Pmt(bits=16)], ids=str)
@pytest.mark.parametrize("peak", [20, 100, 1000])
def test_noise_is_found_within_a_fifth(camera: Camera, peak: float) -> None:
    scene = synthetic_scene(384, np.random.default_rng(11))
    values = camera.expose(peak * (scene + 0.05), np.random.default_rng(12)).astype(np.uint16)
    found = estimate_noise(values)
    truth = camera.noise.at(found.model.offset)
    for level in (found.model.offset, *np.quantile(values, [0.5, 0.99])):
        assert found.model.deviation(level) == pytest.approx(truth.deviation(level), rel=0.2)
    assert 0.8 < found.whiteness < 1.2
    assert 0 < found.gain_error < 0.25 * truth.gain


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
@settings(max_examples=20)
def test_the_estimate_follows_the_units(factor: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    image = rng.poisson(np.linspace(2, 60, 128) * np.ones((128, 1))).astype(np.float64)
    plain, other = estimate_noise(image).model, estimate_noise(factor * image + shift).model
    assert other.gain == pytest.approx(factor * plain.gain, rel=1e-3)
    assert other.dark == pytest.approx(factor**2 * plain.dark, rel=1e-2, abs=1e-3 * factor**2)
    assert other.offset == pytest.approx(factor * plain.offset + shift, rel=1e-6, abs=1e-6)


def test_blurred_noise_is_noticed_and_small_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (256, 256))
    blurred = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    assert estimate_noise(noise).whiteness == pytest.approx(1, abs=0.1)
    assert estimate_noise(blurred).whiteness < 0.75
    with pytest.raises(ValueError, match="16 x 16"):
        estimate_noise(np.zeros((15, 300)))
    with pytest.raises(ValueError, match="finite"):
        estimate_noise(np.full((64, 64), np.nan))


def _recording(seed: int = 0, peak: float = 40) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    scene = synthetic_scene(160, rng)
    return Scmos().expose(peak * (scene + 0.1), rng).astype(np.uint16)


def test_units_dtype_and_local_means_are_kept_by_any_weights(lively_counts: Path) -> None:
    image = _recording()
    out, report = napari_dcr.enhance(image, model=lively_counts, return_report=True)
    assert out.dtype == np.uint16
    # Up to the border, where there is less around.
    assert out.astype(float).mean() == pytest.approx(image.mean(), rel=5e-3)
    assert report.slope == pytest.approx(1, abs=0.15)
    exact = napari_dcr.enhance(image, model=lively_counts, output="float32")
    assert np.abs(np.rint(exact) - out).max() <= 1


def test_no_pixel_changes_by_more_than_noise_explains(lively_counts: Path) -> None:
    clean = (1000 * synthetic_scene(160, np.random.default_rng(5)) + 300).astype(np.float32)
    out = napari_dcr.enhance(clean, model=lively_counts)
    noise = estimate_noise(clean).model
    counts = Counts(torch.full((1, 1, 1, 1), noise.curvature))
    level = torch.from_numpy((clean - noise.offset) / noise.unit)[None, None]
    reach = 2.2 * 8 * counts.deviation(level)[0, 0].numpy() * noise.unit + 40 * noise.gain
    assert (np.abs(out - clean) <= reach).all()


def test_channels_are_apart_and_planes_of_a_stack_share_their_noise(lively_counts: Path) -> None:
    one = _recording()
    both = np.stack([one, np.zeros_like(one)])
    apart = napari_dcr.enhance(both, model=lively_counts, channel_axis=0)
    np.testing.assert_array_equal(apart[0], napari_dcr.enhance(one, model=lively_counts))
    stack = np.stack([one, _recording(1)])
    steps = napari_dcr.enhance_steps(stack, napari_dcr.Options(model=lively_counts))
    record = drain(steps).record
    assert len(record["noise"]) == 1
    assert len(record["reports"]) == 1


def test_exposure_is_a_plain_gain_and_strength_a_mixture(lively_counts: Path) -> None:
    image = _recording().astype(np.float32)
    black = (100.0, 65535.0)
    plain = napari_dcr.enhance(image, model=lively_counts, input_range=black)
    brighter, residual = napari_dcr.enhance(
        image, model=lively_counts, input_range=black, exposure=1, return_residual=True
    )
    np.testing.assert_allclose(brighter - 100, 2 * (plain - 100), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(residual, image - plain, atol=1e-2)
    half = napari_dcr.enhance(image, model=lively_counts, input_range=black, strength=0.5)
    np.testing.assert_allclose(half, (image + plain) / 2, atol=1e-2)
    np.testing.assert_array_equal(napari_dcr.enhance(image, model=lively_counts, strength=0), image)


def test_residual_and_uncertainty_come_in_the_images_shape(lively_counts: Path) -> None:
    image = np.stack([_recording(i) for i in range(4)]).reshape(2, 2, 160, 160)
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


def test_what_is_not_finite_stays(lively_counts: Path) -> None:
    image = _recording().astype(np.float32)
    image[20, 30], image[50, 60] = np.nan, np.inf
    out = napari_dcr.enhance(image, model=lively_counts)
    assert np.isnan(out[20, 30])
    assert np.isposinf(out[50, 60])
    assert np.isfinite(out).sum() == out.size - 2


@pytest.mark.parametrize("name", ["return_report", "return_residual", "return_uncertainty"])
def test_what_cannot_be_returned_is_refused(
    name: str, lively_model: Path, lively_counts: Path, tmp_path: Path
) -> None:
    image = _recording()
    with pytest.raises(ValueError, match=f"{name}: got True with the model"):
        napari_dcr.enhance(image, model=lively_model, **{name: True})
    with pytest.raises(ValueError, match=f"{name}: got True"):
        napari_dcr.enhance(image, model=lively_counts, out=tmp_path / "x.tif", **{name: True})
    with pytest.raises(TypeError, match=f"{name}: got 1"):
        napari_dcr.enhance(image, model=lively_counts, **{name: 1})


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
