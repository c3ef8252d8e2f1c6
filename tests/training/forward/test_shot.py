"""Light, noise and random parameters of a dim picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.training.forward.shot import Conditions, LightField, Noise, Shot
from tests.training.forward.test_camera import X, Y


@pytest.mark.parametrize("blur", [0.0, 0.8])
def test_noise_has_the_variance_of_its_model(blur: float) -> None:
    rng = np.random.default_rng(0)
    noise = Noise(shot=4e-4, read=1e-6, correlation=blur)
    for level in (0.0, 0.01, 0.3):
        x = np.full((256, 256, 3), level, np.float32)
        residual = noise(x, rng) - x
        assert residual.std() == pytest.approx(np.sqrt(4e-4 * level + 1e-6), rel=0.03)
        neighbours = np.corrcoef(residual[:, 1:].ravel(), residual[:, :-1].ravel())[0, 1]
        assert (neighbours > 0.3) == bool(blur)


def test_the_expectation_includes_the_mean_of_noise_clipped_at_0() -> None:
    rng = np.random.default_rng(0)
    floor, gains = 2e-3, (2.0, 1.0, 1.6)
    noise = Noise(0.0, 0.0, gains=gains, floor=floor)
    for level in (-1e-3, 0.0, 1e-3, 0.1):
        clipped = np.maximum(level + floor * np.array(gains) * rng.normal(size=(200_000, 3)), 0)
        lifted = noise.lifted(np.full((1, 1, 3), level, np.float32))
        assert lifted[0, 0] == pytest.approx(clipped.mean(0), rel=0.02)
    dark = noise.lifted(np.zeros((1, 1, 3), np.float32))[0, 0]
    assert dark[0] > dark[2] > dark[1] > 0  # magenta


@given(st.integers(0, 2**32))
def test_shots_stay_inside_their_conditions(seed: int) -> None:
    conditions = Conditions(
        ev=(1, 3, 5), most_floor=4e-3, black=(-0.3, 0.1), cast=0.3, saturation=(0.7, 1.5)
    )
    some = Shot.sample(np.random.default_rng(seed), conditions=conditions)
    assert 0 <= some.ev <= 5
    assert some.noise.floor == 0 or 4e-4 <= some.noise.floor <= 4e-3
    assert 0.7 <= some.saturation <= 1.5
    assert Shot.sample(np.random.default_rng(seed), conditions=conditions) == some


def test_backlight_darkens_the_subject_and_spares_the_ground() -> None:
    backlit = LightField("backlit", 3.0, (0.5, 0.5), 0.4, 0.0)
    luma = np.linspace(0, 1, 50, dtype=np.float32)[None]
    light = backlit(Y[:1], X[:, :50], luma)[0]
    assert light[0] == -3
    assert light[-1] == 0
    assert (np.diff(light) >= 0).all()
