"""The block transform is orthonormal and separates luma from colours."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.network.block_dct import dct, inverse_dct
from napari_dcr.network.folding import FOLD, fold


@given(shape=st.tuples(*[st.integers(1, 4)] * 4))
def test_the_blocks_transform_is_orthonormal(shape: tuple[int, int, int, int]) -> None:
    batch, channels, height, width = shape
    folded = torch.rand(batch, channels * FOLD**2, height, width)
    coefficients = dct(folded)
    assert torch.allclose(inverse_dct(coefficients), folded, atol=1e-6)
    assert torch.allclose((coefficients**2).sum(1), (folded**2).sum(1), atol=1e-4)
    light = folded.sum(1) / (channels * FOLD**2) ** 0.5
    assert torch.allclose(coefficients[:, 0], light, atol=1e-5)


def test_training_may_follow_inference() -> None:
    folded = torch.rand(1, 5 * FOLD**2, 2, 2)
    with torch.inference_mode():
        dct(folded)
    dct(folded.requires_grad_()).square().sum().backward()
    assert torch.allclose(folded.grad, 2 * folded, atol=1e-5)


def test_luma_and_colours_are_separate() -> None:
    pixels = torch.zeros(3, 3, 2, 2)
    pixels[0] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # grey, across
    pixels[1] = torch.tensor([1.0, 0.0, -1.0])[:, None, None]  # red against blue, even
    pixels[2] = torch.tensor([1.0, -2.0, 1.0])[:, None, None]  # magenta against green
    found = dct(fold(pixels)).flatten(1).abs() > 1e-6
    assert [row.nonzero().flatten().tolist() for row in found] == [[0, 1], [4], [8]]
