"""The ablation trains and scores variants that lack one part each."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.network.classic import ClassicCascade
from napari_dcr.training.evaluation import ablation
from napari_dcr.training.evaluation.evaluate import score


def save(path: Path, seed: int, gain: float = 1.0) -> None:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    picture = PILImage.fromarray((coarse * gain).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((200, 184), PILImage.Resampling.BICUBIC).save(path)


@pytest.mark.slow
def test_every_row_is_trained_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[tuple[bytes, ...], dict[str, float]] = {}

    def scored(*pictures: NDArray[np.uint8]) -> dict[str, float]:
        """Metrics, which take most of the time, of pictures that were not scored before."""
        key = tuple(picture.tobytes() for picture in pictures)
        if key not in known:
            known[key] = score(*pictures)
        return known[key]

    monkeypatch.setattr(ablation, "score", scored)
    for seed in range(20):
        save(tmp_path / f"train/photo/bsds500/{seed:02}.png", seed)
    save(tmp_path / "train/photo/public-domain/0.png", 20)
    save(tmp_path / "train/photo/cc0/0.png", 22)
    radiance = np.random.default_rng(23).gamma(2, 0.2, (184, 200, 3)).astype(np.float32)
    (tmp_path / "train/photo/hdr").mkdir()
    (tmp_path / "train/photo/hdr/0.hdr").write_bytes(imagecodecs.rgbe_encode(radiance))
    save(tmp_path / "pairs/low/0.png", 21, 0.1)
    save(tmp_path / "pairs/high/0.png", 21)
    command = [str(tmp_path / "pairs"), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    ablation.main([*command, "--steps", "1", "--batch", "1"])
    printed = capsys.readouterr().out
    tables = [part.splitlines() for part in printed.split("\n\n")[2::2]]
    assert len(tables) == 2
    for table in tables:
        assert len(table) == 2 + sum(len(v.settings) for v in ablation.VARIANTS.values())
        assert all(line.count("|") == table[0].count("|") for line in table)
        scores = {line for line in table[2:] if "nan" not in line}
        assert len(scores) == len(table) - 2  # no two rows alike, none undefined
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("checkpoint.pt")}
    ablation.main([*command, "--steps", "1", "--batch", "1"])
    assert capsys.readouterr().out == printed
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("checkpoint.pt")}


def test_without_curve_and_grid_the_result_does_not_depend_on_the_whole_image() -> None:
    torch.manual_seed(0)
    network = ablation.PartialCascade()
    network.curve = network.grid = False
    dim, bright = torch.rand(1, 3, 64, 64) * 0.1, torch.rand(1, 3, 64, 64)
    one, other = network.condition(dim), network.condition(bright)
    for a, b in zip((*one.tone, one.grid), (*other.tone, other.grid), strict=True):
        assert torch.equal(a, b)
    x = torch.rand(1, 3, 16, 16) * 0.8
    place = network.window_weights((0, 16), (0, 16), (16, 16))
    assert torch.allclose(network(x, one, place, 0), x, atol=1e-6)


def test_restoring_takes_pictures_of_any_size() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (37, 51, 3)).astype(np.uint8)
    for network in (ClassicCascade(), ablation.PartialCascade()):
        result = ablation.restore(network, picture, 3, True)
        assert result.shape == picture.shape
        assert result.dtype == np.uint8


def test_a_tone_of_pixels_multiplies_pixels() -> None:
    torch.manual_seed(0)
    tone = ablation.PartialCascade().train().condition(torch.rand(1, 3, 64, 64)).tone
    base, x = torch.rand(2, 1, 3, 16, 24) * 0.8  # below the knee of highlights
    gain, bias = torch.rand(2, 1, 3, 16, 24) * 0.1 - 0.05
    maps = torch.cat([F.pixel_unshuffle(gain, 2), F.pixel_unshuffle(bias, 2)], 1)
    pixels = ablation.PixelTone(*tone)
    assert torch.allclose(pixels.picture(base, x, maps), base * (1 + gain) + bias, atol=1e-5)
    assert not torch.allclose(tone.picture(base, x, maps), base * (1 + gain) + bias, atol=1e-2)
    assert torch.equal(pixels.picture(base, x), tone.picture(base, x))
