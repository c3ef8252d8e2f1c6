"""Drawings are their own target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.training.forward.camera import Scene
from napari_dcr.training.forward.graphics import draw
from tests.training.forward.test_camera import X, Y, shot


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_drawings_are_their_own_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawing = draw(rng, 90, 120).astype(np.float32) / 255
    assert drawing.shape == (90, 120, 3)
    as_is = Scene(drawing, shot(identity=0.0), "graphics")
    assert as_is.identity
    assert as_is.print(drawing, Y, X) == pytest.approx(drawing)
    dim = Scene(drawing, shot(identity=0.99, bits=16), "graphics")
    assert not dim.identity
    assert np.abs(dim.print(drawing, Y, X) - drawing).max() < 0.03
