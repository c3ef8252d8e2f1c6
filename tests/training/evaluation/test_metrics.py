"""Metrics have known values, and agree with libraries that implement some of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import data
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2gray, rgb2lab
from skimage.metrics import structural_similarity

from napari_dcr.training.evaluation import metrics


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A crop with odd sides, large enough for five scales."""
    return data.astronaut()[:201, 150:339]


def noisy(picture: np.ndarray, deviation: float) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


FULL_REFERENCE = [
    (metrics.ssim, 1),
    (metrics.ssim_luma, 1),
    (metrics.ms_ssim, 1),
    (metrics.psnr, np.inf),
    (metrics.ciede2000, 0),
    (metrics.ciede2000_hue, 0),
]


@pytest.mark.parametrize(("metric", "best"), FULL_REFERENCE)
def test_the_truth_itself_scores_best_and_noise_step_by_step_worse(
    metric, best, photograph: np.ndarray
) -> None:
    scores = [metric(noisy(photograph, d), photograph) for d in (0, 5, 15, 40)]
    assert scores[0] == pytest.approx(best, abs=1e-9)
    steps = np.diff(np.abs(np.array(scores[1:]) - (100 if best == np.inf else best)))
    assert (steps > 0).all()


def test_psnr_of_a_constant_error() -> None:
    truth = np.full((20, 30, 3), 100, np.uint8)
    assert metrics.psnr(truth + np.uint8(10), truth) == pytest.approx(20 * np.log10(255 / 10))


