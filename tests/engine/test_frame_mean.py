"""Moving pictures with neighbours: all ways of computing agree, and nothing changes where nothing matches."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

import napari_dcr
from napari_dcr import Options
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import enhance_steps, run_to_completion
from napari_dcr.io.opening import open_image

FAST: dict[str, Any] = {
    "model": "photo", "axes": "tyxs", "device": "cpu", "precision": "fp32", "depth": 1,
    "output": "float32",
}  # fmt: skip


def scene(shape: tuple[int, int], seed: int = 0) -> NDArray[Any]:
    """Dim coloured structures with texture, in display values."""
    rng = np.random.default_rng(seed)
    large = ndimage.gaussian_filter(rng.standard_normal((*shape, 3)), (9, 9, 0))
    fine = ndimage.gaussian_filter(rng.standard_normal((*shape, 1)), (1, 1, 0))
    light = 0.12 + 0.04 * large / large.std() + 0.015 * fine / fine.std()
    return np.asarray(light.clip(0.01, 1))


def filmed(
    frames: int = 4, shape: tuple[int, int] = (80, 96), step: int = 2, noise: float = 0.012
) -> NDArray[np.uint8]:
    """A camera that pans by whole pixels over a dim scene at rest."""
    rng = np.random.default_rng(5)
    light = scene((shape[0], shape[1] + step * frames))
    views = [light[:, step * n : step * n + shape[1]] for n in range(frames)]
    noisy = np.stack(views) + noise * rng.standard_normal((frames, *shape, 3))
    return np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def film() -> NDArray[np.uint8]:
    return filmed()


@pytest.fixture(scope="module")
def fused(film: NDArray[np.uint8]) -> NDArray[Any]:
    return np.asarray(napari_dcr.enhance(film, neighbours=2, **FAST))


def test_the_noise_falls_and_the_picture_stays(
    film: NDArray[np.uint8], fused: NDArray[Any]
) -> None:
    # The clean frame comes last, so that all share their tone curve.
    clean = np.rint(255 * scene((80, 104))[:, 4:100]).astype(np.uint8)
    alone = napari_dcr.enhance(np.concatenate([film, clean[None]]), **FAST)
    inside = slice(8, -8)
    errors = [np.mean((result[2] - alone[4])[inside, inside] ** 2) for result in (fused, alone)]
    assert errors[0] < 0.5 * errors[1]
    assert fused.mean() == pytest.approx(alone[:4].mean(), rel=0.01)


@pytest.mark.parametrize("chunks", [(4, 80, 96, 3), (2, 48, 50, 3)])
def test_tiles_and_lazy_results_equal_the_whole(
    film: NDArray[np.uint8], fused: NDArray[Any], chunks: tuple[int, ...]
) -> None:
    tiled = napari_dcr.enhance(film, neighbours=2, tile=64, **FAST)
    np.testing.assert_allclose(tiled, fused, atol=1e-5)
    lazy = napari_dcr.enhance(da.from_array(film, chunks=chunks), neighbours=2, **FAST)
    np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), fused, atol=1e-5)


def test_a_region_equals_the_whole(film: NDArray[np.uint8], fused: NDArray[Any]) -> None:
    region = (slice(1, 3), slice(20, 70), slice(31, 90), slice(0, 3))
    steps = RegionEnhancer(open_image(film)).steps(Options(neighbours=2, **FAST), region)
    np.testing.assert_allclose(run_to_completion(steps).image, fused[region], atol=1e-5)


def test_frames_of_other_colours_are_not_averaged(film: NDArray[np.uint8]) -> None:
    red, green = film.copy(), film.copy()
    red[..., 1] //= 4
    green[..., 0] = np.random.default_rng(0).integers(8, 14, film.shape[:3])
    options = {**FAST, "link_frames": False}
    both = np.concatenate([red[:2], green[2:]])
    result = napari_dcr.enhance(both, neighbours=2, **options)
    expected = napari_dcr.enhance(red[:2], neighbours=2, **options)
    # Only the noise estimate of the frame beside the change differs a little.
    gain = np.abs(expected - napari_dcr.enhance(red[:2], **{**options, "neighbours": 0})).mean()
    assert np.abs(result[:2] - expected).mean() < 0.1 * gain


def test_the_slider_keeps_the_noise_of_the_frame(film: NDArray[np.uint8]) -> None:
    kept, alone = (napari_dcr.enhance(film, neighbours=n, denoise=0, **FAST) for n in (2, 0))
    np.testing.assert_allclose(kept, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["unrelated", "black"])
def test_frames_that_do_not_match_are_enhanced_by_themselves(kind: str) -> None:
    rng = np.random.default_rng(3)
    views = np.stack([scene((96, 96), seed) for seed in range(3)])
    film = np.rint(255 * (views + 0.01 * rng.standard_normal(views.shape)).clip(0, 1))
    film = film.astype(np.uint8)
    if kind == "black":
        film[[0, 2]] = 0
    result = run_to_completion(enhance_steps(film, Options(neighbours=2, **FAST)))
    np.testing.assert_array_equal(result.image, napari_dcr.enhance(film, **FAST))
    assert any("enhanced by itself" in line for line in result.record["warnings"])


def test_a_film_ends_at_a_cut(film: NDArray[np.uint8]) -> None:
    # Each frame has its own tone curve, which does not depend on the other scene.
    options = {**FAST, "link_frames": False, "neighbours": 2}
    both = np.concatenate([film, filmed(3)[:, ::-1, ::-1]])
    result = napari_dcr.enhance(both, **options)
    np.testing.assert_allclose(result[:4], napari_dcr.enhance(film, **options), atol=1e-6)
    alone = napari_dcr.enhance(film, **{**options, "neighbours": 0})
    assert np.abs(result[3] - alone[3]).mean() > 1e-5


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_grey_films_and_other_dtypes(film: NDArray[np.uint8], dtype: Any) -> None:
    grey = film[..., 1].astype(dtype) * (1 if dtype == np.float32 else 257)
    options = {**FAST, "axes": "tyx"}
    alone, fused = (napari_dcr.enhance(grey, neighbours=n, **options) for n in (0, 2))
    assert fused.shape == grey.shape
    rough = [np.abs(np.diff(r, axis=-1)).mean() for r in (alone, fused)]
    assert 0.5 * rough[0] < rough[1] < rough[0]


def test_the_report_tells_how_many_frames_were_averaged(film: NDArray[np.uint8]) -> None:
    result = run_to_completion(enhance_steps(film, Options(neighbours=1, **FAST)))
    averaged = result.record["neighbours"].pop("averaged")
    assert result.record["neighbours"] == {"axis": "t", "frames": 1}
    assert 1.5 < averaged < 2.5  # two frames at the ends, three between


def test_a_lamp_that_is_dimmed_for_all_frames_is_scaled(film: NDArray[np.uint8]) -> None:
    dimmed = film.astype(np.float32) / 255
    dimmed[1::2] *= 0.9
    result = run_to_completion(enhance_steps(dimmed, Options(neighbours=2, **FAST)))
    alone = napari_dcr.enhance(dimmed, **FAST)
    means = [r.mean((1, 2, 3)) for r in (np.asarray(result.image), alone)]
    np.testing.assert_allclose(means[0], means[1], rtol=0.01)
