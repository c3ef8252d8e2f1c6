"""Cameras of microscopes record what their noise model says."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.forward.instruments import Camera, Emccd, Pmt, Scmos, sample_camera


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


def test_cameras_are_drawn_of_every_kind() -> None:
    kinds = {type(sample_camera(np.random.default_rng(i))).__name__ for i in range(40)}
    assert kinds == {"Scmos", "Emccd", "Pmt"}
