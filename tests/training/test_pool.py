"""Batches from a pool of recordings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.pool import PoolTrainer

BATCH, POOL, USES, STEPS = 4, 24, 3, 60


class Numbers(Dataset[dict[str, Tensor]]):
    """Recordings that hold their own number."""

    def __init__(self, count: int) -> None:
        self.count, self.simulated = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        self.simulated += 1
        return {"number": torch.tensor(number)}


class NumbersTrainer(PoolTrainer):
    """Trainer that shows which recordings it draws."""

    def recordings(self, count: int, workers: int) -> Dataset[dict[str, Tensor]]:
        self.source = Numbers(count)
        return self.source

    def item(self, held: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        return held | {"drawn": torch.tensor(rng.random())}


def _trainer(folder: Path, **changed: Any) -> NumbersTrainer:
    config = TrainingConfig(
        name="tiny", seed=1, steps=STEPS, batch=BATCH, crop=64, learning_rate=1e-3,
        final_learning_rate=1e-5, warmup=1, weight_decay=0, ema=0.9, clip=1, detail_dropout=0.25,
        network={"channels": 1, "base": "counts", "widths": [16, 16, 16]},
        data={"pool": POOL, "uses": USES},
    )  # fmt: skip
    return NumbersTrainer(dataclasses.replace(config, **changed), folder, folder / "run")


def test_every_recording_is_used_as_often_as_asked(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    drawn = torch.stack([batch["number"] for batch in trainer.batches(0)])
    assert drawn.shape == (STEPS, BATCH)
    assert all(len(set(row.tolist())) == BATCH for row in drawn)
    # Each is simulated once, and each step draws from the newest ones.
    assert trainer.source.simulated == trainer.arrived(STEPS - 1)
    for step, row in enumerate(drawn):
        arrived = trainer.arrived(step)
        assert arrived - POOL <= int(row.min()) <= int(row.max()) < arrived
    assert drawn.numel() / len(drawn.unique()) < USES + 1


def test_batches_of_a_resumed_run_are_those_of_the_whole_run(tmp_path: Path) -> None:
    whole = list(_trainer(tmp_path).batches(0))
    for step in (1, 17, 45):
        trainer = _trainer(tmp_path)
        trainer.step = step
        rest = list(trainer.batches(0))
        assert len(rest) == STEPS - step
        for one, other in zip(whole[step:], rest, strict=True):
            assert torch.equal(one["number"], other["number"])
            assert torch.equal(one["drawn"], other["drawn"])
        assert trainer.source.simulated <= POOL + (STEPS - step) * BATCH / USES + 1


def test_batches_do_not_depend_on_the_number_of_loader_processes(tmp_path: Path) -> None:
    one, other = (
        [batch["number"] for batch in _trainer(tmp_path, steps=6).batches(n)] for n in (0, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_small_pool_still_fills_a_batch(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, data={"pool": 2, "uses": USES}, steps=3)
    assert all(batch["number"].shape == (BATCH,) for batch in trainer.batches(0))
