"""Hot and dead pixels are found, and distinguished from points of light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_dcr.image import isolated_pixels
from napari_dcr.image.hot_pixels import find_candidates, significant
from napari_dcr.image.isolated_pixels import BAND, CROSS, find_isolated, values_around
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_cells import cells, usual_differences

Image = NDArray[Any]


def found(image: Image) -> set[tuple[int, int]]:
    candidates = find_candidates(image)
    chosen = candidates[significant(candidates, estimate_noise(image).model)]
    return set(zip(chosen["y"].tolist(), chosen["x"].tolist(), strict=True))


def stars(rng: np.random.Generator, sigma: float = 0.8, count: int = 200) -> Image:
    y, x = np.mgrid[:256, :256]
    light = np.full((256, 256), 20.0)
    for cy, cx in rng.uniform(0, 256, (count, 2)):
        height = np.exp(rng.uniform(np.log(50), np.log(20_000)))
        light += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return light


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_hot_pixels_and_pairs_of_them_are_found(dtype: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.poisson(30, (256, 256)).astype(dtype)
    places = {tuple(p) for p in rng.integers(0, 256, (60, 2)).tolist()}
    places |= {(0, 90), (0, 91), (255, 255), (100, 100), (101, 100), (50, 200), (51, 201)}
    for y, x in places:
        image[y, x] = rng.integers(140, 5000)
    assert found(image) == places


def test_dead_pixels_are_found_where_there_is_light() -> None:
    rng = np.random.default_rng(1)
    image = rng.poisson(400, (200, 200)).astype(np.uint16)
    places = {(10, 20), (11, 20), (150, 199)}
    for place in places:
        image[place] = 0
    assert found(image) == places


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.6])
def test_stars_and_puncta_are_kept(sigma: float) -> None:
    rng = np.random.default_rng(2)
    light = stars(rng, sigma)
    assert found(rng.poisson(light).astype(np.uint16)) == set()


def test_noise_with_a_long_tail_has_no_hot_pixels() -> None:
    rng = np.random.default_rng(3)
    electrons = rng.poisson(0.3, (512, 512))
    multiplied = 25 * rng.standard_gamma(np.maximum(electrons, 1e-9))
    image = (200 + multiplied + rng.normal(0, 4, (512, 512))).astype(np.uint16)
    assert len(found(image)) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (4, 100), (100, 3)])
def test_small_images_have_no_hot_pixels(shape: tuple[int, int]) -> None:
    assert len(find_candidates(np.random.default_rng(0).integers(0, 9, shape, np.uint8))) == 0


def test_an_image_of_isolated_pixels_has_no_hot_pixels() -> None:
    rng = np.random.default_rng(4)
    image = np.where(rng.random((128, 128)) < 0.05, 200, 3).astype(np.uint8)
    assert len(find_candidates(image)) == 0


def test_pixels_that_are_not_finite_are_no_defects() -> None:
    image = np.random.default_rng(5).normal(20, 2, (64, 64)).astype(np.float32)
    image[10:20, 5:9] = np.nan
    image[40, 40], image[50, 50] = np.inf, 500
    assert found(image) == {(50, 50)}


def test_specks_before_a_saturated_sky_are_no_defects() -> None:
    image = np.full((64, 64), 255, np.uint8)
    image[20, 30], image[40, 41] = 180, 120
    assert len(find_candidates(image)) == 0


def test_hot_pixels_are_found_where_bands_of_rows_meet() -> None:
    rng = np.random.default_rng(6)
    image = rng.poisson(30, (300, 2048)).astype(np.uint16)
    meeting = (63, 64, 99, 100, 163, 164)  # bands end at cells of 100 rows
    assert BAND // image.strides[0] == 64
    places = {(y, x) for y in (0, *meeting, 299) for x in (0, 1, 500, 2046, 2047)}
    for place in places:
        image[place] = 900
    alone = {place for place in places if place[1] == 500}
    candidates = find_candidates(image)
    got = set(zip(candidates["y"].tolist(), candidates["x"].tolist(), strict=True))
    assert alone <= got


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("with_missing", [False, True])
@pytest.mark.parametrize("shape", [(5, 300), (131, 90), (70, 7)])
def test_pixels_to_test_include_all_that_the_definition_accepts(
    dtype: str, with_missing: bool, shape: tuple[int, int]
) -> None:
    """Every pixel beyond the ranges of both pairs of opposite neighbours is tested, also at the border."""
    rng = np.random.default_rng(9)
    image = rng.normal(90, 4, shape)
    image[rng.random(shape) < 0.05] = 0
    image[rng.random(shape) < 0.05] = 127
    image = image.astype(dtype)
    gone = rng.random(shape) < 0.05 if with_missing else None
    usual = usual_differences(image, gone).take(cells(shape[1])[1], 1)
    values = image.astype(np.float32) if dtype == "float16" else image
    found = np.concatenate(list(isolated_pixels._outstanding(values, usual)))
    own, left, right, above, below = values_around(
        values.astype(np.float64), gone, *np.indices(shape).reshape(2, -1), CROSS
    )
    limits = usual[cells(shape[0])[1]].ravel()
    low = np.maximum(np.minimum(left, right), np.minimum(above, below))
    high = np.minimum(np.maximum(left, right), np.maximum(above, below))
    far = np.flatnonzero(np.maximum(own - low, high - own) > limits * (1 + 1e-6))
    isolated = np.maximum(own - np.maximum(low, high), np.minimum(low, high) - own)
    far = far[2 * isolated[far] > 5 * np.abs(high - low)[far]]
    assert len(far) > 5
    assert np.isin(far, found).all()
    assert np.array_equal(found, np.unique(found))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_missing_pixels_have_no_influence_on_candidates(dtype: str) -> None:
    rng = np.random.default_rng(7)
    image = rng.poisson(30, (90, 120)).astype(dtype)
    image[20, 30], image[50, 0] = 120, 120
    gone = np.zeros(image.shape, bool)
    gone[10:40, 60:80], gone[24, 31], gone[70, 70] = True, True, True
    strange = np.where(gone, 127, image).astype(dtype)
    found = [find_candidates(pixels, gone) for pixels in (image, strange)]
    assert np.array_equal(*found)
    assert {(20, 30), (50, 0)} <= {(int(c["y"]), int(c["x"])) for c in found[0]}
    assert not gone[found[0]["y"], found[0]["x"]].any()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float32"])
@pytest.mark.parametrize("with_missing", [False, True])
def test_comparisons_of_all_pixels_leave_out_none_of_the_isolated_ones(
    dtype: str, with_missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    # As after compression: the usual difference between neighbours is 0, so every change is outstanding.
    flat = np.arange(700) % 20 < 11
    smooth = gaussian_filter(rng.normal(0, 1, (210, 700)), 0.8)
    image = np.where(flat, 40, np.rint(40 + 12 * smooth)).astype(dtype)
    image[rng.random(image.shape) < 1e-3] = 120
    gone = rng.random(image.shape) < 0.01 if with_missing else None
    found = []
    for few in (0, 1 << 30, isolated_pixels.FEW):
        monkeypatch.setattr(isolated_pixels, "FEW", few)
        found.append(find_isolated(image, gone))
    assert len(found[0][0]) > 50
    for places, step in found[1:]:
        assert np.array_equal(places, found[0][0])
        assert step == found[0][1]


@pytest.mark.parametrize(
    "change",
    [lambda p: p / np.float32(255), lambda p: p / 7.3, lambda p: p.astype(np.uint16) * 257,
     lambda p: (p / 255).astype(np.float16), lambda p: np.float32(1e-12) * p],
)  # fmt: skip
def test_candidates_are_the_same_in_every_unit(change: Callable[[Any], NDArray[Any]]) -> None:
    """Most neighbours of a pixel of a dark 8-bit picture are equal, which is no sign of a defect."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :310]
    picture = np.clip(
        12 + 9 * np.sin(y / 60) * np.cos(x / 50) + rng.normal(0, 0.2, y.shape), 0, 255
    )
    picture = np.rint(picture).astype(np.uint8)
    picture[::60, ::50] = 200

    def found(pixels: NDArray[Any]) -> list[tuple[int, int]]:
        strong = find_candidates(pixels)
        strong = strong[significant(strong, None)]
        return list(zip(strong["y"].tolist(), strong["x"].tolist(), strict=True))

    assert len(found(picture)) == 5 * 7
    assert found(change(picture)) == found(picture)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.5])
