"""Training of microscopy weights: pairs, loss, a run, the calibration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from napari_dcr.network import weights
from napari_dcr.network.global_net import sample_weights
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.microscopy import (
    INTERVAL,
    CountsWeights,
    MicroscopyRecordings,
    MicroscopyTrainer,
    calibrated,
    counts_losses,
    draw_crop,
    draw_scenes,
    interval_factor,
)
from tests.conftest import COUNTS, lively_cascade


def _photographs(folder: Path) -> TrainingConfig:
    """Configuration with one real picture, of which two scenes are drawn."""
    path = folder / "cells" / "cells.png"
    path.parent.mkdir()
    PILImage.fromarray(np.random.default_rng(0).integers(0, 255, (150, 150), np.uint8)).save(path)
    data = {**_config().data, "folders": ["cells"], "parts": {"cells": 2}, "size": 160}
    return dataclasses.replace(_config(), data=data)


def test_scenes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    config = _photographs(tmp_path)
    scenes = draw_scenes(tmp_path, config)
    assert len(scenes) == 2 + 1 + 2
    assert all(scene.shape == (160, 160) for scene in scenes)
    for one, other in zip(scenes, draw_scenes(tmp_path, config, workers=2), strict=True):
        assert np.array_equal(one, other)


def test_recordings_are_the_same_everywhere_and_have_the_stated_noise(tmp_path: Path) -> None:
    scenes = draw_scenes(tmp_path, _photographs(tmp_path))
    recordings, again = (MicroscopyRecordings(scenes, 64, 70, 5) for _ in range(2))
    for key, value in recordings[7].items():
        assert torch.equal(value, again[7][key])
    squares = []
    for recording in (recordings[i] for i in range(len(recordings))):
        assert all(torch.isfinite(v).all() for v in recording.values())
        counts = Counts(recording["curvature"][None, None, None])
        values, target = recording["input"], recording["target"]
        error = (values - target) / counts.deviation(target[None])[0]
        is_clipped = float((values == values.min()).float().mean()) > 0.2
        if not is_clipped:
            squares.append(float((error**2).mean()))
    # In units of the stated noise, the variance of white noise is 1.
    assert len(squares) > 25
    assert np.median(squares) == pytest.approx(1, abs=0.2)
    assert max(squares) < 30


def test_crops_are_cut_from_a_recording_where_it_is_bright(tmp_path: Path) -> None:
    scenes = draw_scenes(tmp_path, _photographs(tmp_path))
    recording = MicroscopyRecordings(scenes, 64, 1, 5)[0]
    height, width = recording["input"].shape[1:]
    places, light = set(), []
    for seed in range(40):
        crop = draw_crop(recording, 64, np.random.default_rng(seed))
        assert crop["input"].shape == crop["target"].shape == (1, 64, 64)
        window = recording["input"].unfold(1, 64, 2).unfold(2, 64, 2)[0]
        found = (window == crop["input"][0]).all((2, 3)).nonzero()
        assert len(found) == 1
        top, left = (2 * int(n) for n in found[0])
        assert torch.equal(
            crop["target"][0], recording["target"][0, top : top + 64, left : left + 64]
        )
        assert torch.equal(crop["rows"], sample_weights(top, top + 64, height, 16))
        assert torch.equal(crop["columns"], sample_weights(left, left + 64, width, 16))
        places.add((top, left))
        light.append(float(crop["target"].mean()))
    assert len(places) > 20
    assert np.mean(light) > float(recording["target"].mean())


def test_the_loss_is_least_at_the_expected_count_and_the_right_interval() -> None:
    torch.manual_seed(0)
    counts = Counts(torch.full((1, 1, 1, 1), 1.0))
    target = torch.poisson(torch.full((1, 1, 64, 64), 4.0))  # random counts with a known mean
    terms = CountsWeights(structure=0)

    def slopes(level: float, deviation: float) -> tuple[float, float]:
        picture = torch.tensor([level, deviation])[None, :, None, None].repeat(1, 1, 64, 64)
        picture.requires_grad_()
        counts_losses(picture, target, counts, terms).mean().backward()
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
        data={"folders": [], "exclude": [], "validate_every": 5, "synthetic": 2, "cultured": 1, "size": 96, "pool": 5, "uses": 2},
    )  # fmt: skip


def test_losses_of_a_batch_are_those_of_its_items() -> None:
    torch.manual_seed(2)
    counts = Counts(torch.rand(3, 1, 1, 1))
    target = torch.rand(3, 1, 64, 64) * 9
    picture = torch.cat([target + torch.randn_like(target), torch.ones_like(target)], 1)
    together = counts_losses(picture, target, counts, CountsWeights())
    for i, loss in enumerate(together):
        alone = Counts(counts.curvature[i : i + 1])
        item = slice(i, i + 1)
        assert loss == pytest.approx(
            float(counts_losses(picture[item], target[item], alone, CountsWeights())), rel=1e-5
        )


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
    on, off = (counts_losses(picture, target, counts, CountsWeights(), d) for d in (True, False))
    assert on > off
    assert off == counts_losses(picture, target, counts, CountsWeights(structure=0))


def test_calibrated_intervals_have_the_stated_coverage(tmp_path: Path) -> None:
    network = calibrated(lively_cascade(config=COUNTS), recordings=3)
    path = tmp_path / "calibrated.safetensors"
    weights.save(network, path, {})
    assert interval_factor(path, recordings=3) == pytest.approx(1, abs=0.25)


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
