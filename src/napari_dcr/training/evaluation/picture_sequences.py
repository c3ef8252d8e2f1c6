"""``python -m napari_dcr.training.evaluation.picture_sequences FOLDER``: score moving pictures with neighbours.

Dim, noisy sequences are made from the pictures of a folder. Each is enhanced by `photo` with and without
neighbouring frames. Both are compared with the result for the same frame without noise, which has the
same tone curve, because all frames share it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.tone import Pixels
from napari_dcr.training.data import load_rgb
from napari_dcr.training.evaluation.microscopy_checks import psnr
from napari_dcr.training.forward.synthetic import dim_sequence

FRAMES, SIZE = 5, (288, 384)
"""Number of frames of a sequence, and their size."""

NOISE = {"mild": (1e-4, 1e-6), "strong": (4e-4, 3e-6)}
"""Shot and read noise in linear light, see `napari_dcr.training.forward.shot.Noise`."""

LARGE, SMALL = (60, 7), (8, 3)
"""Side of a moving object in pixels, and its speed in pixels per frame."""

EDGE = 6
"""Pixels around the object that belong to its place."""


class Views(NamedTuple):
    """Clean frames, and rows and columns of the moving object in the middle frame."""

    frames: Pixels
    place: tuple[slice, slice] | None


def _window(photograph: Pixels, step: float) -> Callable[[int], Pixels]:
    """Function that returns the window of a frame that pans by ``step`` pixels per frame."""
    height, width = SIZE
    top, left = (n - m for n, m in zip(photograph.shape[:2], SIZE, strict=True))

    def frame(number: int) -> Pixels:
        x = left // 2 + round(step * (number - FRAMES // 2))
        return photograph[top // 2 : top // 2 + height, x : x + width]

    return frame


def _panning(photograph: Pixels, step: float, moving: tuple[int, int] | None = None) -> Views:
    frame = _window(photograph, step)
    views = np.stack([frame(n) for n in range(FRAMES)])
    if moving is None:
        return Views(views, None)
    side, speed = moving
    patch = photograph[:side, :side] * 0.5 + 0.3
    rows = slice(110, 110 + side)
    for number, view in enumerate(views):
        left = 150 + speed * (number - FRAMES // 2)
        view[rows, left : left + side] = patch
    place = (
        slice(rows.start - EDGE, rows.stop + EDGE),
        slice(150 - EDGE, 150 + side + EDGE),
    )
    return Views(views, place)


def _cut(photograph: Pixels) -> Views:
    """Another scene from the middle frame on."""
    views = np.stack([_window(photograph, 0)(n) for n in range(FRAMES)])
    views[FRAMES // 2 :] = views[FRAMES // 2 :, ::-1, ::-1]
    return Views(views, None)


def _lit(photograph: Pixels) -> Views:
    """A lamp in a part of the scene is switched on in the middle frame only."""
    views = np.stack([_window(photograph, 0)(n) for n in range(FRAMES)])
    place = slice(60, 200), slice(90, 260)
    views[FRAMES // 2][place] = np.minimum(views[FRAMES // 2][place] * 1.5, 1)
    return Views(views, place)


KINDS: dict[str, Callable[[Pixels], Views]] = {
    "static": lambda photograph: _panning(photograph, 0),
    "static, moving object": lambda photograph: _panning(photograph, 0, LARGE),
    "static, small object": lambda photograph: _panning(photograph, 0, SMALL),
    "2 px per frame": lambda photograph: _panning(photograph, 2),
    "2 px per frame, moving object": lambda photograph: _panning(photograph, 2, LARGE),
    "1 px per frame": lambda photograph: _panning(photograph, 1),
    "cut": _cut,
    "lamp": _lit,
}
"""Kinds of sequences, by their names in the table."""


class Score(NamedTuple):
    """Gain in dB in the middle frame and at the place that changes, and ratio of the flicker."""

    gain: float
    there: float
    flicker: float


def score(
    photograph: Pixels, kind: str, noise: tuple[float, float], seed: int, **options: Any
) -> Score:
    """Compare results with and without neighbours with that of the clean middle frame.

    Parameters
    ----------
    photograph : ndarray, shape (h, w, 3)
        Clean display values in [0, 1], larger than the frames.
    kind : str
        One of `KINDS`.
    noise : (float, float)
        See `NOISE`.
    seed : int
    **options
        Options of both runs.
    """
    views, place = KINDS[kind](photograph)
    noisy, clean = dim_sequence(views, 4.0, seed, *noise)
    middle = FRAMES // 2
    # The clean frame comes last, where it is a neighbour of no frame that is scored.
    stack = np.rint(255 * np.stack([*noisy, clean[middle]])).astype(np.uint8)
    shared = {"model": "photo", "axes": "tyxs", **options}
    alone, fused = (
        napari_dcr.enhance(stack, neighbours=neighbours, **shared).astype(float)
        for neighbours in (0, 2)
    )
    truth = alone[-1]
    errors = [psnr(result[middle], truth, 255.0) for result in (alone, fused)]
    there = errors
    if place is not None:
        there = [psnr(r[middle][place], truth[place], 255.0) for r in (alone, fused)]
    flicker = [_flicker(result[:FRAMES]) for result in (alone, fused)]
    return Score(errors[1] - errors[0], there[1] - there[0], flicker[1] / flicker[0])


def _flicker(result: NDArray[Any]) -> float:
    """Standard deviation over time of single pixels, at the median pixel."""
    return float(np.median(result[1:-1].std(0)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of clean pictures")
    parser.add_argument("--count", type=int, default=24, help="number of pictures (default: 24)")
    arguments = parser.parse_args()
    files = sorted(p for p in arguments.folder.iterdir() if p.suffix in (".png", ".jpg"))
    pictures = [_opened(path) for path in files[: arguments.count]]
    print("| sequence | noise | gain, dB | worst | where it changes, dB | worst | flicker |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for name, noise in NOISE.items():
            scores = np.array([score(p, kind, noise, n) for n, p in enumerate(pictures)])
            gain, there, flicker = scores.mean(0)
            worst = scores.min(0)
            print(
                f"| {kind} | {name} | {gain:+.2f} | {worst[0]:+.2f} | {there:+.2f} | {worst[1]:+.2f}"
                f" | {flicker:.2f} |",
                flush=True,
            )


def _opened(path: Path) -> Pixels:
    pixels = load_rgb(path).astype(np.float32) / 255
    return pixels if pixels.shape[1] > pixels.shape[0] else pixels.transpose(1, 0, 2).copy()


if __name__ == "__main__":
    main()
