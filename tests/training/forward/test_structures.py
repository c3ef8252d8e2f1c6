"""Structures under a microscope: light, seeded, within the lens's cutoff."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.forward.structures import (
    KINDS,
    airy,
    labelled,
    real_scene,
    synthetic_scene,
)


@pytest.mark.parametrize("kind", sorted(set(KINDS), key=lambda k: k.__name__))
def test_structures_are_light(kind: object) -> None:
    scene = kind((96, 80), np.random.default_rng(1))  # type: ignore[operator]
    assert scene.shape == (96, 80)
    assert np.isfinite(scene).all()
    assert scene.min() >= 0
    assert scene.max() > 0


def test_scenes_are_seeded_and_real_ones_lose_their_noise() -> None:
    one, other = (synthetic_scene(96, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(0)
    picture = rng.poisson(100, (300, 300)).astype(np.uint16)
    scene = real_scene(picture, 96, rng)
    assert scene.shape == (96, 96)
    small = real_scene(picture[:50, :60], 96, rng)
    assert small.shape == (96, 96)
    assert 1 - np.corrcoef(scene[:, :-1].ravel(), scene[:, 1:].ravel())[0, 1] < 0.5


def test_a_perfect_lens_passes_light_but_nothing_above_its_cutoff() -> None:
    point = np.zeros((129, 129), np.float32)
    point[64, 64] = 1
    spread = airy(point, 0.2)
    assert spread.min() >= 0
    assert spread.sum() == pytest.approx(1, abs=0.02)  # rings reach far
    power = np.abs(np.fft.rfft2(spread))
    frequency = np.hypot(np.fft.fftfreq(129)[:, None], np.fft.rfftfreq(129)[None])
    assert power[frequency > 0.22].max() < 0.01
    # Half of the cutoff is passed at 0.391 (Goodman 2005, fig. 6.7).
    assert power[np.abs(frequency - 0.1) < 0.004].mean() == pytest.approx(0.391, abs=0.02)


def test_dyes_bind_by_chance_but_as_bright_on_average() -> None:
    part = np.full((400, 400), 0.5, np.float32)
    drawn = [labelled(part, np.random.default_rng(seed)) for seed in range(8)]
    assert np.mean(drawn) == pytest.approx(0.5, rel=0.02)
    assert min(dots.std() for dots in drawn) > 0.2
