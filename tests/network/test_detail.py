"""The detail module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_dcr.network.detail import _nine_differences


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (32, 24)])
def test_the_detail_module_leaves_out_the_mean_of_3_by_3(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    mean = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(_nine_differences(x) / 9, x - mean, atol=1e-6)
