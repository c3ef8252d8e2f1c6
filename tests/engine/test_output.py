"""Results of models that work in counts keep units, dtype and local means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import napari_dcr
from napari_dcr.image.noise import estimate_noise
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.forward.structures import synthetic_scene
from tests.engine.conftest import recording


def test_units_dtype_and_local_means_are_kept_by_any_weights(lively_counts: Path) -> None:
    image = recording()
    out, report = napari_dcr.enhance(image, model=lively_counts, return_report=True)
    assert out.dtype == np.uint16
    # Up to the border, where there is less around.
    assert out.astype(float).mean() == pytest.approx(image.mean(), rel=5e-3)
    assert report.slope == pytest.approx(1, abs=0.15)
    exact = napari_dcr.enhance(image, model=lively_counts, output="float32")
    assert np.abs(np.rint(exact) - out).max() <= 1


def test_no_pixel_changes_by_more_than_noise_explains(lively_counts: Path) -> None:
    clean = (1000 * synthetic_scene(160, np.random.default_rng(5)) + 300).astype(np.float32)
    out = napari_dcr.enhance(clean, model=lively_counts)
    noise = estimate_noise(clean).model
    counts = Counts(torch.full((1, 1, 1, 1), noise.curvature))
    level = torch.from_numpy((clean - noise.offset) / noise.unit)[None, None]
    reach = 2.2 * 8 * counts.deviation(level)[0, 0].numpy() * noise.unit + 40 * noise.gain
    assert (np.abs(out - clean) <= reach).all()


def test_exposure_is_a_plain_gain_and_strength_a_mixture(lively_counts: Path) -> None:
    image = recording().astype(np.float32)
    black = (100.0, 65535.0)
    plain = napari_dcr.enhance(image, model=lively_counts, input_range=black)
    brighter, residual = napari_dcr.enhance(
        image, model=lively_counts, input_range=black, exposure=1, return_residual=True
    )
    np.testing.assert_allclose(brighter - 100, 2 * (plain - 100), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(residual, image - plain, atol=1e-2)
    half = napari_dcr.enhance(image, model=lively_counts, input_range=black, strength=0.5)
    np.testing.assert_allclose(half, (image + plain) / 2, atol=1e-2)
    np.testing.assert_array_equal(napari_dcr.enhance(image, model=lively_counts, strength=0), image)


def test_pixels_that_are_not_finite_are_kept(lively_counts: Path) -> None:
    image = recording().astype(np.float32)
    image[20, 30], image[50, 60] = np.nan, np.inf
    out = napari_dcr.enhance(image, model=lively_counts)
    assert np.isnan(out[20, 30])
    assert np.isposinf(out[50, 60])
    assert np.isfinite(out).sum() == out.size - 2
