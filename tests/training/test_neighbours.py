"""Training of the stage of neighbouring frames: items, a run, and the exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_dcr.network import weights
from napari_dcr.training.export import export
from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.neighbours import (
    FRAMES,
    SIDE,
    TOGETHER,
    USES,
    NeighbourTrainer,
    SequenceFeatures,
    draw_present,
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
            "synthetic": 2, "cultured": 1, "size": 96,
        },
    )  # fmt: skip


def test_items_are_the_same_everywhere_and_run_in_both_directions(
    config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = NeighbourTrainer(config, tmp_path, tmp_path / "run")
    scenes = trainer.scenes()
    items, again = (SequenceFeatures(scenes, trainer.network, 32, 400, 5) for _ in range(2))
    for key, value in items[13].items():
        assert torch.equal(value, again[13][key])
    of_first = [items[turn * TOGETHER] for turn in range(USES)]
    assert torch.equal(of_first[0]["pixels"], of_first[1]["pixels"].flip(0))
    assert torch.equal(of_first[0]["target"], of_first[1]["target"])
    middles = {float(item["x"].sum()) for item in of_first}
    assert len(middles) == FRAMES - 2 * SIDE == USES // 2
    for item in of_first:
        assert all(torch.isfinite(v).all() for v in item.values())
        assert item["latent"].shape[:1] == (2 * SIDE + 1,)


def test_recordings_have_the_noise_of_their_model(config: TrainingConfig, tmp_path: Path) -> None:
    trainer = NeighbourTrainer(config, tmp_path, tmp_path / "run")
    items = SequenceFeatures(trainer.scenes(), trainer.network, 32, 400, 6)
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
    config: TrainingConfig, lively_counts: Path, tmp_path: Path
) -> None:
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
    assert interval_factor(model.network, trainer.scenes(), 32) == pytest.approx(1, abs=0.25)
