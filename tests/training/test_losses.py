"""Losses are least at the truth."""

from __future__ import annotations

import pytest
import torch

from napari_dcr.training.losses import LossWeights, exit_loss, ms_ssim


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
