"""Simulated dim photographs."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_dcr.training.forward.synthetic import dim_rendition, dim_stack


def test_frames_of_a_dim_stack_differ_by_their_noise_alone() -> None:
    clean = np.float32(data.astronaut()[:64, :96] / 255)
    stack = dim_stack(clean, 4.0, 7, 3)
    assert (stack[0] == dim_rendition(clean, 4.0, 7)[0]).all()
    assert 0 < np.abs(stack[1] - stack[0]).mean() < 0.02
    assert stack[1].mean() == pytest.approx(stack[0].mean(), rel=0.01)


def test_the_natural_print_is_the_photograph_of_the_dim_scene() -> None:
    clean = np.float32(data.astronaut()[::4, ::4] / 255)
    dim, natural = dim_rendition(clean, 4.0, 7)
    assert np.abs(natural - clean).max() < 2e-3  # bright enough to be printed as it is
    assert dim.mean() < 0.3 * natural.mean()
