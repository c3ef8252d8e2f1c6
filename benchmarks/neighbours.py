"""Compare neighbouring frames with other methods for recordings: quality and time in one table.

    python benchmarks/neighbours.py --scenes 2

The recordings are the sequences of `napari_dcr.training.evaluation.neighbour_checks`: five frames of
an sCMOS camera at 5, 20 and 100 photons. The score is the PSNR of the middle frame in dB, without a
fit. All methods use noise that is estimated from the recording. BM3D and ndsafir are included if they
are installed (``pip install bm3d ndsafir``).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch

from napari_dcr.network import weights
from napari_dcr.training.evaluation import neighbour_checks as checks
from napari_dcr.training.evaluation.microscopy_checks import anscombe_bm3d, psnr

Method = Callable[[checks.Recording, int], checks.Image]


def without_features(recording: checks.Recording) -> checks.Recording:
    """Copy a recording without the features that were computed before, which would distort the times."""
    return checks.Recording(recording.network, recording.values, recording.noise)


def with_neighbours(recording: checks.Recording, middle: int) -> checks.Image:
    """Use two neighbours on each side, whose features the caller has already computed."""
    return recording.enhanced(middle, 2)[0]


def ndsafir(recording: checks.Recording, middle: int) -> checks.Image:
    """Denoise with patches of all five frames (Boulanger et al. 2010, IEEE TMI 29, 442)."""
    noise = recording.noise
    result = importlib.import_module("ndsafir").denoise_poisson_gaussian(
        recording.values, axes="ZYX", patch=[0, 3, 3], gains=[noise.gain],
        offsets=[noise.dark - noise.gain * noise.offset], nthreads=torch.get_num_threads(),
    )  # fmt: skip
    return np.asarray(result[middle], np.float64)


def methods() -> dict[str, Method]:
    """Return all methods whose packages are installed."""
    result: dict[str, Method] = {
        "input": lambda r, t: r.values[t].astype(np.float64),
        "mean of 5 frames": lambda r, t: r.values[t - 2 : t + 3].mean(0, dtype=np.float64),
        "median of 5 frames": lambda r, t: np.median(r.values[t - 2 : t + 3], 0),
    }
    if importlib.util.find_spec("bm3d"):
        result["BM3D of the frame"] = lambda r, t: anscombe_bm3d(r.values[t])
        result["median of 5 frames, then BM3D"] = lambda r, t: anscombe_bm3d(
            np.median(r.values[t - 2 : t + 3], 0)
        )
    if importlib.util.find_spec("ndsafir"):
        result["ndsafir, 5 frames"] = ndsafir
    result["microscopy, single frame"] = lambda r, t: r.enhanced(t, 0)[0]
    result["microscopy with neighbours"] = with_neighbours
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument(
        "--motions", nargs="+", choices=list(checks.MOTIONS), default=list(checks.MOTIONS)
    )
    options = parser.parse_args()
    network = weights.load(options.model).network
    compared = methods()
    scores: dict[str, dict[str, list[list[float]]]] = {name: {} for name in compared}
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for kind in options.motions:
        build = checks.MOTIONS[kind]
        for number in range(options.scenes):
            for level, peak in enumerate(checks.PEAKS):
                rng = np.random.default_rng((checks.SEED, number))
                light = build(*checks.scenes(number, rng), rng)
                seed = (checks.SEED, 1, number, peak)
                recording, expected = checks.record(network, light, peak, seed)
                middle = len(light) // 2
                for name, method in compared.items():
                    copy = without_features(recording)
                    if method is with_neighbours:
                        # In a long stack, each frame's features are computed only once.
                        for t in (0, 1, 3, 4):
                            copy.enhanced(t, 0)
                    started = time.perf_counter()
                    estimate = method(copy, middle)
                    seconds[name].append(time.perf_counter() - started)
                    score = psnr(estimate, expected[middle], float(np.ptp(expected[middle])))
                    scores[name].setdefault(kind, [[], [], []])[level].append(score)
    pixels = checks.SIZE**2 / 1e6
    print("| method |", " | ".join(options.motions), "| seconds per megapixel and frame |")
    print("|---|" + "---|" * (len(options.motions) + 1))
    for name in compared:
        cells = [
            " / ".join(f"{np.mean(values):.1f}" for values in scores[name][kind])
            for kind in options.motions
        ]
        print(f"| {name} |", " | ".join(cells), f"| {np.median(seconds[name]) / pixels:.1f} |")


if __name__ == "__main__":
    main()
