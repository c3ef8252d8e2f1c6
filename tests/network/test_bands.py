"""Bands of rows make the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_dcr.network import bands


def test_bands_of_rows_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND", 200)
    x = torch.rand(2, 3, 34, 20)
    half = torch.rand(2, 1, 17, 10)
    sizes = []

    def last(rows: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append((rows.shape[2], other.shape[2]))
        both = torch.cat([rows, F.interpolate(other, scale_factor=2.0)], 1).bfloat16()
        return both.contiguous(memory_format=torch.channels_last), rows.double()

    def around(rows: torch.Tensor) -> tuple[torch.Tensor]:
        return (F.avg_pool2d(rows, 7, 1, 3, count_include_pad=False),)

    with torch.inference_mode():
        both, wide = bands.in_bands(last, x, half)
        assert sizes == [(8, 4)] * 4 + [(2, 1)]
        assert torch.equal(both, last(x, half)[0])
        assert both.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(wide, x.double())
        (planes,), (whole,) = bands.in_bands(around, x, halo=3), around(x)
        assert torch.allclose(planes, whole, atol=1e-6)
        assert planes.is_contiguous()
        assert not torch.allclose(bands.in_bands(around, x)[0], planes)
