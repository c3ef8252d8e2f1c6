"""Missing pixels are filled for the network, in the same way in every window."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.image.missing import REACH, filled, missing


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_missing_pixels_are_filled_the_same_in_any_window(dtype: str) -> None:
    rng = np.random.default_rng(0)
    image = np.ma.MaskedArray(rng.uniform(100, 900, (2, 90, 80)).astype(dtype))
    image[:, 30:80, 20:70] = np.ma.masked
    image[:, rng.random((90, 80)) < 0.1] = np.ma.masked
    whole = filled(image)
    assert (whole[~np.ma.getmaskarray(image)] == image[~np.ma.getmaskarray(image)]).all()
    gone = missing(whole)
    assert gone is not None
    assert 0 < gone.mean() < 0.3  # pixels far from all valid ones stay missing
    window = filled(image[:, 20 - REACH : 60 + REACH, 15 - REACH : 50 + REACH])
    inner = window[:, REACH:-REACH, REACH:-REACH]
    assert (inner.data == whole.data[:, 20:60, 15:50]).all()
    assert (inner.mask == whole.mask[:, 20:60, 15:50]).all()


def test_images_without_missing_pixels_are_not_copied() -> None:
    image = np.ones((1, 4, 5), np.float32)
    assert filled(image) is image
