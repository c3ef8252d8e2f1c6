"""Folding is pixel_unshuffle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.network.folding import FOLD, fold, unfold


@given(shape=st.tuples(*[st.integers(1, 4)] * 4), last=st.booleans())
def test_folding_is_pixel_unshuffle(shape: tuple[int, int, int, int], last: bool) -> None:
    batch, channels, height, width = shape
    x = torch.rand(batch, channels, FOLD * height, FOLD * width)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    folded = fold(x)
    assert torch.equal(folded, F.pixel_unshuffle(x, FOLD))
    assert torch.equal(unfold(folded), x)
