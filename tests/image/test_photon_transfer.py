"""Calibration of cameras from dark and flat frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.defects import Defects
from napari_dcr.image.photon_transfer import calibrate_noise


def frames(
    light: Any, gain: float, offset: Any, read: Any, count: int = 30, seed: int = 0
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    shape = (count, 48, 64)
    electrons = rng.poisson(np.broadcast_to(light, shape))
    return offset + gain * (electrons + read * rng.standard_normal(shape))


@given(st.floats(0.3, 20), st.floats(0, 500), st.floats(0.5, 5), st.booleans())
@settings(max_examples=15)
def test_gain_offset_and_read_noise_are_measured(
    gain: float, offset: float, read: float, uneven: bool
) -> None:
    light = np.linspace(50, 800, 64) if uneven else 400.0
    dark = frames(0.0, gain, offset, read)
    noise = calibrate_noise(dark, frames(light, gain, offset, read, seed=1))
    assert noise.gain == pytest.approx(gain, rel=0.03)
    assert noise.offset == pytest.approx(offset, abs=0.05 * gain * read)
    assert noise.dark == pytest.approx((gain * read) ** 2, rel=0.05)


def test_flickering_light_saturation_and_several_levels() -> None:
    dark = frames(0.0, 2, 100, 1.5)
    flicker = np.random.default_rng(2).uniform(0.9, 1.1, (30, 1, 1))
    levels = [frames(flicker * level, 2, 100, 1.5, seed=level) for level in (20, 200, 900)]
    assert calibrate_noise(dark, levels).gain == pytest.approx(2, rel=0.03)
    bright = np.minimum(np.rint(frames(np.linspace(50, 900, 64), 2, 100, 1.5, seed=3)), 1500)
    assert calibrate_noise(dark, bright.astype(np.uint16)).gain == pytest.approx(2, rel=0.05)


def test_noise_and_the_offset_of_each_pixel_come_from_the_same_frames() -> None:
    rng = np.random.default_rng(0)
    offset, read = 100 + rng.normal(0, 4, (48, 64)), np.exp(rng.normal(0, 0.5, (48, 64)))
    dark, flat = frames(0.0, 2, offset, read, 200), frames(300.0, 2, offset, read, 50, 1)
    noise = calibrate_noise(dark, flat)
    assert noise.gain == pytest.approx(2, rel=0.03)
    assert noise.dark == pytest.approx(float((4 * read**2).mean()), rel=0.05)
    fresh = frames(0.0, 2, offset, read, 200, 2).mean(0)
    corrected = Defects.from_frames(dark).correct(fresh[None], 0, 0)
    assert corrected.std() < 0.15 * fresh.std()


@pytest.mark.parametrize(
    ("dark", "flat", "message"),
    [
        (np.zeros((1, 8, 8)), np.ones((3, 8, 8)), "dark_frames: got shape"),
        (np.zeros((3, 8, 8)), np.ones((8, 8)), "flat_frames: got shape"),
        (np.zeros((3, 8, 8)), np.ones((3, 8, 9)), "flat_frames: got frames of"),
        (np.ones((3, 8, 8)), np.zeros((3, 8, 8)), "no brighter"),
        (np.ones((3, 8, 8)), np.full((3, 8, 8), 5.0), "vary no more"),
        (np.full((3, 8, 8), np.nan), np.ones((3, 8, 8)), "NaN or infinite"),
    ],
)
def test_frames_that_do_not_fit_are_refused(dark: Any, flat: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        napari_dcr.calibrate_noise(dark, flat)
