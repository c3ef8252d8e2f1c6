"""The training loop: schedule, phases, frozen parts, resuming."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_dcr.training.loop import Trainer, TrainingConfig, learning_rate


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_mixed_precision_is_for_devices_that_have_it(
    precision: str,
    photographs: Path,
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_dcr.training.loop.hardware_precision", lambda _: precision)
    trainer = Trainer(config, photographs, tmp_path)
    with trainer.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_frozen_parts_stay_as_they_are(
    photographs: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    trainer = Trainer(dataclasses.replace(config, frozen=["global_net"]), photographs, tmp_path)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.train(workers=0)
    for name, value in trainer.network.state_dict().items():
        if name.startswith("global_net."):
            assert torch.equal(value, before[name])
    assert not torch.equal(trainer.network.head.weight, before["head.weight"])


def test_schedule_warms_up_and_cools_down(config: TrainingConfig) -> None:
    config = dataclasses.replace(config, steps=1000, warmup=100)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates[0] < rates[50] < rates[100]
    assert rates[-1] == pytest.approx(config.final_learning_rate, rel=0.05)


def test_a_phase_changes_conditions_and_restarts_the_schedule(config: TrainingConfig) -> None:
    phases: list[dict[str, object]] = [
        {"from_step": 10, "black": [-0.5, 0.0], "cast": 0.1},
        {"from_step": 60, "steps": 90, "learning_rate": 5e-4, "key": 0.5},
    ]
    config = dataclasses.replace(config, steps=50, warmup=5, phases=phases)
    assert config.length == 90
    rates = [learning_rate(config, step) for step in range(90)]
    assert rates[49] == pytest.approx(config.final_learning_rate, rel=0.2)
    assert rates[59] == config.final_learning_rate
    assert rates[60] == 5e-4
    assert rates[89] == pytest.approx(config.final_learning_rate, rel=0.2)
    conditions = config.conditions()
    assert conditions[10 * config.batch].black == (-0.5, 0.0)
    assert conditions[60 * config.batch].key == 0.5


def test_a_resumed_run_equals_an_uninterrupted_one(
    photographs: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    straight = Trainer(config, photographs, tmp_path / "straight")
    straight.train(workers=0)
    first = Trainer(config, photographs, tmp_path / "resumed")
    for batch, _ in zip(first.batches(0), range(3), strict=False):
        first.train_step(batch)
    first.save()
    second = Trainer(config, photographs, tmp_path / "resumed")
    assert second.step == 3
    second.train(workers=0)
    assert second.step == straight.step == 6
    for one, other in zip(straight.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_both_settings_are_trained_and_shared_weights_follow_the_careful_one_more(
    photographs: Path, config: TrainingConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, shared=0.25, regional_rate=4.0)
    trainer = Trainer(config, photographs, tmp_path)
    with torch.no_grad():  # a head of zeros would pass no gradient on
        trainer.network.head.weight.normal_(0, 0.02)
    batch = next(trainer.batches(0))

    def gradients(*names: str) -> tuple[torch.Tensor, torch.Tensor]:
        losses = trainer.losses(batch, np.random.default_rng(0))
        assert set(losses) == set(trainer.SHARES)
        trainer.optimiser.zero_grad()
        trainer._backward({k: v if k in names else 0 * v for k, v in losses.items()})
        front, regional = trainer.network.front.weight, trainer.network.details[0].regional.weight
        assert front.grad is not None
        assert regional.grad is not None
        return front.grad.clone(), regional.grad.clone()

    on, own = gradients("early", "final")
    off, none = gradients("early_off", "final_off")
    both, together = gradients("early", "final", "early_off", "final_off")
    assert own.abs().max() > 0
    assert none.abs().max() == 0
    torch.testing.assert_close(both, on + off, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(together, own, rtol=1e-3, atol=1e-6)
    trainer.config = dataclasses.replace(trainer.config, shared=1.0)
    torch.testing.assert_close(gradients("early", "final")[0], 4 * on, rtol=1e-3, atol=1e-6)
    trainer.train_step(batch)
    rates = [group["lr"] for group in trainer.optimiser.param_groups]
    assert rates[1] == pytest.approx(4 * rates[0])
