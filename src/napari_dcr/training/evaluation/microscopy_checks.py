"""``python -m napari_dcr.training.evaluation.microscopy_checks``: how well `microscopy` measures.

Synthetic recordings with fixed seeds (three cameras, three light levels) are scored in photons without
a fit.  Further tables check intensities and intervals.  With ``--pairs``, a folder of real pairs is
scored after an affine fit, next to classical filters.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy import ndimage

import napari_dcr
from napari_dcr.image import quality
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_blocks import block_means
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.forward.instruments import Camera, Emccd, Pmt, Scmos
from napari_dcr.training.forward.structures import synthetic_scene

PEAKS = (5, 20, 100)
"""Photons at the 99.9 percentile of the brightness."""

CAMERAS: dict[str, Camera] = {"sCMOS": Scmos(), "EMCCD": Emccd(), "PMT": Pmt(bits=16)}

SEED = 660_000
"""Seed of the test set; no training uses it."""

Image = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One synthetic recording.

    Attributes
    ----------
    camera : str
    peak : float
    values : ndarray, shape (h, w), uint16
        Recorded values.
    expected : ndarray, shape (h, w)
        Expectation of the recorded values.
    noise : NoiseModel
    """

    camera: str
    peak: float
    values: Image
    expected: Image
    noise: NoiseModel

    @property
    def photon(self) -> float:
        """Units of the image per photon."""
        return self.noise.photon or self.noise.gain


def cases(count: int, size: int = 384) -> Iterator[Case]:
    """Recordings of ``count`` scenes by every camera at every light level."""
    for number in range(count):
        scene = synthetic_scene(size, np.random.default_rng((SEED, number)))
        for which, (name, camera) in enumerate(CAMERAS.items()):
            for level, peak in enumerate(PEAKS):
                rng = np.random.default_rng((SEED, number, which, level))
                photons = peak * (0.95 * scene + 0.05)
                values = camera.expose(photons, rng).astype(np.uint16)
                noise = camera.noise
                expected = noise.offset + (noise.photon or noise.gain) * photons
                yield Case(name, peak, values, expected, noise)


def anscombe_bm3d(image: Image) -> Image:
    """Denoise by BM3D between a generalised Anscombe transform and its unbiased inverse.

    Dabov et al. 2007, IEEE TIP 16, 2080; Makitalo and Foi 2013, IEEE TIP 22, 91, eq. 10
    and its closed form. The noise is estimated from the image, as for ours.
    """
    bm3d = importlib.import_module("bm3d")  # not for commercial use: never a dependency

    model = estimate_noise(image).model
    gain = max(model.gain, 1e-3 * model.unit)
    sigma = np.sqrt(model.dark) / gain
    scaled = (image.astype(np.float64) - model.offset) / gain
    forward = 2 * np.sqrt(np.maximum(scaled + 0.375 + sigma**2, 0))
    low, high = forward.min(), forward.max()
    cleaned = bm3d.bm3d((forward - low) / (high - low), 1 / (high - low)) * (high - low) + low
    d = np.maximum(cleaned, 2 * np.sqrt(0.375 + sigma**2) * 0.5)
    root = np.sqrt(1.5)
    inverse = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 0.125
    return np.asarray(model.offset + gain * (inverse - sigma**2))


def methods(model: str, slow: bool) -> dict[str, Callable[[Image], Image]]:
    """Our method by depth, and the methods to compare with."""

    def ours(depth: int, detail: bool = True) -> Callable[[Image], Image]:
        return lambda image: np.asarray(
            napari_dcr.enhance(image, model=model, depth=depth, detail=detail, output="float32")
        )

    found: dict[str, Callable[[Image], Image]] = {
        "input": lambda image: image.astype(np.float64),
        "Gaussian, sigma 2": lambda image: ndimage.gaussian_filter(image.astype(np.float64), 2),
    }
    if slow and importlib.util.find_spec("bm3d"):
        found["Anscombe + BM3D"] = anscombe_bm3d
    for depth in (1, 2, 3):
        found[f"depth {depth}"] = ours(depth)
    found["depth 3, detail off"] = ours(3, False)
    return found


def psnr(got: Image, truth: Image, span: float) -> float:
    """Peak signal-to-noise ratio in dB for a range of ``span``."""
    return float(10 * np.log10(span**2 / np.mean((got - truth) ** 2)))


def score_synthetic(model: str, count: int, slow: bool) -> None:
    """Print PSNR by camera and light, in photons and unfitted."""
    found = methods(model, slow)
    rows: dict[tuple[str, float], list[list[float]]] = {}
    for case in cases(count):
        span = float(np.ptp(case.expected))
        scores = [psnr(run(case.values), case.expected, span) for run in found.values()]
        rows.setdefault((case.camera, case.peak), []).append(scores)
    print("\nPSNR in dB, unfitted, mean over", count, "scenes\n")
    print("| camera | peak photons |", " | ".join(found), "|")
    print("|---|---|" + "---|" * len(found))
    for (camera, peak), several in sorted(rows.items()):
        print(f"| {camera} | {peak} |", " | ".join(f"{s:.2f}" for s in np.mean(several, 0)), "|")


