"""Means of weights: shares, another mean for the global network, checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.training.mixing import mixed


@pytest.fixture
def networks(tmp_path: Path) -> tuple[list[Cascade], list[Path]]:
    """Two small networks, one in a weights file and one in a checkpoint."""
    torch.manual_seed(0)
    made = [Cascade(CascadeConfig(stages=1, widths=(4, 4, 4), grid_channels=4)) for _ in range(2)]
    paths = [tmp_path / "a.safetensors", tmp_path / "checkpoint.pt"]
    weights.save(made[0], paths[0], {})
    torch.save({"average": made[1].state_dict(), "step": 3}, paths[1])
    return made, paths


def test_every_weight_is_the_weighted_mean(networks: tuple[list[Cascade], list[Path]]) -> None:
    (one, other), (first, second) = networks
    template = copy.deepcopy(one)
    mean = mixed(template, {first: 0.25, second: 0.75}).state_dict()
    states = one.state_dict(), other.state_dict()
    for name, value in mean.items():
        torch.testing.assert_close(value, 0.25 * states[0][name] + 0.75 * states[1][name])
    assert not torch.equal(mean["front.weight"], template.front.weight)
    assert torch.equal(template.front.weight, one.front.weight)


def test_the_global_network_may_have_other_shares(
    networks: tuple[list[Cascade], list[Path]],
) -> None:
    (one, other), (first, second) = networks
    state = mixed(one, {second: 1.0}, {first: 1.0}).state_dict()
    for name, value in state.items():
        source = one if name.startswith("global_net.") else other
        assert torch.equal(value, source.state_dict()[name])


def test_shares_must_sum_to_one(networks: tuple[list[Cascade], list[Path]]) -> None:
    (one, _), (first, second) = networks
    with pytest.raises(ValueError, match=r"global_shares: got 0\.5 of .*sum is 0\.9 and must be 1"):
        mixed(one, {first: 1.0}, {first: 0.5, second: 0.4})


def test_weights_of_another_network_are_an_error(
    networks: tuple[list[Cascade], list[Path]],
) -> None:
    _, (first, _) = networks
    wider = Cascade(CascadeConfig(stages=1, widths=(8, 4, 4), grid_channels=4))
    with pytest.raises(ValueError, match=r"shares: got .*a\.safetensors, which do not fit"):
        mixed(wider, {first: 1.0})
