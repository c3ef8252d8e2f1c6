"""Shifts between frames: found where they are clear, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.frame_shifts import (
    FARTHEST,
    ReducedFrame,
    Shift,
    find_shift,
    whole_pixels,
)

MARGIN = 32


def scene(seed: int, height: int, width: int) -> NDArray[np.float64]:
    """Structures with a standard deviation of 1, around 4, with a margin on every side."""
    rng = np.random.default_rng(seed)
    shape = height + 2 * MARGIN, width + 2 * MARGIN
    values = ndimage.gaussian_filter(rng.standard_normal(shape), 2.5)
    return 4 + values / values.std()  # type: ignore[no-any-return]


def frame(
    scene: NDArray[np.float64], shift: Shift, seed: int = 0, noise: float = 1.0
) -> ReducedFrame:
    rng = np.random.default_rng((17, seed))
    moved = ndimage.shift(scene, shift, order=3)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return reduced(moved + noise * rng.standard_normal(moved.shape))


def reduced(pixels: NDArray[np.generic]) -> ReducedFrame:
    return ReducedFrame.of(lambda rows, columns: pixels[None][:, rows, columns], *pixels.shape)


@pytest.mark.parametrize("shift", [(0, 3), (-5, 2), (11.5, -8), (-25, 30), (2, 0)])
@pytest.mark.parametrize("size", [(150, 190), (330, 350)])
def test_a_shift_is_found_to_less_than_a_pixel(size: tuple[int, int], shift: Shift) -> None:
    view = scene(1, *size)
    found = find_shift(frame(view, (0, 0), 1), frame(view, shift, 2))
    assert np.abs(np.subtract(found, shift)).max() < 0.6


@pytest.mark.parametrize("noise", [0.3, 3])
def test_what_does_not_move_is_not_shifted(noise: float) -> None:
    view = scene(2, 150, 190)
    assert find_shift(frame(view, (0, 0), 1, noise), frame(view, (0, 0), 2, noise)) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_frames_that_show_something_else_do_not_match(seed: int) -> None:
    ours, theirs = frame(scene(seed, 150, 190), (0, 0), 1), frame(scene(99, 150, 190), (0, 0), 2)
    assert find_shift(ours, theirs) is None


def test_a_still_background_outweighs_a_small_object_that_moves() -> None:
    pixels = [np.pad(scene(3, 150, 190), 0)[MARGIN:-MARGIN, MARGIN:-MARGIN].copy() for _ in "12"]
    for place, one in zip((60, 68), pixels, strict=True):
        one[60:80, place : place + 20] += 4
    noisy = [
        one + np.random.default_rng(n).standard_normal(one.shape) for n, one in enumerate(pixels)
    ]
    assert find_shift(*map(reduced, noisy)) == (0, 0)


@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (1, -1)])
def test_a_shift_of_less_than_half_a_reduced_pixel_is_found(shift: Shift) -> None:
    view = scene(4, 700, 720)  # means over 3 x 3 pixels
    found = find_shift(frame(view, (0, 0), 1), frame(view, shift, 2))
    assert found is not None
    assert whole_pixels(found, (1, 1)) == shift


def test_a_still_background_outweighs_an_object_of_a_ninth_of_the_frame() -> None:
    pixels = [scene(3, 700, 720)[MARGIN:-MARGIN, MARGIN:-MARGIN].copy() for _ in "12"]
    for place, one in zip((300, 305), pixels, strict=True):
        one[200:430, place : place + 240] = 2 * scene(5, 230, 240)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    noisy = [
        one + np.random.default_rng(n).standard_normal(one.shape) for n, one in enumerate(pixels)
    ]
    assert find_shift(*map(reduced, noisy)) == (0, 0)


def test_what_is_farther_than_the_limit_does_not_match() -> None:
    view = np.random.default_rng(0).standard_normal((200, 400))
    view = ndimage.gaussian_filter(view, 2.5)
    step = FARTHEST + 20
    assert find_shift(reduced(view[:, step:]), reduced(view[:, :-step])) is None


@pytest.mark.parametrize(
    "empty",
    [
        np.full((60, 70), np.nan),
        np.full((60, 70), 7, np.uint16),
        np.ma.MaskedArray(np.ones((60, 70)), True),
        np.full((60, 70), 1e308),
    ],
)
def test_frames_without_structure_do_not_match(empty: NDArray[np.generic]) -> None:
    view = np.random.default_rng(0).random(empty.shape)
    assert find_shift(reduced(empty), reduced(view)) is None
    assert find_shift(reduced(view), reduced(empty)) is None


@pytest.mark.parametrize("shape", [(12, 70), (2, 900)])
def test_small_frames_are_not_shifted(shape: tuple[int, int]) -> None:
    view = np.random.default_rng(0).random(shape)
    assert find_shift(reduced(np.full(shape, 3.0)), reduced(view)) == (0, 0)


def test_noise_without_structure_does_not_match() -> None:
    """The scene is there, but much weaker than the noise."""
    view = scene(2, 150, 190)
    found = [
        find_shift(frame(view, (0, 0), n, 60), frame(view, (0, 12), n + 9, 60)) for n in range(6)
    ]
    assert found == [None] * 6


def test_missing_pixels_do_not_count() -> None:
    view = scene(4, 150, 190)
    first, second = (
        ndimage.shift(view, (0, s), order=1)[MARGIN:-MARGIN, MARGIN:-MARGIN].copy() for s in (0, 6)
    )
    first[20:50, 30:60] = np.nan
    second[100:, 120:] = np.inf
    assert np.abs(np.subtract(find_shift(reduced(first), reduced(second)), (0, 6))).max() < 0.6


def test_the_pieces_in_which_a_frame_is_read_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).random((700, 650))
    whole = reduced(pixels)
    monkeypatch.setattr("napari_dcr.image.frame_shifts.BAND", 5000)
    assert whole.spectrum is not None
    assert (reduced(pixels).spectrum == whole.spectrum).all()
    assert whole.factor == 3


def test_shifts_are_rounded_to_steps() -> None:
    assert whole_pixels((-3.2, 5.1), (2, 6)) == (-4, 6)
