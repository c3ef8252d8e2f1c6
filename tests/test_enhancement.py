"""enhance(): every kind of array in, the right kind out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.enhancement import run_to_completion
from napari_dcr.image.intensity import DTYPES
from napari_dcr.io import opening
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.forward.synthetic import dim_rendition

FAST = {"depth": 1, "device": "cpu", "precision": "fp32"}


def as_dtype(picture: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return (picture / 255).astype(dtype)
    return (picture.astype(np.int64) * np.iinfo(dtype).max // 255).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["rgb", "rgba", "grey", "channels", "stack", "rgb stack"])
def test_every_kind_of_image_keeps_its_shape_and_dtype(
    dim_rgb: NDArray[np.uint8], dtype: str, shape: str
) -> None:
    rgb = as_dtype(dim_rgb, dtype)
    alpha = np.full_like(rgb[..., :1], 7 if np.dtype(dtype).kind != "f" else 0.5)
    image, arguments = {
        "rgb": (rgb, {}),
        "rgba": (np.concatenate([rgb, alpha], -1), {}),
        "grey": (rgb[..., 0], {}),
        "channels": (rgb[..., :2].transpose(2, 0, 1), {"channel_axis": 0}),
        "stack": (np.stack([rgb[..., 0], rgb[..., 1]]), {"axes": "tyx"}),
        "rgb stack": (np.stack([rgb, rgb]), {}),
    }[shape]
    image = np.ascontiguousarray(image)
    before = image.copy()
    result = napari_dcr.enhance(image, model="photo", **FAST, **arguments)
    assert result.dtype == image.dtype
    assert result.shape == image.shape
    assert (image == before).all()
    assert result is not image
    colours, bright = (image[..., :3], result[..., :3]) if shape == "rgba" else (image, result)
    assert bright.astype(float).mean() > 1.5 * colours.astype(float).mean()
    if shape == "rgba":
        assert (result[..., 3] == image[..., 3]).all()


@settings(max_examples=25)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    samples=st.sampled_from([None, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    value=st.integers(0, 255),
)
def test_any_size_and_any_constant(
    height: int, width: int, samples: int | None, dtype: str, value: int
) -> None:
    shape = (height, width) if samples is None else (height, width, samples)
    image = as_dtype(np.full(shape, value, np.uint8), dtype)
    result = napari_dcr.enhance(image, **FAST, rgb=samples is not None)
    assert result.shape == shape
    assert np.isfinite(result.astype(float)).all()


@pytest.mark.parametrize("output", DTYPES)
def test_output_dtype_and_range(dim_rgb: NDArray[np.uint8], output: str) -> None:
    result = napari_dcr.enhance(dim_rgb, **FAST, output=output)
    reference = napari_dcr.enhance(dim_rgb, **FAST, output="float32")
    assert result.dtype == output
    full = 1.0 if np.dtype(output).kind == "f" else np.iinfo(output).max
    assert np.abs(result / full - reference).max() < (
        2e-3 if output in ("uint8", "float16") else 1e-4
    )
    assert reference.min() >= 0
    assert reference.max() <= 1


def test_strength_0_is_the_input_to_the_last_bit(dim_rgb: NDArray[np.uint8]) -> None:
    for dtype in DTYPES:
        image = as_dtype(dim_rgb, dtype)
        assert (napari_dcr.enhance(image, **FAST, strength=0) == image).all()
    offset = np.linspace(-300, 7000, 64 * 64).reshape(64, 64)
    assert (napari_dcr.enhance(offset, **FAST, strength=0) == offset).all()


def test_strength_and_exposure_are_monotone(dim_rgb: NDArray[np.uint8]) -> None:
    def mean(**arguments: float) -> float:
        return float(napari_dcr.enhance(dim_rgb, **FAST, output="float32", **arguments).mean())

    for name, values in (("strength", (0, 0.3, 0.7, 1)), ("exposure", (-2, -1, 0, 1, 2))):
        means = [mean(**{name: v}) for v in values]
        assert means == sorted(means)
        assert len(set(means)) == len(means)


LUMA = np.array([0.299, 0.587, 0.114])


def light_and_colour(picture: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    light = (picture @ LUMA)[..., None]
    return light, picture - light


def test_denoise_goes_from_the_brightened_image_to_the_clean_one(
    dim_rgb: NDArray[np.uint8], lively_model: Path
) -> None:
    def enhanced(**arguments: Any) -> NDArray[np.float32]:
        options = {"model": lively_model, "device": "cpu", "precision": "fp32", "depth": 2}
        return napari_dcr.enhance(dim_rgb, **{**options, "output": "float32", **arguments})

    noisy, clean = enhanced(depth=0), enhanced()
    assert (enhanced(denoise=1.0, denoise_colour=1.0) == clean).all()
    np.testing.assert_allclose(enhanced(denoise=0.0), noisy, atol=1e-6)
    inside = ((noisy > 0.02) & (noisy < 0.98) & (clean > 0.02) & (clean < 0.98)).all(-1)
    assert inside.mean() > 0.3
    half = enhanced(denoise=0.5)
    np.testing.assert_allclose(half, (noisy + clean) / 2, atol=1e-5)
    # Continuous and monotone: equal steps of the control are equal steps of the picture.
    steps = [np.abs(enhanced(denoise=d) - clean).mean() for d in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.diff(steps) == pytest.approx(steps[0] * -0.25, rel=1e-3)
    # Removing only colour noise keeps the noise of luma, and vice versa.
    for arguments, like in (
        ({"denoise": 0.0, "denoise_colour": 1.0}, (noisy, clean)),
        ({"denoise": 1.0, "denoise_colour": 0.0}, (clean, noisy)),
    ):
        light, colour = light_and_colour(enhanced(**arguments))
        sure = inside & (light + colour > 0.02).all(-1) & (light + colour < 0.98).all(-1)
        assert sure.mean() > 0.2
        np.testing.assert_allclose(light[sure], light_and_colour(like[0])[0][sure], atol=1e-5)
        np.testing.assert_allclose(colour[sure], light_and_colour(like[1])[1][sure], atol=1e-5)


def test_mixtures_are_exact_with_all_tile_sizes(
    dim_rgb: NDArray[np.uint8], lively_model: Path
) -> None:
    image = np.tile(dim_rgb, (2, 3, 1))
    options = {
        "model": lively_model, "device": "cpu", "precision": "fp32", "output": "float32",
        "denoise": 0.4, "denoise_colour": 0.8, "saturation": 1.5, "strength": 0.9,
    }  # fmt: skip
    whole = napari_dcr.enhance(image, **options)
    tiled = napari_dcr.enhance(image, **options, tile=64)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_saturation_goes_from_grey_to_twice_the_colour(dim_rgb: NDArray[np.uint8]) -> None:
    def colour(saturation: float) -> NDArray[np.float32]:
        result = napari_dcr.enhance(dim_rgb, **FAST, output="float32", saturation=saturation)
        assert result.min() >= 0
        assert result.max() <= 1
        return np.abs(light_and_colour(result)[1])

    colours = {s: colour(s) for s in (0.0, 0.5, 1.0, 1.5, 2.0)}
    assert colours[0.0].max() < 1e-6
    np.testing.assert_allclose(colours[0.5], colours[1.0] / 2, atol=1e-6)
    means = [c.mean() for c in colours.values()]
    assert (np.diff(means) > 0).all()
    same = napari_dcr.enhance(dim_rgb, **FAST, saturation=1)
    assert (same == napari_dcr.enhance(dim_rgb, **FAST)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_images_have_no_colour(dim_rgb: NDArray[np.uint8], dtype: str) -> None:
    grey = as_dtype(dim_rgb[..., 0], dtype)
    photo = {**FAST, "model": "photo"}
    plain = napari_dcr.enhance(grey, **photo)
    coloured = napari_dcr.enhance(grey, **photo, denoise_colour=0.0, saturation=0.3)
    assert (coloured == plain).all()
    noisy = napari_dcr.enhance(grey, **{**photo, "depth": 0})
    assert np.abs(napari_dcr.enhance(grey, **photo, denoise=0) - noisy.astype(float)).max() <= (
        1 if dtype != "float32" else 1e-6
    )


def test_denoise_of_counts_scales_the_whole_change() -> None:
    counts = np.random.default_rng(0).poisson(40, (64, 64)).astype(np.float32)
    clean, half, none = (
        napari_dcr.enhance(counts, **FAST, model="microscopy", denoise=d) for d in (1, 0.5, 0)
    )
    assert (none == counts).all()
    np.testing.assert_allclose(half, (clean + counts) / 2, rtol=1e-5)
    gained = napari_dcr.enhance(
        counts, **FAST, model="microscopy", denoise=0, exposure=1, input_range=(0, 1)
    )
    assert gained == pytest.approx(2 * counts)
    for name, value in (("denoise_colour", 0.5), ("saturation", 1.2)):
        with pytest.raises(ValueError, match=f"^{name}: got {value} .* model microscopy$"):
            napari_dcr.enhance(counts, model="microscopy", **{name: value})
    with pytest.raises(ValueError, match="^return_uncertainty: got True with denoise 0.5"):
        napari_dcr.enhance(counts, model="microscopy", denoise=0.5, return_uncertainty=True)


def test_pixels_that_are_not_finite_are_kept_and_do_not_affect_others() -> None:
    rng = np.random.default_rng(0)
    clean = (rng.random((200, 220)) * 0.1).astype(np.float32)
    dirty = clean.copy()
    dirty[10, 10], dirty[20, 20], dirty[30, 30] = np.nan, np.inf, -np.inf
    result = napari_dcr.enhance(dirty, **FAST)
    assert np.isnan(result[10, 10])
    assert result[20, 20] == np.inf
    assert result[30, 30] == -np.inf
    far = np.s_[100:, 100:]
    assert np.abs(result[far] - napari_dcr.enhance(clean, **FAST)[far]).max() < 0.01
    assert np.isfinite(
        np.delete(result.ravel(), [10 * 220 + 10, 20 * 220 + 20, 30 * 220 + 30])
    ).all()
    assert napari_dcr.enhance(1000 * dirty, **FAST, output="uint8").dtype == np.uint8
    assert np.isfinite(napari_dcr.enhance(np.full((9, 9), np.nan), **FAST, output="uint8")).all()


def test_byte_order_and_strides_do_not_matter(dim_rgb: NDArray[np.uint8]) -> None:
    wide = as_dtype(dim_rgb, "uint16")
    expected = napari_dcr.enhance(wide, **FAST)
    assert (napari_dcr.enhance(wide.astype(">u2"), **FAST) == expected).all()
    strided = np.asfortranarray(wide)
    assert (napari_dcr.enhance(strided, **FAST) == expected).all()
    read_only = wide.copy()
    read_only.flags.writeable = False
    assert (napari_dcr.enhance(read_only, **FAST) == expected).all()


def test_record_describes_the_run(dim_rgb: NDArray[np.uint8]) -> None:
    enhancement = run_to_completion(
        napari_dcr.enhance_steps(dim_rgb, napari_dcr.Options(depth=2, device="cpu"))
    )
    record = enhancement.record
    assert record["options"]["depth"] == 2
    assert record["model"] == "photo"
    assert len(record["sha256"]) == 64
    assert record["version"] == napari_dcr.__version__
    assert record["device"] == "cpu"
    assert record["seconds"] > 0
    repeated = napari_dcr.enhance(dim_rgb, **record["options"])
    assert (repeated == enhancement.image).all()


def test_progress_rises_to_the_end_and_can_cancel(dim_rgb: NDArray[np.uint8]) -> None:
    steps: list[napari_dcr.Progress] = []
    napari_dcr.enhance(dim_rgb, **FAST, tile=64, progress=steps.append)
    done = [p.done for p in steps]
    assert done == sorted(done)
    assert done[-1] == steps[-1].total == dim_rgb[..., 0].size

    class Stop(Exception):
        pass

    def stop(step: napari_dcr.Progress) -> None:
        if step.done:
            raise Stop

    with pytest.raises(Stop):
        napari_dcr.enhance(dim_rgb, **FAST, tile=64, progress=stop)


def test_import_is_light() -> None:
    code = "import sys, napari_dcr; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    roots = {name.split(".")[0] for name in modules.stdout.split()}
    assert roots.isdisjoint({"torch", "napari", "qtpy", "PyQt6", "PySide6", "magicgui", "numpy"})


def test_nothing_outside_the_plugin_imports_napari_or_qt() -> None:
    package = Path(napari_dcr.__file__).parent
    for path in package.rglob("*.py"):
        if path.parent.name == "plugin":
            continue
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].split(".")[0] not in {"napari", "qtpy", "magicgui", "superqt"}, path


def test_shipped_weights_restore_a_dim_photograph() -> None:
    """The result for a picture that was not used for training is close to the truth."""
    clean = opening.read(Path(__file__).parents[1] / "scripts" / "data" / "kodak-23.png").pixels
    for ev in (3.0, 5.0):
        dim, truth = (
            np.round(p * 255).astype(np.uint8)
            for p in dim_rendition(np.float32(clean / 255), ev, 23)
        )
        result = napari_dcr.enhance(dim, device="cpu", precision="fp32")
        assert metrics.psnr(result, truth) > metrics.psnr(dim, truth) + 6
        assert metrics.ssim(result, truth) > metrics.ssim(dim, truth) + 0.2


def test_a_depth_at_which_no_noise_is_removed_is_named() -> None:
    recording = np.random.default_rng(0).poisson(20, (40, 50)).astype(np.uint16)
    with pytest.warns(
        napari_dcr.InputWarning,
        match=r"^depth: got 0, which removes no noise; allowed up to 3\. This is the model microscopy",
    ):
        result, report = napari_dcr.enhance(
            recording, model="microscopy", depth=0, defects="off", return_report=True
        )
    assert (result == recording).all()
    assert any(line.startswith("depth: got 0") for line in report.warnings)
