"""Camera raw: levels, prints, planes and linear DNG, on small files that tifffile writes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.image.tone import linear_to_srgb
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import dng, opening, raw, raw_tags
from napari_dcr.io import tags as t
from napari_dcr.io.sensor import matrix_of
from napari_dcr.io.tags import Tag
from napari_dcr.io.views import turned

from .conftest import FAST, shell
from .dng_files import NEUTRAL, RGGB, XTRANS, dim_mosaic, fractions, mosaic_of, write_dng

SAME: dict[str, Any] = {**FAST, "strength": 0.0, "defects": "off"}

PLANES: dict[str, Any] = {**SAME, "model": "microscopy"}

DENOISE_ONLY = ("--denoise-only", "--model", "microscopy")


def print_of(path: Path) -> Any:
    return np.asarray(napari_dcr.open_image(path).array)


def light_of(path: Path) -> Any:
    """Combine the colour planes to the sensor's light."""
    planes = np.asarray(napari_dcr.open_image(path, scene="mosaic").array)
    light = np.empty((planes.shape[1] * 2, planes.shape[2] * 2), np.float32)
    for number, plane in enumerate(planes):
        light[number // 2 :: 2, number % 2 :: 2] = plane
    return light


@pytest.mark.parametrize("suffix", [".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2", ".raf", ".cr3"])
def test_a_grey_scene_is_grey_with_every_suffix(suffix: str, tmp_path: Path) -> None:
    # LibRaw ignores the suffix. For other files than DNG, the levels come from LibRaw.
    light = np.linspace(0.01, 0.6, 96)[None, :].repeat(64, 0)
    path = write_dng(tmp_path / f"in{suffix}", np.rint(mosaic_of(light, full=15871)).astype("u2"))
    found = print_of(path)
    assert (found.shape, found.dtype) == ((64, 96, 3), np.uint16)
    expected = linear_to_srgb(light.astype(np.float32))
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs(found[inside] / 65535 - expected[inside][..., None]).max() < 2e-3


@pytest.mark.parametrize("pattern", [RGGB, RGGB[::-1], RGGB[:, ::-1], RGGB[::-1, ::-1], XTRANS])
def test_mosaics_of_all_patterns_are_read(pattern: Any, tmp_path: Path) -> None:
    light = np.full((60, 96), 0.2)
    mosaic = np.rint(mosaic_of(light, pattern, full=15871)).astype("u2")
    for suffix in (".dng", ".nef"):
        found = print_of(write_dng(tmp_path / f"in{suffix}", mosaic, pattern))
        np.testing.assert_allclose(found / 65535, linear_to_srgb(np.float32(0.2)), atol=1e-3)


def test_colours_are_those_of_the_matrix(tmp_path: Path) -> None:
    from .dng_files import MATRIX

    wanted = np.array([0.30, 0.10, 0.05])  # linear sRGB
    camera = matrix_of(MATRIX)
    balanced = np.linalg.inv(camera) @ wanted
    own = balanced * np.array(NEUTRAL)
    tiled = np.tile(RGGB, (32, 48))
    mosaic = np.rint(512 + 15871 * own[tiled]).astype("u2")
    found = print_of(write_dng(tmp_path / "in.dng", mosaic))[20, 20] / 65535
    np.testing.assert_allclose(found, linear_to_srgb(wanted.astype(np.float32)), atol=1e-3)


def test_what_is_not_stated_is_named(tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    path = write_dng(tmp_path / "a.dng", mosaic, neutral=None)
    with pytest.warns(InputWarning, match="no white balance; the one for daylight is used"):
        napari_dcr.open_image(path)
    path = write_dng(tmp_path / "b.dng", mosaic, neutral=None, has_matrix=False)
    with pytest.warns(InputWarning) as caught:
        napari_dcr.open_image(path)
    assert [str(w.message).partition(": ")[2] for w in caught] == [
        "it states no white balance; none is applied",
        "it has no colour matrix; its colours are treated as sRGB",
    ]


def test_a_level_of_saturation_that_is_not_stated_is_named(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in.dng", dim_mosaic(), white=None)
    with pytest.warns(InputWarning, match="no saturation level; 65023 above black is used"):
        napari_dcr.open_image(path)


def test_the_balance_is_never_guessed_from_the_picture(tmp_path: Path) -> None:
    """A red scene stays red, where the library would make it grey."""
    own = np.array([0.5, 0.05, 0.05])[np.tile(RGGB, (32, 48))]
    path = write_dng(tmp_path / "in.nef", np.rint(512 + 8000 * own).astype("u2"), neutral=None)
    with pytest.warns(InputWarning, match="daylight"):
        red, green, blue = print_of(path).reshape(-1, 3).mean(0)
    assert red > 2 * max(green, blue)


@pytest.mark.parametrize("share", [0.5, 0.74, 0.76, 0.9, 1.0])
def test_the_brightest_pixel_changes_nothing_else(share: float, tmp_path: Path) -> None:
    mosaic = np.rint(mosaic_of(np.full((64, 96), 0.1))).astype("u2")
    plain = print_of(write_dng(tmp_path / "a.nef", mosaic))
    mosaic[40, 60] = 512 + share * 15871
    lamp = print_of(write_dng(tmp_path / "b.nef", mosaic))
    assert np.array_equal(lamp[:30, :50], plain[:30, :50])


def test_repairing_a_saturated_hot_pixel_changes_nothing_else(tmp_path: Path) -> None:
    mosaic = dim_mosaic(256, 256)
    good = write_dng(tmp_path / "a.dng", mosaic)
    expected = napari_dcr.enhance(good, **{**SAME, "defects": "auto"})
    mosaic[100, 120] = 16383
    bad = write_dng(tmp_path / "b.dng", mosaic)
    found, defects = napari_dcr.enhance(bad, **{**SAME, "defects": "auto"}, return_defects=True)
    assert [each.hot[:, 1:].tolist() for each in defects] == [[[50, 60]], [], [], []]
    assert np.array_equal(found[:90], expected[:90])
    assert np.abs(found.astype(int) - expected).max() < 3000
    left = napari_dcr.enhance(bad, **SAME)
    assert left[100, 120].max() > 2 * expected[100, 120].max()


def test_row_noise_is_removed_from_the_planes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.rint(rng.normal(0, 12, 512)).astype(int)
    light = np.linspace(0.03, 0.08, 512)[None].repeat(512, 0)
    mosaic = np.rint(rng.poisson(mosaic_of(light, black=0)) + 512.0).astype("u2")
    clean = print_of(write_dng(tmp_path / "a.dng", mosaic)).astype(float)
    spoiled = write_dng(tmp_path / "b.dng", np.clip(mosaic.astype(int) + rows[:, None], 0, None).astype("u2"))  # fmt: skip

    def lines(pixels: Any) -> float:
        return float((pixels.astype(float) - clean).mean((1, 2)).std())

    before = lines(print_of(spoiled))
    found = napari_dcr.enhance(spoiled, **{**SAME, "defects": "auto"})
    assert lines(found) < 0.35 * before
    assert np.array_equal(napari_dcr.enhance(spoiled, **SAME), print_of(spoiled))


def test_defects_that_are_given_are_corrected(tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    path = write_dng(tmp_path / "in.dng", mosaic)
    known = napari_dcr.Defects(32, 48, channels=4, hot=np.array([[1, 10, 20]]))
    _, found = napari_dcr.enhance(path, **{**SAME, "defects": known}, return_defects=True)
    assert [len(each.hot) for each in found] == [0, 1, 0, 0]
    with pytest.raises(ValueError, match="defects: got those of images of 64 x 96"):
        napari_dcr.enhance(path, **{**SAME, "defects": napari_dcr.Defects(64, 96)})


def test_noise_around_black_keeps_its_mean_and_deviation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mosaic = np.rint(512 + rng.normal(0, 8, (200, 300))).astype("u2")
    light = light_of(write_dng(tmp_path / "in.dng", mosaic))
    assert abs(light.mean()) < 0.1
    assert abs(light.std() - 8) < 0.1
    assert np.array_equal(light, mosaic.astype(np.float32) - 512)


@pytest.mark.parametrize("suffix", [".dng", ".nef"])
def test_a_mosaic_at_strength_0_is_unchanged(suffix: str, tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    path = write_dng(tmp_path / f"in{suffix}", mosaic)
    planes = napari_dcr.enhance(path, scene="mosaic", **PLANES)
    assert planes.dtype == np.float32
    for number, plane in enumerate(planes):
        own = mosaic[number // 2 :: 2, number % 2 :: 2]
        assert np.array_equal(plane, own.astype(np.float32) - 512)
    assert shell(path, tmp_path / "planes.tif", "--scene", "mosaic", *DENOISE_ONLY[1:], "--strength", "0", "--defects", "off") == 0  # fmt: skip
    assert np.array_equal(tifffile.imread(tmp_path / "planes.tif"), planes)
    channels = napari_dcr.open_image(path, scene="mosaic").metadata.calibration.channels
    assert [each.name for each in channels] == ["red", "green", "green", "blue"]


@pytest.mark.parametrize("pattern", [RGGB[::-1], RGGB[:, ::-1], RGGB[::-1, ::-1]])
@pytest.mark.parametrize("suffix", [".dng", ".nef"])
def test_planes_are_red_green_green_blue(suffix: str, pattern: Any, tmp_path: Path) -> None:
    mosaic = dim_mosaic(pattern=pattern)
    path = write_dng(tmp_path / f"in{suffix}", mosaic, pattern)
    planes = napari_dcr.enhance(path, scene="mosaic", **PLANES)
    places = [(y, x) for colour in range(3) for y, x in np.argwhere(pattern == colour)]
    for plane, (y, x) in zip(planes, places, strict=True):
        assert np.array_equal(plane, mosaic[y::2, x::2].astype(np.float32) - 512)
    channels = napari_dcr.open_image(path, scene="mosaic").metadata.calibration.channels
    assert [each.name for each in channels] == ["red", "green", "green", "blue"]
    out = tmp_path / "out.dng"
    assert shell(path, out, *DENOISE_ONLY, "--strength", "0", "--defects", "off") == 0
    linear = raw.read_sensor(out)
    own = np.take_along_axis(linear.light, np.tile(pattern, (32, 48))[..., None], 2)[..., 0]
    assert np.array_equal(own / 4, mosaic.astype(np.float32) - 512)


def test_fractions_of_the_black_level_count(tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    levels = (512.25, 514.5, 515.75, 520.0)
    path = write_dng(tmp_path / "in.dng", mosaic, black=levels, tags={50713: t.short_tag(2, 2)})
    with rawpy.imread(str(path)) as file:  # the library cuts them off
        assert sorted(file.black_level_per_channel) == [512, 514, 515, 520]
    expected = mosaic - np.tile(np.array(levels).reshape(2, 2), (32, 48))
    assert np.array_equal(light_of(path), expected.astype(np.float32))


def test_levels_of_rows_and_columns_count(tmp_path: Path) -> None:
    mosaic = np.full((64, 96), 800, "u2")
    rows, columns = np.tile([0.0, 40.0], 32), np.arange(96) % 3 * 2.0
    tags = {50716: fractions(*rows, signed=True), 50715: fractions(*columns, signed=True)}
    found = light_of(write_dng(tmp_path / "in.dng", mosaic, tags=tags))
    assert np.array_equal(found, (800 - 512 - rows[:, None] - columns).astype(np.float32))


@pytest.mark.parametrize("corner", [(2, 4), (1, 1), (3, 2), (3, 5)])
def test_levels_and_colours_begin_with_the_active_area(
    corner: tuple[int, int], tmp_path: Path
) -> None:
    """LibRaw moves odd corners to even ones, which would leave out a row or a column."""
    mosaic = dim_mosaic()
    levels = (500.0, 510.0, 520.0, 530.0)
    area = Tag(t.LONG, np.array([*corner, 60, 90], "<u4").tobytes())
    tags = {50713: t.short_tag(2, 2), 50829: area}
    path = write_dng(tmp_path / "in.dng", mosaic, black=levels, tags=tags)
    visible = mosaic[corner[0] : 60, corner[1] : 90]
    y, x = np.mgrid[: visible.shape[0], : visible.shape[1]]
    black = np.array(levels).reshape(2, 2)[y % 2, x % 2]
    sensor = raw.read_sensor(path)
    assert np.array_equal(sensor.light, (visible - black).astype(np.float32))
    assert np.array_equal(sensor.pattern, RGGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".dng", ".nef"])
def test_all_orientations(orientation: int, suffix: str, tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    plain = print_of(write_dng(tmp_path / f"a{suffix}", mosaic))
    path = write_dng(tmp_path / f"b{suffix}", mosaic, orientation=orientation)
    opened = napari_dcr.open_image(path)
    assert np.array_equal(np.asarray(opened.array), turned(plain, "yxs", orientation))
    assert opened.metadata.orientation == 1
    assert shell(path, tmp_path / "out.dng", *DENOISE_ONLY, "--strength", "0", "--overwrite") == 0
    assert print_of(tmp_path / "out.dng").shape == turned(plain, "yxs", orientation).shape
    with tifffile.TiffFile(tmp_path / "out.dng") as file:
        assert file.pages.first.tags[274].value == orientation


def test_clipped_highlights_are_white(tmp_path: Path) -> None:
    mosaic = np.rint(mosaic_of(np.full((64, 96), 0.1))).astype("u2")
    mosaic[20:44, 30:60] = 16383
    found = print_of(write_dng(tmp_path / "in.dng", mosaic))
    assert (found[24:40, 34:56] == 65535).all()
    rest = print_of(write_dng(tmp_path / "b.dng", np.minimum(mosaic, 4000)))
    assert np.array_equal(found[:12], rest[:12])  # and the rest does not become darker


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint16"])
def test_linear_and_float_dng(dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    light = rng.random((40, 60, 3)) * 0.015
    white = 65535 if dtype == "uint16" else 1
    pixels = (light * white).astype(dtype)
    path = write_dng(tmp_path / "in.dng", pixels, black=None, white=white, compression="zlib")
    sensor = raw.read_sensor(path)  # LibRaw would squeeze them to 14 bits, or refuse them
    assert np.array_equal(sensor.light, pixels.astype(np.float32))
    found = print_of(path)
    assert found.shape == (40, 60, 3)
    balanced = np.minimum(pixels.astype(np.float64) / white / np.array(NEUTRAL), 1)
    matrix = sensor.matrix
    expected = linear_to_srgb(np.clip(balanced @ matrix.T, 0, 1).astype(np.float32))
    np.testing.assert_allclose(found / 65535, expected, atol=2e-5)


def test_a_float_mosaic(tmp_path: Path) -> None:
    mosaic = (dim_mosaic().astype(np.float32) - 512) / 15871
    path = write_dng(tmp_path / "in.dng", mosaic, black=(0.03125,), white=1)
    assert np.array_equal(light_of(path), mosaic - np.float32(0.03125))


@pytest.mark.parametrize("how", ["zlib", "lzw", "jpegxl", "jpeg"])
def test_compressed_mosaics(how: str, tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    arguments = {"compressionargs": {"lossless": True}} if how == "jpeg" else {}
    path = write_dng(tmp_path / "in.dng", mosaic, compression=how, **arguments)
    assert np.array_equal(light_of(path), mosaic.astype(np.float32) - 512)


@pytest.mark.parametrize("how", ["zlib", "jpegxl", "jpeg"])
def test_compressed_linear_dng_of_8_bits(how: str, tmp_path: Path) -> None:
    """LibRaw reads JPEG-compressed ones as zeros."""
    y, x = np.mgrid[:64, :96]
    pixels = np.stack([y + x, 2 * y, 2 * x], -1).astype("u1")
    path = write_dng(tmp_path / "in.dng", pixels, black=None, white=255, compression=how)
    most = 8 if how == "jpeg" else 0
    assert np.abs(raw.read_sensor(path).light - pixels).max() <= most


def test_a_linearization_table(tmp_path: Path) -> None:
    table = np.rint(np.linspace(0, 1, 256) ** 2 * 65535).astype("<u2")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), "u1")
    tags = {50712: Tag(t.SHORT, table.tobytes())}
    path = write_dng(tmp_path / "in.dng", pixels, black=None, white=65535, tags=tags)
    assert np.array_equal(raw.read_sensor(path).light, table[pixels].astype(np.float32))


def test_a_grey_sensor(tmp_path: Path) -> None:
    mosaic = np.rint(512 + 1000 * np.random.default_rng(0).random((64, 96))).astype("u2")
    path = write_dng(tmp_path / "in.dng", mosaic, None)
    found = print_of(path)
    expected = linear_to_srgb(((mosaic - 512.0) / 15871).astype(np.float32))
    np.testing.assert_allclose(found / 65535, expected, atol=2e-5)
    assert shell(path, tmp_path / "out.dng", *DENOISE_ONLY, "--strength", "0", "--defects", "off") == 0  # fmt: skip
    again = raw.read_sensor(tmp_path / "out.dng")
    np.testing.assert_allclose(again.light.reshape(64, 96) / 4, mosaic - 512.0, atol=0.126)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_prints_have_16_bits_or_8_and_exif(suffix: str, tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in.nef", dim_mosaic(), orientation=6)
    assert shell(path, tmp_path / f"out{suffix}") == 0
    picture = opening.read(tmp_path / f"out{suffix}")
    assert picture.pixels.dtype == (np.uint8 if suffix == ".jpg" else np.uint16)
    assert picture.pixels.shape == (96, 64, 3)
    tags = picture.metadata.tags
    assert (tags[t.MAKE].text, tags[t.MODEL].text) == ("Maker", "Model 1")
    exif = tags[t.EXIF].directory
    assert exif is not None
    assert exif[33434].numbers == [0.05]
    assert exif[40961].numbers == [1]  # sRGB
    assert 37500 not in exif  # makers' notes say how the raw picture is stored
    assert picture.metadata.orientation == 1
    with PILImage.open(tmp_path / f"out{suffix}") as file:
        assert file.getexif()[t.MAKE] == "Maker"


def test_a_print_is_brightened(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in.dng", dim_mosaic())
    assert napari_dcr.enhance(path, **FAST).mean() > 1.3 * print_of(path).mean()


def test_linear_dng_at_strength_0_contains_the_measured_samples(tmp_path: Path) -> None:
    mosaic = dim_mosaic()
    path = write_dng(tmp_path / "in.dng", mosaic)
    assert shell(path, tmp_path / "out.dng", *DENOISE_ONLY, "--strength", "0", "--defects", "off") == 0  # fmt: skip
    with rawpy.imread(str(tmp_path / "out.dng")) as file:  # the family's own library
        assert file.raw_type == rawpy.RawType.Stack
        assert list(file.black_level_per_channel[:3]) == [dng.PEDESTAL] * 3
        np.testing.assert_allclose(file.camera_whitebalance[:3], [2, 1, 1 / 0.7], rtol=1e-3)
        stored = file.raw_image_visible[..., :3].astype(int)
        white = file.white_level
    steps = (white - dng.PEDESTAL) / (16383 - 512)
    assert steps == int(steps)
    own = np.take_along_axis(stored, np.tile(RGGB, (32, 48))[..., None], 2)[..., 0]
    assert np.array_equal(own, (mosaic.astype(int) - 512) * int(steps) + dng.PEDESTAL)


def test_linear_dng_is_denoised_and_not_brightened(tmp_path: Path) -> None:
    mosaic = dim_mosaic(256, 256)
    path = write_dng(tmp_path / "in.dng", mosaic)
    out = napari_dcr.enhance(
        path, scene="mosaic", out=tmp_path / "out.dng", depth=1, device="cpu", precision="fp32"
    )
    assert out == tmp_path / "out.dng"
    before, after = print_of(path).astype(float), print_of(out).astype(float)
    clean = print_of(write_dng(tmp_path / "clean.dng", dim_mosaic(256, 256, None))).astype(float)
    assert abs(after.mean() / before.mean() - 1) < 0.02
    assert (after - clean).std() < 0.5 * (before - clean).std()
    with rawpy.imread(str(out)) as file:
        developed = file.postprocess(
            gamma=(2.4, 12.92), no_auto_bright=True, output_bps=16, adjust_maximum_thr=0.0,
            user_wb=[2, 1, 1 / 0.7, 1],
        )  # fmt: skip
    assert np.abs(developed.astype(float) - after).mean() < 100


@pytest.mark.parametrize("exposure", [1, -2])
def test_exposure_is_one_factor_for_all_planes(exposure: float, tmp_path: Path) -> None:
    """The black level was subtracted, so it is 0 in every plane, also in one that is left as it is."""
    mosaic = dim_mosaic()
    mosaic[1::2, 1::2] = 700  # the blue plane
    path = write_dng(tmp_path / "in.dng", mosaic)
    how: dict[str, Any] = {
        **FAST,
        "scene": "mosaic",
        "model": "microscopy",
        "return_residual": True,
    }
    with pytest.warns(InputWarning, match=r"channel 4/4: every pixel has the value 188"):
        plain, removed = napari_dcr.enhance(path, **how)
    with pytest.warns(InputWarning, match="left as it is"):
        bright, same = napari_dcr.enhance(path, exposure=exposure, **how)
    np.testing.assert_allclose(bright, plain * 2.0**exposure, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(same, removed, atol=1e-2)


def test_linear_dng_keeps_the_cameras_metadata(tmp_path: Path) -> None:
    tags = {
        50730: fractions(0.5, signed=True),
        50735: t.text_tag("0123"),
        50936: t.text_tag("Profile"),
        51041: Tag(12, bytes(16)),
    }
    path = write_dng(tmp_path / "in.dng", dim_mosaic(), tags=tags)
    assert shell(path, tmp_path / "out.dng", *DENOISE_ONLY, "--strength", "0") == 0
    with tifffile.TiffFile(tmp_path / "out.dng") as file:
        found = file.pages.first.tags
        assert found[272].value == "Model 1"
        assert found[50708].value == "Maker Model 1"
        assert found[50730].value == (1, 2)
        assert found[50735].value == "0123"
        assert found[50936].value == "Profile"
        assert 51041 not in found  # the profile of the noise, which has been removed
        assert found[34665].value["ExposureTime"] == (1, 20)
    other = write_dng(tmp_path / "in.nef", dim_mosaic())  # no DNG, by its suffix
    assert shell(other, tmp_path / "other.dng", *DENOISE_ONLY, "--strength", "0") == 0
    again, first = raw.read_sensor(tmp_path / "other.dng"), raw.read_sensor(path)
    np.testing.assert_allclose(again.matrix, first.matrix, atol=2e-3)
    np.testing.assert_allclose(again.balance, first.balance, rtol=1e-3)


def test_the_planes_are_only_for_models_that_keep_intensities(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in.dng", dim_mosaic())
    for out in (None, tmp_path / "out.dng"):
        with pytest.raises(ValueError, match=r"^model: got the model photo .*'microscopy'"):
            napari_dcr.enhance(path, scene="mosaic", out=out, **{**FAST, "model": "photo"})
    assert [each.name for each in tmp_path.iterdir()] == ["in.dng"]


def test_folders_of_raw_files_give_prints_or_linear_dngs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.dng", "b.nef"):
        write_dng(tmp_path / "in" / name, dim_mosaic())
    assert shell(tmp_path / "in", tmp_path / "prints") == 0
    assert sorted(p.name for p in (tmp_path / "prints").iterdir()) == ["a.tif", "b.tif"]
    assert shell(tmp_path / "in", tmp_path / "light", *DENOISE_ONLY, "--strength", "0") == 0
    assert sorted(p.name for p in (tmp_path / "light").iterdir()) == ["a.dng", "b.dng"]


@pytest.mark.parametrize(
    ("source", "target", "arguments", "message"),
    [
        ("in.png", "out.dng", ["--denoise-only"], "--denoise-only: got in.png; allowed are camera raw"),
        ("in.dng", "out.tif", ["--denoise-only"], "--denoise-only: got the output out.tif; allowed are .dng files"),
        ("in.dng", "out.dng", ["--denoise-only", "--output", "uint8"], "--output: got uint8 with --denoise-only"),
        ("in.dng", "out.dng", [], "denoised and not brightened; give a raw file and --denoise-only"),
        ("in.png", "out.dng", [], "denoised and not brightened; give a raw file and --denoise-only"),
        ("in.dng", "out.dng", ["--denoise-only", "--scene", "1"], "--scene: got 1 with --denoise-only"),
        ("in.dng", "out.dng", ["--denoise-only", "--model", "photo"], "model: got 'photo' for the colour planes of camera raw files (--denoise-only), which"),
        ("in.dng", "out.dng", ["--scene", "1", "--model", "photo"], "model: got the model photo for the colour planes of a camera raw file, which"),
        ("in.dng", "in.dng", ["--denoise-only", "--overwrite"], "the input file itself"),
        ("in.dng", "out.tif", ["--scene", "2"], "scene: got 2; allowed are 0, 'print', and 1, 'mosaic'"),
        ("xtrans.dng", "out.dng", [*DENOISE_ONLY], "6 x 6 colours (X-Trans)"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_raise_an_error(
    source: str, target: str, arguments: list[str], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    PILImage.fromarray(np.zeros((9, 9, 3), "u1")).save(tmp_path / "in.png")
    write_dng(tmp_path / "in.dng", dim_mosaic())
    write_dng(tmp_path / "xtrans.dng", dim_mosaic(60, 96, pattern=XTRANS), XTRANS)
    before = sorted(p.name for p in tmp_path.iterdir())
    assert shell(tmp_path / source, tmp_path / target, *arguments) == 1
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1, text
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def beyond_end(pixels: Any, **how: Any) -> Any:
    """A file whose last strip or tile lies half beyond its end."""

    def write(path: Path) -> None:
        write_dng(path, pixels, **how)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            code, half = 324 if page.is_tiled else 273, page.databytecounts[-1] // 2
            offsets = list(page.dataoffsets)
        for _ in range(2):  # the first time the new directory makes the file longer
            offsets[-1] = path.stat().st_size + 1000 - half
            t.graft(path, {0: {code: Tag(t.LONG, np.array(offsets, "<u4").tobytes())}})

    return write


def without_parts(path: Path) -> None:
    """Write a DNG that lists only the first of its strips."""
    write_dng(path, dim_mosaic(), rowsperstrip=16)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        place, size = page.dataoffsets[0], page.databytecounts[0]
    long = {code: Tag(t.LONG, np.array([v], "<u4").tobytes()) for code, v in ((273, place), (279, size))}  # fmt: skip
    # A compression with smaller parts, of which no size is expected.
    t.graft(path, {0: {**long, 259: t.short_tag(7)}})


def cut_panasonic(path: Path) -> None:
    """Write the start of an RW2 of 60 x 70 pixels, which need 300 blocks of 16 bytes."""
    tags = {2: t.short_tag(70), 3: t.short_tag(60), 45: t.short_tag(4), 280: Tag(t.LONG, np.array([512], "<u4").tobytes())}  # fmt: skip
    block = t.to_exif(tags)
    path.write_bytes((b"IIU\0" + block[4:]).ljust(512 + 299 * 16, b"\0"))


def altered(**how: Any) -> Any:
    return lambda path: write_dng(path, dim_mosaic(), **how)


LINEAR = np.full((64, 96, 3), 9000, "u2")

DAMAGED = {
    "empty.dng": (lambda p: p.write_bytes(b""), "it is empty"),
    "empty.nef": (lambda p: p.write_bytes(b""), "it is empty"),
    "text.cr3": (lambda p: p.write_bytes(b"no picture" * 50), ""),
    "text.dng": (lambda p: p.write_bytes(b"no picture" * 50), ""),
    "jpeg.arw": (lambda p: PILImage.new("RGB", (9, 9)).save(p, "JPEG"), ""),
    "picture.dng": (lambda p: tifffile.imwrite(p, np.zeros((9, 9), "u1")), "it is not a DNG"),
    "tags.dng": (altered(tags={257: t.short_tag(60000)}), "too few for its size"),
    "tags.nef": (altered(tags={257: t.short_tag(60000)}), "LibRaw says"),
    "cut-mosaic.dng": (beyond_end(dim_mosaic()), "cut off"),
    "cut-mosaic.raf": (beyond_end(dim_mosaic(600, 600)), "LibRaw says"),
    "cut-linear.dng": (beyond_end(LINEAR), "cut off"),
    "cut-tiled.dng": (beyond_end(LINEAR, tile=(16, 16)), "cut off"),
    "parts.dng": (without_parts, "it lists 1 of the 4 parts"),
    "cut.rw2": (cut_panasonic, "it is cut off: it has 5296 of at least 5312 bytes"),
    "cut-head.rw2": (lambda p: p.write_bytes(b"IIU\0\x08\0\0\0"), ""),
    "cut-head.orf": (lambda p: p.write_bytes(b"IIRO\x08\0\0\0"), ""),
    "other-colours.dng": (altered(pattern=np.array([[3, 4], [5, 1]])), "colours"),
    "no-white.dng": (altered(white=100), "saturation level is not above"),
    "interleaved.dng": (altered(tags={50975: t.short_tag(2)}), "its rows are interleaved"),
    "no-end.dng": (lambda p: p.write_bytes(write_dng(p, dim_mosaic()).read_bytes()[:5000]), "it is not a DNG"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_give_one_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message = DAMAGED[name]
    path = tmp_path / name
    make(path)
    assert shell(path, tmp_path / "out.tif") == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1, text
    assert message in text
    assert str(path) in text
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf"])
@pytest.mark.parametrize("how", [{}, {"tile": (16, 16)}, {"ome": True}, {"byteorder": ">"}])
def test_other_tiffs_are_not_developed(suffix: str, how: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.stack([dim_mosaic()] * 2), photometric="minisblack", **how)
    path = path.rename(tmp_path / f"in{suffix}")
    with pytest.raises(ValueError, match=r"not a camera raw file: .* rename it"):
        napari_dcr.open_image(path)


def test_raw_images_are_recognised_by_a_maker_s_note(tmp_path: Path) -> None:
    """Those of CR2, for example, are not described by tags of TIFF."""
    tifffile.imwrite(tmp_path / "in.cr2", dim_mosaic(), photometric="minisblack", metadata=None)
    exif = Tag(t.LONG, b"", {37500: Tag(7, b"private")})
    t.graft(tmp_path / "in.cr2", {0: {t.MAKE: t.text_tag("Canon"), t.EXIF: exif}})
    with pytest.warns(InputWarning, match="no white balance"):
        napari_dcr.open_image(tmp_path / "in.cr2")


def test_lens_shading_that_is_not_corrected_is_named(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "in.dng", dim_mosaic(), tags={51009: Tag(7, bytes(8))})
    with pytest.warns(InputWarning, match="lens's shading .OpcodeList2. are not applied"):
        napari_dcr.open_image(path)


@pytest.mark.parametrize("model", ["FinePix S5Pro", "FinePix F550EXR", "X10"])
def test_the_error_names_diagonal_sensors(model: str, tmp_path: Path) -> None:
    tags = {t.MAKE: t.text_tag("FUJIFILM"), t.MODEL: t.text_tag(model)}
    path = write_dng(tmp_path / "in.raf", dim_mosaic(), tags=tags)
    with pytest.raises(ValueError, match=f"{model} has diagonal rows"):
        napari_dcr.open_image(path)
    raw_tags.check_sensor({**tags, t.MODEL: t.text_tag("X-T5")})


def box(kind: bytes, inner: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(inner), kind) + inner


def test_exif_of_cr3_and_raf(tmp_path: Path) -> None:
    first = t.to_exif({t.MAKE: t.text_tag("Canon"), t.ORIENTATION: t.short_tag(8)})
    second = t.to_exif({33434: fractions(0.25)})
    own = box(b"uuid", bytes(16) + box(b"CMT1", first) + box(b"CMT2", second))
    (tmp_path / "a.cr3").write_bytes(box(b"ftyp", b"crx \0\0\0\1") + box(b"moov", own))
    tags = raw_tags.read(tmp_path / "a.cr3")
    exif = tags[t.EXIF].directory
    assert exif is not None
    assert (tags[t.MAKE].text, exif[33434].numbers) == ("Canon", [0.25])
    jpeg = b"\xff\xd8\xff\xe1\0\0Exif\0\0" + t.to_exif({t.MAKE: t.text_tag("FUJIFILM")})
    (tmp_path / "b.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(100) + jpeg)
    assert raw_tags.read(tmp_path / "b.raf")[t.MAKE].text == "FUJIFILM"
    (tmp_path / "c.orf").write_bytes(b"IIRO" + first[4:])
    assert raw_tags.read(tmp_path / "c.orf")[t.MAKE].text == "Canon"
    (tmp_path / "d.nef").write_bytes(b"II*\0\xff\xff\xff\x7f")
    assert raw_tags.read(tmp_path / "d.nef") == {}


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = write_dng(tmp_path / "in.dng", dim_mosaic())
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ValueError, match=r'pip install "napari-dcr\[raw\]"'):
        napari_dcr.open_image(path)
