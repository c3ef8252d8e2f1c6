"""Training of the stage of neighbouring frames: items, a run, and the exported file."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_dcr.network import weights
from napari_dcr.training import neighbours
from napari_dcr.training.export import export
from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.neighbours import (
    FRAMES,
    SIDE,
    NeighbourTrainer,
    Sequences,
    draw_frames,
    draw_present,
    has_changed,
    interval_factor,
)


@pytest.fixture
def config(lively_counts: Path) -> TrainingConfig:
    return TrainingConfig(
        name="small", seed=3, steps=40, batch=2, crop=32, learning_rate=3e-3,
        final_learning_rate=1e-4, warmup=2, weight_decay=1e-4, ema=0.9, clip=1.0,
        detail_dropout=0.25, network={"base": "counts", "neighbours": [16, 16, 16]},
        data={
            "base": str(lively_counts), "folders": [], "exclude": [], "validate_every": 12,
            "synthetic": 2, "cultured": 1, "size": 96, "pool": 8, "uses": 2,
        },
    )  # fmt: skip


def test_recordings_are_the_same_everywhere(config: TrainingConfig, tmp_path: Path) -> None:
    scenes = NeighbourTrainer(config, tmp_path, tmp_path / "run").scenes()
    recordings, again = (Sequences(scenes, 32, 20, 5) for _ in range(2))
    for key, value in recordings[13].items():
        assert torch.equal(value, again[13][key])
        assert torch.isfinite(value.float()).all()


def test_items_show_five_frames_in_both_directions(config: TrainingConfig, tmp_path: Path) -> None:
    trainer = NeighbourTrainer(config, tmp_path, tmp_path / "run")
    held = trainer.prepare(Sequences(trainer.scenes(), 32, 1, 5)[0])
    assert held["latent"].shape[0] == FRAMES
    forwards, backwards = (draw_frames(held, 3, step) for step in (1, -1))
    assert torch.equal(forwards["pixels"], held["pixels"][1:6])
    assert torch.equal(forwards["pixels"], backwards["pixels"].flip(0))
    assert torch.equal(forwards["target"], backwards["target"])
    assert torch.equal(forwards["targets"], held["target"][[1, 2, 4, 5], 0])
    # Features of all frames at once are those of each frame.
    alone = {k: v if v.ndim == 0 or k in ("symmetries", "thumbnail", "curvature") else v[2:3]
             for k, v in Sequences(trainer.scenes(), 32, 1, 5)[0].items()}  # fmt: skip
    torch.testing.assert_close(
        trainer.prepare(alone)["latent"][0], held["latent"][2], rtol=1e-4, atol=1e-5
    )
    rng = np.random.default_rng(0)
    middles = {float(trainer.item(held, rng)["x"].sum()) for _ in range(60)}
    assert len(middles) == FRAMES - 2 * SIDE


def test_visible_changes_of_light_are_found() -> None:
    target, noise = torch.full((1, 1, 32, 32), 50.0), torch.full((1, 1, 32, 32), 7.0)
    neighbours = target.repeat(1, 3, 1, 1)
    neighbours[0, 1, 8:16, 8:16] += 10  # a flash of 20 %
    neighbours[0, 2] += 0.1  # less than the noise of any area
    changed = has_changed(neighbours, target, noise)
    assert changed.shape == (1, 3, 16, 16)
    assert not changed[0, 0].any()
    assert (changed[0, 1, 4:8, 4:8] == 1).all()
    assert changed[0, 1].sum() == 16
    assert not changed[0, 2].any()


def test_recordings_have_the_noise_of_their_model(config: TrainingConfig, tmp_path: Path) -> None:
    trainer = NeighbourTrainer(config, tmp_path, tmp_path / "run")
    items = Sequences(trainer.scenes(), 32, 40, 6)
    errors = []
    for number in range(40):
        recording = items._record(np.random.default_rng((6, 1, number)))
        assert recording.values.shape == recording.expected.shape == (FRAMES, 32, 32)
        difference = recording.values - recording.expected
        deviation = recording.noise.deviation(recording.expected)
        errors.append(float(np.mean((difference / deviation) ** 2)))
    assert np.median(errors) == pytest.approx(1, abs=0.3)


def test_at_least_one_neighbour_is_shown() -> None:
    rows = np.concatenate([draw_present(50, np.random.default_rng(seed)) for seed in range(20)])
    assert rows.any(1).all()
    assert 0.5 < np.mean(rows.all(1)) < 0.8
    for hidden in ([0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]):
        assert (rows == hidden).all(1).any()


def test_a_run_trains_the_stage_and_nothing_else(
    config: TrainingConfig,
    lively_counts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = functools.partial(interval_factor, recordings=6)
    monkeypatch.setattr(neighbours, "interval_factor", lambda *given: few(*given[:3]))
    trainer = NeighbourTrainer(config, tmp_path, tmp_path / "run")
    batch = next(trainer.batches(0))
    values = [trainer.train_step(batch) for _ in range(25)]
    assert values[-1]["fused"] < values[0]["fused"]
    trainer.save()
    assert NeighbourTrainer(config, tmp_path, tmp_path / "run").step == 25

    path = tmp_path / "stage.safetensors"
    export(trainer, path)
    model, base = weights.load(path), weights.load(lively_counts)
    state = model.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in base.network.state_dict().items())
    assert model.training["neighbours"]["base"] == base.sha256
    assert model.training["neighbours"]["steps"] == 25
    assert "neighbours.head.weight" in state
    # Standard errors were calibrated on the way.
    assert few(model.network, trainer.scenes(), 32) == pytest.approx(1, abs=0.25)
