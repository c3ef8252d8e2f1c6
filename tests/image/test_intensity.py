"""Histograms, black and white points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_dcr.image.intensity import Histogram, Scale, find_scale


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64]),
        st.integers(1, 300),
    ),
    st.floats(0, 1),
)
def test_histogram_quantiles_are_close_to_exact_ones(values: NDArray[Any], share: float) -> None:
    histogram = Histogram(values.dtype)
    histogram.add(values[: len(values) // 2])
    histogram.add(values[len(values) // 2 :])
    finite = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not finite.size:
        assert histogram.quantile(share) == 0
        return
    exact = finite[max(0, int(np.ceil(share * finite.size)) - 1)]
    found = histogram.quantile(share)
    limit = np.finfo(np.float32).max
    exact, found = np.clip([exact, found], -limit, limit)
    tolerance = 0 if values.dtype.kind != "f" else 2**-7 * abs(exact) + 1e-38
    assert abs(found - exact) <= tolerance


@pytest.mark.parametrize(
    ("values", "scientific", "scale"),
    [
        (np.array([0, 90], np.uint8), False, Scale(0, 255)),
        (np.arange(4000, dtype=np.uint16), False, Scale(0, 65535)),
        (np.arange(100, 4000, dtype=np.uint16), True, Scale(103, 4095)),
        (np.arange(30000, dtype=np.uint16), True, Scale(29, 2**15 - 1)),
        (np.arange(65536, dtype=np.uint16), True, Scale(65, 65535)),
        (np.linspace(0, 0.1, 50, dtype=np.float32), False, Scale(0, 1)),
        (np.full(9, 5.0), False, Scale(0, 5)),
        (np.linspace(-0.001, 0.7, 50), False, Scale(0, 1)),
        (np.linspace(20, 300, 50), True, Scale(20, 300)),
        (np.full(9, np.nan), False, Scale(0, 1)),
    ],
)
def test_black_and_white_point(values: NDArray[Any], scientific: bool, scale: Scale) -> None:
    histogram = Histogram(values.dtype)
    histogram.add(values)
    found = find_scale("auto", values.dtype, histogram, scientific)
    assert found.black == pytest.approx(scale.black, rel=0.02)
    assert found.white == pytest.approx(scale.white, rel=0.02)


def test_one_hot_pixel_does_not_set_the_white_point() -> None:
    values = np.full(100_000, 200, np.uint16)
    values[0] = 65535
    histogram = Histogram(values.dtype)
    histogram.add(values)
    assert find_scale("auto", values.dtype, histogram, True).white == 255
