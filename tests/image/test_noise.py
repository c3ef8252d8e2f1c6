"""Noise estimates: cameras, units; clipped, saturated, sparse, padded, small, correlated."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.block_levels import expected_levels
from napari_dcr.image.noise import estimate_noise, fit_noise
from napari_dcr.image.noise_blocks import block_statistics
from napari_dcr.image.noise_levels import clipped_normal
from napari_dcr.image.noise_model import NoiseEstimate, NoiseModel
from napari_dcr.training.forward.instruments import Camera, Emccd, Pmt, Scmos
from napari_dcr.training.forward.structures import synthetic_scene

Image = NDArray[Any]


@pytest.mark.parametrize("camera", [Scmos(), Emccd(), Pmt(bits=16)], ids=str)
@pytest.mark.parametrize("peak", [20, 100, 1000])
def test_noise_is_estimated_within_a_fifth(camera: Camera, peak: float) -> None:
    scene = synthetic_scene(384, np.random.default_rng(11))
    values = camera.expose(peak * (scene + 0.05), np.random.default_rng(12)).astype(np.uint16)
    found = estimate_noise(values)
    truth = camera.noise.at(found.model.offset)
    for level in (found.model.offset, *np.quantile(values, [0.5, 0.99])):
        assert found.model.deviation(level) == pytest.approx(truth.deviation(level), rel=0.2)
    assert 0.8 < found.whiteness < 1.2
    assert 0 < found.gain_error < 0.25 * truth.gain


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
@settings(max_examples=20)
def test_the_estimate_follows_the_units(factor: float, shift: float) -> None:
    rng = np.random.default_rng(1)
    image = rng.poisson(np.linspace(2, 60, 128) * np.ones((128, 1))).astype(np.float64)
    plain, other = estimate_noise(image).model, estimate_noise(factor * image + shift).model
    assert other.gain == pytest.approx(factor * plain.gain, rel=1e-6)
    assert other.dark == pytest.approx(factor**2 * plain.dark, rel=1e-6)
    assert other.offset == pytest.approx(factor * plain.offset + shift, rel=1e-6, abs=1e-6)


def test_blurred_noise_is_detected() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (256, 256))
    blurred = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    assert estimate_noise(noise).whiteness == pytest.approx(1, abs=0.1)
    assert estimate_noise(blurred).whiteness < 0.75


GAIN, OFFSET, READ = 2.0, 100.0, 3.0


def _light(size: int = 256, seed: int = 0) -> Image:
    """Expected photons of a smooth scene, 2 to 60."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), 12)
    return 2 + 58 * (field - field.min()) / np.ptp(field)


def _recording(photons: Image, seed: int = 1) -> Image:
    rng = np.random.default_rng(seed)
    return OFFSET + GAIN * rng.poisson(photons) + rng.normal(0, READ, photons.shape)


def _agrees(found: NoiseEstimate, levels: Image, within: float = 0.15) -> None:
    truth = NoiseModel(GAIN, OFFSET, READ**2)
    ratio = (found.model.deviation(levels) / truth.deviation(levels)) ** 2
    np.testing.assert_allclose(ratio, 1, atol=within)


LEVELS = OFFSET + GAIN * np.array([10.0, 30, 55])


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_gain_and_read_noise_are_found(dtype: str) -> None:
    _agrees(estimate_noise(np.rint(_recording(_light())).astype(dtype)), LEVELS)


@given(
    st.floats(-200, 2000),
    st.floats(0.05, 0.6),
    st.sampled_from(["uint16", "float32"]),
    st.sampled_from(["frame", "circle", "shear"]),
)
@settings(max_examples=12)
def test_padding_has_no_noise_and_does_not_count(
    value: float, share: float, dtype: str, shape: str
) -> None:
    image = _recording(_light())
    if dtype == "uint16":
        image, value = np.rint(image), round(abs(value))
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    outside = {
        "frame": np.maximum(abs(y), abs(x)) > np.sqrt(1 - share),
        "circle": np.hypot(y, x) > np.sqrt(4 * (1 - share) / np.pi),
        "shear": x + y / 2 > np.quantile(x + y / 2, 1 - share),
    }[shape]
    image[outside] = value
    _agrees(estimate_noise(image.astype(dtype)), LEVELS[1:], 0.25)


def test_blocks_that_are_left_out_are_counted() -> None:
    image = np.random.default_rng(3).normal(100, 5, (128, 128)).astype(np.float32)
    assert estimate_noise(image).left_out == 0
    assert not estimate_noise(image).describe_blocks()
    image[:40] = 0
    found = estimate_noise(image)
    assert 80 <= found.left_out <= 80 + 16  # five rows of blocks, and at most the one beside them
    assert str(found.left_out) in found.describe_blocks()
    assert found.to_dict()["left_out"] == found.left_out
    assert estimate_noise(np.zeros((16, 16))).left_out == 4


