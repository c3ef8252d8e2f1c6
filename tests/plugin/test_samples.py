"""Sample data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.plugin.conftest import NAME


@pytest.mark.gui
@pytest.mark.parametrize("key", ["earth-at-night", "nuclei"])
def test_samples_open_and_are_dim(viewer: Any, key: str) -> None:
    layers = viewer.open_sample(NAME, key)
    assert len(layers) == 1
    assert np.asarray(layers[0].data).mean() < 40
    assert tuple(layers[0].contrast_limits) == (0, 255)