def test_gt_mean_ignores_brightness() -> None:
    truth = np.random.default_rng(0).integers(60, 180, (64, 64, 3), np.uint8)
    half = (truth // 2).astype(np.uint8)
    assert metrics.psnr(metrics.match_mean(half, truth), truth) > metrics.psnr(half, truth) + 20


def test_the_two_ssims_are_of_channels_and_of_luma(photograph: np.ndarray) -> None:
    result = noisy(photograph, 15)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    channels = [
        structural_similarity(photograph[..., c], result[..., c], data_range=255, **window)
        for c in range(3)
    ]
    assert metrics.ssim(result, photograph) == pytest.approx(np.mean(channels))
    grey = [np.rint(p @ [0.299, 0.587, 0.114]) for p in (photograph, result)]
    assert metrics.ssim_luma(result, photograph) == pytest.approx(
        structural_similarity(*grey, data_range=255, **window)
    )
    assert metrics.ssim_luma(result, photograph) > metrics.ssim(result, photograph)
    assert rgb2gray(photograph).shape == grey[0].shape


def test_ms_ssim_of_a_change_of_light_is_the_luminance_term_of_the_coarsest_scale() -> None:
    """On flat pictures contrast and structure agree, and only (2ab + C) / (aa + bb + C) is left."""
    a, b, c = 100.0, 140.0, (0.01 * 255) ** 2
    flat, brighter = (np.full((176, 180, 3), v, np.uint8) for v in (a, b))
    luminance = (2 * a * b + c) / (a * a + b * b + c)
    assert metrics.ms_ssim(brighter, flat) == pytest.approx(luminance**0.1333, rel=1e-6)


def test_ms_ssim_gives_little_weight_to_noise_of_single_pixels(photograph: np.ndarray) -> None:
    result = noisy(photograph, 15)
    assert metrics.ms_ssim(result, photograph) > metrics.ssim_luma(result, photograph) + 0.1


def test_ms_ssim_names_the_smallest_size() -> None:
    small = np.zeros((175, 300, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^truth: got 300 x 175 pixels; .* 176 or more"):
        metrics.ms_ssim(small, small)


LABS = hnp.arrays(
    np.float64,
    (5, 3),
    elements=st.floats(-100, 100, width=32),
).map(lambda lab: np.abs(lab) * [1, 0, 0] + lab * [0, 1, 1])


@given(LABS, LABS)
def test_ciede2000_terms_add_up_to_the_library_s_difference(
    lab1: np.ndarray, lab2: np.ndarray
) -> None:
    # Between opposite hues the mean hue jumps, and the last bit decides which way.
    angles = [np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) for lab in (lab1, lab2)]
    assume((np.abs(np.abs(angles[0] - angles[1]) - 180) > 20).all())
    lightness, chroma, hue, rotation = metrics.ciede2000_terms(lab1, lab2)
    total = lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue
    expected = deltaE_ciede2000(lab1, lab2)
    assert np.sqrt(np.maximum(total, 0)) == pytest.approx(expected, abs=1e-5, rel=1e-6)


def test_ciede2000_of_published_pairs() -> None:
    """Sharma, Wu & Dalal 2005, table 1: pairs 1, 4, 17 and 25."""
    one = [
        [50, 2.6772, -79.7751],
        [50, -1.3802, -84.2814],
        [50, 2.5, 0],
        [60.2574, -34.0099, 36.2677],
    ]
    other = [[50, 0, -82.7485], [50, 0, -82.7485], [73, 25, -18], [60.4626, -34.1751, 39.4387]]
    lightness, chroma, hue, rotation = metrics.ciede2000_terms(np.array(one), np.array(other))
    total = np.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue)
    assert total == pytest.approx([2.0425, 1.0, 27.1492, 1.2644], abs=1e-4)


def test_the_hue_term_measures_colour_casts_and_not_brightness() -> None:
    lab = rgb2lab(np.full((8, 8, 3), (150, 90, 60), np.uint8))
    darker, turned = lab.copy(), lab.copy()
    darker[..., 0] -= 15
    angle = np.radians(20)
    turned[..., 1:] = lab[..., 1:] @ [
        [np.cos(angle), np.sin(angle)],
        [-np.sin(angle), np.cos(angle)],
    ]
    picture, darker, turned = (
        np.rint(lab2rgb(x) * 255).astype(np.uint8) for x in (lab, darker, turned)
    )
    assert metrics.ciede2000_hue(darker, picture) < 0.5
    assert metrics.ciede2000_hue(turned, picture) > 5
    assert metrics.ciede2000(darker, picture) > 8


def test_lightness_order_survives_monotone_curves_and_not_inversion() -> None:
    ramp = np.arange(2500, dtype=np.float64).reshape(50, 50) / 2499 * 255
    low = np.repeat(np.rint(ramp)[..., None], 3, -1).astype(np.uint8)
    assert metrics.lightness_order_error(low, low) == 0
    brighter = np.rint(255 * (low / 255.0) ** 0.5).astype(np.uint8)
    assert metrics.lightness_order_error(brighter, low) < 60  # ties made or undone by rounding
    # Of 2500 pixels all but the equally light ones change their order.
    equal = (low[..., 0].ravel()[:, None] == low[..., 0].ravel()).sum(1).mean()
    assert metrics.lightness_order_error(255 - low, low) == pytest.approx(2500 - equal)


def test_lightness_order_is_compared_at_50_pixels_on_the_shorter_side() -> None:
    rng = np.random.default_rng(0)
    low, result = rng.integers(0, 256, (2, 200, 300, 3), np.uint8)
    unrelated = metrics.lightness_order_error(result, low)
    assert unrelated == pytest.approx(50 * 75 / 2, rel=0.1)


def test_blown_share_counts_pixels_with_a_channel_from_250() -> None:
    picture = np.full((64, 64, 3), 249, np.uint8)
    assert metrics.blown_share(picture) == 0
    picture[:16, :, 2] = 250
    assert metrics.blown_share(picture) == 25


def test_highlight_contrast_is_a_ratio_of_deviations() -> None:
    low = np.random.default_rng(0).integers(100, 140, (100, 100, 1), np.uint8).repeat(3, -1)
    assert metrics.highlight_contrast(low, low) == 1
    assert metrics.highlight_contrast(60 + low // 2, low) == pytest.approx(0.5, abs=0.01)


def test_highlight_contrast_uses_only_the_brightest_tenth_of_the_input() -> None:
    low = np.random.default_rng(0).integers(0, 20, (100, 100, 3), np.uint8)
    low[:, 80:] += 100
    darks = low.copy()
    darks[:, :76] *= 5
    assert metrics.highlight_contrast(darks, low) == pytest.approx(1)


def test_highlight_contrast_of_a_flat_input_is_not_a_number() -> None:
    flat = np.full((30, 30, 3), 9, np.uint8)
    assert np.isnan(metrics.highlight_contrast(flat, flat))


def test_chroma_and_levels_follow_the_picture() -> None:
    picture = data.astronaut()[:128, :128]
    grey = np.repeat(metrics.luma8(picture)[..., None], 3, -1)
    half = np.rint((picture.astype(float) + grey) / 2).astype(np.uint8)
    assert metrics.chroma(grey) < 0.5
    assert 0 < metrics.chroma(half) < metrics.chroma(picture)
    assert metrics.chroma_ratio(picture, picture) == pytest.approx(1)
    assert 0.4 < metrics.chroma_ratio(half, picture) < 0.6
    levels = np.zeros((100, 100, 3), np.uint8)
    levels[:50] = 255
    assert metrics.lightness_levels(levels) == pytest.approx((0, 100), abs=0.1)


def test_texture_gain_is_a_share_and_ignores_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 190, (160, 160, 3)).astype(np.uint8)
    faint = np.rint(125 + 0.6 * (truth.astype(float) - 125)).astype(np.uint8)
    assert metrics.texture_gain(truth, truth) == pytest.approx(1)
    assert metrics.texture_gain(faint, truth) == pytest.approx(0.6, abs=0.01)
    noise = np.clip(rng.normal(125, 30, truth.shape), 0, 255).astype(np.uint8)
    assert metrics.texture_gain(noise, truth) == pytest.approx(0, abs=0.05)
