"""Defects are corrected in the same way in every window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dcr.image.axes import turned_back
from napari_dcr.image.defects import MARGIN, Defects
from napari_dcr.io.views import turned

HEIGHT, WIDTH = 60, 70


def some_defects(seed: int = 0, frames: int = 1, channels: int = 1, parts: int = 1) -> Defects:
    rng = np.random.default_rng(seed)
    places = rng.integers(0, (channels, HEIGHT, WIDTH), (40, 3))
    return Defects(
        HEIGHT, WIDTH, channels,
        columns=rng.normal(0, 3, (frames, channels, parts, WIDTH)),
        rows=rng.normal(0, 3, (1, 1, 1, HEIGHT)),
        offset=rng.normal(0, 1, (1, HEIGHT, WIDTH)),
        row_gain=rng.uniform(0.9, 1.1, (channels, HEIGHT)),
        hot=np.unique(places, axis=0),
    )  # fmt: skip


@settings(max_examples=40)
@given(
    top=st.integers(0, HEIGHT - 1),
    left=st.integers(0, WIDTH - 1),
    height=st.integers(1, HEIGHT),
    width=st.integers(1, WIDTH),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float16", "float32", "float64"]),
    parts=st.sampled_from([1, 2]),
    seed=st.integers(0, 9),
)
def test_a_window_is_corrected_like_the_whole(
    top: int, left: int, height: int, width: int, dtype: str, parts: int, seed: int
) -> None:
    defects = some_defects(seed, frames=3, channels=3, parts=parts)
    image = np.random.default_rng(seed).integers(0, 256, (4, HEIGHT, WIDTH)).astype(dtype)
    whole = defects.correct(image, 0, 0, 0, 2, colours=3)
    y, x = max(0, top - MARGIN), max(0, left - MARGIN)
    window = image[:, y : top + height + MARGIN, x : left + width + MARGIN]
    corrected = defects.correct(window, y, x, 0, 2, colours=3)
    core = (slice(None), slice(top - y, top - y + height), slice(left - x, left - x + width))
    assert np.array_equal(
        corrected[core], whole[:, top : top + height, left : left + width], equal_nan=True
    )
    assert np.array_equal(whole[3], image[3].astype(whole.dtype))  # alpha


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("parts", [1, 2, 7])  # 7 parts of 60 rows are unequal
def test_turned_defects_correct_turned_pixels(orientation: int, parts: int) -> None:
    defects = some_defects(parts=parts, frames=3, channels=2)
    image = np.random.default_rng(1).normal(50, 5, (2, HEIGHT, WIDTH))
    expected = turned(defects.correct(image, 0, 0, frame=2), "syx", orientation)
    other = defects.turned(orientation)
    found = other.correct(turned(image, "syx", orientation), 0, 0, frame=2)
    assert np.allclose(found, expected, atol=1e-9)
    back = other.turned(turned_back(orientation))
    assert np.allclose(back.correct(image, 0, 0, frame=2), defects.correct(image, 0, 0, frame=2))
    assert np.array_equal(back.hot, defects.hot)


def test_known_defects_are_corrected_exactly() -> None:
    defects = some_defects()
    ideal = np.full((1, HEIGHT, WIDTH), 50.0)
    assert defects.columns is not None
    assert defects.rows is not None
    assert defects.offset is not None
    assert defects.row_gain is not None
    lines = defects.columns[0, 0] + defects.rows[0, 0].T
    image = ideal * defects.row_gain[0][:, None] + lines + defects.offset
    image[tuple(defects.hot.T)] = 9000
    assert np.allclose(defects.correct(image, 0, 0), 50, atol=1e-4)


def test_saturated_pixels_and_missing_ones_stay() -> None:
    defects = some_defects()
    image = np.full((1, HEIGHT, WIDTH), 255, np.uint8)
    kept = defects.correct(image, 0, 0)
    bad = np.zeros_like(image, bool)
    bad[tuple(defects.hot.T)] = True
    assert (kept[~bad] == 255).all()
    floats = np.full((1, HEIGHT, WIDTH), np.nan, np.float32)
    assert np.isnan(defects.correct(floats, 0, 0)).all()


def test_channels_keep_their_own_defects() -> None:
    columns = np.arange(3.0)[None, :, None, None] * np.ones((1, 3, 1, 9))
    hot = np.array([[0, 1, 1], [2, 4, 5]])
    defects = Defects(9, 9, 3, columns=columns, hot=hot)
    image = np.full((3, 9, 9), 20.0)
    image[0, 1, 1] = image[2, 4, 5] = 99
    corrected = defects.correct(image, 0, 0)
    assert np.allclose(corrected, np.array([20.0, 19, 18])[:, None, None])
    for channel in range(3):
        alone = defects.for_channel(channel)
        assert np.array_equal(
            alone.correct(image[channel : channel + 1], 0, 0)[0], corrected[channel]
        )
    pair = defects.for_channel(1, 2)
    assert np.array_equal(pair.correct(image[1:], 0, 0), corrected[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": np.zeros(5)}, r"columns of shape \(5,\)"),
        ({"rows": np.zeros((1, 1, 1, 9))}, "rows of shape"),
        ({"offset": np.full((1, 8, 5), np.nan)}, "finite"),
        ({"column_gain": np.zeros((1, 5))}, "above 0"),
        ({"hot": np.array([[0, 8, 0]])}, "outside"),
        ({"hot": np.array([[0.5, 1, 2]])}, "integers"),
        ({"hot": np.array([1, 2])}, "hot of shape"),
    ],
)
def test_values_that_do_not_fit_raise_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Defects(8, 5, **arguments)


def test_images_of_another_sensor_are_refused() -> None:
    defects = some_defects(channels=2, frames=3)
    defects.check_fits(HEIGHT, WIDTH, 2, 3)
    for arguments in ((HEIGHT, WIDTH + 1, 2, 3), (HEIGHT, WIDTH, 3, 3), (HEIGHT, WIDTH, 2, 5)):
        with pytest.raises(ValueError, match="defects: got"):
            defects.check_fits(*arguments)


def test_the_map_shows_what_is_subtracted() -> None:
    defects = Defects(6, 5, columns=np.arange(5.0).reshape(1, 1, 1, 5), hot=np.array([[0, 2, 3]]))
    shown = defects.map()
    assert np.isnan(shown[2, 3])
    assert np.array_equal(shown[0], np.arange(5))
