"""The global net: conditioning of one image does not depend on others."""

from __future__ import annotations

import torch

from tests.conftest import lively_cascade


def test_conditioning_does_not_depend_on_the_batch() -> None:
    network = lively_cascade()
    thumbnails = torch.rand(3, 3, 64, 64) * 0.2
    with torch.inference_mode():
        together = network.condition(thumbnails)
        alone = network.condition(thumbnails[1:2])
    assert torch.allclose(together.grid[1:2], alone.grid, atol=1e-5)
    assert torch.allclose(together.tone.curve[1:2], alone.tone.curve, atol=1e-6)
