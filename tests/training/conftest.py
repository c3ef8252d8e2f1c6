"""Fixtures for tests of training: a data folder, and the configuration of a short run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.training.loop import TrainingConfig

CONFIG = Path(napari_dcr.__file__).parent / "training" / "photo.toml"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few smooth colourful pictures."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        coarse = PILImage.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
        coarse.resize((160, 120), PILImage.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder.parent


@pytest.fixture
def config() -> TrainingConfig:
    full = TrainingConfig.read(CONFIG)
    data = {"folders": ["pictures"], "exclude": [], "validate_every": 4}
    network = {**full.network, "widths": [8, 8, 8]}
    return dataclasses.replace(
        full, steps=6, batch=2, crop=96, warmup=2, data=data, phases=[], network=network,
        learning_rate=4e-4, final_learning_rate=5e-5,
    )  # fmt: skip
