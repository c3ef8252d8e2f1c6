"""Drawings are their own target, rooms are even surfaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.training.forward.camera import Scene
from napari_dcr.training.forward.graphics import draw, draw_room
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


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_rooms_are_even_surfaces_in_smooth_light(seed: int) -> None:
    room = draw_room(np.random.default_rng(seed), 90, 120)
    assert (room.shape, room.dtype) == ((90, 120, 3), np.uint8)
    assert np.array_equal(room, draw_room(np.random.default_rng(seed), 90, 120))
    # Most pixels differ from their neighbour by the shading alone, which is rounded to whole levels.
    steps = np.abs(np.diff(room.astype(int), axis=1)).max(-1)
    assert np.mean(steps <= 2) > 0.8
