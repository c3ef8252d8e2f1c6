"""Sequences of frames: motion is as requested, and changes are restricted to their region."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.training.sequences import (
    Stage,
    blinking,
    changed,
    draw_sequence,
    drift,
    flow,
    focus_series,
    objects,
    transients,
)


def spots(seed: int, size: int = 120) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    scene = (rng.random((size, size)) < 0.02).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(scene, 1.5) * 12, np.float32)


def stage(seed: int = 0, size: int = 64) -> Stage:
    return Stage(spots(seed), size, np.random.default_rng(seed))


@pytest.mark.parametrize("speed", [0.5, 3.0])
def test_drift_moves_all_frames_by_the_speed(speed: float) -> None:
    light = drift(stage(), 5, np.random.default_rng(1), speed)
    spectra = np.fft.fft2(light[:, 16:48, 16:48] - light.mean())
    # The phase of the cross-spectrum has its peak at the whole-pixel part of the shift.
    cross = np.fft.ifft2(spectra[0] * spectra[4].conj()).real
    at = np.array(np.unravel_index(int(cross.argmax()), cross.shape))
    at = (at + 16) % 32 - 16
    assert np.hypot(*at) == pytest.approx(4 * speed, abs=0.8)


def test_without_motion_all_frames_are_the_same() -> None:
    light = drift(stage(), 5, np.random.default_rng(1), 0)
    assert np.ptp(light, 0).max() == 0
    assert light.max() > 0.3


def test_flow_differs_from_place_to_place_and_leaves_the_middle_frame() -> None:
    view = stage()
    light = flow(view, 5, np.random.default_rng(1), 1.5)
    assert np.allclose(light[2], view.seen(), atol=1e-4)
    change = np.abs(light[4] - light[2]).reshape(4, 16, 4, 16).mean((1, 3))
    assert change.min() < 0.5 * change.max()


def test_objects_move_over_a_background_at_rest() -> None:
    light = objects(stage(0), stage(1), 5, np.random.default_rng(2))
    still = np.ptp(light, 0) < 1e-3
    assert 0.02 < still.mean() < 0.98


def test_transients_rise_suddenly_and_blinking_leaves_parts_alone() -> None:
    rng = np.random.default_rng(3)
    traces = np.array([transients(8, rng) for _ in range(200)])
    assert traces.min() >= 0
    assert 2 < traces.max() < 8
    assert np.mean(np.ptp(traces, 1) > 0.15) > 0.7
    light = np.ones((8, 64, 64), np.float32)
    change = np.ptp(blinking(light, rng), 0)
    assert change.max() > 0.1
    assert change.min() < 0.5 * change.max()


def test_each_layer_of_a_focus_series_blurs_with_its_distance() -> None:
    light = focus_series(stage(0), stage(1), 9, np.random.default_rng(5), 1.0)
    detail = np.array([np.std(f - ndimage.gaussian_filter(f, 1)) for f in light])
    assert detail.max() > 2 * detail.min()
    assert light.mean((1, 2)).std() < 0.05 * light.mean()


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_changed_frames_spare_the_one_that_is_kept(kind: int) -> None:
    light = np.ones((5, 64, 64), np.float32) * 0.5
    rng = np.random.default_rng(6)
    for _ in range(10):
        result = changed(light, stage(), rng, (kind,), 2)
        assert np.array_equal(result[2], light[2])
        others = [t for t in range(5) if not np.array_equal(result[t], light[t])]
        assert others
        if kind == 0:
            assert others == list(range(others[0], 5))
        if kind == 2:
            assert result[others].max() == 0
        if kind == 3:
            assert result[others].min() > 2


def test_drawn_sequences_are_reproducible_and_of_every_size() -> None:
    for seed in range(30):
        a, b = (
            draw_sequence(spots(1), spots(2), size, 6, np.random.default_rng(seed))
            for size in (48, 48)
        )
        assert np.array_equal(a, b)
        assert a.shape == (6, 48, 48)
        assert np.isfinite(a).all()
        assert a.min() >= 0
    # A scene that is smaller than the frames is mirrored.
    large = draw_sequence(spots(1, 64), spots(2, 64), 150, 3, np.random.default_rng(0))
    assert large.shape == (3, 150, 150)
