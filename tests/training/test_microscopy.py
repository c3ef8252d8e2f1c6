"""Training of microscopy weights: pairs, loss, a run, the calibration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from napari_dcr.network import weights
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.microscopy import (
    INTERVAL,
    CountsWeights,
    MicroscopyPairs,
    MicroscopyTrainer,
    calibrated,
    counts_loss,
    interval_factor,
)
from tests.conftest import COUNTS, lively_cascade


def test_pairs_are_the_same_everywhere_and_tell_the_noise(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    PILImage.fromarray(np.random.default_rng(0).integers(0, 255, (150, 150), np.uint8)).save(path)
    pairs = MicroscopyPairs([path] * 2, 3, 2, 160, 64, 200, 5)
    again = MicroscopyPairs([path] * 2, 3, 2, 160, 64, 200, 5)
    for key, value in pairs[7].items():
        assert torch.equal(value, again[7][key])
    squares = []
    for item in (pairs[i] for i in range(len(pairs))):
        assert all(torch.isfinite(v).all() for v in item.values())
        counts = Counts(item["curvature"][None, None, None, None])
        error = (item["input"] - item["target"])[None] / counts.deviation(item["target"][None])
        is_clipped = float((item["input"] == item["input"].min()).float().mean()) > 0.2
        if not is_clipped:
            squares.append(float((error**2).mean()))
    # In units of the estimated noise, white noise has a standard deviation of 1.
    assert len(squares) > 60
    assert np.median(squares) == pytest.approx(1, abs=0.2)
    assert max(squares) < 30


def test_the_loss_is_least_at_the_expected_count_and_the_right_interval() -> None:
    torch.manual_seed(0)
    counts = Counts(torch.full((1, 1, 1, 1), 1.0))
    target = torch.poisson(torch.full((1, 1, 64, 64), 4.0))  # random counts with a known mean
    terms = CountsWeights(structure=0)

    def slopes(level: float, deviation: float) -> tuple[float, float]:
        picture = torch.tensor([level, deviation])[None, :, None, None].repeat(1, 1, 64, 64)
        picture.requires_grad_()
        counts_loss(picture, target, counts, terms).backward()
        assert picture.grad is not None
        along, across = picture.grad.sum((0, 2, 3))
        return float(along), float(across)

    mean = float(target.mean())
    assert slopes(mean - 0.05, 2)[0] < 0 < slopes(mean + 0.05, 2)[0]
    errors = (target - mean).abs()
    wanted = float(errors.quantile(INTERVAL))
    assert slopes(mean, 0.6 * wanted)[1] < 0 < slopes(mean, 1.6 * wanted)[1]


def _config() -> TrainingConfig:
    return TrainingConfig(
        name="tiny", seed=1, steps=4, batch=2, crop=64, learning_rate=1e-3,
        final_learning_rate=1e-5, warmup=1, weight_decay=0, ema=0.9, clip=1, detail_dropout=0.25,
        network={"channels": 1, "base": "counts", "widths": [16, 16, 16]},
        data={"folders": [], "exclude": [], "validate_every": 5, "synthetic": 2, "cultured": 1, "size": 96},
    )  # fmt: skip


def test_a_run_trains_and_resumes(tmp_path: Path) -> None:
    trainer = MicroscopyTrainer(_config(), tmp_path, tmp_path / "run")
    before = [p.clone() for p in trainer.network.parameters()]
    trainer.train(workers=0)
    assert trainer.step == 4
    moved = [
        not torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True)
    ]
    assert sum(moved) > 0.8 * len(moved)
    assert MicroscopyTrainer(_config(), tmp_path, tmp_path / "run").step == 4


def test_detail_on_and_off_are_trained_for_different_ends() -> None:
    torch.manual_seed(1)
    counts = Counts(torch.full((1, 1, 1, 1), 0.5))
    target = torch.rand(1, 1, 64, 64) * 5
    picture = torch.cat([target * 0.5, torch.ones_like(target)], 1)
    on, off = (counts_loss(picture, target, counts, CountsWeights(), d) for d in (True, False))
    assert on > off
    assert off == counts_loss(picture, target, counts, CountsWeights(structure=0))


def test_calibrated_intervals_have_the_stated_coverage(tmp_path: Path) -> None:
    network = calibrated(lively_cascade(config=COUNTS), recordings=6)
    path = tmp_path / "calibrated.safetensors"
    weights.save(network, path, {})
    assert interval_factor(path, recordings=6) == pytest.approx(1, abs=0.25)


def test_a_run_starts_from_the_shipped_weights(tmp_path: Path) -> None:
    shipped = weights.load("microscopy").network
    assert shipped.neighbours is not None
    network = {"channels": 1, "stages": 3, "widths": [32, 64, 96], "base": "counts"}
    config = dataclasses.replace(_config(), network={**network, "grid_channels": 16})
    trainer = MicroscopyTrainer(
        config, tmp_path, tmp_path / "run", start=weights.find("microscopy")
    )
    found, expected = trainer.network.state_dict(), shipped.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in found)
