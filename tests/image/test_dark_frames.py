"""Defects measured from dark and flat frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.image.defects import Defects

HEIGHT, WIDTH = 60, 70


def dark_frames(rng: np.random.Generator, pattern: NDArray[Any], count: int) -> NDArray[Any]:
    frames: NDArray[Any] = pattern + rng.normal(0, 2, (count, *pattern.shape))
    return np.rint(frames).astype(np.uint16)


def test_defects_are_measured_from_dark_and_flat_frames() -> None:
    rng = np.random.default_rng(0)
    columns, rows = rng.normal(0, 3, WIDTH), rng.normal(0, 2, HEIGHT)
    gains = rng.normal(1, 0.03, WIDTH)
    pattern = 100 + columns + rows[:, None] + rng.normal(0, 1.5, (HEIGHT, WIDTH))
    hot = {(5, 6), (30, 31)}
    for place in hot:
        pattern[place] += 300
    light = 400 * (1 + 0.2 * np.cos(np.arange(WIDTH) / WIDTH)) * gains
    light = np.broadcast_to(light, (HEIGHT, WIDTH)).copy()
    light[40, 50] = 0
    dark = dark_frames(rng, pattern, 20)
    flat = dark_frames(rng, pattern + light, 20)
    defects = Defects.from_frames(dark, flat)
    assert {(y, x) for _, y, x in defects.hot.tolist()} == {*hot, (40, 50)}
    signal = 50 * np.ones((HEIGHT, WIDTH)) * gains
    image = dark_frames(rng, pattern + signal, 1).astype(np.float32)
    left = defects.correct(image, 0, 0)[0]
    good = ~np.isin(np.arange(HEIGHT * WIDTH), [5 * WIDTH + 6, 30 * WIDTH + 31]).reshape(
        HEIGHT, WIDTH
    )
    before = image[0][good].std()
    assert left[good].std() < 2.3 < before  # the noise of a frame has 2
    assert abs(np.median(left) - np.median(image)) < 1


def test_a_single_dark_frame_gives_lines_and_hot_pixels() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(0, 3, WIDTH)
    dark = dark_frames(rng, 100 + columns + np.zeros((HEIGHT, WIDTH)), 1)[0]
    dark[7, 8] = 900
    defects = Defects.from_frames(dark)
    assert defects.hot[:, 1:].tolist() == [[7, 8]]
    assert defects.offset is not None
    assert np.std(defects.offset[0].mean(0) - columns) < 0.6


@pytest.mark.parametrize(
    ("dark", "flat", "message"),
    [
        (np.zeros((2, 3)), None, "dark: got frames"),
        (np.zeros(9), None, "dark: got shape"),
        (np.full((9, 9), np.nan), None, "dark: got values"),
        (np.zeros((9, 9)), np.zeros((8, 9)), "flat: got frames of"),
        (np.zeros((9, 9)), np.zeros((9, 9)), "flat: got frames that are not brighter"),
    ],
)
def test_frames_that_do_not_fit_are_refused(dark: Any, flat: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Defects.from_frames(dark, flat)
