"""Correlated noise is processed with binning, with the same result in tiles, regions, lazy and resumed runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from scipy import ndimage

import napari_dcr
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import run_to_completion
from napari_dcr.image.noise import estimate_noise
from napari_dcr.io.opening import open_image
from napari_dcr.network.binning import enhance_binned, local_means
from napari_dcr.network.cascade import Cascade
from tests.conftest import COUNTS, lively_cascade

FAST: dict[str, Any] = {"device": "cpu", "precision": "fp32", "output": "float32"}


def recording(
    shape: tuple[int, ...], axes: tuple[int, ...] = (0, 1), seed: int = 0
) -> NDArray[Any]:
    """Light and noise blurred over three pixels along some axes."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    for axis in axes:
        noise = ndimage.convolve1d(noise, np.array([1, 2, 1]) / 6**0.5, axis, mode="wrap")
    light = ndimage.gaussian_filter(rng.standard_normal(shape), 15)
    return np.rint(500 + 80 * light / light.std() + 30 * noise).astype(np.uint16)


@pytest.mark.parametrize(("axes", "binning"), [((0, 1), (3, 3)), ((1,), (1, 3)), ((), (1, 1))])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_tiled_equals_whole(
    lively_counts: Path, axes: tuple[int, ...], binning: tuple[int, int], depth: int
) -> None:
    image = recording((190, 333), axes)
    assert estimate_noise(image).binning == binning
    whole, uncertainty = napari_dcr.enhance(
        image, model=lively_counts, depth=depth, return_uncertainty=True, **FAST
    )
    tiled, of_tiles = napari_dcr.enhance(
        image, model=lively_counts, depth=depth, tile=64, return_uncertainty=True, **FAST
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-3)  # 3e-6 of the range
    np.testing.assert_allclose(of_tiles, uncertainty, rtol=1e-4)
    if depth == 0:
        np.testing.assert_allclose(whole, image, atol=1e-3)


def test_regions_lazy_and_resumed_results_are_those_of_the_whole(
    lively_counts: Path, tmp_path: Path
) -> None:
    image = recording((190, 333))
    whole = napari_dcr.enhance(image, model=lively_counts, depth=1, **FAST)
    options = napari_dcr.Options(model=lively_counts, depth=1, tile=64, **FAST)
    region = slice(40, 130), slice(101, 260)
    part = run_to_completion(RegionEnhancer(open_image(image)).steps(options, region)).image  # type: ignore[arg-type]
    np.testing.assert_allclose(part, whole[region], atol=1e-3)

    lazily = napari_dcr.enhance(
        da.from_array(image, chunks=(70, 90)), model=lively_counts, depth=1, **FAST
    )
    np.testing.assert_allclose(np.asarray(lazily), whole, atol=1e-3)

    steps = napari_dcr.enhance_steps(image, options, tmp_path / "out.zarr", resume=True)
    for step in steps:
        if step.done >= 3 * 64 * 64:
            break
    steps.close()
    resumed = run_to_completion(
        napari_dcr.enhance_steps(image, options, tmp_path / "out.zarr", resume=True)
    )
    np.testing.assert_allclose(zarr.open_array(tmp_path / "out.zarr")[:], whole, atol=1e-3)
    assert resumed.record["noise"][0]["binning"] == [3, 3]


def test_channels_and_frames_have_a_binning_each(lively_counts: Path) -> None:
    both = np.stack([recording((150, 160)), recording((150, 160), ()), recording((150, 160), (1,))])
    apart = napari_dcr.enhance(both, model=lively_counts, channel_axis=0, depth=1, **FAST)
    frames = napari_dcr.enhance(
        both, model=lively_counts, axes="tyx", link_frames=False, depth=1, **FAST
    )
    for number, image in enumerate(both):
        alone = napari_dcr.enhance(image, model=lively_counts, depth=1, **FAST)
        np.testing.assert_array_equal(apart[number], alone)
        np.testing.assert_array_equal(frames[number], alone)
    lazily = napari_dcr.enhance(
        da.from_array(both, chunks=(3, 80, 80)),
        model=lively_counts,
        channel_axis=0,
        depth=1,
        **FAST,
    )
    np.testing.assert_allclose(np.asarray(lazily), apart, atol=1e-3)


def test_the_report_says_what_was_found_and_keeps_means() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((256, 256))
    for axis in (0, 1):
        noise = ndimage.convolve1d(noise, np.array([1, 2, 1]) / 6**0.5, axis, mode="wrap")
    light = 300 + 200 * ndimage.gaussian_filter(rng.standard_normal((256, 256)), 12) * 40
    image = (light + 25 * noise).astype(np.float32)
    out, report = napari_dcr.enhance(
        image, model="microscopy", return_report=True, depth=1, device="cpu"
    )
    assert "noise correlated over 2." in str(report) or "noise correlated over 3." in str(report)
    assert "processed at 3 x 3" in str(report)
    assert report.slope == pytest.approx(1, abs=0.02)
    assert report.total_ratio == pytest.approx(1, abs=2e-3)
    assert report.residual_deviation == pytest.approx(1, abs=0.15)
    assert not any("white" in text for text in report.warnings)
    assert (out - light).std() < 0.35 * (image - light).std()


def test_exits_of_binned_windows_are_those_of_single_runs() -> None:
    network: Cascade = lively_cascade(config=COUNTS)
    x = torch.randn(1, 1, 48, 72)
    thumbnail = torch.randn(1, 1, 64, 64)
    conditioning = network.condition(thumbnail, torch.tensor([0.5]))._replace(binning=(3, 3))
    weights = network.window_weights((0, 48), (0, 72), (48, 72), binning=(3, 3))
    with torch.inference_mode():
        several = enhance_binned(network, x, conditioning, weights, 2, exits=range(3))
        for depth, picture in enumerate(several):
            alone = enhance_binned(network, x, conditioning, weights, depth)
            assert torch.equal(picture, alone)  # type: ignore[arg-type]
    assert torch.equal(several[0][:, :1], x)
    torch.testing.assert_close(local_means(x, (3, 3))[0, 0, 1, 1], x[0, 0, :3, :3].mean())
