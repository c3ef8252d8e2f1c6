"""Steps between amplifiers are found at the middle of a sensor, and distinguished from edges of the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dcr.image.amplifiers import LARGE, STRETCHES, find_alternation, find_amplifiers
from napari_dcr.image.defect_survey import find_defects

SIZE = 256
LEVELS = {
    "left and right": [[0.0, 6.0], [0.0, 6.0]],
    "top and bottom": [[0.0, 0.0], [-7.0, -7.0]],
    "quadrants": [[0.0, 9.0], [-6.0, 13.0]],
    "one quadrant": [[0.0, 0.0], [10.0, 0.0]],
}


def light(rng: np.random.Generator) -> NDArray[Any]:
    y, x = np.mgrid[:SIZE, :SIZE]
    image = 30.0 + 0 * x
    for _ in range(10):
        cy, cx, radius = rng.uniform(0, SIZE, 3) * (1, 1, 0.1)
        image += 50 / (1 + np.exp(np.hypot(y - cy, x - cx) - radius))
    return image


def steps(levels: Any) -> NDArray[np.float64]:
    return np.kron(levels, np.ones((SIZE // 2, SIZE // 2)))


@pytest.mark.parametrize("name", LEVELS)
def test_steps_between_amplifiers_are_corrected(name: str) -> None:
    added = steps(LEVELS[name])
    right = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        scene = light(rng)
        image = (rng.poisson(scene) + 100 + added).astype(np.uint16)
        left = find_defects(image).correct(image[None], 0, 0)[0] - scene
        quadrants = left.reshape(2, SIZE // 2, 2, SIZE // 2).mean((1, 3))
        before = (added - added.mean()).std()
        assert quadrants.std() < 1.1 * before
        right += bool(quadrants.std() < 0.25 * before)
    assert right >= 2  # a structure of the scene at the boundary hides a step


def edges(name: str) -> NDArray[np.float64]:
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    across = (x + 0.5 - SIZE / 2) / 0.6
    blurred = 1 / (1 + np.exp(-1.7 * across))
    values: dict[str, NDArray[np.float64]] = {
        "none": 40 + 0 * x,
        "edge through a lens": 40 + 5 * blurred,
        "bright edge": 40 + 40.0 * (x >= SIZE // 2),
        "half an edge": 40 + 5.0 * ((x >= SIZE // 2) & (y < SIZE / 3)),
        "edge elsewhere": 40 + 5.0 * (x >= SIZE // 2 + 3),
        "wall of two pixels": 40 + 5.0 * (np.abs(x + 0.5 - SIZE // 2) < 1),
        "gradient": 20 + x / 4,
        "horizon": 40 + 5 / (1 + np.exp(-(y + 0.5 - SIZE / 2) / 1.5)),
    }
    return values[name]


@pytest.mark.parametrize(
    "name",
    ["none", "edge through a lens", "bright edge", "half an edge", "edge elsewhere",
     "wall of two pixels", "gradient", "horizon"],
)  # fmt: skip
def test_edges_of_the_scene_are_not_steps_between_amplifiers(name: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image = rng.poisson(edges(name)).astype(np.float64)
        tables = [a.reshape(64, 4, SIZE).mean(1) for a in (image, image.T)]
        assert find_amplifiers(tables[0], tables[1], (4, 4)) is None


@pytest.mark.parametrize("axis", [0, 1], ids=["columns", "rows"])
@pytest.mark.parametrize(("height", "others"), [(0.6, 0.0), (1.5, 0.0), (2.5, 1.5)])
def test_lines_of_two_amplifiers_that_take_turns_are_corrected(
    height: float, others: float, axis: int
) -> None:
    left = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        values = 100 + rng.poisson(light(rng))
        places = np.indices((SIZE, SIZE))[1 - axis]
        added = np.where(places % 2, -height, height)
        added = added + others * rng.normal(size=SIZE)
        image = (values + added).astype(np.float32)
        error = find_defects(image).correct(image[None], 0, 0)[0] - values
        means = error.mean(axis)
        left.append(np.mean(means[::2]) - np.mean(means[1::2]))
    assert np.abs(left).mean() < 0.3 * 2 * height


@pytest.mark.parametrize("kind", ["clean", "grating", "chequers", "half of the image"])
def test_other_patterns_are_not_corrected_as_amplifiers(kind: str) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    pattern = {
        "clean": 0 * x,
        "grating": 12 * (x % 2),
        "chequers": 2 * ((x + y) % 2),
        "half of the image": 2 * (x % 2) * (y < SIZE // 2),
    }[kind]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image = (100 + rng.poisson(light(rng)) + pattern).astype(np.uint16)
        assert find_defects(image).columns is None, seed


def test_short_and_wide_images_have_no_alternation() -> None:
    noise = np.random.default_rng(0).normal(100, 3, (2 * STRETCHES, 1 + LARGE // (2 * STRETCHES)))
    assert find_alternation(noise, 4) == 0
