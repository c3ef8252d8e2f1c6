"""Solid areas: which are padding, and which are part of the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.image.padding import Padding
from napari_dcr.image.padding_survey import PlaneAreas
from napari_dcr.image.solid_areas import find_solid_areas

SIZE = 240
Y, X = np.mgrid[:SIZE, :SIZE]
RNG = np.random.default_rng(5)


def kinds(image: NDArray[Any], block: int = SIZE, bits: int = 0) -> tuple[Padding, ...]:
    """Padding of an image (h, w) or (h, w, 3), found block by block."""
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    areas = PlaneAreas(SIZE, SIZE)
    for y in range(0, SIZE, block):
        for x in range(0, SIZE, block):
            rows, columns = slice(y, min(y + block, SIZE)), slice(x, min(x + block, SIZE))
            areas.add(find_solid_areas(planes[:, rows, columns]), rows, columns)
    values = np.unique(image)
    least, second, largest = (float(values[i]) for i in (0, -2, -1))
    return areas.padding(image.dtype, bits, least, largest, second)


def noisy(level: float = 200) -> NDArray[np.uint16]:
    light = level * (1 + 0.5 * np.sin(Y / 9) * np.cos(X / 13))
    return (100 + np.random.default_rng(2).poisson(light)).astype(np.uint16)


AREAS: dict[str, NDArray[np.bool_]] = {
    "one column": X < 1,
    "a frame": (X < 5) | (X > 230) | (Y < 3) | (Y > 200),
    "a circle's outside": np.hypot(Y - 120, X - 120) > 110,
    "a deskewed corner": X + 0.6 * Y < 90,
    "seams": (X % 80 < 2) | (Y % 80 < 3),
    "a hole": np.hypot(Y - 120, X - 120) < 40,
}


@pytest.mark.parametrize("value", [0, 100, 230, 3000])
@pytest.mark.parametrize("area", AREAS)
def test_padding_of_any_value_is_found(area: str, value: int) -> None:
    image = noisy()
    image[AREAS[area]] = value
    for block in (SIZE, 96):
        (kind,) = kinds(image, block)
        assert kind.colour == (value,)
        found = kind.find(image[None], 0, 0)
        assert found[AREAS[area]].mean() > 0.97
        assert found[~AREAS[area]].mean() < 0.002


def test_padding_of_colours() -> None:
    image = np.dstack([noisy(), noisy(150), noisy(90)])
    image[X > 200] = (200, 100, 150)
    (kind,) = kinds(image)
    assert kind.colour == (200, 100, 150)


def test_a_lamp_that_compression_flattened_is_not_padding() -> None:
    street = np.clip(np.dstack([noisy(40), noisy(30), noisy(20)]) - 90, 0, 255).astype(np.uint8)
    lamp = np.hypot(Y - 120, X - 120) < 30
    street[lamp] = (250, 254, 253)
    assert kinds(street) == ()
    street[lamp] = (150, 154, 153)
    assert [kind.colour for kind in kinds(street)] == [(150, 154, 153)]


def _text() -> NDArray[np.uint8]:
    page = np.full((SIZE, SIZE), 250, np.uint8)
    for row in range(20, 220, 14):
        page[row : row + 9, 20:220] -= (RNG.random((9, 200)) < 0.3).astype(np.uint8) * 200
    return page


def _jpeg() -> NDArray[np.uint8]:
    """Blocks of 8 x 8 pixels, many of which are flat."""
    smooth = np.repeat(np.repeat(RNG.integers(8, 14, (30, 30)), 8, 0), 8, 1)
    return (smooth + (RNG.random((SIZE, SIZE)) < 0.2)).astype(np.uint8)


SCENES: dict[str, Callable[[], NDArray[Any]]] = {
    "noise": noisy,
    "clipped blacks": lambda: np.clip(RNG.normal(X - 80.0, 6), 0, None).astype(np.uint16),
    "blacks of a smooth picture": lambda: np.clip(0.3 * (X - 90.0), 0, None).astype(np.uint8),
    "a background that was subtracted": lambda: np.maximum(
        noisy(20).astype(np.float32) - 110, 0) * (np.hypot(Y - 120, X - 120) < 200),
    "sparse counts": lambda: RNG.poisson(0.1 + 3 * (np.hypot(Y - 120, X - 90) < 50)).astype(np.uint8),
    "single photons": lambda: RNG.poisson(np.full((SIZE, SIZE), 0.003)).astype(np.uint16),
    "a saturated lamp": lambda: np.minimum(
        noisy() + 9000 * np.exp(-((Y - 120.0) ** 2 + (X - 120.0) ** 2) / 900), 4095).astype(np.uint16),
    "a white sky": lambda: np.where(
        90 + 20 * np.sin(X / 9) > Y, 255, np.minimum(noisy() * 5 // 8, 250)).astype(np.uint8),
    "a text page": _text,
    "a mask": lambda: (255 * (np.hypot(Y - 120, X - 120) < 60)).astype(np.uint8),
    "flat blocks of a JPEG": _jpeg,
    "stripes": lambda: np.broadcast_to(noisy()[:1], (SIZE, SIZE)).copy(),
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_uniform_parts_of_the_scene_are_not_padding(scene: str) -> None:
    image = SCENES[scene]()
    assert kinds(image) == ()
    assert kinds(image.astype(np.float32)) == ()


@pytest.mark.parametrize(("width", "is_padding"), [(1, False), (2, False), (6, True)])
@pytest.mark.parametrize("turned", [False, True])
def test_dark_rows_at_the_border_of_a_dark_scene(
    width: int, is_padding: bool, turned: bool
) -> None:
    image = RNG.poisson(0.3, (SIZE, SIZE)).astype(np.uint16)
    image[:width] = 0
    assert bool(kinds(image.T.copy() if turned else image)) == is_padding


def test_the_largest_value_of_a_camera_is_saturation() -> None:
    image = noisy()
    image[AREAS["a hole"]] = 4095
    assert kinds(image)
    assert kinds(image, bits=12) == ()


@pytest.mark.parametrize("area", ["one column", "a frame"])
def test_pixels_of_the_scene_beside_a_straight_border_are_not_padding(area: str) -> None:
    image = noisy(30)
    image[AREAS[area]] = 128
    (kind,) = kinds(image)
    beside = np.roll(AREAS[area], 1, 1) & ~AREAS[area]
    assert (image[beside] == 128).any()
    assert (kind.find(image[None], 0, 0) == AREAS[area]).all()


@pytest.mark.parametrize("area", AREAS)
def test_windows_find_the_padding_of_the_whole(area: str) -> None:
    image = noisy(30)
    image[AREAS[area]] = 128
    (kind,) = kinds(image)
    whole = kind.find(image[None], 0, 0)
    n = kind.margin
    for y, x in ((0, 0), (50, 70), (170, 160)):
        top, left = max(0, y - n), max(0, x - n)
        window = kind.find(image[None, top : y + 60 + n, left : x + 60 + n], top, left)
        assert (window[y - top :, x - left :][:60, :60] == whole[y : y + 60, x : x + 60]).all()
