"""The tone curve: monotone, keeps hue; its encoding and its refinement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_dcr.image.tone import linear_to_srgb, srgb_to_linear
from napari_dcr.network.coring import VISIBLE
from napari_dcr.network.folding import FOLD
from napari_dcr.network.tone import TABLE_SIZE, apply_tone, decode, encode
from tests.conftest import lively_cascade


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5])
def test_depth_0_is_monotone_and_keeps_hue(level: float) -> None:
    network = lively_cascade()
    conditioning = network.condition(torch.full((1, 3, 64, 64), level))
    curve = conditioning.tone.curve
    assert curve.shape == (1, TABLE_SIZE)
    assert (curve.diff() > 0).all()
    assert curve[0, 0] == 0
    assert curve[0, -1] <= 1 + 1e-6
    hue = torch.tensor([1.0, 0.6, 0.3])[None, :, None, None]
    ramp = encode(hue * torch.linspace(0.05, 1, 50))
    neutral = conditioning.tone._replace(
        black=torch.zeros(1, 3, 1, 1), balance=torch.ones(1, 3, 1, 1)
    )
    light = decode(apply_tone(ramp, neutral))
    assert torch.allclose(light / light[:, :1], hue.expand_as(light), rtol=0.02)


def test_encode_and_decode_are_those_of_srgb() -> None:
    v = np.linspace(0, 1, 20001, dtype=np.float32)
    assert np.abs(decode(torch.from_numpy(v)).numpy() - srgb_to_linear(v)).max() < 1e-6
    assert np.abs(encode(torch.from_numpy(v)).numpy() - linear_to_srgb(v)).max() < 1e-6
    below = torch.tensor([-0.5, 0.0, 0.002])  # straight
    assert torch.allclose(encode(below), 12.92 * below, atol=1e-6)
    assert torch.allclose(decode(encode(below)), below, atol=1e-6)


def test_a_gain_alone_smooths_blocks_and_keeps_their_means() -> None:
    tone = lively_cascade().train().condition(torch.rand(1, 3, 64, 64)).tone
    base, x = torch.rand(2, 1, 3, 16, 24) * 0.8  # below the knee of highlights
    gain = torch.tensor([0.0, -1.0, -1.0, -1.0]).repeat(3)[None, :, None, None]
    maps = torch.cat([gain, 0 * gain], 1).expand(1, 24, 8, 12)
    means = F.interpolate(F.avg_pool2d(base, FOLD), scale_factor=float(FOLD))
    assert torch.allclose(tone.picture(base, x, maps), means, atol=1e-6)


def test_training_learns_from_the_weakest_change() -> None:
    network = lively_cascade()
    thumbnail = torch.rand(1, 3, 64, 64)
    assert float(network.condition(thumbnail).tone.visible) == pytest.approx(VISIBLE)
    assert float(network.train().condition(thumbnail).tone.visible) == 0
