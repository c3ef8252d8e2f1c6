"""``python -m napari_dcr.training.evaluation.noise_checks``: kinds of noise that real recordings have.

Synthetic recordings with fixed seeds: clipped, saturated, stretched to 8 bits, sparse, correlated
along one axis, along both and over many pixels, enlarged. By photon count: the estimated noise
beside the true one, the best Gaussian blur for each image, and BM3D and ndsafir where they are
installed; the estimated noise beside the true noise; and the change of intensities.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

import napari_dcr
from napari_dcr.image import quality
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_blocks import block_means
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.training.evaluation.microscopy_checks import anscombe_bm3d, psnr
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.forward.structures import synthetic_scene

Image = NDArray[Any]

SEED = 690_000
"""Seed of the recordings; no training uses it."""

PEAKS = (1, 5, 20, 100)
"""Photons at the 99.9 percentile of the brightness."""

CAMERA = Scmos(tail=0.2)

BLURS = {
    "correlated along x": ((1, 2, 1), (1,)),
    "correlated along both": ((1, 2, 1), (0, 1)),
    "correlated over many pixels": (np.exp(-(np.arange(-8, 9) ** 2) / 8.0), (0, 1)),
}
"""Kernels that blur noise, and their axes; the last one is a Gaussian of sigma 2."""

KINDS = ("plain", "clipped", "saturated", "stretched", "sparse", *BLURS, "enlarged")

GAUSSIANS = (0.7, 1, 1.5, 2, 2.5, 3, 4, 6)
"""Standard deviations of the Gaussian blurs from which the best one is chosen for each image."""


@dataclass(frozen=True)
class Recording:
    """One synthetic recording.

    Attributes
    ----------
    values : ndarray, shape (h, w)
        Recorded values.
    expected : ndarray, shape (h, w)
        Expectation of the recorded values.
    noise : NoiseModel
        Noise of the camera before clipping.
    """

    values: Image
    expected: Image
    noise: NoiseModel


def record(kind: str, peak: float, number: int, size: int = 256) -> Recording:
    """Simulate the recording of a kind, a photon count and a scene; identical in every run."""
    rng = np.random.default_rng((SEED, number, KINDS.index(kind), int(10 * peak)))
    scene = (synthetic_scene, cultured_scene)[number % 2](
        size, np.random.default_rng((SEED, number))
    )
    photons = peak * (0.95 * scene.astype(np.float64) + 0.05)
    noise = CAMERA.noise
    mean = noise.offset + noise.gain * photons
    if kind == "sparse":
        return Recording(
            rng.poisson(photons).astype(np.uint16), photons, NoiseModel(1.0, 0.0, 1e-3)
        )
    if kind == "enlarged":
        half = ndimage.gaussian_filter(photons, 1)[::2, ::2]
        return Recording(
            np.rint(_enlarged(CAMERA.expose(half, rng))).clip(0, 65535).astype(np.uint16),
            noise.offset + noise.gain * _enlarged(half),
            noise.scaled((1 - 2 * 3 / 16) ** 2),  # weights of 1/4 and 3/4 along both axes
        )
    values = CAMERA.expose(photons, rng).astype(np.float64)
    if kind in BLURS:
        weights, axes = BLURS[kind]
        kernel = np.asarray(weights, float) / np.sqrt((np.asarray(weights, float) ** 2).sum())
        blurred = values - mean
        for axis in axes:
            blurred = ndimage.convolve1d(blurred, kernel, axis, mode="wrap")
        return Recording((mean + blurred).round().clip(0, 65535).astype(np.uint16), mean, noise)
    deviation = noise.deviation(mean)
    if kind == "clipped":
        dark = noise.offset + noise.gain * 0.05 * peak
        black = round(dark + 0.8 * float(noise.deviation(dark)))
        clipped = np.maximum(values - black, 0).astype(np.uint16)
        return Recording(
            clipped, _mean_above(mean - black, deviation), replace(noise.at(black), offset=0.0)
        )
    if kind == "saturated":
        top = round(noise.offset + noise.gain * float(np.quantile(photons, 0.95)) + 3)
        return Recording(
            np.minimum(values, top).astype(np.uint16),
            top - _mean_above(top - mean, deviation),
            noise,
        )
    if kind == "stretched":
        low, high = np.quantile(values, [0.001, 0.998])
        factor = 255 / max(float(high - low), 1.0)
        stretched = np.clip(np.rint((values - low) * factor), 0, 255).astype(np.uint8)
        stored_noise = NoiseModel(
            noise.gain * factor, (noise.offset - low) * factor, noise.dark * factor**2 + 1 / 12
        )
        expected = 255 - _mean_above(255 - (mean - low) * factor, factor * deviation)
        return Recording(stretched, expected, stored_noise)
    return Recording(values.astype(np.uint16), mean, noise)


def _enlarged(image: Image) -> Image:
    """Enlarge by a factor of 2 along both axes with linear interpolation."""
    large: Image = ndimage.zoom(image, 2, order=1, mode="nearest", grid_mode=True)
    return large


def _mean_above(mean: Image, deviation: Image) -> Image:
    """Mean of normal variables that are clipped at 0."""
    z = mean / deviation
    above: Image = mean * special.ndtr(z) + deviation * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return above


def best_gaussian(values: Image, expected: Image) -> Image:
    """Gaussian blur closest to the truth, which is unknown in practice."""
    blurs = (ndimage.gaussian_filter(values.astype(np.float64), sigma) for sigma in GAUSSIANS)
    return min(blurs, key=lambda blur: float(np.mean((blur - expected) ** 2)))


def ndsafir(values: Image) -> Image:
    """Denoise by ndsafir (Boulanger et al. 2010, IEEE TMI 29, 442), which estimates the noise itself."""
    module = importlib.import_module("ndsafir")
    image = values.astype(np.float32)
    gains, offsets = module.calibrate_poisson_gaussian(image)
    denoised = module.denoise_poisson_gaussian(image, gains=gains, offsets=offsets)
    return np.asarray(denoised, np.float64)


def methods(model: str, slow: bool) -> dict[str, Callable[[Recording], Image]]:
    """Our method with estimated and with known noise, and the methods to compare with."""

    def ours(noise: Callable[[Recording], NoiseModel | None]) -> Callable[[Recording], Image]:
        def run(case: Recording) -> Image:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", napari_dcr.InputWarning)
                return np.asarray(
                    napari_dcr.enhance(
                        case.values, model=model, output="float32", noise=noise(case)
                    ),
                    np.float64,
                )

        return run

    found: dict[str, Callable[[Recording], Image]] = {
        "input": lambda case: case.values.astype(np.float64),
        "best Gaussian": lambda case: best_gaussian(case.values, case.expected),
        "ours": ours(lambda case: None),
        "ours, noise known": ours(lambda case: case.noise),
    }
    if slow and importlib.util.find_spec("ndsafir"):
        found["ndsafir"] = lambda case: ndsafir(case.values)
    if slow and importlib.util.find_spec("bm3d"):
        found["Anscombe + BM3D"] = lambda case: anscombe_bm3d(case.values)
    return found


def recordings(
    kinds: Sequence[str], count: int, size: int
) -> Iterator[tuple[str, float, list[Recording]]]:
    """All recordings of each kind and photon count."""
    for kind in kinds:
        for peak in PEAKS:
            yield kind, peak, [record(kind, peak, number, size) for number in range(count)]


def score(kinds: Sequence[str], model: str, count: int, size: int, slow: bool) -> None:
    """Print PSNR by kind and photon count, unfitted."""
    found = methods(model, slow)
    print("\nPSNR in dB, unfitted, mean over", count, "scenes\n")
    print("| kind | peak photons |", " | ".join(found), "|")
    print("|---|---|" + "---|" * len(found))
    for kind, peak, cases in recordings(kinds, count, size):
        scores = [
            [psnr(run(case), case.expected, float(np.ptp(case.expected))) for case in cases]
            for run in found.values()
        ]
        means = " | ".join(f"{s:.2f}" for s in np.mean(scores, 1))
        print(f"| {kind} | {peak} | {means} |", flush=True)


def score_estimates(kinds: Sequence[str], count: int, size: int) -> None:
    """Print the estimated noise relative to the true noise."""
    print("\nThe estimate: variance over the true one at the median and at the 99th percentile\n")
    print(
        "| kind | peak photons | median | bright | whiteness | correlation | binning | saturated |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind, peak, cases in recordings(kinds, count, size):
        rows = []
        for case in cases:
            found = estimate_noise(case.values)
            levels = np.quantile(case.expected, [0.5, 0.99])
            ratio = (found.model.deviation(levels) / case.noise.deviation(levels)) ** 2
            rows.append([*ratio, found.whiteness, *found.correlation_length, found.saturated])
        median, bright, white, y, x, saturated = np.mean(rows, 0)
        print(
            f"| {kind} | {peak} | {median:.2f} | {bright:.2f} | {white:.2f} | {y:.1f} x {x:.1f} |"
            f" {found.binning[0]} x {found.binning[1]} | {saturated:.1%} |"
        )


def score_intensities(kinds: Sequence[str], model: str, count: int, size: int) -> None:
    """Print the change of block means and sums, and how often the truth lies in the interval."""
    print("\nBlock means against truth, sums, and one standard error\n")
    print("| kind | peak photons | slope | total | total of the input | coverage |")
    print("|---|---|---|---|---|---|")
    for kind, peak, cases in recordings(kinds, count, size):
        rows, pairs = [], []
        for case in cases:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", napari_dcr.InputWarning)
                out, error = napari_dcr.enhance(
                    case.values, model=model, output="float32", return_uncertainty=True
                )
            black = min(case.noise.offset, float(case.expected.min()))
            light = (case.expected - black).sum()
            inside = np.mean(np.abs(out - case.expected) <= error)
            rows.append([(out - black).sum() / light, (case.values - black).sum() / light, inside])
            span = float(np.ptp(case.expected))
            pairs.append([block_means(i, quality.BLOCK) / span for i in (case.expected, out)])
        truth, got = np.concatenate(pairs, 1)
        slope = np.polyfit(truth, got, 1)[0]
        total, given, inside = np.mean(rows, 0)
        print(
            f"| {kind} | {peak} | {slope:.4f} | {total:.4f} | {given:.4f} | {inside:.1%} |",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.noise_checks", description=__doc__
    )
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="side of a scene in pixels")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument(
        "--others", action="store_true", help="compare with BM3D and ndsafir, if installed"
    )
    options = parser.parse_args(arguments)
    score_estimates(options.kinds, options.scenes, options.size)
    score(options.kinds, options.model, options.scenes, options.size, options.others)
    score_intensities(options.kinds, options.model, options.scenes, options.size)


if __name__ == "__main__":
    main()
