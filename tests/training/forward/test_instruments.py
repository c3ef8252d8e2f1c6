"""Recordings of microscope cameras agree with their noise models."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.forward.instruments import (
    Camera,
    Emccd,
    Pmt,
    Readout,
    Scmos,
    sample_camera,
    sample_readout,
)


@pytest.mark.parametrize("camera", [Scmos(), Scmos(tail=0), Emccd(), Pmt(bits=16)], ids=str)
@pytest.mark.parametrize("photons", [0.0, 2.0, 40.0])
def test_cameras_record_the_mean_and_variance_of_their_noise_model(
    camera: Camera, photons: float
) -> None:
    rng = np.random.default_rng(3)
    values = camera.expose(np.full((800, 800), photons), rng).astype(np.float64)
    noise = camera.noise
    mean = noise.offset + (noise.photon or noise.gain) * photons
    variance = noise.dark + noise.gain * (mean - noise.offset)
    assert values.mean() == pytest.approx(mean, abs=0.02 * np.sqrt(variance) + 0.02)
    if isinstance(camera, Pmt) and not photons:
        return  # pulses below 0 are cut off
    assert values.var() == pytest.approx(variance, rel=0.06)


def test_cameras_of_every_kind_are_drawn() -> None:
    kinds = {type(sample_camera(np.random.default_rng(i))).__name__ for i in range(40)}
    assert kinds == {"Scmos", "Emccd", "Pmt"}


@pytest.mark.parametrize(
    "readout",
    [
        Readout(),
        Readout(exposures=2, black=0.7),
        Readout(blur=(0.0, 1.0), black=0.3),
        Readout(blur=(0.8, 0.8), bits=8, saturated=0.2),
        Readout(enlarged=2.0, order=1),
        Readout(line_offsets=0.1, fall_off=0.4),
    ],
    ids=str,
)
@pytest.mark.parametrize("camera", [Scmos(), Emccd(), Pmt(bits=16)], ids=lambda c: type(c).__name__)
def test_the_expectation_is_the_mean_of_many_recordings(readout: Readout, camera: Camera) -> None:
    rng = np.random.default_rng(5)
    photons = np.linspace(0.5, 12, 24)[:, None] * np.ones((1, 400))
    values, expected = readout.record(camera, photons, rng)
    error = (values - expected).mean(1)  # many recordings of the same 24 rows
    deviation = (values - expected).std()
    # Neighbours share noise, and an offset belongs to a whole row.
    wide = 2 * deviation / np.sqrt(400) * (4 if max(readout.blur) or readout.enlarged > 1 else 2)
    wide += 0.3 * deviation if readout.line_offsets else 0
    assert np.abs(error).max() < wide + 0.1 * deviation
    assert np.abs(error.mean()) < 0.06 * deviation
    assert values.dtype == (np.uint8 if readout.bits == 8 else np.uint16)
    assert values.shape == photons.shape


def test_a_clipped_black_level_leaves_zeros_and_lifts_the_mean() -> None:
    rng = np.random.default_rng(1)
    dark = np.full((128, 128), 1.0)
    values, expected = Readout(black=0.8).record(Scmos(), dark, rng)
    assert 0.75 < (values == 0).mean() < 0.9
    assert expected.mean() == pytest.approx(values.mean(), rel=0.15)


def test_blurs_and_enlargement_correlate_the_noise() -> None:
    flat = np.full((200, 200), 30.0)
    for readout in (Readout(blur=(1.0, 1.0)), Readout(enlarged=2.0), Readout()):
        noise = readout.record(Scmos(), flat, np.random.default_rng(2)).values - 166.0
        noise -= noise.mean()
        correlation = (noise[:, 1:] * noise[:, :-1]).mean() / (noise**2).mean()
        assert (correlation > 0.4) == (readout != Readout())


def test_readouts_of_every_kind_are_drawn() -> None:
    drawn = [sample_readout(np.random.default_rng(i)) for i in range(300)]
    for is_simulated in (
        [max(r.blur) > 0 for r in drawn],
        [r.enlarged > 1 for r in drawn],
        [r.black is not None for r in drawn],
        [r.bits == 8 for r in drawn],
        [r.hot > 0 for r in drawn],
        [r.line_offsets > 0 for r in drawn],
        [r.fall_off > 0 for r in drawn],
        [r.exposures > 1 for r in drawn],
    ):
        assert 0.01 < np.mean(is_simulated) < 0.7
    assert np.mean([r == Readout(order=r.order, columns=r.columns) for r in drawn]) > 0.1