def test_a_black_frame_among_others_does_not_count() -> None:
    frames = [np.rint(_recording(_light(96, seed), seed)).astype(np.uint16) for seed in range(6)]
    alone = estimate_noise(frames)
    frames[2] = np.zeros_like(frames[2])
    found = estimate_noise(frames)
    np.testing.assert_allclose(
        found.model.deviation(LEVELS), alone.model.deviation(LEVELS), rtol=0.1
    )
    assert found.model.offset > 50


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_saturated_pixels_are_corrected_for(share: float) -> None:
    image = np.rint(_recording(_light()))
    image = np.minimum(image, np.quantile(image, 1 - share)).astype(np.uint16)
    found = estimate_noise(image)
    assert found.saturated == pytest.approx(share, abs=0.03)
    _agrees(found, LEVELS[:2], 0.2)


def test_the_largest_value_of_an_unclipped_image_is_not_saturated() -> None:
    rng = np.random.default_rng(0)
    assert estimate_noise(rng.poisson(0.4, (256, 256)).astype(np.uint8)).saturated == 0
    assert estimate_noise(np.rint(_recording(_light()))).saturated == 0


@given(st.floats(0.02, 0.6))
@settings(max_examples=10, deadline=None)
def test_moments_of_a_clipped_normal_variable(share: float) -> None:
    sample = np.random.default_rng(0).standard_normal(200_000)
    clipped = np.minimum(sample, np.quantile(sample, 1 - share))
    variance, shift = clipped_normal(share)
    assert clipped.var() == pytest.approx(variance, abs=0.01)
    assert -clipped.mean() == pytest.approx(shift, abs=0.01)


@pytest.mark.parametrize("scale", [1, 17])
@pytest.mark.parametrize("photons", [0.05, 0.3, 2])
def test_sparse_counts_have_the_gain_of_a_photon(photons: float, scale: int) -> None:
    rng = np.random.default_rng(3)
    light = photons * (1 + ndimage.gaussian_filter(rng.random((384, 384)), 20))
    found = estimate_noise((scale * rng.poisson(light)).astype(np.uint8))
    level = scale * float(light.mean())
    assert found.model.deviation(level) ** 2 == pytest.approx(scale * level, rel=0.3)


def test_a_black_level_clipped_to_zero_leaves_what_pixels_vary_by() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(-6, 60, 256) * np.ones((256, 1))
    image = np.maximum(np.rint(ramp + rng.normal(0, 4, ramp.shape)), 0).astype(np.uint8)
    assert (image == 0).mean() > 0.08
    found = estimate_noise(image)
    np.testing.assert_allclose(found.model.deviation(np.array([20.0, 50])), 4, rtol=0.25)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["uint8", "uint16", "float32"]))
@settings(max_examples=40)
def test_images_of_any_size_have_an_estimate(height: int, width: int, dtype: str) -> None:
    rng = np.random.default_rng(height + 100 * width)
    found = estimate_noise(rng.poisson(30, (height, width)).astype(dtype))
    values = [found.model.gain, found.model.dark, found.model.offset, found.whiteness]
    assert np.isfinite(values).all()
    assert found.model.dark > 0
    if height >= 8 and width >= 8:
        assert found.blocks > 0