@pytest.mark.parametrize("factor", [257, 16, 1 / 255])
def test_hot_pixels_of_sparse_counts_are_the_same_in_every_unit(rate: float, factor: float) -> None:
    """A sample of such pictures has two values, which do not show the step between values."""
    rng = np.random.default_rng(1)
    picture = rng.poisson(rate, (300, 310)).clip(0, 1).astype(np.uint8)
    picture[21::60, 11::50] = 200
    scaled = picture.astype(np.uint16 if factor > 1 else np.float32) * type(factor)(factor)
    places = []
    for pixels in (picture, scaled):
        candidates = find_candidates(pixels)
        chosen = candidates[significant(candidates, None)]
        places.append(list(zip(chosen["y"].tolist(), chosen["x"].tolist(), strict=True)))
    assert len(places[0]) == 5 * 6
    assert places[0] == places[1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32"])
def test_differences_may_be_as_large_as_the_range_of_a_dtype(dtype: str) -> None:
    """Differences of integers must not overflow."""
    rng = np.random.default_rng(4)
    range_ = np.iinfo(dtype)
    image = range_.min + rng.poisson(20, (100, 140)).astype(dtype)
    image[30, 40], image[60, 0] = range_.max, range_.max
    assert {(30, 40), (60, 0)} <= found(image)
    mirrored = (range_.max + range_.min - image.astype(np.int64)).astype(dtype)
    assert {(30, 40), (60, 0)} <= found(mirrored)


@given(
    st.integers(0, 999),
    st.sampled_from(["uint8", "int16", "float32"]),
    st.integers(8, 60),
    st.integers(8, 700),
)
@settings(max_examples=40, deadline=None)
def test_pixels_outside_the_range_of_all_neighbours_are_candidates(
    seed: int, dtype: str, height: int, width: int
) -> None:
    """The quick tests reject no pixel whose eight neighbours are equal and lower."""
    rng = np.random.default_rng(seed)
    image = (50 + rng.poisson(4, (height, width))).astype(dtype)
    y, x = rng.integers(0, height), rng.integers(0, width)
    image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 54
    image[y, x] = 100
    candidates = find_candidates(image)
    assert (y, x) in {(int(c["y"]), int(c["x"])) for c in candidates}


@st.composite
def defective_planes(draw: st.DrawFn) -> tuple[Image, NDArray[np.bool_] | None]:
    """A plane with structure, noise, hot and dead pixels, and a mask of missing pixels or None."""
    dtype = np.dtype(draw(st.sampled_from(["u1", "u2", "i2", "i4", "f2", "f4", "f8"])))
    # Sides of one cell, of several, and of several bands of rows.
    shape = draw(st.tuples(*[st.one_of(st.integers(5, 60), st.integers(240, 560))] * 2))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    light = 60 + 40 * gaussian_filter(rng.normal(0, 1, shape), 2)
    light[: shape[0] // 3] *= draw(st.sampled_from([1, 0.2]))
    image = rng.poisson(np.maximum(light, draw(st.sampled_from([0, 20])))) / draw(
        st.sampled_from([1, 7])
    )
    y, x = (rng.integers(0, side, max(1, image.size // 2000)) for side in shape)
    image[y, x] = rng.integers(0, 255, len(y))
    if dtype == "u2":
        image *= draw(st.sampled_from([1, 257]))
    gone = rng.random(shape) < 0.02 if draw(st.booleans()) else None
    if gone is not None:
        gone[: shape[0] // 4, : shape[1] // 2] = True
    return image.astype(dtype), gone


@given(defective_planes())
@settings(max_examples=60, deadline=None)
def test_candidates_of_turned_and_mirrored_planes_are_the_same(
    case: tuple[Image, NDArray[np.bool_] | None],
) -> None:
    """All eight symmetries give the same candidates with the same values, to the last bit."""
    plane, gone = case
    places = np.arange(plane.size).reshape(plane.shape)

    def turned(pixels: NDArray[Any], turns: int, mirrored: bool) -> NDArray[Any]:
        pixels = np.rot90(pixels, turns)
        return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)

    def candidates(turns: int, mirrored: bool) -> NDArray[Any]:
        own = None if gone is None else turned(gone, turns, mirrored)
        found = find_candidates(turned(plane, turns, mirrored), own)
        place = turned(places, turns, mirrored)[found["y"], found["x"]]
        found["y"], found["x"] = np.divmod(place, plane.shape[1])
        return found[np.argsort(place)]

    expected = candidates(0, False)
    for turns in range(4):
        for mirrored in (False, True):
            assert candidates(turns, mirrored).tobytes() == expected.tobytes()