def score_intensities(model: str, count: int) -> None:
    """Print the change of intensities, and how often the truth lies in the interval."""
    lines: dict[tuple[str, float], list[list[float]]] = {}
    means: dict[tuple[str, float], list[Image]] = {}
    for case in cases(count):
        out, uncertainty = napari_dcr.enhance(
            case.values, model=model, output="float32", return_uncertainty=True
        )
        key = case.camera, case.peak
        pair = [
            (block_means(i, quality.BLOCK) - case.noise.offset) / case.photon
            for i in (case.expected, out)
        ]
        means.setdefault(key, []).append(np.stack(pair))
        total = (out - case.noise.offset).sum() / (case.expected - case.noise.offset).sum()
        given = (case.values - case.noise.offset).sum() / (case.expected - case.noise.offset).sum()
        inside = np.mean(np.abs(out - case.expected) <= uncertainty)
        lines.setdefault(key, []).append([total, given, inside])
    print("\nBlock means, result against truth, in photons; 68 % intervals\n")
    print("| camera | peak | slope | intercept | total | total of the input | coverage |")
    print("|---|---|---|---|---|---|---|")
    for key in sorted(lines):
        x, y = np.concatenate(means[key], 1)
        slope, intercept = np.polyfit(x, y, 1)
        total, given, inside = np.mean(lines[key], 0)
        print(
            f"| {key[0]} | {key[1]} | {slope:.4f} | {intercept:+.3f} | {total:.4f} |"
            f" {given:.4f} | {inside:.1%} |"
        )


def score_invariants(model: str) -> None:
    """Print properties that must hold for any image."""
    rng = np.random.default_rng(SEED)
    scene = synthetic_scene(384, rng)

    def run(image: Image) -> Image:
        return np.asarray(napari_dcr.enhance(image, model=model, output="float32"), np.float64)

    for peak in PEAKS:
        values = Scmos().expose(peak * (0.95 * scene + 0.05), rng)
        once, twice = run(values), run(2 * values)
        ratio = float(np.abs(twice / 2 - once).mean() / (once - once.min()).mean())
        print(f"twice the input, {peak} photons: result differs by {ratio:.2%} of the mean signal")
    clean = (1000 * scene + 100).astype(np.float32)
    span = float(np.ptp(clean))
    print(f"no noise, float: {psnr(run(clean), clean, span):.1f} dB, output against input")
    whole = np.rint(clean).astype(np.uint16)
    print(f"no noise, whole numbers: {psnr(run(whole), whole.astype(float), span):.1f} dB")
    flat = np.full((256, 256), 300, np.uint16)
    print(f"constant: largest change {np.abs(run(flat) - 300).max():.3g}")
    for name, camera in CAMERAS.items():
        level = camera.expose(np.full((384, 384), 20.0), rng)
        out = run(level.astype(np.uint16))
        print(
            f"constant with noise, {name}: mean {out.mean() / level.mean():.5f} of the input's,"
            f" deviation {level.std():.2f} to {out.std():.2f}"
        )
    both = np.stack([values, np.zeros_like(values)]).astype(np.uint16)
    apart = napari_dcr.enhance(both, model=model, channel_axis=0)[0]
    alone = napari_dcr.enhance(both[0], model=model)
    print("another channel is zero: bit-identical", bool(np.array_equal(apart, alone)))


def score_pairs(model: str, folder: Path, slow: bool, every: int = 1, fitted: bool = True) -> None:
    """Print PSNR and SSIM of real pairs, by the part of their names before the first underscore.

    Parameters
    ----------
    model : str
    folder : Path
        Folder with ``noisy`` and ``clean``.
    slow : bool
        Whether to compare with BM3D.
    every : int
        Step between the pairs to score.
    fitted : bool
        Score after the best slope and offset of each pair, on float results; else results in
        the input's own dtype as they are.
    """
    found = methods(model, slow)
    if not fitted:
        found = {"input": found["input"], "ours": lambda i: napari_dcr.enhance(i, model=model)}
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    groups = []
    for path in sorted((folder / "noisy").iterdir())[::every]:
        noisy = np.asarray(PILImage.open(path))
        truth = np.asarray(PILImage.open(folder / "clean" / path.name), np.float64)
        groups.append(path.stem.split("_")[0])
        for name, run in found.items():
            got: Image = np.asarray(run(noisy), np.float64)
            if fitted:
                got = np.polyval(np.polyfit(got.ravel(), truth.ravel(), 1), got)
            pair = [np.clip(np.rint(x), 0, 255).astype(np.uint8)[..., None] for x in (got, truth)]
            scores[name].append((metrics.psnr(*pair), metrics.ssim(*pair)))
    print(f"\n{folder.name}, {'after an affine fit each' if fitted else 'without any fit'}\n")
    print("| pairs | method | PSNR | SSIM |\n|---|---|---|---|")
    kinds = sorted(set(groups)) if 1 < len(set(groups)) < len(groups) / 2 else []
    for kind in [*kinds, ""]:
        chosen = [not kind or group == kind for group in groups]
        for name, pairs in scores.items():
            value, structure = np.mean([p for p, c in zip(pairs, chosen, strict=True) if c], 0)
            print(f"| {kind or 'all'} ({sum(chosen)}) | {name} | {value:.2f} | {structure:.4f} |")


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.microscopy_checks", description=__doc__
    )
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--pairs", type=Path, help="folder with noisy/ and clean/")
    parser.add_argument("--every", type=int, default=1, help="take every N-th pair")
    parser.add_argument(
        "--no-fit", action="store_true", help="score the pairs' results as they are, unfitted"
    )
    parser.add_argument("--pairs-only", action="store_true", help="score the pairs only")
    parser.add_argument(
        "--bm3d", action="store_true", help="compare with BM3D too, if it is installed"
    )
    options = parser.parse_args(arguments)
    if not options.pairs_only:
        score_invariants(options.model)
        score_intensities(options.model, options.scenes)
        score_synthetic(options.model, options.scenes, options.bm3d)
    if options.pairs:
        score_pairs(options.model, options.pairs, options.bm3d, options.every, not options.no_fit)


if __name__ == "__main__":
    main()
