"""Fixtures and images of the engine's tests."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.forward.structures import synthetic_scene


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 50, (300, 410, 3), np.uint8)


def recording(seed: int = 0, peak: float = 40) -> NDArray[np.uint16]:
    """Structures of 160 x 160 pixels under an sCMOS camera."""
    rng = np.random.default_rng(seed)
    scene = synthetic_scene(160, rng)
    return Scmos().expose(peak * (scene + 0.1), rng).astype(np.uint16)
