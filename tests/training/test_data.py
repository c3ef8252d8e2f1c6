"""Training pairs are seeded, and do not contain held-out files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_dcr.training.data import RADIANCE, PhotoPairs, image_files, load_radiance
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


def test_folders_are_drawn_by_their_shares(photographs: Path, config: TrainingConfig) -> None:
    data = {**config.data, "folders": ["pictures", "pictures"], "shares": [0.75, 0.25]}
    weighted = dataclasses.replace(config, data=data)
    assert weighted.shares(photographs) == pytest.approx([0.25] * 3 + [0.25 / 3] * 3)
    assert len(set(config.shares(photographs))) == 1


def test_radiance_files_are_read(tmp_path: Path) -> None:
    import imagecodecs
    import OpenEXR

    radiance = np.random.default_rng(0).gamma(1, 10, (20, 30, 3)).astype(np.float32)
    (tmp_path / "a.hdr").write_bytes(imagecodecs.rgbe_encode(radiance))
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION}, {"RGB": radiance}) as file:
        file.write(str(tmp_path / "b.exr"))
    found = image_files(tmp_path, RADIANCE)
    assert [path.name for path in found] == ["a.hdr", "b.exr"]
    for path in found:
        assert load_radiance(path) == pytest.approx(radiance, rel=0.02, abs=0.6)
    pair = PhotoPairs(found, 96, 10, seed=1)[0]
    assert torch.isfinite(pair["input"]).all()


def test_rooms_are_treated_like_photographs() -> None:
    rooms = PhotoPairs([], 96, 20, seed=1, rooms=1.0)
    scenes = [rooms.scene(index)[1] for index in range(20)]
    assert {scene.kind for scene in scenes} == {"photograph"}
    assert not all(scene.kept for scene in scenes)
