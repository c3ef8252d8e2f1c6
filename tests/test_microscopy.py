"""Training of microscopy weights: pairs, loss, a run, the calibration, the checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.enhancement import drain
from napari_dcr.network import weights
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.evaluation import microscopy_checks
from napari_dcr.training.forward.cells import Cell, cultured_scene
from napari_dcr.training.forward.instruments import sample_camera
from napari_dcr.training.forward.structures import (
    KINDS,
    airy,
    labelled,
    real_scene,
    synthetic_scene,
)
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


@pytest.mark.parametrize("kind", sorted(set(KINDS), key=lambda k: k.__name__))
def test_structures_are_light(kind: object) -> None:
    scene = kind((96, 80), np.random.default_rng(1))  # type: ignore[operator]
    assert scene.shape == (96, 80)
    assert np.isfinite(scene).all()
    assert scene.min() >= 0
    assert scene.max() > 0


def test_scenes_are_seeded_and_real_ones_lose_their_noise() -> None:
    one, other = (synthetic_scene(96, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(0)
    picture = rng.poisson(100, (300, 300)).astype(np.uint16)
    scene = real_scene(picture, 96, rng)
    assert scene.shape == (96, 96)
    small = real_scene(picture[:50, :60], 96, rng)
    assert small.shape == (96, 96)
    assert 1 - np.corrcoef(scene[:, :-1].ravel(), scene[:, 1:].ravel())[0, 1] < 0.5


@pytest.mark.parametrize("part", ["fibres", "mitochondria", "membrane", "vesicles", "cytosol"])
def test_parts_of_cells_are_light_and_lie_in_the_cell(part: str) -> None:
    within = []
    for seed in range(6):
        cell = Cell((120, 150), np.random.default_rng(seed))
        light = getattr(cell, part)(np.random.default_rng(seed))
        assert light.shape == (120, 150)
        assert np.isfinite(light).all()
        assert light.min() >= 0
        within.append(light[cell.edge > -10].sum() / light.sum())
    assert np.mean(within) > 0.7  # threads may leave it by their ends


def test_cultured_scenes_are_seeded_and_hold_cells() -> None:
    scenes = [cultured_scene(128, np.random.default_rng(seed)) for seed in range(8)]
    np.testing.assert_array_equal(scenes[3], cultured_scene(128, np.random.default_rng(3)))
    for scene in scenes:
        assert scene.shape == (128, 128)
        assert np.isfinite(scene).all()
        assert scene.min() >= 0
        assert np.quantile(scene, 0.999) == pytest.approx(1, abs=1e-3)
    assert np.mean([(scene > 0.05).mean() for scene in scenes]) > 0.2


def test_a_perfect_lens_passes_light_but_nothing_above_its_cutoff() -> None:
    point = np.zeros((129, 129), np.float32)
    point[64, 64] = 1
    spread = airy(point, 0.2)
    assert spread.min() >= 0
    assert spread.sum() == pytest.approx(1, abs=0.02)  # rings reach far
    power = np.abs(np.fft.rfft2(spread))
    frequency = np.hypot(np.fft.fftfreq(129)[:, None], np.fft.rfftfreq(129)[None])
    assert power[frequency > 0.22].max() < 0.01
    # Half of the cutoff is passed at 0.391 (Goodman 2005, fig. 6.7).
    assert power[np.abs(frequency - 0.1) < 0.004].mean() == pytest.approx(0.391, abs=0.02)


def test_dyes_bind_by_chance_but_as_bright_on_average() -> None:
    part = np.full((400, 400), 0.5, np.float32)
    seen = [labelled(part, np.random.default_rng(seed)) for seed in range(8)]
    assert np.mean(seen) == pytest.approx(0.5, rel=0.02)
    assert min(dots.std() for dots in seen) > 0.2


def test_pairs_are_the_same_everywhere_and_tell_the_noise(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    PILImage.fromarray(np.random.default_rng(0).integers(0, 255, (150, 150), np.uint8)).save(path)
    pairs = MicroscopyPairs([path], 3, 2, 96, 64, 200, 5)
    again = MicroscopyPairs([path], 3, 2, 96, 64, 200, 5)
    for key, value in pairs[7].items():
        assert torch.equal(value, again[7][key])
    squares = []
    for item in (pairs[i] for i in range(len(pairs))):
        assert all(torch.isfinite(v).all() for v in item.values())
        counts = Counts(item["curvature"][None, None, None, None])
        error = (item["input"] - item["target"])[None] / counts.deviation(item["target"][None])
        squares.append(float((error**2).mean()))
    # In units of the noise that is told, noise is 1: but for clipped and hot pixels.
    assert np.median(squares) == pytest.approx(1, abs=0.2)


def test_the_loss_is_least_at_the_expected_count_and_the_right_interval() -> None:
    torch.manual_seed(0)
    counts = Counts(torch.full((1, 1, 1, 1), 1.0))
    target = torch.poisson(torch.full((1, 1, 64, 64), 4.0))  # what is not known but its mean
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


def test_calibrated_intervals_hold_what_they_say(tmp_path: Path) -> None:
    network = calibrated(lively_cascade(config=COUNTS), recordings=6)
    path = tmp_path / "calibrated.safetensors"
    weights.save(network, path, {})
    assert interval_factor(path, recordings=6) == pytest.approx(1, abs=0.25)


def test_cameras_are_drawn_of_every_kind() -> None:
    kinds = {type(sample_camera(np.random.default_rng(i))).__name__ for i in range(40)}
    assert kinds == {"Scmos", "Emccd", "Pmt"}


def test_the_checks_print_their_tables(
    tmp_path: Path, lively_counts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(microscopy_checks.cases(1, size=128))
    for folder, values in (("noisy", case.values), ("clean", case.expected)):
        (tmp_path / folder).mkdir()
        shown = np.clip(values / values.max() * 255, 0, 255).astype(np.uint8)
        PILImage.fromarray(shown).save(tmp_path / folder / "1.png")
    microscopy_checks.score_pairs(str(lively_counts), tmp_path, slow=False)
    printed = capsys.readouterr().out
    assert "| depth 3 |" in printed
    assert "| input |" in printed


def test_a_published_noise_estimate_is_used_by_the_door(lively_counts: Path) -> None:
    case = next(microscopy_checks.cases(1, size=128))
    steps = napari_dcr.enhance_steps(case.values, napari_dcr.Options(model=lively_counts))
    record = drain(steps).record
    estimate = napari_dcr.estimate_noise(case.values)
    assert record["noise"][0]["gain"] == pytest.approx(estimate.model.gain)
