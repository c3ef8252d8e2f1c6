"""Tone of display images: exposure and the sRGB encoding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.image.tone import expose, linear_to_srgb, srgb_to_linear


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_exposure_rises_with_light_and_with_stops(one: float, other: float) -> None:
    ramp = np.linspace(0, 1, 200, dtype=np.float32)[None, None].repeat(3, 0)
    low, high = sorted((one, other))
    dark, bright = expose(ramp, low), expose(ramp, high)
    assert (np.diff(dark[0, 0]) >= -1e-6).all()
    assert (bright - dark >= -2e-5).all()
    assert bright.max() <= 1


def test_srgb_is_inverted() -> None:
    v = np.linspace(0, 1, 999, dtype=np.float32)
    assert np.abs(linear_to_srgb(srgb_to_linear(v)) - v).max() < 1e-5
