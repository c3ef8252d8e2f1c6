"""Compare `photo` with and without its noise stage, and check the choice of "auto".

    python benchmarks/denoise_first.py --clean DATA/train/photo/kodak24 --pairs DATA/check/eliei \
        --dim DATA/check/lime DATA/check/dicm --every 4

``--clean``: grey frames are simulated from clean pictures in a sixteenth, eighth or quarter of their
light, with photon and read noise, in 8 bits, linear or sRGB. Results are compared with the enhancement
of the dim picture without noise, so that brightness has no influence. ``--pairs``: results are compared
with the bright picture of each pair, in grey and in colour. ``--dim``: prints for how many pictures
"auto" uses the noise stage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.enhancement import Options, enhance_steps, run_to_completion
from napari_dcr.training.data import image_files
from napari_dcr.training.evaluation import metrics

CHOICES = ("off", "on", "auto")

CAMERAS = tuple(
    (light, photons, encoding)
    for light in (1 / 4, 1 / 8, 1 / 16)
    for photons in (800, 3200, 32000)
    for encoding in ("linear", "srgb")
)
"""Cameras: share of the light, photons of a white pixel in full light, and encoding of the values."""

READ_NOISE = 2.0
"""Standard deviation of the read noise in electrons."""

SIDE = 256
"""Side in pixels of the central crop of a clean picture."""


def to_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert display values to linear light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_display(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert linear light to display values."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def grey(path: Path, side: int | None = None) -> NDArray[np.uint8]:
    """Convert a picture, or its central crop, to grey."""
    with PILImage.open(path) as file:
        pixels = np.asarray(file.convert("L"))
    if side is None:
        return pixels
    top, left = (max(0, (n - side) // 2) for n in pixels.shape)
    return pixels[top : top + side, left : left + side]


def enhanced(image: NDArray[Any], **options: Any) -> tuple[NDArray[Any], bool]:
    """Enhance a picture; returns the result and whether the noise stage was used."""
    done = run_to_completion(enhance_steps(image, Options(model="photo", **options)))
    return done.image, "denoise_first" in done.record


def score_synthetic(folder: Path, every: int) -> None:
    """Print a table with the mean scores for each camera."""
    print(
        "| light | photons | stored | auto uses it | PSNR off, on, auto | SSIM off, on, auto | worst auto - off |"
    )
    print("|---|---|---|---|---|---|---|")
    for light, photons, encoding in CAMERAS:
        rng = np.random.default_rng(0)
        scores, taken = [], []
        for path in image_files(folder)[::every]:
            scene = light * to_light(grey(path, SIDE) / 255)
            electrons = rng.poisson(scene * photons) + rng.normal(0, READ_NOISE, scene.shape)
            noisy = electrons / photons
            stored = [
                to_display(x) if encoding == "srgb" else np.clip(x, 0, 1) for x in (scene, noisy)
            ]
            truth, _ = enhanced(stored[0].astype(np.float32), input_range=(0, 1), output="uint8")
            image = np.rint(stored[1] * 255).astype(np.uint8)
            row = []
            for choice in CHOICES:
                result, used = enhanced(image, denoise_first=choice)
                row.append((metrics.psnr(result, truth), metrics.ssim(*_three(result, truth))))
            taken.append(used)
            scores.append(row)
        mean, worst = np.mean(scores, 0), np.min(np.array(scores)[:, 2] - np.array(scores)[:, 0], 0)
        print(
            f"| 1/{1 / light:.0f} | {photons} | {encoding} | {sum(taken)} of {len(taken)} | "
            + " ".join(f"{value:.2f}" for value in mean[:, 0])
            + " | "
            + " ".join(f"{value:.3f}" for value in mean[:, 1])
            + f" | {worst[0]:+.2f} dB, {worst[1]:+.3f} |",
            flush=True,
        )


def _three(*pictures: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.repeat(p[..., None], 3, 2) if p.ndim == 2 else p for p in pictures]


def score_pairs(folder: Path, every: int) -> None:
    """Print scores of real pairs against their bright picture."""
    for kind in ("grey", "colour"):
        scores, taken = [], 0
        for path in image_files(folder / "low")[::every]:
            low, high = (
                grey(p) if kind == "grey" else np.asarray(PILImage.open(p).convert("RGB"))
                for p in (path, folder / "high" / path.name)
            )
            row = []
            for choice in CHOICES:
                result, used = enhanced(low, denoise_first=choice)
                pair = _three(result, high)
                matched = metrics.match_mean(*pair)
                row.append(
                    (metrics.psnr(*pair), metrics.psnr(matched, pair[1]), metrics.ssim(*pair))
                )
            taken += used
            scores.append(row)
        for choice, each in zip(CHOICES, np.mean(scores, 0), strict=True):
            print(
                f"pairs, {kind}, {choice}: {each[0]:.2f} dB, {each[1]:.2f} dB, SSIM {each[2]:.4f}"
            )
        change = np.array(scores)[:, 1:, 2] - np.array(scores)[:, :1, 2]
        print(
            f"pairs, {kind}: auto uses it for {taken} of {len(scores)}; SSIM on - off from"
            f" {change[:, 0].min():+.3f} to {change[:, 0].max():+.3f}, auto - off from"
            f" {change[:, 1].min():+.3f} to {change[:, 1].max():+.3f}",
            flush=True,
        )


def score_dim(folders: Sequence[Path], every: int) -> None:
    """Print for how many dim pictures, in grey, "auto" uses the noise stage."""
    for folder in folders:
        paths = image_files(folder)[::every]
        taken = [p.name for p in paths if enhanced(grey(p, 384), denoise_first="auto", depth=1)[1]]
        print(
            f"{folder.name}, grey: auto uses it for {len(taken)} of {len(paths)} {taken}",
            flush=True,
        )


def main() -> None:
    """Print the tables for which folders were given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clean", type=Path, help="folder of clean pictures")
    parser.add_argument("--pairs", type=Path, help="folder with low/ and high/")
    parser.add_argument("--dim", type=Path, nargs="*", default=[], help="folders of dim pictures")
    parser.add_argument("--every", type=int, default=1, help="take every N-th picture")
    options = parser.parse_args()
    if options.clean:
        score_synthetic(options.clean, options.every)
    if options.pairs:
        score_pairs(options.pairs, options.every)
    score_dim(options.dim, options.every)


if __name__ == "__main__":
    main()
