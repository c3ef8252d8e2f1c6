"""Tests of the noise stage of pictures: when it is used, and that tiles and regions equal the whole."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

import napari_dcr
from napari_dcr.engine import runner
from napari_dcr.engine.conditioning import ImageConditioning
from napari_dcr.engine.groups import Group
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.engine.setup import Setup
from napari_dcr.enhancement import enhance_steps, run_to_completion
from napari_dcr.image.axes import Layout
from napari_dcr.io.opening import open_image
from napari_dcr.network import weights as stored
from napari_dcr.network.global_net import Route
from napari_dcr.network.noise_stage import remove_noise
from napari_dcr.options import Options

FAST: dict[str, Any] = {"model": "photo", "device": "cpu", "precision": "fp32", "output": "float32"}


def frame(
    noise: float = 5.5, shape: tuple[int, ...] = (112, 150), blur: float = 0.0, seed: int = 0
) -> NDArray[Any]:
    """A dim grey frame with noise that is white, or blurred."""
    rng = np.random.default_rng(seed)
    light = ndimage.gaussian_filter(rng.standard_normal(shape), 12)
    grain = rng.standard_normal(shape)
    if blur:
        grain = ndimage.gaussian_filter(grain, blur)
    values = 22 + 5 * light / light.std() + noise * grain / grain.std()
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def texture() -> NDArray[Any]:
    """A frame with detail as fine as white noise, which is stronger in some places than in others."""
    detail = np.random.default_rng(7).standard_normal((112, 150))
    return np.rint(np.clip(22 + 12 * detail * (np.arange(150) % 50 / 50), 0, 255)).astype(np.uint8)


def used(image: Any, **options: Any) -> bool:
    """Whether the noise stage was used."""
    return (
        "denoise_first"
        in run_to_completion(enhance_steps(image, Options(**{"model": "photo", **options}))).record
    )


def grain(picture: NDArray[Any]) -> float:
    """Standard deviation of the finest detail, in levels of 255."""
    values = picture.astype(float) * (255 if picture.dtype.kind == "f" else 1)
    second = values[2:] - 2 * values[1:-1] + values[:-2]
    return float(np.median(np.abs(second)) / 0.6745 / 6**0.5)


def test_white_noise_of_a_grey_frame_is_removed_first() -> None:
    image = frame()
    done = run_to_completion(enhance_steps(image, Options(model="photo", depth=1, device="cpu")))
    stage = done.record["denoise_first"]
    assert stage["model"] == "microscopy"
    assert len(stage["sha256"]) == 64
    ((noise,),) = stage["noise"]
    assert noise["dark"] ** 0.5 == pytest.approx(5.5, rel=0.2)
    without = napari_dcr.enhance(image, model="photo", depth=1, device="cpu", denoise_first="off")
    assert grain(done.image) < 0.5 * grain(without)
    assert abs(done.image.mean() - without.mean()) < 6  # nearly the same brightness


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(frame(), True, id="white"),
        pytest.param(frame(1.2), False, id="little"),
        pytest.param(frame(blur=1.0), False, id="correlated"),
        pytest.param(np.repeat(frame()[..., None], 3, 2), True, id="grey as colour"),
        pytest.param(np.stack([frame(seed=s) for s in range(3)], -1), False, id="colour"),
        pytest.param(frame(0.0), False, id="no noise"),
        pytest.param(texture(), False, id="texture like noise"),
        pytest.param(np.full((112, 150), 20, np.uint8), False, id="one value"),
        pytest.param(frame().astype(np.float32) / 255, True, id="floats"),
        pytest.param(frame().astype(np.uint16) * 40 + 100, True, id="with an offset"),
    ],
)
def test_auto_uses_the_noise_stage_for_white_noise_of_grey_images(
    image: NDArray[Any], expected: bool
) -> None:
    assert used(image, depth=1) is expected


def test_the_noise_stage_fades_in_with_the_noise() -> None:
    shares = []
    for noise in np.linspace(4, 6.5, 11):
        done = run_to_completion(
            enhance_steps(frame(float(noise)), Options(model="photo", depth=1, device="cpu"))
        )
        [share] = done.record.get("denoise_first", {"share": [0.0]})["share"]
        shares.append(share)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert np.diff(shares).min() > -0.1
    assert np.diff(shares).max() < 0.5  # no jump from 0 to 1


def test_a_share_of_the_noise_is_removed() -> None:
    image = frame()
    conditioning = ImageConditioning(open_image(image))
    setup = Setup.resolve(Options(model="photo", depth=1, device="cpu"), image.dtype)
    *_, shared = conditioning.condition(Group(0, None), Layout.resolve(image.shape), setup, "auto")
    assert shared is not None
    stage = shared.conditioning.noise
    assert stage is not None
    network = stored.load("microscopy").network
    x = torch.from_numpy(image[None, None, :64, :64] / np.float32(255)).expand(-1, 3, -1, -1)
    weights = network.window_weights((0, 64), (0, 64), image.shape)  # type: ignore[arg-type]
    with torch.inference_mode():
        none, half, all_of_it = (
            remove_noise(network, x, stage._replace(share=torch.full((1, 1, 1, 1), share)), weights)
            for share in (0.0, 0.5, 1.0)
        )
    torch.testing.assert_close(none, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(half, (x + all_of_it) / 2, atol=1e-6, rtol=0)
    assert float((x - all_of_it).std()) > 3 / 255


def test_on_denoises_each_colour() -> None:
    image = np.stack([frame(seed=s) for s in range(3)], -1)
    done = run_to_completion(
        enhance_steps(image, Options(model="photo", denoise_first="on", depth=1, device="cpu"))
    )
    ((red, green, blue),) = done.record["denoise_first"]["noise"]
    assert red != green != blue
    without = napari_dcr.enhance(image, model="photo", depth=1, device="cpu", denoise_first="off")
    assert grain(done.image[..., 1]) < 0.7 * grain(without[..., 1])


@pytest.mark.parametrize(
    ("image", "options"),
    [
        pytest.param(frame(), {}, id="white"),
        pytest.param(
            frame(blur=1.2), {"denoise_first": "on", "input_range": (0, 255)}, id="correlated"
        ),
        pytest.param(
            np.stack([frame(seed=0), frame(blur=1.2), frame(seed=2)], -1),
            {"denoise_first": "on"}, id="colours at two binnings",
        ),
    ],
)  # fmt: skip
def test_tiles_regions_and_lazy_results_equal_the_whole_image(
    image: NDArray[Any], options: dict[str, Any]
) -> None:
    options = {**FAST, "depth": 1, **options}
    whole = napari_dcr.enhance(image, **options)
    tiled = napari_dcr.enhance(image, tile=64, **options)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    region = (slice(20, 90), slice(61, 140), slice(0, 3))[: image.ndim]
    steps = RegionEnhancer(open_image(image)).steps(Options(**options), region, core=64)
    np.testing.assert_allclose(run_to_completion(steps).image, whole[region], atol=1e-5)  # type: ignore[arg-type]
    chunks = (60, 80, 3)[: image.ndim]
    lazily = napari_dcr.enhance(da.from_array(image, chunks=chunks), **options)
    np.testing.assert_allclose(np.asarray(lazily), whole, atol=1e-5)


def test_a_resumed_run_gives_the_same(tmp_path: Path) -> None:
    image = np.stack([frame(seed=0), frame(1.0, seed=1)])
    options = Options(depth=1, link_frames=False, tile=64, **FAST)
    whole = run_to_completion(enhance_steps(image, options))
    first, second = whole.record["denoise_first"]["noise"]
    assert first  # each frame by itself
    assert not second
    steps = enhance_steps(image, options, tmp_path / "out.zarr", resume=True)
    for step in steps:
        if step.done:
            break
    steps.close()
    run_to_completion(enhance_steps(image, options, tmp_path / "out.zarr", resume=True))
    np.testing.assert_allclose(zarr.open_array(tmp_path / "out.zarr")[:], whole.image, atol=1e-5)
    other = Options(depth=1, link_frames=False, tile=64, denoise_first="off", **FAST)
    with pytest.raises(ValueError, match="denoise_first"):
        run_to_completion(enhance_steps(image, other, tmp_path / "out.zarr", resume=True))


def test_a_zarr_is_written_in_the_tiles_that_suit_the_noise_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts have one size, which depends on the halo of both networks."""
    monkeypatch.setattr(runner, "AUTOMATIC_PIXELS", {"fp32": 2 * 200 * 200})
    image, options = frame(shape=(200, 500)), Options(**FAST, denoise_first="on", depth=1)

    def first_tile(out: Path | None) -> int:
        with contextlib.closing(enhance_steps(image, options, out)) as steps:
            return next(step.done for step in steps if step.done)

    assert first_tile(None) < image.size // 4
    assert first_tile(tmp_path / "out.zarr") == first_tile(None)


