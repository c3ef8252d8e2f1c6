"""Coring makes only visible changes, and depends only on nearby ones."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.network.coring import VISIBLE, cored, reach


def changes(deviation: float, seed: int) -> torch.Tensor:
    """A change of the coefficients of 24 x 32 blocks, in display values."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, 4, 24, 32, generator=generator) * (deviation / 255)


@given(deviation=st.floats(0.01, 40), seed=st.integers(0, 99))
def test_only_what_is_visible_is_changed(deviation: float, seed: int) -> None:
    change = changes(deviation, seed)
    made = cored(change, torch.tensor([VISIBLE]))
    assert torch.equal(made[:, :, 0], change[:, :, 0])  # brightness and colour
    fine, wanted = (255 * c[:, :, 1:].std() for c in (made, change))
    assert fine <= wanted + 1e-6
    if deviation < 1:
        assert fine < 0.05 * wanted
    if deviation > 8:
        assert fine > 0.95 * wanted
    assert torch.allclose(cored(change, torch.zeros(1)), change, atol=1e-7)


def test_coring_depends_on_no_more_pixels_than_its_reach() -> None:
    one = changes(2.5, 0)
    other = one.clone()
    other[0, 0, 1, 12, 16] += 0.1
    a, b = (cored(c, torch.tensor([VISIBLE])) for c in (one, other))
    rows, columns = ((a - b).abs().sum((0, 1, 2)) > 0).nonzero().T
    assert (int(rows.min()), int(rows.max())) == reach(12, 12)
    assert (int(columns.min()), int(columns.max())) == reach(16, 16)
