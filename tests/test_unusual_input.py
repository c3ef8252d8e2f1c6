"""Unusual arrays end in the right result, a result with a warning, or an error that names an argument.

The kinds are those of docs/unusual-input.md.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import devices
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import enhance_pyramid_steps, run_to_completion
from napari_dcr.image.intensity import Histogram, find_scale
from napari_dcr.io.opening import open_image
from napari_dcr.network import weights
from napari_dcr.options import Options

PHOTO: dict[str, Any] = {"model": "photo", "depth": 1, "device": "cpu"}
COUNTS: dict[str, Any] = {"model": "microscopy", "depth": 1, "device": "cpu"}
BOTH = pytest.mark.parametrize("options", [PHOTO, COUNTS], ids=["photo", "microscopy"])

Record = dict[str, Any]


def waves(height: int = 96, width: int = 112) -> NDArray[np.float64]:
    """Expected counts of a scene."""
    y, x = np.mgrid[:height, :width]
    return 200 + 100 * np.sin(y / 9) * np.cos(x / 13)


def counts(seed: int = 0, height: int = 96, width: int = 112) -> NDArray[np.uint16]:
    """Photons on a camera with an offset of 100."""
    rng = np.random.default_rng(seed)
    return (rng.poisson(waves(height, width)) + 100).astype(np.uint16)


def run(image: Any, **options: Any) -> tuple[Any, Record]:
    """The result and its record, without the Python warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        done = run_to_completion(napari_dcr.enhance_steps(image, Options(**options)))
    return done.image, done.record


def difference(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max())


# Missing pixels


@BOTH
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int16", -9999),
        ("int16", -32768),
        ("float32", -3.4e38),
        ("float64", 1e20),
        ("uint16", 65535),
    ],
)
def test_pixels_of_the_nodata_value_are_treated_like_nan(
    options: Record, dtype: str, value: float
) -> None:
    image = counts().astype(dtype)
    hole = np.zeros(image.shape, bool)
    hole[:20], hole[50:60, 30:90] = True, True
    image[hole] = value
    result, record = run(image, **options, nodata=value)
    assert (result[hole] == np.array(value, dtype)).all()
    as_nan = np.where(hole, np.nan, image.astype(np.float32)).astype(np.float32)
    if dtype.startswith("float"):
        alike, _ = run(as_nan, **options)
        assert difference(result[~hole], alike[~hole]) <= 1e-3 * 300
    assert record["options"]["nodata"] == value
    assert record["warnings"] == []
    # The values in the hole have no influence.
    other = image.copy()
    other[hole] = 12345
    again, _ = run(other, **options, nodata=12345)
    assert (again[~hole] == result[~hole]).all()


@pytest.mark.parametrize(
    ("dtype", "value"), [("int16", -9999), ("float32", 1e20), ("uint16", 65535)]
)
def test_a_value_far_from_all_others_is_proposed_as_nodata(dtype: str, value: float) -> None:
    image = counts().astype(dtype)
    image[::7, ::7] = value
    _, record = run(image, **COUNTS)
    assert any(m.startswith("nodata: ") and "pass nodata=" in m for m in record["warnings"])
    image = counts().astype(dtype)
    image[:4] = value  # a solid area is padding
    _, record = run(image, **COUNTS)
    assert any("in solid areas" in m for m in record["warnings"])
    image = counts().astype(dtype)
    image[0, :9] = value  # a few hot pixels are none
    _, record = run(image, **COUNTS)
    assert not any(m.startswith("nodata: ") for m in record["warnings"])


def test_nodata_of_a_colour_image_is_that_of_all_samples() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(1, 60, (64, 72, 3)).astype(np.uint8)
    image[5, 5, 0] = 0  # a pixel is missing only if all of its samples are
    image[20:40, 30:50] = 0
    result, _ = run(image, **PHOTO, nodata=0)
    assert (result[20:40, 30:50] == 0).all()
    assert (result[:10] > 0).any(-1).all()
    brighter = image.copy()
    brighter[20:40, 30:50] = 200
    other, _ = run(brighter, **PHOTO, nodata=200)
    outside = np.ones((64, 72), bool)
    outside[20:40, 30:50] = False
    assert (other[outside] == result[outside]).all()


def test_gdal_nodata_is_read_from_a_tiff(tmp_path: Path) -> None:
    image = counts().astype(np.int16)
    image[:30] = -3024
    path = tmp_path / "ct.tif"
    tifffile.imwrite(path, image, extratags=[(42113, "s", 0, "-3024", True)])
    wanted, _ = run(image, **COUNTS, nodata=-3024)
    got, _ = run(path, **COUNTS)
    assert (got == wanted).all()
    from napari_dcr.cli import main

    argv = ["enhance", str(path), "-o", str(tmp_path / "out.tif"), "-q", "--model", "microscopy"]
    assert main([*argv, "--depth", "1", "--device", "cpu"]) == 0
    assert (tifffile.imread(tmp_path / "out.tif") == wanted).all()


@BOTH
@pytest.mark.parametrize("kind", ["uint16", "float32", "dask", "region"])
def test_masked_pixels_are_ignored_and_stay_masked(options: Record, kind: str) -> None:
    image = counts().astype("float32" if kind == "float32" else "uint16")
    mask = np.zeros(image.shape, bool)
    mask[50:54, 50:54], mask[:, 100:] = True, True
    loud = image.copy()
    loud[mask] = 60000

    def enhanced(pixels: NDArray[Any]) -> Any:
        masked = np.ma.MaskedArray(pixels, mask)
        if kind == "dask":
            lazy, _ = run(da.from_array(masked, chunks=(40, 50)), **options)
            return lazy.compute()
        if kind == "region":
            region = (slice(0, 96), slice(8, 112))
            steps = RegionEnhancer(open_image(masked)).steps(Options(**options), region)
            return run_to_completion(steps).image
        return run(masked, **options)[0]

    quiet_result, loud_result = enhanced(image), enhanced(loud)
    assert isinstance(loud_result, np.ma.MaskedArray)
    crop = np.s_[:, 8:] if kind == "region" else np.s_[:, :]
    assert (loud_result.mask == mask[crop]).all()
    assert (loud_result.data[mask[crop]] == 60000).all()
    assert (loud_result.compressed() == quiet_result.compressed()).all()


