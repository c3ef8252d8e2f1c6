"""Counts: stabilised and restored, with noise of standard deviation 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.network.variance_stabilization import Counts


@given(st.floats(0, 1.63), st.floats(-20, 1e5))
def test_stabilisation_is_inverted_and_increases(curvature: float, level: float) -> None:
    counts = Counts(torch.tensor([curvature], dtype=torch.float64)[:, None, None, None])
    x = torch.tensor([level, level + 1e-3], dtype=torch.float64)[None, None, None]
    z = counts.stabilise(x)
    assert torch.allclose(counts.restore(z), x, rtol=1e-9, atol=1e-9)
    assert z[..., 1] > z[..., 0]


@given(st.floats(0, 1.6), st.floats(1, 1e4))
def test_stabilised_noise_has_deviation_one(curvature: float, level: float) -> None:
    counts = Counts(torch.tensor([curvature], dtype=torch.float64)[:, None, None, None])
    x = torch.full((1, 1, 1, 1), level, dtype=torch.float64, requires_grad=True)
    counts.stabilise(x).backward()
    assert x.grad is not None
    # Delta method: slope times standard deviation.
    assert float(x.grad * counts.deviation(x.detach())) == pytest.approx(1, rel=1e-9)
