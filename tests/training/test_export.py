"""A short training run ends in a weights file that enhances."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import napari_dcr
from napari_dcr.network import weights
from napari_dcr.training.export import export
from napari_dcr.training.loop import Trainer, TrainingConfig


@pytest.mark.slow
def test_training_lowers_the_loss_and_exports(
    photographs: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, steps=60, learning_rate=2e-3)
    trainer = Trainer(config, photographs, tmp_path)
    batch = next(iter(trainer.batches(0)))
    losses = [sum(trainer.train_step(batch).values()) for _ in range(40)]
    assert losses[-1] < 0.75 * losses[0]
    path = tmp_path / "mine.safetensors"
    digest = export(trainer, path)
    model = weights.load(path)
    assert model.sha256 == digest
    assert model.training["steps"] == 40
    assert napari_dcr.enhance(np.zeros((9, 9, 3), np.uint8), model=path).shape == (9, 9, 3)
