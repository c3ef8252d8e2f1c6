"""The global net: conditioning of one image does not depend on others."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import COUNTS, lively_cascade


def test_conditioning_does_not_depend_on_the_batch() -> None:
    network = lively_cascade()
    thumbnails = torch.rand(3, 3, 64, 64) * 0.2
    with torch.inference_mode():
        together = network.condition(thumbnails)
        alone = network.condition(thumbnails[1:2])
    assert torch.allclose(together.grid[1:2], alone.grid, atol=1e-5)
    assert torch.allclose(together.tone.curve[1:2], alone.tone.curve, atol=1e-6)


@pytest.mark.parametrize("symmetry", range(1, 8))
@pytest.mark.parametrize("channels", [3, 1])
def test_a_turned_or_mirrored_image_is_conditioned_alike(channels: int, symmetry: int) -> None:
    network = lively_cascade(config=None if channels == 3 else COUNTS)
    torch.manual_seed(1)
    thumbnail = torch.rand(1, channels, 64, 64) ** 3
    curvature = None if channels == 3 else torch.tensor([0.1])

    def turned(x: torch.Tensor) -> torch.Tensor:
        x = torch.rot90(x, symmetry % 4, (2, 3))
        return x.flip(3) if symmetry >= 4 else x

    with torch.inference_mode():
        upright = network.condition(thumbnail, curvature)
        other = network.condition(turned(thumbnail), curvature)
    for one, two in zip(upright.tone, other.tone, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(turned(upright.grid), other.grid)
    assert upright.grid.std() > 0
