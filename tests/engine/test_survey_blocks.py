"""Extremes of the pixels of a block."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.engine.survey_blocks import Extreme


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_extreme_and_the_value_next_to_it(dtype: str, sign: int) -> None:
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    for low, high in ((3, 100), (float(limits.min), float(limits.max))):
        values = rng.integers(20, 90, 500).astype(dtype)
        values[:30], values[30:80] = low, high
        end, count = (low, 30) if sign < 0 else (high, 50)
        others = values[values != np.dtype(dtype).type(end)].astype(float)
        found = Extreme.of(values, sign)
        assert found == Extreme(end, count, float(others.max() if sign > 0 else others.min()))
