"""Arrays in memory as output."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr

FAST = {"depth": 1, "device": "cpu", "precision": "fp32"}


def test_out_is_filled_and_checked(dim_rgb: NDArray[np.uint8]) -> None:
    out = np.empty_like(dim_rgb)
    assert napari_dcr.enhance(dim_rgb, **FAST, out=out) is out
    assert (out == napari_dcr.enhance(dim_rgb, **FAST)).all()
    with pytest.raises(ValueError, match="^out: got an array that shares memory"):
        napari_dcr.enhance(dim_rgb, out=dim_rgb)
    with pytest.raises(ValueError, match="^out: got shape"):
        napari_dcr.enhance(dim_rgb, out=out[1:])
    with pytest.raises(TypeError, match="^out: got list"):
        napari_dcr.enhance(dim_rgb, out=[])  # type: ignore[arg-type]
