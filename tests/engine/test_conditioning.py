"""Planes that are surveyed together share a tone curve or noise model; others do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_dcr
from napari_dcr.enhancement import run_to_completion
from napari_dcr.training.evaluation import microscopy_checks
from tests.engine.conftest import recording

FAST = {"model": "photo", "depth": 1, "device": "cpu", "precision": "fp32"}


def test_channels_are_enhanced_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    channels = rng.integers(0, 60, (2, 50, 60), np.uint8)
    silenced = channels.copy()
    silenced[1] = 0
    both = napari_dcr.enhance(channels, **FAST, channel_axis=0)
    one = napari_dcr.enhance(silenced, **FAST, channel_axis=0)
    assert (both[0] == one[0]).all()
    assert (napari_dcr.enhance(channels[0], **FAST) == both[0]).all()


def test_linked_frames_share_a_curve_and_unlinked_do_not() -> None:
    rng = np.random.default_rng(2)
    stack = np.stack([rng.integers(0, top, (64, 64), np.uint8) for top in (20, 120)])
    shared = napari_dcr.enhance(stack, **{**FAST, "depth": 0}, axes="tyx")
    alone = napari_dcr.enhance(stack, **{**FAST, "depth": 0}, axes="tyx", link_frames=False)
    # A grey level means the same in every linked frame.
    tables = [
        {int(v): int(r) for v, r in zip(f.ravel(), g.ravel(), strict=True)}
        for f, g in zip(stack, shared, strict=True)
    ]
    common = tables[0].keys() & tables[1].keys()
    assert all(tables[0][v] == tables[1][v] for v in common)
    assert (alone[0] == napari_dcr.enhance(stack[0], **{**FAST, "depth": 0})).all()
    assert (alone != shared).any()


def test_flicker_of_a_constant_scene_is_below_half_a_percent() -> None:
    rng = np.random.default_rng(3)
    scene = 12 + 10 * np.sin(np.arange(256) / 9)[:, None] * np.cos(np.arange(256) / 13)
    stack = np.clip(scene + rng.normal(0, 3, (30, 256, 256)), 0, 255).astype(np.uint8)
    means = napari_dcr.enhance(stack, **FAST, axes="tyx").mean((1, 2))
    assert np.ptp(means) / means.mean() < 0.005


def test_channels_are_independent_and_planes_of_a_stack_share_their_noise(
    lively_counts: Path,
) -> None:
    one = recording()
    both = np.stack([one, np.zeros_like(one)])
    apart = napari_dcr.enhance(both, model=lively_counts, channel_axis=0)
    np.testing.assert_array_equal(apart[0], napari_dcr.enhance(one, model=lively_counts))
    stack = np.stack([one, recording(1)])
    steps = napari_dcr.enhance_steps(stack, napari_dcr.Options(model=lively_counts))
    record = run_to_completion(steps).record
    assert len(record["noise"]) == 1
    assert len(record["reports"]) == 1


def test_estimate_noise_gives_the_estimate_that_enhance_uses(lively_counts: Path) -> None:
    case = next(microscopy_checks.cases(1, size=128))
    steps = napari_dcr.enhance_steps(case.values, napari_dcr.Options(model=lively_counts))
    record = run_to_completion(steps).record
    estimate = napari_dcr.estimate_noise(case.values)
    assert record["noise"][0]["gain"] == pytest.approx(estimate.model.gain)