def test_depth_0_and_denoise_0_only_apply_the_tone_curve() -> None:
    image = frame()
    brightened = napari_dcr.enhance(image, depth=0, **FAST)
    np.testing.assert_array_equal(napari_dcr.enhance(image, denoise=0, **FAST), brightened)
    region = tuple(slice(0, n) for n in image.shape)
    steps = RegionEnhancer(open_image(image)).steps(Options(depth=1, **FAST), region, stages=True)
    stages = run_to_completion(steps).image  # type: ignore[arg-type]
    np.testing.assert_array_equal(stages[0], brightened)
    np.testing.assert_array_equal(stages[1], napari_dcr.enhance(image, depth=1, **FAST))
    half = napari_dcr.enhance(image, depth=1, denoise=0.5, **FAST)
    np.testing.assert_allclose(half, (stages[0] + stages[1]) / 2, atol=1e-5)


@settings(max_examples=5)
@given(st.floats(0, 1))
def test_strength_mixes_with_the_noisy_image(strength: float) -> None:
    image = frame(shape=(64, 64))
    full = napari_dcr.enhance(image, depth=1, **FAST)
    mixed = napari_dcr.enhance(image, depth=1, strength=strength, **FAST)
    np.testing.assert_allclose(mixed, image / 255 + strength * (full - image / 255), atol=1e-5)


def test_options_without_effect_raise_an_error() -> None:
    image = frame(shape=(64, 64))
    with pytest.raises(ValueError, match="denoise_first: got 'on' with depth 0"):
        napari_dcr.enhance(image, depth=0, denoise_first="on")
    with pytest.raises(
        ValueError, match="denoise_first: got 'on' with a model that only removes noise"
    ):
        napari_dcr.enhance(image, model="microscopy", denoise_first="on")
    with pytest.raises(ValueError, match=r"denoise_first: got 'yes'; allowed are 'auto'"):
        Options(denoise_first="yes")


def test_conditioning_can_be_pickled_for_workers() -> None:
    image = frame()
    conditioning = ImageConditioning(open_image(image))
    setup = Setup.resolve(Options(model="photo", device="cpu"), image.dtype)
    *_, shared = conditioning.condition(Group(0, None), Layout.resolve(image.shape), setup, "auto")
    assert shared is not None
    unpickled = pickle.loads(pickle.dumps(shared)).conditioning.to("cpu")
    assert unpickled.route == shared.route == Route(noise=((1, 1),))
    assert setup.spec_for([unpickled.route]).noise_stage is not None
    assert setup.spec_for([]).noise_stage is None
