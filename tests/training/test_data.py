"""Training pairs: seeded, apart from those held out."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_dcr.training.data import PhotoPairs
from napari_dcr.training.loop import TrainingConfig


def test_pairs_are_the_same_on_every_run(photographs: Path, config: TrainingConfig) -> None:
    files_ = config.files(photographs)
    assert len(files_) == 3
    assert set(files_).isdisjoint(config.files(photographs, held_out=True))
    one, other = (PhotoPairs(files_, 96, 10, seed=1)[7] for _ in range(2))
    for key, value in one.items():
        assert torch.equal(value, other[key])
        assert torch.isfinite(value).all()
    assert one["input"].shape == one["target"].shape == (3, 96, 96)
    assert not torch.equal(one["input"], PhotoPairs(files_, 96, 10, seed=2)[7]["input"])
