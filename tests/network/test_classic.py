"""The cascade as published."""

from __future__ import annotations

import torch

from napari_dcr.network.classic import ClassicCascade


def test_classic_is_the_published_cascade() -> None:
    network = ClassicCascade()
    x = torch.rand(2, 3, 48, 64)
    y = network(x)
    assert y.shape == x.shape
    assert len(network.unets) == 3
    assert all(latent.shape[1] == 3 for latent in network.latents(x))
    # A draft of the same author's later network with this U-Net counts 238 531 parameters in it.
    assert 200_000 < sum(p.numel() for p in network.unets[0].parameters()) < 260_000
