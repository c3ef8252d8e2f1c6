"""Matches of frames: shift and change of the light together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.frame_matches import Match, find_match
from napari_dcr.image.frame_shifts import ReducedFrame


def scene() -> NDArray[np.float64]:
    rough = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((200, 220)), 2.5)
    return 60 + 25 * rough / rough.std()


def frame(photons: NDArray[np.float64], seed: int) -> ReducedFrame:
    pixels = np.random.default_rng(seed).poisson(photons.clip(1)).astype(np.uint16)[None]
    return ReducedFrame.of(lambda rows, columns: pixels[:, rows, columns], *photons.shape)


def test_the_light_is_compared_where_the_shifted_frames_overlap() -> None:
    whole = scene()
    whole[:, :40] += 200  # comes into view
    first, second = frame(whole[20:180, 40:210], 1), frame(0.85 * whole[14:174, 20:190], 2)
    match = find_match(first, second)
    assert match is not None
    assert np.abs(np.subtract(match.shift, (6, 20))).max() < 0.6
    assert match.level.ratio * 60 + match.level.addend == pytest.approx(51, abs=0.6)
    back = find_match(second, first)
    assert back is not None
    assert np.abs(np.subtract(back.shift, match.inverse().shift)).max() < 0.6
    assert back.level.ratio == pytest.approx(match.inverse().level.ratio, abs=0.02)


def test_frames_with_much_less_light_do_not_match() -> None:
    view = scene()[20:180, 40:210]
    assert find_match(frame(view, 1), frame(0.3 * view, 2)) is None
    assert find_match(frame(0.3 * view, 1), frame(view, 2)) is None
    assert find_match(frame(view, 1), frame(0.6 * view, 2)) is not None


def test_small_frames_match_as_they_are() -> None:
    view = scene()[:12, :40]
    assert find_match(frame(view, 1), frame(0.6 * view, 2)) == Match()
