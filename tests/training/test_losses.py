"""Losses have their minimum at the truth."""

from __future__ import annotations

import pytest
import torch

from napari_dcr.training.losses import LossWeights, _spectrum, exit_loss, ms_ssim


def test_losses_are_least_at_the_truth() -> None:
    torch.manual_seed(0)
    truth = torch.rand(2, 3, 96, 96)
    best = exit_loss(truth, truth, LossWeights())
    assert ms_ssim(truth[:, :1], truth[:, :1]) == pytest.approx(1, abs=1e-4)
    for worse in (
        truth * 0.8,
        truth + 0.1 * torch.randn_like(truth),
        truth.mean(1, keepdim=True).expand_as(truth),
    ):
        assert exit_loss(worse, truth, LossWeights()) > best + 0.01


def test_without_detail_only_the_squared_error_counts() -> None:
    torch.manual_seed(0)
    truth = 0.4 + 0.2 * torch.rand(1, 3, 96, 96)
    smooth = torch.nn.functional.avg_pool2d(truth, 3, 1, 1)
    noisy = truth + (smooth - truth).square().mean().sqrt() * torch.randn_like(truth)
    on = [float(exit_loss(x, truth, LossWeights())) for x in (smooth, noisy)]
    off = [float(exit_loss(x, truth, LossWeights(), detail=False)) for x in (smooth, noisy)]
    assert off[0] == pytest.approx(8 * float((smooth - truth).square().mean()), rel=0.1)
    assert off[1] == pytest.approx(off[0], rel=0.1)
    assert on[1] != pytest.approx(on[0], rel=0.1)


def test_the_spectrum_knows_where_texture_is() -> None:
    torch.manual_seed(0)
    noise = 0.05 * torch.randn(1, 1, 64, 32)
    truth = torch.full((1, 1, 64, 64), 0.5)
    truth[..., :32] += noise
    moved = torch.full((1, 1, 64, 64), 0.5)
    moved[..., 32:] += noise  # the same over the whole picture
    assert float((_spectrum(moved) - _spectrum(truth)).abs().mean()) > 0.02
    assert float((_spectrum(truth.flip(2)) - _spectrum(truth)).abs().mean()) < 0.02
