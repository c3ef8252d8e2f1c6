"""``python -m napari_dcr.training.evaluation.small_checks``: images of 8 to 40 pixels a side.

So few pixels hardly distinguish structure from noise. Synthetic recordings with fixed seeds are enhanced
with `microscopy`. For each number of photons the table contains the gain in dB over the recording, the
number of results that are worse than their input, and the estimated noise.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.noise import estimate_noise
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.forward.structures import synthetic_scene

SEED = 730_000
"""Seed of the recordings; no training uses it."""

PEAKS = (1, 5, 20, 100, 1000, 10_000)
"""Photons at the 99.9 percentile of the brightness of a scene."""

SIDES = 8, 40
"""Smallest and largest side in pixels."""

CAMERA = Scmos(tail=0.2)

SCENE = 192
"""Side in pixels of the scenes from which images are cropped."""

REDUCED = (1, 2, 4)
"""Factors by which scenes are reduced, because the pixels of small images are often large."""


class Recording(NamedTuple):
    """One synthetic recording.

    Attributes
    ----------
    values, expected : ndarray, shape (h, w)
        Recorded values and their expectation.
    peak : float
        Photons at the 99.9 percentile of the brightness of the scene.
    """

    values: NDArray[np.uint16]
    expected: NDArray[np.float64]
    peak: float


def recordings(count: int, sides: tuple[int, int] = SIDES) -> Iterator[Recording]:
    """Crops of random size from synthetic scenes, as a camera records them; identical in every run."""
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        scene = (synthetic_scene, cultured_scene)[number % 2](SCENE, rng)
        factor = int(rng.choice(REDUCED))
        size = SCENE // factor
        scene = scene.reshape(size, factor, size, factor).mean((1, 3), dtype=np.float64)
        height, width = rng.integers(sides[0], sides[1] + 1, 2)
        top, left = rng.integers(0, size - height), rng.integers(0, size - width)
        part = scene[top : top + height, left : left + width]
        peak = PEAKS[number // 2 % len(PEAKS)]
        photons = peak * (0.95 * part + 0.05)
        noise = CAMERA.noise
        yield Recording(
            CAMERA.expose(photons, rng).astype(np.uint16),
            noise.offset + noise.gain * photons,
            peak,
        )


def decibels(got: NDArray[Any], case: Recording) -> float:
    """Gain of a result over its recording, 20 times the logarithm of the ratio of RMS errors."""
    before, after = (
        float(np.sqrt(np.mean((np.asarray(a, np.float64) - case.expected) ** 2)))
        for a in (case.values, got)
    )
    return 20 * float(np.log10(before / after))


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.small_checks", description=__doc__
    )
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--sides", type=int, nargs=2, default=SIDES, metavar=("LEAST", "MOST"))
    parser.add_argument("--depth", type=int, default=3)
    options = parser.parse_args(arguments)
    rows: dict[float, list[tuple[float, float, bool]]] = {peak: [] for peak in PEAKS}
    for case in recordings(options.images, tuple(options.sides)):
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always", napari_dcr.InputWarning)
            result = napari_dcr.enhance(
                case.values, model=options.model, output="float32", defects="off",
                depth=options.depth,
            )  # fmt: skip
        level = float(np.median(case.expected))
        found = float(estimate_noise(case.values).model.deviation(level))
        ratio = found / float(CAMERA.noise.deviation(level))
        rows[case.peak].append((decibels(result, case), ratio, bool(issued)))
    print("| peak photons | images | gain | worse than the input | by, mean | by, most | with a warning |"
          " deviation over the true one: 5 %, 50 %, 95 % |")  # fmt: skip
    print("|" + "---|" * 8)
    for peak, several in [*rows.items(), ("all", list(itertools.chain(*rows.values())))]:
        gains, ratios, warned = (np.array(column) for column in zip(*several, strict=True))
        worse = gains < 0
        lost = -gains[worse]
        print(
            f"| {peak} | {len(gains)} | {gains.mean():.2f} dB | {worse.sum()} |"
            f" {lost.mean() if len(lost) else 0:.2f} dB | {lost.max(initial=0):.2f} dB |"
            f" {warned.sum()}, {(warned & worse).sum()} of those |"
            f" {', '.join(f'{q:.2f}' for q in np.quantile(ratios, [0.05, 0.5, 0.95]))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
