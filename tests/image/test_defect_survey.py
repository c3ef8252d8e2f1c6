"""Finding defects in images: parts of a sensor, stacks, thumbnails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.image.defect_survey import find_defects, look_for_defects, without_defects
from napari_dcr.image.line_survey import patch_size
from napari_dcr.image.thumbnail import Thumbnail

SIZE = 256


def light(seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    image = 30.0 + 0 * x
    for _ in range(10):
        cy, cx, radius = rng.uniform(0, SIZE, 3) * (1, 1, 0.1)
        image += 50 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius))
    return image


def recorded(rng: np.random.Generator, frames: int, lines: Any = 0.0) -> NDArray[Any]:
    shot = rng.poisson(light(), (frames, SIZE, SIZE))
    return np.rint(shot + 100 + lines).clip(0, 65535).astype(np.uint16)


def relative_error(found: Any, true: NDArray[Any]) -> float:
    error = found - true
    return float((error - error.mean()).std() / true.std())


def test_clean_images_and_stacks_have_no_defects() -> None:
    rng = np.random.default_rng(0)
    for frames in (1, 5):
        assert find_defects(recorded(rng, frames)).is_empty


def test_halves_of_a_sensor_have_their_own_offsets() -> None:
    rng = np.random.default_rng(1)
    offsets = rng.normal(0, 8, (2, SIZE))
    lines = np.repeat(offsets, SIZE // 2, 0)
    found = find_defects(recorded(rng, 1, lines)[0])
    assert found.columns is not None
    assert found.columns.shape == (1, 1, 2, SIZE)
    for part in (0, 1):
        assert relative_error(found.columns[0, 0, part], offsets[part]) < 0.25


def test_frames_with_the_same_offsets_are_combined() -> None:
    rng = np.random.default_rng(2)
    offsets = rng.normal(0, 2, (SIZE, 1))
    stack = recorded(rng, 8, offsets)
    alone, together = (find_defects(images).rows for images in (stack[0], stack))
    assert together is not None
    assert together.shape == (1, 1, 1, SIZE)
    error = relative_error(together[0, 0, 0], offsets[:, 0])
    assert error < 0.2
    if alone is not None:
        assert error < relative_error(alone[0, 0, 0], offsets[:, 0])


def test_both_directions_are_estimated_as_well_as_each_alone() -> None:
    rng = np.random.default_rng(6)
    columns, rows = rng.normal(0, 8, SIZE), rng.normal(0, 8, SIZE)
    shot = recorded(rng, 1)[0].astype(np.float64)
    both = find_defects(shot + columns + rows[:, None])
    assert both.columns is not None
    assert both.rows is not None
    alone = find_defects(shot + columns).columns, find_defects(shot + rows[:, None]).rows
    for found, single, true in zip((both.columns, both.rows), alone, (columns, rows), strict=True):
        assert single is not None
        error = relative_error(found[0, 0, 0], true)
        assert error < max(0.05, 1.3 * relative_error(single[0, 0, 0], true))


def test_noise_of_many_frames_averages_out() -> None:
    rng = np.random.default_rng(7)
    offsets = np.rint(rng.normal(0, 3, SIZE))  # whole counts, as photons are here
    stack = recorded(rng, 16, offsets)
    alone, together = (find_defects(images).columns for images in (stack[0], stack))
    assert alone is not None
    assert together is not None
    errors = [relative_error(found[0, 0, 0], offsets) for found in (alone, together)]
    assert errors[1] < 0.4 * errors[0]


def test_row_noise_of_every_frame_is_estimated() -> None:
    rng = np.random.default_rng(3)
    offsets = rng.normal(0, 6, (6, SIZE, 1))
    found = find_defects(recorded(rng, 6, offsets))
    assert found.columns is None
    assert found.rows is not None
    assert found.rows.shape == (6, 1, 1, SIZE)
    for own, true in zip(found.rows, offsets, strict=True):
        assert relative_error(own[0, 0], true[:, 0]) < 0.25


def test_only_pixels_that_are_hot_in_most_frames_are_hot() -> None:
    rng = np.random.default_rng(4)
    stack = recorded(rng, 6)
    stack[:, 20, 30] += 80  # too weak for a single frame
    stack[2, 90, 100] = 3000  # a cosmic ray
    found = find_defects(stack)
    assert found.hot.tolist() == [[0, 20, 30]]
    assert found.excess[0] == pytest.approx(80, abs=25)


def test_the_thumbnail_is_that_of_the_corrected_image() -> None:
    rng = np.random.default_rng(5)
    lines = np.repeat(rng.normal(0, 8, (2, SIZE)), SIZE // 2, 0)
    image = recorded(rng, 1, lines)[0]
    image[40, 50] = 60000
    found = find_defects(image)
    assert len(found.hot) == 1

    def mean(pixels: NDArray[Any]) -> NDArray[np.float64]:
        thumbnail = Thumbnail(1, SIZE, SIZE)
        thumbnail.add(pixels, 0, 0)
        return thumbnail.mean

    wanted = mean(found.correct(image[None], 0, 0))
    assert np.allclose(without_defects(mean(image[None]), found), wanted, atol=1.5)
    assert np.abs(mean(image[None]) - wanted).max() > 100


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("size", [(200, 333), (67, 1100), (1300, 40)])
def test_sums_of_lines_are_those_of_their_patches(dtype: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(8).integers(0, 120, size).astype(dtype)
    block = look_for_defects(image[None], 0, 0, size)
    assert not len(block.strong)
    for sums, pixels in ((block.columns, image), (block.rows, image.T)):
        patch = patch_size(*pixels.shape)
        whole = pixels[: len(pixels) // patch * patch].astype(np.float64)
        assert np.array_equal(sums[0], whole.reshape(-1, patch, pixels.shape[1]).sum(1))


def test_saturated_and_missing_pixels_spoil_their_patches_alone() -> None:
    image = np.random.default_rng(9).integers(90, 120, (256, 256)).astype(np.uint8)
    image[100, 50] = 255
    image[101, 51] = 255
    masked = np.ma.MaskedArray(image, np.zeros(image.shape, bool))
    masked.mask[200, 30] = True
    block = look_for_defects(masked[None], 0, 0, image.shape)
    places = {(25, 50), (25, 51), (50, 30)}
    assert set(zip(*map(list, np.nonzero(np.isnan(block.columns[0]))), strict=True)) == places


def test_a_grey_image_stored_as_colours_has_the_defects_of_each_colour() -> None:
    rng = np.random.default_rng(9)
    plane = rng.poisson(40, (128, 160)).astype(np.uint16)
    plane[30, 50], plane[90, 20] = 900, 65535
    one = look_for_defects(plane[None], 0, 0, plane.shape)
    three = look_for_defects(np.stack([plane, plane + 1, plane]), 0, 0, plane.shape)
    same = look_for_defects(np.stack([plane] * 3), 0, 0, plane.shape)
    np.testing.assert_array_equal(same.columns, one.columns.repeat(3, 0))
    np.testing.assert_array_equal(same.rows, one.rows.repeat(3, 0))
    assert (three.columns[1] != one.columns[0]).any()
    for found, channels in ((three, (0, 2)), (same, (0, 1, 2))):
        for channel in channels:
            own = found.candidates[found.candidates["channel"] == channel]
            own["channel"] = 0
            assert np.array_equal(own, one.candidates)