@pytest.mark.parametrize("shape", [(12, 40), (3, 200), (1, 300), (8, 8)])
def test_small_frames_count_together(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = [10 + rng.normal(0, 3, shape) for _ in range(400)]
    found = estimate_noise(frames)
    assert found.model.deviation(10.0) == pytest.approx(3, rel=0.1)


def test_a_single_value_has_no_noise_and_nothing_finite_is_refused() -> None:
    found = estimate_noise(np.full((64, 64), 7, np.uint16))
    assert found.blocks == 0
    assert found.model.deviation(7.0) == pytest.approx(12**-0.5)
    assert found.model.offset == 7
    with pytest.raises(ValueError, match="finite"):
        estimate_noise(np.full((64, 64), np.nan))


@pytest.mark.parametrize("unit", [2e-18, 1e-30, 1e12])
def test_units_may_be_small_or_large(unit: float) -> None:
    image = _recording(_light())
    found, plain = estimate_noise(unit * image), estimate_noise(image)
    assert found.model.gain == pytest.approx(unit * plain.model.gain, rel=1e-2)


def test_hot_pixels_do_not_count() -> None:
    image = _recording(_light())
    image[np.random.default_rng(5).random(image.shape) < 1e-4] += 3000
    _agrees(estimate_noise(image), LEVELS, 0.2)


def _correlated(kernel: Any, axes: tuple[int, ...], seed: int = 0) -> tuple[Image, float]:
    """Noise of variance 100 blurred along axes, and its correlation length along each of them."""
    rng = np.random.default_rng(seed)
    kernel = np.asarray(kernel, float)
    noise = rng.standard_normal((384, 384))
    for axis in axes:
        noise = ndimage.convolve1d(noise, kernel / np.sqrt((kernel**2).sum()), axis, mode="wrap")
    return 50 + 10 * noise, float(kernel.sum() ** 2 / (kernel**2).sum())


GAUSSIAN = np.exp(-(np.arange(-8, 9) ** 2) / 8)


@pytest.mark.parametrize("axes", [(1,), (0,), (0, 1)])
@pytest.mark.parametrize(("kernel", "side"), [([1, 2, 1], 3), ([1, 4, 6, 4, 1], 3), (GAUSSIAN, 5)])
def test_correlated_noise_is_measured_along_each_axis(
    axes: tuple[int, ...], kernel: Any, side: int
) -> None:
    image, length = _correlated(kernel, axes)
    found = estimate_noise(image)
    for axis in (0, 1):
        expected = length if axis in axes else 1.0
        assert found.correlation_length[axis] == pytest.approx(expected, rel=0.2)
        assert found.binning[axis] == (side if axis in axes else 1)
    assert found.model.deviation(50.0) ** 2 == pytest.approx(100, rel=0.2)
    # What counts after averaging is the power of slow variations.  The lengths assume a Gaussian, and
    # those of the two shorter kernels are 11 % too long along each axis.
    power = 100 * length ** len(axes) / side ** len(axes)
    assert found.binned.deviation(50.0) ** 2 == pytest.approx(power, rel=0.45)


def test_rounding_does_not_hide_correlated_noise() -> None:
    image, _ = _correlated(GAUSSIAN, (0, 1))
    found = estimate_noise(np.rint(image / 4).astype(np.uint8))
    assert found.binning == (5, 5)
    assert found.model.deviation(12.0) ** 2 == pytest.approx(100 / 16, rel=0.3)


def test_white_noise_and_fine_structure_are_not_averaged() -> None:
    assert estimate_noise(_recording(_light())).binning == (1, 1)
    rng = np.random.default_rng(0)
    dots = ndimage.gaussian_filter((rng.random((256, 256)) < 0.003).astype(float), 1.2)
    clean = 1000 * dots + 100
    for image in (
        clean,
        np.rint(clean),
        clean + _correlated([1, 2, 1], (0, 1))[0][:256, :256] / 20,
    ):
        assert estimate_noise(image).binning == (1, 1)


def test_the_estimate_says_how_certain_it_is() -> None:
    """Errors decrease with more pixels, and agree with the stated standard errors."""
    gains = [estimate_noise(_recording(_light(128, seed), seed)) for seed in range(12)]
    spread = float(np.std([found.model.gain for found in gains]))
    predicted = float(np.mean([found.gain_error for found in gains]))
    assert 0.3 * spread < predicted < 5 * spread
    sizes = [estimate_noise(_recording(_light(size))).gain_error for size in (64, 256)]
    assert all(a > b for a, b in pairwise(sizes))


@pytest.mark.parametrize("blur", [(), (0, 1)], ids=["white", "correlated"])
def test_noise_of_block_means_does_not_hide_the_gain(blur: tuple[int, ...]) -> None:
    # The scene differs less from block to block than the noise of their means.
    photons = 1 + 0.4 * ndimage.zoom(_light(64) / 60, 6, order=1)
    rng = np.random.default_rng(5)
    noise = _recording(photons, 6) - OFFSET - GAIN * photons
    for axis in blur:
        noise = ndimage.convolve1d(noise, np.array([1, 2, 1]) / np.sqrt(6), axis, mode="wrap")
    values = OFFSET + GAIN * photons + noise + rng.uniform(-0.01, 0.01, photons.shape)
    found = estimate_noise(values)
    usual = float(np.median(values))
    truth = NoiseModel(GAIN, OFFSET, READ**2)
    ratio = (found.model.deviation(usual) / truth.deviation(usual)) ** 2
    assert ratio == pytest.approx(1, abs=0.25)
    # The offset is the darkest level of the scene, not that of the darkest noise.
    darkest = OFFSET + GAIN * float(photons.min())
    assert abs(found.model.offset - darkest) < 0.2 * READ


def test_levels_are_the_means_of_blocks_where_noise_is_small() -> None:
    blocks = block_statistics(_recording(20 * _light()))
    level = expected_levels(blocks, NoiseModel(GAIN, OFFSET, READ**2)).level
    np.testing.assert_allclose(level, blocks["mean"], atol=0.02 * np.ptp(blocks["mean"]))


def test_levels_of_a_flat_image_are_equal() -> None:
    blocks = block_statistics(np.random.default_rng(2).normal(100, 5, (256, 256)))
    found = expected_levels(blocks, NoiseModel(0.0, 100.0, 25.0))
    assert np.std(found.level) < 0.5 * np.std(blocks["mean"])
    single = expected_levels(blocks[:1], NoiseModel(0.0, 100.0, 25.0))
    np.testing.assert_allclose(single.level, blocks["mean"][:1])


@pytest.mark.parametrize("lamp", [1e4, 1e9])
def test_a_lamp_does_not_change_the_levels_of_other_blocks(lamp: float) -> None:
    image = np.random.default_rng(2).normal(100, 5, (256, 256))
    image[40:57, 50:67] *= lamp
    blocks = block_statistics(image)
    level = expected_levels(blocks, NoiseModel(0.0, 100.0, 25.0)).level
    others = blocks["mean"] < 200
    assert np.std(level[others]) < 0.5 * np.std(blocks["mean"][others])
    np.testing.assert_array_equal(level[~others], blocks["mean"][~others])


def test_the_same_blocks_are_fitted_once() -> None:
    rng = np.random.default_rng(5)
    blocks = block_statistics(100 + rng.normal(0, 5, (128, 128)))
    first = fit_noise(blocks, integer=False)
    assert fit_noise(blocks.copy(), integer=False) is first
    assert fit_noise(blocks, integer=False, floor=9.0).model.dark >= 81
    assert fit_noise(blocks[:200], integer=False) != first


@pytest.mark.parametrize("height", [8, 17, 24, 33])
@pytest.mark.parametrize("width", [8, 9, 12, 20])
@pytest.mark.parametrize("level", [3, 30, 1000])
def test_the_offset_of_a_small_image_is_within_its_values(
    height: int, width: int, level: float
) -> None:
    """A few blocks do not determine how each depends on those around it."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    for light in (1 + 0 * y, 1 + 0.5 * np.sin(y / 2) * np.cos(x / 2), 1 + 3 * (y > height // 2)):
        image = rng.poisson(level * light).astype(np.float64)
        found = estimate_noise(image)
        assert image.min() - 1 <= found.model.offset <= image.max() + 1
        assert 0 <= found.model.gain <= np.ptp(image)
        assert max(found.gain_error, found.dark_error) < 10 * np.ptp(image) ** 2


def _detailed(shape: tuple[int, int], period: float, rng: np.random.Generator) -> Any:
    """Smooth spots and ridges a few pixels wide, from 0 to 1, on a dark ground."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 6, 2)
    across = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase[0])
    along = np.cos(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / (2 * period) + phase[1])
    return ((1 + across) * (1 + along) / 4) ** 2


