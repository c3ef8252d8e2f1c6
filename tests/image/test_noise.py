"""Noise estimates: right within a fifth, in any units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.image.noise import estimate_noise
from napari_dcr.training.forward.instruments import Camera, Emccd, Pmt, Scmos
from napari_dcr.training.forward.structures import synthetic_scene


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
