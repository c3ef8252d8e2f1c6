"""``python -m napari_dcr.training.evaluation.defect_checks``: measure the correction of sensor defects.

The recordings are synthetic, with fixed seeds: scenes of 20 photons recorded by an sCMOS camera, with
column and row offsets in single frames and in stacks, and with hot and dead pixels. In further
recordings without defects, nothing may be found.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.engine.survey import Surveyor
from napari_dcr.engine.survey_blocks import SurveyRequest
from napari_dcr.image.defect_survey import find_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import needs_histogram
from napari_dcr.image.noise import estimate_noise, fit_noise
from napari_dcr.training.evaluation.defect_recordings import (
    SEED,
    Image,
    clean_images,
    digital,
    offsets,
    scenes,
)
from napari_dcr.training.evaluation.microscopy_checks import psnr
from napari_dcr.training.forward.instruments import Scmos

STRENGTHS = (1, 2, 4)
"""Strengths of the offsets, in electrons RMS."""


def restored(model: str, image: Image, defects: Defects | str = "auto") -> Image:
    """Result of `microscopy` in floats."""
    return np.asarray(
        napari_dcr.enhance(image, model=model, output="float32", defects=defects), np.float64
    )


def ripple(image: Image) -> float:
    """RMS of the column means minus their running median over 15 columns."""
    means = np.asarray(image, np.float64).mean(0)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(means, 7, "reflect"), 15)
    return float(np.std(means - np.median(windows, 1)))


def score_offsets(model: str, count: int, frames: int) -> None:
    """Print the loss in dB that offsets cause, relative to recordings without them."""
    print(f"\nLine offsets: loss in dB against recordings without, mean over {count} scenes\n")
    print("| offsets | rows x columns | frames |", *(f"{s} e- |" for s in STRENGTHS))
    print("|---|---|---|" + "---|" * len(STRENGTHS))
    cases = [
        ("columns", 1, 1), ("rows", 1, 1), ("both", 1, 1), ("columns", 4, 1), ("columns", 1, frames)
    ]  # fmt: skip
    ripples: list[tuple[float, float, float]] = []
    for kind, tall, several in cases:
        lost: list[list[float]] = []
        for number, light in scenes(count):
            # Stack four scenes vertically to simulate a larger sensor.
            photons = np.concatenate([np.roll(light, 97 * n, 1) for n in range(tall)])
            rng = np.random.default_rng((SEED, number, tall, several))
            stack = np.stack([Scmos().expose(photons, rng) for _ in range(several)])
            truth = Scmos().offset + Scmos().gain * photons
            span = float(np.ptp(truth))
            pattern = offsets(kind, photons.shape, rng)
            ideal = psnr(restored(model, digital(stack[0]), "off"), truth, span)
            row = []
            for strength in STRENGTHS:
                striped = digital(stack + strength * pattern)
                found = find_defects(striped if several > 1 else striped[0])
                result = restored(model, striped[0], found)
                row.append(ideal - psnr(result, truth, span))
                if kind == "columns" and several == tall == 1:
                    cleaned = restored(model, digital(stack[0]), "off")
                    left = (ripple(a) for a in (striped[0], result, cleaned))
                    ripples.append(tuple(left))  # type: ignore[arg-type]
            lost.append(row)
        size = f"{photons.shape[0]} x {photons.shape[1]}"
        print(f"| {kind} | {size} | {several} |", *(f"{d:.2f} |" for d in np.mean(lost, 0)))
        print(
            "|  | of each scene | |",
            *(" ".join(f"{d:.1f}" for d in r) + " |" for r in np.transpose(lost)),
        )
    print(
        "\nRipple of column means, ADU: recorded, corrected and restored, restored without offsets"
    )
    for strength, several_ in zip(
        STRENGTHS, np.reshape(ripples, (count, -1, 3)).mean(0), strict=True
    ):
        print(f"{strength} e-: {several_[0]:.3f}, {several_[1]:.3f}, {several_[2]:.3f}")


def score_hot_pixels(model: str, count: int) -> None:
    """Print how many of 150 hot and 50 dead pixels are found, and the loss that they cause."""
    lost, found_, strong_found, strong, false = [], 0, 0, 0, 0
    for number, photons in scenes(count):
        rng = np.random.default_rng((SEED, number, 1))
        camera = Scmos()
        values = camera.expose(photons, rng)
        truth = camera.offset + camera.gain * photons
        span = float(np.ptp(truth))
        y, x = np.unravel_index(rng.choice(values.size, 200, replace=False), values.shape)
        broken = values.copy()
        electrons = np.exp(rng.uniform(np.log(100), np.log(5000), 150))
        broken[y[:150], x[:150]] += camera.gain * electrons
        broken[y[150:], x[150:]] = camera.offset
        image = digital(broken)
        result, defects = napari_dcr.enhance(
            image, model=model, output="float32", return_defects=True
        )
        ideal = psnr(restored(model, digital(values), "off"), truth, span)
        lost.append(ideal - psnr(np.asarray(result, np.float64), truth, span))
        got = {(int(b), int(c)) for _, b, c in defects.hot}
        places = list(zip(y.tolist(), x.tolist(), strict=True))
        height = np.abs(broken - truth) / camera.noise.deviation(truth)
        visible = [p for p in places if height[p] > 12]
        strong += len(visible)
        strong_found += sum(p in got for p in visible)
        found_ += sum(p in got for p in places[:150])
        false += len(got - set(places))
    print(f"\nHot and dead pixels, {count} scenes of 384 x 384 with 150 and 50")
    print(
        f"hot pixels found: {found_} of {150 * count}; beyond 12 standard deviations:"
        f" {strong_found} of {strong}; false positives: {false}"
    )
    print(
        f"loss in dB against recordings without, each scene: {' '.join(f'{d:.2f}' for d in lost)}"
    )


STEPS: dict[str, list[list[float]]] = {
    "left and right": [[0, 1], [0, 1]],
    "top and bottom": [[0, 0], [1, 1]],
    "quadrants": [[0, 1], [-0.7, 1.5]],
}
"""Levels of the amplifiers, in units of the strength of the step."""


ALTERNATIONS = (0.5, 1, 2, 20)
"""Differences between even and odd columns, in electrons; the last one is too large to be corrected."""


def score_steps(count: int) -> None:
    """Print the steps between amplifiers that remain after correction."""
    print(f"\nSteps between amplifiers, {count} scenes of 384 x 384: electrons RMS left\n")
    print("| amplifiers |", *(f"{s} e- |" for s in STRENGTHS))
    print("|---|" + "---|" * len(STRENGTHS))
    for name, levels in STEPS.items():
        left: list[list[float]] = []
        for number, photons in scenes(count):
            rng = np.random.default_rng((SEED, number, 4))
            values = Scmos().expose(photons, rng)
            half = photons.shape[0] // 2
            pattern = np.kron(levels, np.ones((half, half)))
            row = []
            for strength in STRENGTHS:
                # Use integers, because the camera has already rounded.
                added = np.rint(Scmos().gain * strength * pattern)
                image = digital(values + added)
                error = find_defects(image).correct(image[None], 0, 0)[0] - values
                parts = error.reshape(2, half, 2, half).mean((1, 3))
                row.append(float(parts.std()) / Scmos().gain)
            left.append(row)
        before = float(np.std(levels))
        print(
            f"| {name} |",
            *(
                f"{m:.2f} of {s * before:.2f} |"
                for m, s in zip(np.mean(left, 0), STRENGTHS, strict=True)
            ),
        )


def score_alternation(count: int) -> None:
    """Print how much of a difference between even and odd columns is left after correction."""
    print(f"\nEven and odd columns, {count} scenes of 384 x 384: electrons of difference left\n")
    print("| difference |", *(f"{s} e- |" for s in ALTERNATIONS))
    print("|---|" + "---|" * len(ALTERNATIONS))
    left = []
    for number, photons in scenes(count):
        rng = np.random.default_rng((SEED, number, 5))
        values = Scmos().expose(photons, rng)
        row = []
        for strength in ALTERNATIONS:
            added = np.zeros(values.shape[1])
            added[::2] = np.rint(Scmos().gain * strength)
            image = digital(values + added)
            error = (find_defects(image).correct(image[None], 0, 0)[0] - values).mean(0)
            row.append(abs(float(error[::2].mean() - error[1::2].mean())) / Scmos().gain)
        left.append(row)
    print("| left |", *(f"{value:.2f} |" for value in np.mean(left, 0)))


def score_harm(model: str, count: int, pairs: Path | None) -> None:
    """Print the false positives in recordings without defects, and their effect on the result."""
    rows: dict[str, list[tuple[int, int, int, float]]] = {}

    def measure(name: str, image: Image) -> None:
        defects = find_defects(image, estimate_noise(image).model)
        change = 0.0
        if not defects.is_empty:
            own, off = (restored(model, image, which) for which in ("auto", "off"))
            change = float(np.mean(np.abs(own - off) > 1e-3 * np.ptp(off)))
        lines = sum(lines is not None for lines in (defects.columns, defects.rows))
        rows.setdefault(name, []).append((image.size, len(defects.hot), lines, change))

    for name, image in clean_images(count):
        measure(name, image)
    if pairs is not None:
        for path in sorted((pairs / "noisy").iterdir()):
            measure(pairs.name, np.asarray(PILImage.open(path)))
    print("\nImages without defects: false positives\n")
    print(
        "| images | count | hot pixels per million | images with offsets | pixels changed by 0.1 % of the range |"
    )
    print("|---|---|---|---|---|")
    for name, several in rows.items():
        size, hot, lines, change = np.sum(several, 0)
        print(
            f"| {name} | {len(several)} | {hot / size * 1e6:.2f} | {lines:.0f} |"
            f" {change / len(several):.4%} |"
        )


def score_photographs(folders: Sequence[Path]) -> None:
    """Print the false positives in the photographs of these folders."""
    print("\nPhotographs: false positives\n")
    print("| folder | count | hot pixels per million | images with offsets |\n|---|---|---|---|")
    for folder in folders:
        size = hot = lines = count = 0
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in (".png", ".bmp", ".jpg", ".jpeg", ".tif"):
                continue
            with PILImage.open(path) as picture:
                pixels = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
            channels, height, width = pixels.shape
            surveyor = Surveyor(
                SurveyRequest(channels, height, width, pixels.dtype, True, defects=True)
            )
            list(surveyor.add_planes([lambda rows, columns, p=pixels: p[:, rows, columns]]))  # type: ignore[misc]
            defects = surveyor.finish().defects
            assert defects is not None
            count += 1
            size += pixels[0].size
            hot += len(defects.hot)
            lines += defects.columns is not None or defects.rows is not None
        print(f"| {folder.name} | {count} | {hot / max(size, 1) * 1e6:.2f} | {lines} |")


def score_cost(side: int = 2048, rounds: int = 9) -> None:
    """Print the processor time of surveys with and without the search for defects.

    That of grey images includes the noise model, which every run with `microscopy` needs.

    Parameters
    ----------
    side : int
        Side of the images in pixels; frames of the stack have half of it.
    rounds : int
        Number of measurements, of which the shortest counts.
    """
    rng = np.random.default_rng(SEED)
    image = rng.poisson(20, (side, side)).astype(np.uint16)
    y, x = np.mgrid[:side, :side]
    light = 60 + 40 * np.sin(x / 90) * np.cos(y / 70)
    half = side // 2
    images: dict[str, Image] = {
        f"{side} x {side} uint16": image[None, None],
        f"{side} x {side} float32": image[None, None].astype(np.float32),
        f"30 x {half} x {half} uint16": rng.poisson(20, (30, 1, half, half)).astype(np.uint16),
        f"{side} x {side} RGB": rng.normal(light, 4, (1, 3, side, side))
        .clip(0, 255)
        .astype(np.uint8),
    }

    def survey(planes: Image, defects: bool) -> None:
        frames, channels, height, width = planes.shape
        grey = channels == 1
        histogram = not grey and needs_histogram("auto", planes.dtype, grey)
        request = SurveyRequest(
            channels, height, width, planes.dtype, histogram, noise=grey, measured=grey,
            defects=defects, frames=frames, solid=True,
        )  # fmt: skip
        surveyor = Surveyor(request)
        for plane in planes:
            for rows, columns in request.blocks:
                block = request.measure(plane[:, rows, columns], rows.start, columns.start)
                surveyor.add(block)
        table = surveyor.finish().noise
        if table is not None:
            fit_noise(table, planes.dtype.kind in "iu")

    def seconds(planes: Image, *works: Callable[[Image], object]) -> list[float]:
        """Shortest times of several functions, which are measured alternately."""
        best = [np.inf] * len(works)
        for turn in range(rounds * len(works)):
            own = np.roll(planes, turn, -1)  # so that no noise model is known already
            started = time.process_time()
            works[turn % len(works)](own)
            taken = time.process_time() - started
            best[turn % len(works)] = min(best[turn % len(works)], taken)
        return best

    print("\n| survey of | without the search for defects | with it | more |\n|---|---|---|---|")
    for name, planes in images.items():
        plain, looking = seconds(
            planes,
            functools.partial(survey, defects=False),
            functools.partial(survey, defects=True),
        )
        print(f"| {name} | {plain:.3f} s | {looking:.3f} s | {looking / plain - 1:+.0%} |")
    lines = rng.normal(0, 3, (1, 1, 1, side))
    hot = np.stack([np.zeros(500, int), *rng.integers(0, side, (2, 500))], 1)
    defects = Defects(side, side, columns=lines, hot=np.unique(hot, axis=0))
    (correcting,) = seconds(image[None], lambda planes: defects.correct(planes, 0, 0))
    print(f"\nCorrection of {side} x {side} uint16: {correcting:.3f} s")


def draw(model: str, path: Path) -> None:
    """Draw a recording with offsets and hot pixels, its result without correction, and with it."""
    number, photons = list(scenes(2))[1]
    rng = np.random.default_rng((SEED, number, 3))
    camera = Scmos()
    image = camera.expose(photons, rng) + 2 * offsets("columns", photons.shape, rng)
    y, x = rng.integers(0, photons.shape[0], (2, 150))
    image[y, x] += camera.gain * np.exp(rng.uniform(np.log(100), np.log(5000), 150))
    striped = digital(image)
    low, high = camera.offset, camera.offset + camera.gain * float(np.quantile(photons, 0.999))
    pictures = [striped, restored(model, striped, "off"), restored(model, striped)]
    shown = [np.clip((p.astype(np.float64) - low) / (high - low), 0, 1) ** 0.7 for p in pictures]
    sheet = np.concatenate([np.pad(p, ((0, 0), (0, 6)), constant_values=1) for p in shown], 1)
    PILImage.fromarray((255 * sheet[:, :-6]).round().astype(np.uint8)).save(path)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.defect_checks", description=__doc__
    )
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--frames", type=int, default=20, help="of the stacks")
    parser.add_argument(
        "--pairs", type=Path, help="folder with noisy/, whose images have no defects"
    )
    parser.add_argument(
        "--only",
        choices=("offsets", "steps", "alternation", "hot", "harm", "photographs", "cost"),
        help="print one table alone",
    )
    parser.add_argument(
        "--photographs", type=Path, nargs="+", default=[], help="folders of good photographs"
    )
    parser.add_argument(
        "--picture", type=Path, help="draw an example to a .png file, and no tables"
    )
    options = parser.parse_args(arguments)
    if options.picture:
        draw(options.model, options.picture)
        return
    parts: dict[str, Callable[[], None]] = {
        "cost": score_cost,
        "hot": lambda: score_hot_pixels(options.model, options.scenes),
        "harm": lambda: score_harm(options.model, options.scenes, options.pairs),
        "photographs": lambda: score_photographs(options.photographs),
        "steps": lambda: score_steps(options.scenes),
        "alternation": lambda: score_alternation(options.scenes),
        "offsets": lambda: score_offsets(options.model, options.scenes, options.frames),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    main()