def test_a_masked_image_into_a_file_says_that_the_mask_is_lost(tmp_path: Path) -> None:
    masked = np.ma.MaskedArray(counts(), counts() > 380)
    with pytest.warns(napari_dcr.InputWarning, match="^out: the image is masked"):
        result = napari_dcr.enhance(masked, out=tmp_path / "out.zarr", **COUNTS)
    assert (result[...][masked.mask] == masked.data[masked.mask]).all()


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_under_alpha_0_do_not_count(hidden: int, dtype: str) -> None:
    rng = np.random.default_rng(4)
    scale = 1 if dtype == "uint8" else 255
    image = (rng.integers(5, 60, (64, 80, 4)) / scale).astype(dtype)
    image[..., 3] = 255 / scale
    image[:, 40:, 3] = 0
    image[:, 40:, :3] = hidden / scale
    result, _ = run(image, **PHOTO)
    image[:, 40:, :3] = 9 / scale
    other, _ = run(image, **PHOTO)
    assert (result[:, :40] == other[:, :40]).all()
    assert (result[:, 40:, :3] == np.array(hidden / scale, dtype)).all()
    assert (result[..., 3] == image[..., 3]).all()


@BOTH
@pytest.mark.parametrize("hidden", [np.nan, -0.5, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_pixels_whose_alpha_is_not_above_0_are_hidden(
    dtype: str, hidden: float, options: Record
) -> None:
    image = np.random.default_rng(4).uniform(0.02, 0.3, (64, 80, 4)).astype(dtype)
    image[..., 3] = 1
    image[:, 40:, 3] = 0
    expected, _ = run(image, **options)
    image[:, 40:, 3] = hidden
    result, _ = run(image, **options)
    np.testing.assert_array_equal(result[..., :3], expected[..., :3])
    np.testing.assert_array_equal(result[..., 3], image[..., 3])
    image[..., :3] *= 200  # microscopy keeps units, so values in [0, 1] do not fit whole numbers
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        shown, _ = run(image, output="uint8", input_range=(0, 255), **options)
    assert (shown[:, 40:, 3] == 0).all()
    assert (shown[:, :40, 3] > 0).all()


# Planes that cannot be enhanced


@pytest.mark.parametrize("kind", ["saturated", "nan", "black"])
@pytest.mark.parametrize("bad", [0, 2])
def test_a_bad_channel_passes_through_and_is_named(kind: str, bad: int) -> None:
    image = np.stack([counts(seed) for seed in range(3)])
    if kind == "nan":
        image = image.astype(np.float32)
    image[bad] = {"saturated": 65535, "nan": np.nan, "black": 0}[kind]
    with pytest.warns(napari_dcr.InputWarning, match=f"^channel {bad + 1}/3: .* left as it is"):
        result, reports = napari_dcr.enhance(image, **COUNTS, channel_axis=0, return_report=True)
    assert np.array_equal(result[bad], image[bad], equal_nan=True)
    for channel in {0, 1, 2} - {bad}:
        alone, _ = run(image[channel], **COUNTS)
        # Batches of small frames change the last bits of floats.
        np.testing.assert_allclose(result[channel], alone, rtol=2e-6)
        assert not any("left as it is" in note for note in reports[channel].warnings)
    assert any("left as it is" in note for note in reports[bad].warnings)


@pytest.mark.parametrize("link_frames", [True, False])
@pytest.mark.parametrize("value", [65535, 0])
def test_a_bad_frame_passes_through_and_is_named(link_frames: bool, value: int) -> None:
    image = np.stack([counts(seed) for seed in range(4)])
    image[2] = value
    result, record = run(image, **COUNTS, link_frames=link_frames)
    assert (result[2] == value).all()
    assert (result[[0, 1, 3]] != image[[0, 1, 3]]).mean() > 0.5
    assert [m for m in record["warnings"] if m.startswith("z 3/4: ")]


def _photos(dtype: str, colours: int = 1) -> NDArray[Any]:
    grains = np.random.default_rng(5).gamma(2, 0.02, (6, 64, 72, colours)).clip(0, 0.9)
    frames = (grains if dtype == "float32" else grains * np.iinfo(dtype).max).astype(dtype)
    return frames[..., 0] if colours == 1 else frames


BLANK: dict[str, Callable[[NDArray[Any]], Any]] = {
    "white": lambda frame: np.full_like(frame, _white(frame)),
    "black": np.zeros_like,
    "middle": lambda frame: np.full_like(frame, _white(frame) // 3 or 0.3),
    "white-but-one": lambda frame: np.where(_first(frame), 3, np.full_like(frame, _white(frame))),
    "black-but-one": lambda frame: np.where(_first(frame), _white(frame), np.zeros_like(frame)),
}


def _white(frame: NDArray[Any]) -> Any:
    return 1e6 if frame.dtype.kind == "f" else np.iinfo(frame.dtype).max


def _first(frame: NDArray[Any]) -> NDArray[np.bool_]:
    return np.arange(frame.size).reshape(frame.shape) == frame.size // 3


@pytest.mark.parametrize("kind", BLANK)
@pytest.mark.parametrize(
    ("model", "dtype"),
    [("microscopy", "uint16"), ("microscopy", "float32"), ("photo", "uint8"), ("photo", "float32")],
)
def test_a_blank_frame_does_not_affect_the_others(model: str, dtype: str, kind: str) -> None:
    if model == "photo":
        options, image = PHOTO, _photos(dtype)
    else:
        options, image = COUNTS, np.stack([counts(seed) for seed in range(6)]).astype(dtype)
    image[2] = BLANK[kind](image[2])
    others = np.arange(6) != 2
    alone, _ = run(image[others], **options, axes="tyx")
    result, record = run(image, **options, axes="tyx")
    assert (result[2] == image[2]).all()
    assert (result[others] == alone).all()
    assert any(m.startswith("t 3/6: ") and "left as it is" in m for m in record["warnings"])


@pytest.mark.parametrize("kind", ["dask", "zarr"])
@pytest.mark.parametrize("options", [PHOTO, COUNTS], ids=["photo", "microscopy"])
def test_a_blank_frame_of_a_lazy_array(kind: str, options: Record, tmp_path: Path) -> None:
    image = np.stack([counts(seed) for seed in range(4)])
    image[1] = 65535
    alone, _ = run(image[[0, 2, 3]], **options, axes="tyx")
    given: Any = da.from_array(image, chunks=(1, 50, 112))
    if kind == "zarr":
        given = zarr.create_array(tmp_path / "a.zarr", shape=image.shape, dtype=image.dtype)
        given[...] = image
    result = np.asarray(run(given, **options, axes="tyx")[0])
    assert (result[1] == 65535).all()
    assert difference(result[[0, 2, 3]], alone) <= 1


@BOTH
@pytest.mark.parametrize("link_frames", [True, False])
@pytest.mark.parametrize("value", [40, 128, (60, 90, 20)])
def test_a_frame_of_one_colour_is_returned_unchanged(
    value: Any, link_frames: bool, options: Record
) -> None:
    colours = 3 if np.ndim(value) else 1
    stack = _photos("uint8", colours)
    stack[1] = value
    result, record = run(stack, **options, link_frames=link_frames)
    assert (result[1] == value).all()
    assert any("2/" in message and "left as it is" in message for message in record["warnings"])
    alone, record = run(stack[1], **options)
    assert (alone == value).all()
    assert any("left as it is" in message for message in record["warnings"])


def test_a_frame_of_one_colour_is_blank() -> None:
    image = _photos("uint8", 3)
    image[4] = (0, 0, 255)
    others = np.arange(6) != 4
    result, record = run(image, **PHOTO, axes="tyxs")
    assert (result[others] == run(image[others], **PHOTO, axes="tyxs")[0]).all()
    assert any("every pixel has the colour (0, 0, 255)" in m for m in record["warnings"])


def test_moving_offsets_stay_with_their_frames_beside_a_blank_one() -> None:
    rng = np.random.default_rng(3)
    image = rng.poisson(waves(128, 128), (6, 128, 128)) + 400 + rng.normal(0, 25, (6, 1, 128))
    image = image.astype(np.uint16)
    image[2] = 65535
    others = np.arange(6) != 2
    alone, _ = run(image[others], **COUNTS, axes="tyx")
    result, _ = run(image, **COUNTS, axes="tyx")
    assert (result[others] == alone).all()


def test_frames_of_single_photons_are_not_blank() -> None:
    image = np.zeros((6, 64, 64), np.uint16)
    image[:4, 9, 9] = 1
    image[4:, ::9, 7] = 1
    _, record = run(image, **COUNTS, axes="tyx")
    assert not any(m.startswith("t 1/6") for m in record["warnings"])


def test_many_bad_frames_are_named_in_one_line() -> None:
    image = np.stack([counts(seed, 24, 40) for seed in range(9)])
    image[2:] = 0
    _, record = run(image, **COUNTS)
    assert record["warnings"][0] == (
        "z 3/9, z 4/9, z 5/9 and 4 more: every pixel has the value 0; left as they are"
    )


def test_unchanged_pixels_have_no_known_error() -> None:
    image = np.stack([counts(0), np.full_like(counts(), 65535)])
    with pytest.warns(napari_dcr.InputWarning):
        _, error = napari_dcr.enhance(image, **COUNTS, axes="cyx", return_uncertainty=True)
    assert np.isfinite(error[0]).all()
    assert np.isnan(error[1]).all()


@pytest.mark.parametrize(("frames", "height", "width"), [(200, 12, 40), (300, 1, 64), (200, 50, 5)])
def test_low_frames_are_denoised_together(frames: int, height: int, width: int) -> None:
    rng = np.random.default_rng(1)
    truth = np.broadcast_to(waves(height, width) + 100, (frames, height, width))
    image = rng.poisson(truth).astype(np.uint16)
    result, record = run(image, **COUNTS)
    assert not any("left as" in message for message in record["warnings"])

    def error(of: Any) -> float:
        return float(np.sqrt(np.mean((of - truth) ** 2)))

    assert error(result) < 0.75 * error(image)


# Units


@pytest.mark.parametrize("unit", [2e-18, 3e-16, 1e-30, 1e30, 7e12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_counts_scale_with_the_unit(unit: float, dtype: str) -> None:
    image = counts().astype(dtype)
    plain, report = napari_dcr.enhance(image, **COUNTS, return_report=True)
    scaled = (image * np.array(unit, dtype)).astype(dtype)
    result, small = napari_dcr.enhance(scaled, **COUNTS, return_report=True)
    assert difference(result / np.array(unit, dtype), plain) < 0.05
    assert small.noise_before / unit == pytest.approx(report.noise_before, rel=1e-3)
    assert small.slope == pytest.approx(report.slope, abs=1e-3)


@pytest.mark.parametrize("unit", [1e-9, 3e-20, 1e15, 7.3])
def test_pictures_scale_with_the_unit(unit: float) -> None:
    image = np.random.default_rng(4).gamma(2, 5, (96, 112))
    plain, _ = run(image, **PHOTO)
    result, _ = run(image * unit, **PHOTO)
    assert difference(plain, image) > 0.1 * image.max()  # it is brightened
    assert difference(result / unit, plain) < 0.01 * image.max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lamp", [10.0, 300.0, 1e6])
@pytest.mark.parametrize("unit", [1.0, 500.0])
def test_a_lamp_does_not_lift_the_scene(dtype: str, lamp: float, unit: float) -> None:
    rng = np.random.default_rng(2)
    scene = (unit * rng.gamma(2, 0.1, (128, 128))).astype(dtype)
    lit = scene.copy()
    lit[50:52, 50:56] = unit * lamp
    dark, _ = run(scene, **PHOTO)
    result, _ = run(lit, **PHOTO)
    rest = lit < unit * lamp
    assert result[rest].mean() == pytest.approx(dark[rest].mean(), rel=0.25)
    assert result[~rest].min() > 0.9 * unit * lamp


@pytest.mark.parametrize("share", [0.002, 0.018, 0.04])
@pytest.mark.parametrize(("lamp", "spread"), [(10.0, 0.0), (300.0, 0.3), (1e6, 0.1)])
@pytest.mark.parametrize("kind", ["gamma", "log-normal", "colour"])
def test_large_lamps_do_not_lift_the_scene(
    kind: str, lamp: float, spread: float, share: float
) -> None:
    rng = np.random.default_rng(3)
    shape = (128, 128, 3) if kind == "colour" else (128, 128)
    scene = 0.1 * (rng.lognormal(0, 0.7, shape) if kind == "log-normal" else rng.gamma(2, 1, shape))
    lit = scene.copy()
    side = round(128 * share**0.5)
    size = (side, side, *shape[2:])
    lit[40 : 40 + side, 50 : 50 + side] = lamp * rng.lognormal(0, spread, size)
    rest = lit == scene
    dark, _ = run(scene, **PHOTO)
    result, _ = run(lit, **PHOTO)
    away = rest.copy()
    away[30 : 50 + side, 40 : 60 + side] = False
    assert result[away].mean() == pytest.approx(dark[away].mean(), rel=0.1)
    assert result[~rest].min() > 0.8 * lit[~rest].min()


@pytest.mark.parametrize("share", [0.013, 0.03, 0.2])
def test_bright_cells_in_noise_are_not_treated_as_lamps(share: float) -> None:
    rng = np.random.default_rng(5)
    values = np.abs(rng.normal(10, 3, 40_000))
    cells = round(share * values.size)
    values[:cells] = rng.normal(500, 100, cells)
    histogram = Histogram(np.dtype(np.float32))
    histogram.add(values.astype(np.float32))
    assert find_scale("auto", histogram.dtype, histogram, True).white > 500


def test_a_lamp_beyond_white_does_not_count_in_the_tone() -> None:
    rng = np.random.default_rng(2)
    for dtype, shape in (("float32", (96, 96, 3)), ("float16", (96, 96))):
        scene = rng.uniform(0.02, 0.4, shape).astype(dtype)
        lit = scene.copy()
        lit[30:32, 40:43] = 10
        result, _ = run(lit, **PHOTO)
        dark, _ = run(scene, **PHOTO)
        away = np.s_[45:]  # near enough for the network to see that there is a lamp
        assert result[away].mean() == pytest.approx(dark[away].mean(), rel=0.03)
        assert difference(result[away], dark[away]) < 0.15
        assert result[30:32, 40:43].min() > 9


# One picture, stored in several ways


@pytest.mark.parametrize("share", [1.0, 0.13])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_grey_picture_as_integers_and_as_floats(share: float, dtype: str) -> None:
    # With noise: whole rows of one value at the border would be padding.
    scene = waves() + np.random.default_rng(0).normal(0, 6, waves().shape)
    sixteen = (share * 0.85 * 65535 * scene / 300).astype(np.uint16)
    result, _ = run(sixteen, **PHOTO)
    floats, _ = run((sixteen / 65535).astype(dtype), **PHOTO)
    assert difference(result / 65535, floats) < 1e-4
    eight = (sixteen // 257).astype(np.uint8)
    result, _ = run(eight, **PHOTO, precision="fp32")
    floats, _ = run((eight / 255).astype(dtype), **PHOTO)
    assert difference(result / 255, floats) <= 0.51 / 255


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_equal_colours_stay_equal(dtype: str) -> None:
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    grey = (0.2 * top * waves() / 300).astype(dtype)
    result, _ = run(np.stack([grey] * 3, -1), **PHOTO)
    assert (result[..., :1] == result).all()
    tinted = np.stack([grey] * 3, -1)
    tinted[0, 0, 0] = 0  # colour anywhere makes it a colour picture
    result, _ = run(tinted, **PHOTO)
    assert (result[..., :1] != result).any()


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("lazy", [True, False])
def test_the_levels_of_a_pyramid_share_one_tone(levels: int, lazy: bool) -> None:
    rng = np.random.default_rng(5)
    finest = rng.poisson(np.clip(4 * waves(128, 160) - 300, 5, None)).astype(np.uint16)
    pyramid = [finest]
    for _ in range(levels - 1):
        fine = pyramid[-1].astype(float)
        blocks = fine.reshape(fine.shape[0] // 2, 2, fine.shape[1] // 2, 2)
        pyramid.append(blocks.mean((1, 3)).astype(np.uint16))
    images = [da.from_array(level) for level in pyramid] if lazy else pyramid
    done = run_to_completion(enhance_pyramid_steps(images, Options(**PHOTO)))
    means = [float(np.asarray(level).mean()) for level in done.image]
    assert np.ptp(means) < 0.015 * means[0]


# Pictures that hold nothing to enhance


@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.full((96, 128), 255, np.uint8),
        lambda: np.full((80, 96, 3), 245, np.uint8),
        lambda: np.full((80, 96, 3), 65535, np.uint16),
        lambda: np.ones((80, 96), np.float32),
        lambda: np.zeros((80, 96, 3), np.uint8),
        lambda: np.random.default_rng(0).integers(0, 2, (96, 96)).astype(np.uint8),
        lambda: np.clip(np.random.default_rng(0).normal(245, 2, (96, 96, 3)), 0, 255).astype(np.uint8),
    ],
    ids=["white", "pale", "white16", "white-float", "black", "mask", "grain"],
)  # fmt: skip
def test_white_and_black_pictures_are_returned_unchanged(
    make: Callable[[], NDArray[Any]], depth: int
) -> None:
    image = make()
    result, record = run(image, model="photo", depth=depth, device="cpu")
    assert (result == image).all()
    assert len(record["warnings"]) == 1


def test_a_text_page_stays_white() -> None:
    page = np.full((120, 160, 3), 250, np.uint8)
    page[20:100:10, 10:150] = 30
    result, _ = run(page, model="photo", device="cpu")
    assert result[page > 200].min() >= 245
    dim = page // 6  # the same page with little light is brightened
    result, _ = run(dim, model="photo", device="cpu")
    assert result.mean() > 2 * dim.mean()


# Pixels that change


def test_a_zarr_that_has_changed_is_surveyed_again(tmp_path: Path) -> None:
    store = zarr.create_array(tmp_path / "a.zarr", shape=(96, 112), dtype="u2", chunks=(48, 56))
    for options in (COUNTS, PHOTO):
        store[...] = counts() // 8
        first = napari_dcr.enhance(da.from_zarr(store), **options)
        first.compute()
        store[...] = 16 * counts(1)
        second = napari_dcr.enhance(da.from_zarr(store), **options)
        assert second.name != first.name
        wanted, _ = run(16 * counts(1), **options)
        assert difference(second.compute(), wanted) <= 1


@BOTH
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_that_was_changed_in_place_is_enhanced_again(options: Record, order: str) -> None:
    image = np.array(counts(), order=order)  # type: ignore[call-overload]
    region = (slice(0, 96), slice(0, 112))
    enhancer = RegionEnhancer(open_image(image))
    run_to_completion(enhancer.steps(Options(**options), region))
    image //= 9
    again = run_to_completion(enhancer.steps(Options(**options), region)).image
    wanted, _ = run(image, **options)
    assert difference(again, wanted) <= 1


def test_resume_repeats_missing_or_damaged_parts(tmp_path: Path) -> None:
    image = counts(0, 256, 320)
    out = tmp_path / "out.zarr"
    options = {**COUNTS, "tile": 64}
    whole = napari_dcr.enhance(image, out=out, **options)[...]
    chunks = sorted(path for path in (out / "c").rglob("*") if path.is_file())
    chunks[1].unlink()
    chunks[5].write_bytes(chunks[5].read_bytes()[:-7])
    chunks[7].write_bytes(chunks[2].read_bytes())
    with pytest.warns(napari_dcr.InputWarning, match="^resume: finished parts of out .* again"):
        again = napari_dcr.enhance(image, out=out, resume=True, **options)
    assert (again[...] == whole).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        napari_dcr.enhance(image, out=out, resume=True, **options)


# PyTorch's settings, and forked processes

STATES: dict[str, Callable[[], Any]] = {
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "float64": lambda: _set(torch.set_default_dtype, torch.float64, torch.float32),
    "medium": lambda: _set(torch.set_float32_matmul_precision, "medium", "highest"),
}


@contextlib.contextmanager
def _set(setter: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(before)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("first", [True, False], ids=["first-call", "later-call"])
def test_torch_settings_change_nothing(state: str, first: bool) -> None:
    picture = counts()[..., None].repeat(3, -1) // 4

    def results() -> list[Any]:
        return [run(picture.astype(np.uint8), **PHOTO)[0], run(counts(), **COUNTS)[0]]

    plain = results()
    if first:  # as if nothing had been loaded
        weights._load.cache_clear()
        devices.fast_precision.cache_clear()
    generator = torch.random.get_rng_state()
    with STATES[state]():
        again = results()
    assert all((a == b).all() for a, b in zip(plain, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_the_default_dtype_of_pytorch_is_not_changed() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        run(counts(), **COUNTS)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


FORKED = """
import multiprocessing, sys
import numpy as np, napari_dcr
image = np.random.default_rng(0).poisson(20, (200, 220)).astype(np.uint8)
def work(image): return napari_dcr.enhance(image, device="cpu")
def main():
    here = work(image)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        there = pool.apply_async(work, (image,)).get(timeout=100)
    assert (here == there).all()
main()
"""


def test_a_forked_process_can_enhance() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        return
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=120)


# Arguments


def test_numpy_values_are_treated_as_python_values() -> None:
    image = np.stack([counts(0), counts(1)])
    plain, _ = run(image, **PHOTO, channel_axis=0, input_range=(90.0, 500.0), detail=True)
    given = np.array([90, 500])
    result, record = run(
        image, **PHOTO, channel_axis=np.int64(0), input_range=given, detail=np.True_, rgb=np.False_
    )
    assert (result == plain).all()
    assert json.dumps(record["options"])
    for dtype in ("float32", "int64"):
        assert Options(input_range=given.astype(dtype)).input_range == (90.0, 500.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: _unknown_chunks(), {}, "image: got a dask array of shape .* compute_chunk_sizes"),
        (lambda: {"image": 1}, {}, "image: got dict; allowed are"),
        (counts, {"nodata": "x"}, "nodata: got 'x'; allowed are"),
        (counts, {"nodata": np.True_}, "nodata: got .*True.*; allowed are"),
        (counts, {"channel_axis": 1.0}, "channel_axis: got 1.0; allowed are"),
        (counts, {"channel_axis": np.True_}, "channel_axis: got .*True.*; allowed are"),
        (counts, {"input_range": np.arange(3)}, "input_range: got array"),
        (counts, {"rgb": "no"}, "rgb: got 'no'; allowed are"),
    ],
)
def test_errors_name_the_argument(make: Callable[[], Any], options: Record, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        napari_dcr.enhance(make(), **options)


def _unknown_chunks() -> Any:
    image = da.from_array(np.arange(400.0).reshape(20, 20))
    return image[image[:, 0] > 40]


def test_scales_of_odd_floats() -> None:
    def scale(values: NDArray[Any]) -> tuple[float, float]:
        histogram = Histogram(values.dtype)
        histogram.add(values)
        found = find_scale("auto", values.dtype, histogram, True)
        return found.black, found.white

    assert scale(np.zeros((9, 9), np.float32)) == (0, 1)
    assert scale(np.full((9, 9), np.nan)) == (0, 1)
    assert scale(np.full((9, 9), 300.0)) == (0, 300)
    # A sky of noise with a few stars: the stars are the picture.
    rng = np.random.default_rng(0)
    sky = rng.normal(0, 5, (200, 200))
    sky[::20, ::20] = 5000
    assert scale(sky)[1] == pytest.approx(5000, rel=0.01)


# Constant areas


PADDINGS: dict[str, Callable[[NDArray[np.bool_]], None]] = {
    "columns": lambda outside: outside.__setitem__(np.s_[:, :26], True),
    "rows": lambda outside: outside.__setitem__(np.s_[-90:], True),
    "circle": lambda outside: outside.__setitem__(_far_from_the_middle(outside.shape) > 120, True),
    "triangle": lambda outside: outside.__setitem__(_slanted(outside.shape) > 330, True),
}


def _far_from_the_middle(shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - shape[0] / 2, x - shape[1] / 2)


def _slanted(shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y + 0.8 * x


@pytest.mark.parametrize("shape", PADDINGS)
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint16", 0), ("uint16", 50), ("uint16", 100), ("uint16", 4095), ("float32", 0), ("float32", 160)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["array", "dask", "zarr"])
def test_padding_leaves_the_denoising_on(
    shape: str, dtype: str, value: float, kind: str, tmp_path: Path
) -> None:
    if kind != "array" and (shape, value) not in {("columns", 0), ("circle", 100)}:
        return
    truth = waves(256, 256) + 100
    image = counts(7, 256, 256).astype(dtype)
    outside = np.zeros(image.shape, bool)
    PADDINGS[shape](outside)
    plain, whole = napari_dcr.enhance(image, **COUNTS, return_report=True)
    image[outside] = value
    given: Any = image
    if kind == "dask":
        given = da.from_array(image, chunks=(100, 90))
    if kind == "zarr":
        given = zarr.create_array(tmp_path / "a.zarr", shape=image.shape, dtype=dtype)
        given[...] = image
    result, record = run(given, **COUNTS)

    def error(of: Any) -> float:
        # Beside the edge the scene is another one.
        inner = ~_grown(outside, 12)
        return float(10 * np.log10(np.mean((np.asarray(of) - truth)[inner] ** 2)))

    assert error(result) < error(plain) + 0.3
    if kind == "array":
        assert record["reports"][0]["noise_before"] == pytest.approx(whole.noise_before, rel=0.1)


def _grown(area: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    grown = area.copy()
    for axis in (0, 1):
        for shift in range(-by, by + 1):
            moved = np.roll(area if axis == 0 else grown, shift, axis)
            grown = grown | moved
    return grown


@pytest.mark.parametrize("value", [0, 100])
@pytest.mark.parametrize("link_frames", [True, False])
def test_one_constant_frame_does_not_end_the_denoising_of_the_others(
    value: int, link_frames: bool
) -> None:
    truth = waves() + 100
    image = np.stack([counts(seed) for seed in range(31 if link_frames else 5)])
    image[3] = value
    result, record = run(image, **COUNTS, link_frames=link_frames)
    others = np.arange(len(image)) != 3
    before, after = (np.sqrt(np.mean((a[others] - truth) ** 2)) for a in (image, result))
    assert after < 0.35 * before
    assert any("4/" in message and f"value {value}" in message for message in record["warnings"])


def test_residual_and_uncertainty_of_a_padded_image() -> None:
    image = counts(7, 256, 256)
    image[:, :40] = 0
    result, report, residual, error = napari_dcr.enhance(
        image, **COUNTS, return_report=True, return_residual=True, return_uncertainty=True
    )
    inner = np.s_[:, 60:]
    noise = np.sqrt(waves(256, 256))[inner]
    assert np.std(residual[inner] / noise) == pytest.approx(1, abs=0.15)
    within = np.abs(result - (waves(256, 256) + 100))[inner] < error[inner]
    assert 0.5 < within.mean() < 0.85
    assert report.noise_before == pytest.approx(14, rel=0.15)
    estimate = napari_dcr.estimate_noise(image)
    assert estimate.model.gain == pytest.approx(1, abs=0.2)


# Drawings, pages and values near the limits


DRAWINGS: dict[str, Callable[[], NDArray[Any]]] = {
    "rows": lambda: np.broadcast_to(counts()[:1], (96, 112)).copy(),
    "columns": lambda: np.broadcast_to(counts()[:, :1], (96, 112)).copy(),
    "mask": lambda: np.repeat([0, 255], 48)[:, None].repeat(112, 1),
    "page": lambda: np.where(counts() % 19 == 0, 0, 1000).astype(np.uint16),
}


@BOTH
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("kind", DRAWINGS)
def test_images_without_noise_stay_finite_and_silent(
    kind: str, dtype: str, options: Record
) -> None:
    image = DRAWINGS[kind]().astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        # Rows that are all alike are offsets of columns, too.
        result, record = run(image, **options, defects="off")
    assert np.isfinite(result).all()
    assert not any(m.startswith("nodata") for m in record["warnings"])
    if options is COUNTS and kind != "page":
        assert difference(result, image) < 0.05 * np.ptp(image)


@BOTH
def test_values_near_the_limit_of_float64(options: Record) -> None:
    image = counts().astype(np.float64)
    few = image.copy()
    few[counts(1) % 50 == 0] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result, record = run(few, **options)
        assert np.isfinite(result).all()
        assert any("pass nodata=1e+300" in m for m in record["warnings"])
        few[:, :30] = -np.finfo(float).max
        few[few == 1e300] = 300
        if options is COUNTS:  # padding counts nowhere, be it as large as can be
            padded, record = run(few, **options)
            assert np.isfinite(padded).all()
            assert record["reports"][0]["noise_before"] == pytest.approx(14, rel=0.2)
        largest = image / image.max() * 1e299
        assert np.isfinite(run(largest, **options)[0]).all()
        for unit in (1.7e308, -1.7e308):
            with pytest.raises(ValueError, match=r"^image: got values from .* overflow"):
                run(image / image.max() * unit, **options)


@pytest.mark.parametrize(("level", "width"), [(92, 20), (132, 50), (560, 9), (0, 30)])
def test_a_warning_names_every_area_that_is_returned_unchanged(level: int, width: int) -> None:
    image = counts(3, 192, 192)
    image[60 : 60 + width, 80 : 80 + 3 * width] = level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, error = napari_dcr.enhance(image, **COUNTS, return_uncertainty=True)
    alone = np.isnan(error)
    named = [str(w.message) for w in caught if f"value {level} in solid" in str(w.message)]
    assert alone.any() == bool(named)
    if named:
        assert f"{(image == level).mean():.2%}" in named[0]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_8_bit_pictures_stored_in_16_bits_give_the_same_result(dtype: str) -> None:
    eight = (0.3 * waves() / 300 * 255 + np.random.default_rng(2).normal(0, 2, (96, 112))).astype(
        np.uint8
    )
    wide: Any = eight.astype(np.uint16) * 257
    if dtype != "uint16":
        wide = (wide / 65535).astype(dtype)
    full = 65535 if dtype == "uint16" else 1
    result, record = run(wide, **PHOTO)
    assert record["ranges"][0] == [0, full]
    plain, _ = run(eight, **PHOTO, precision="fp32")
    assert difference(result / full, plain / 255) < 0.51 / 255


@BOTH
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint16", -1), ("uint16", 65536), ("uint16", 3.5), ("int16", np.inf), ("float32", 1e300)],
)
def test_nodata_outside_the_range_of_the_dtype(dtype: str, value: float, options: Record) -> None:
    image = counts().astype(dtype)
    result, record = run(image, **options, nodata=value)
    assert any(m.startswith("nodata: got ") and dtype in m for m in record["warnings"])
    assert (result == run(image, **options)[0]).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_range", np.array("auto")),
        ("input_range", np.array([[1], [2]])),
        ("input_range", np.array(3.0)),
        ("input_range", ([1], [2, 3])),
        ("output", np.array("uint8")),
        ("output", np.uint8),
        ("precision", np.array("auto")),
        ("tile", np.array("auto")),
        ("defects", np.array("auto")),
        ("model", np.array("photo")),
        ("device", np.array("cpu")),
    ],
)
def test_the_error_names_an_argument_that_is_an_array(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name}: got "):
        Options(**{name: value})


def test_output_as_a_dtype() -> None:
    assert Options(output=np.dtype("uint8")).output == "uint8"  # type: ignore[arg-type]


FORKED_DASK = """
import multiprocessing, warnings
import dask.array as da, numpy as np, napari_dcr
image = np.random.default_rng(0).poisson(200, (96, 112)).astype(np.uint16)
lazy = da.from_array(image, chunks=50)
options = dict(model="photo", depth=0, device="cpu")

def work(_):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = napari_dcr.enhance(lazy, **options)
    assert any("forked" in str(w.message) for w in caught)
    out = napari_dcr.enhance(lazy, **options, out=np.empty_like(image))
    return result.compute(scheduler="synchronous"), out

def main():
    here = napari_dcr.enhance(lazy, **options).compute()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for there in pool.apply_async(work, (0,)).get(timeout=100):
            assert (here == there).all()
main()
"""


def test_a_forked_process_can_enhance_dask_arrays() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        return
    subprocess.run([sys.executable, "-c", FORKED_DASK], check=True, timeout=120)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("where", ["left and right", "a column", "a circle"])
def test_column_offsets_are_found_beside_missing_pixels(dtype: str, where: str) -> None:
    rng = np.random.default_rng(0)
    light = waves(140, 150)
    striped = (rng.poisson(light) + 100 + rng.normal(0, 15, 150)).astype(dtype)
    image, inside, nodata = striped.copy(), np.s_[:, :], 7
    if where == "left and right":
        image, inside = np.pad(striped, ((0, 0), (3, 9)), constant_values=nodata), np.s_[:, 3:-9]
    elif where == "a column":
        image[:, 75] = nodata
    else:
        y, x = np.mgrid[:140, :150]
        image[(y - 70) ** 2 + (x - 75) ** 2 > 70**2] = nodata
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        whole = napari_dcr.enhance(striped, **COUNTS)
        result = napari_dcr.enhance(image, **COUNTS, nodata=nodata)
    known = image[inside] != nodata

    def error(of: NDArray[Any]) -> float:
        return float(np.sqrt(np.mean(np.square(of - light - 100.0)[known])))

    # Columns of a circle have fewer pixels. Offsets that are not found give three times the error.
    assert error(result[inside]) < 1.3 * error(whole)


@pytest.mark.parametrize(("model", "most"), [("photo", 0.02), ("microscopy", 0.001)])
def test_frames_with_different_padding_share_one_survey(model: str, most: float) -> None:
    rng = np.random.default_rng(2)
    light = waves(120, 140)
    frames = [rng.poisson(light).astype(np.uint16) + 100 for _ in range(4)]
    padded = [np.pad(f, ((3 * n, 9 - 3 * n), (9 - 3 * n, 3 * n))) for n, f in enumerate(frames)]
    options: dict[str, Any] = {"model": model, "axes": "tyx", "device": "cpu", "output": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        result = napari_dcr.enhance(np.stack(padded), **options)
        whole = napari_dcr.enhance(np.stack(frames), **options)
    for n, (own, expected) in enumerate(zip(result, whole, strict=True)):
        inside = own[3 * n : 3 * n + 120, 9 - 3 * n : 149 - 3 * n]
        assert inside.mean() == pytest.approx(expected.mean(), rel=most)
        assert (own == 0).sum() == own.size - inside.size


@pytest.mark.parametrize("shape", ["circle", "corner", "band"])
def test_masks_do_not_change_the_tone(shape: str) -> None:
    y, x = np.mgrid[:120, :140]
    rng = np.random.default_rng(7)
    places = rng.uniform(0, (120, 140), (25, 2))
    light = 20 + sum(400 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 8) for a, b in places)
    image = rng.poisson(light).astype(np.uint16) + 100
    mask = {
        "circle": np.hypot(y - 60, x - 70) > 58,
        "corner": y + 0.8 * x < 60,
        "band": abs(y - 0.5 * x - 20) < 9,
    }[shape]
    options: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "output": "float32"}
    whole = napari_dcr.enhance(image, **options)
    result = napari_dcr.enhance(np.ma.MaskedArray(image, mask), **options)
    assert result.mean() == pytest.approx(whole[~mask].mean(), rel=0.2)


@pytest.mark.parametrize("hidden", [1e9, -3e38])
@pytest.mark.parametrize("model", ["photo", "microscopy"])
def test_values_under_a_mask_do_not_hide_hot_pixels(model: str, hidden: float) -> None:
    rng = np.random.default_rng(5)
    image = (500 + rng.poisson(2.0, (96, 110))).astype(np.float32)
    image[rng.integers(0, 96, 40), rng.integers(0, 110, 40)] += 130
    mask = rng.random(image.shape) < 0.02
    mask[10:30, 20:50] = True
    options: dict[str, Any] = {"model": model, "depth": 0, "device": "cpu"}
    nan, other = (np.where(mask, np.float32(value), image) for value in (np.nan, hidden))
    expected, found = napari_dcr.enhance(nan, return_defects=True, **options)
    result, again = napari_dcr.enhance(
        np.ma.MaskedArray(other, mask), return_defects=True, **options
    )
    assert len(found.hot) > 20
    assert np.array_equal(again.hot, found.hot)
    assert np.array_equal(result.data[~mask], expected[~mask])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("model", ["photo", "microscopy"])
def test_frames_without_data_do_not_affect_the_others(model: str, count: int) -> None:
    rng = np.random.default_rng(6)
    frames = rng.poisson(waves(60, 70), (3, 60, 70)).astype(np.float32) + 100
    frames[:2, 20, 30] = 5000  # a hot pixel in most frames
    frames[:, 40, 50] = 5000
    options: dict[str, Any] = {"model": model, "axes": "tyx", "depth": 0, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        expected, found = napari_dcr.enhance(frames, return_defects=True, **options)
        more = np.insert(frames, [1] * count, np.nan, 0)
        result, again = napari_dcr.enhance(more, return_defects=True, **options)
    assert len(found.hot) == 2
    assert np.array_equal(again.hot, found.hot)
    assert np.allclose(np.delete(result, range(1, 1 + count), 0), expected, rtol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.93])
def test_fills_near_the_limit_of_float32_give_no_numpy_warning(share: float) -> None:
    image = counts().astype(np.float32)
    image[np.random.default_rng(0).random(image.shape) < share] = np.finfo(np.float32).min
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result, record = run(image, **COUNTS)
    assert np.isfinite(result).all()
    assert any("pass nodata=-3.4" in m for m in record["warnings"])


@pytest.mark.parametrize(("shape", "period"), [((31, 28), 7), ((24, 16), 6), ((38, 26), 9)])
def test_small_images_of_fine_structure_are_not_blurred(
    shape: tuple[int, int], period: int
) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = (1 + np.cos(2 * np.pi * (x + y / 2) / period)) * (1 + np.cos(2 * np.pi * y / 9))
    light = 300 + 200 * waves
    recorded = (light + np.random.default_rng(7).normal(0, 5, shape)).astype(np.float32)
    result, record = run(recorded, **COUNTS)
    assert np.std(result - light) < 1.5 * np.std(recorded - light)
    assert any("structure and noise" in message for message in record["warnings"])