SMALL = st.tuples(st.integers(16, 40), st.integers(16, 40))


@given(
    st.integers(0, 9999), SMALL, st.floats(6, 9), st.sampled_from(["float32", "float64", "uint16"]),
    st.floats(10, 150),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_structure_of_small_images_is_not_treated_as_noise(
    seed: int, shape: tuple[int, int], period: float, dtype: str, contrast: float
) -> None:
    """So few blocks have no flat ones among them."""
    rng = np.random.default_rng(seed)
    light = 200 + 3 * contrast * _detailed(shape, period, rng)
    found = estimate_noise((light + rng.normal(0, 3, shape)).astype(dtype))
    assert 0.4 < found.model.deviation(200.0) < 4.5
    assert found.is_uncertain or found.model.deviation(200.0) > 1.5


def test_the_noise_of_small_even_images_is_certain() -> None:
    """One image in a few hundred looks like structure by chance."""
    certain = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = estimate_noise(200 + rng.normal(0, 3, rng.integers(16, 41, 2)))
        certain += 1.7 < found.model.deviation(200.0) < 4 and not found.is_uncertain
    assert certain >= 98


def test_sparse_counts_in_small_images_have_noise() -> None:
    """Most residuals of sparse counts are 0, which says nothing about their noise."""
    image = np.random.default_rng(3).poisson(0.05, (32, 32)).astype(np.uint16)
    assert estimate_noise(image).model.deviation(0.05) == pytest.approx(0.05**0.5, rel=0.3)
