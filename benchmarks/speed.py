"""Time of the network relative to scikit-image's CLAHE, measured in one run.

    python benchmarks/speed.py [--megapixels 2] [--threads 2] [--rounds 7] [--mapped]
    python benchmarks/speed.py --sizes [--rounds 7]
    python benchmarks/speed.py --counts [--rounds 7]

Rounds are interleaved and medians are compared; only the ratios are meaningful.
A whole ``enhance()`` call, with survey and conversions, is timed too.
``--mapped`` keeps memory mapped from one call to the next, as between the windows of one run;
otherwise every call maps its pages again, like the first window of a run.
``--sizes`` compares the cost per pixel of ``enhance()`` on images of 1 and 8 megapixels.
``--counts`` compares ``enhance()`` with `microscopy` on noise that is correlated between pixels with
white noise, and with neighbouring frames with none; the latter with `photo` on a film, too.  Every
call surveys its image again.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.exposure import equalize_adapthist

import napari_dcr
from napari_dcr.engine import allocator
from napari_dcr.engine.devices import Precision, fast_precision, torch_dtype
from napari_dcr.network import weights

SIZES = {"1 MP": (816, 1224), "8 MP": (2309, 3464), "8 MP, square": (2828, 2828)}


def dim_picture(height: int, width: int) -> np.ndarray:
    """Create a noisy RGB picture, uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    scene = 20 + 15 * np.sin(x / 90) * np.cos(y / 70)
    noisy = scene[..., None] * [1, 0.9, 0.7] + rng.normal(0, 3, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def median_times(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each case in seconds."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, run in cases.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(t[1:]) for name, t in times.items()}  # first round warms up


def precisions() -> list[Precision]:
    """Low precision of this CPU, if it has one, and fp32."""
    trusted = fast_precision(torch.device("cpu"))
    return ["fp32"] if trusted == "fp32" else [trusted, "fp32"]


def compare_sizes(rounds: int) -> None:
    """Print a Markdown table."""
    images = {name: dim_picture(*size) for name, size in SIZES.items()}

    def call(name: str, precision: Precision) -> Callable[[], object]:
        return lambda: napari_dcr.enhance(images[name], precision=precision, device="cpu")

    print("| enhance() | s per megapixel | ratio to 1 MP |\n|---|---|---|")
    for precision in precisions():
        medians = median_times({name: call(name, precision) for name in SIZES}, rounds)
        costs = {name: 1e6 * medians[name] / (h * w) for name, (h, w) in SIZES.items()}
        for name, cost in costs.items():
            print(f"| {name}, {precision} | {cost:.3f} | {cost / costs['1 MP']:.2f} |", flush=True)


def compare_counts(rounds: int) -> None:
    """Print a Markdown table."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:1024, :1024]
    light = 200 + 100 * np.sin(y / 9) * np.cos(x / 13)
    noise = rng.poisson(light) - light
    images = {"white noise": noise} | {
        f"noise correlated with sigma {sigma}": gaussian_filter(noise, sigma)
        for sigma in ((0, 1), (0.7, 0.7), (1, 1), (2, 2))
    }
    images = {
        name: (100 + light + own * noise.std() / own.std()).astype(np.float32)
        for name, own in images.items()
    }
    stack = (100 + rng.poisson(light[:512, :512], (12, 512, 512))).astype(np.uint16)

    film = np.stack([dim_picture(448, 640)] * 12)
    film += np.random.default_rng(1).integers(0, 6, film.shape, np.uint8)

    numbers = itertools.count()

    def call(image: np.ndarray, **options: int | str) -> Callable[[], object]:
        # Another image in each call, which is surveyed again.
        versions = (image + image.dtype.type(number) for number in numbers)
        chosen = {"model": "microscopy", "axes": "tyx"[-image.ndim :], **options}
        return lambda: napari_dcr.enhance(next(versions), device="cpu", **chosen)

    cases = {name: call(image) for name, image in images.items()}
    sides = {f"{n} neighbouring frames on each side": call(stack, neighbours=n) for n in range(3)}
    films = {
        f"photo, {n} neighbouring frames on each side": call(
            film, neighbours=n, model="photo", axes="tyxs"
        )
        for n in range(3)
    }
    print("| enhance() | seconds | ratio |\n|---|---|---|")
    for group in (cases, sides, films):
        medians = median_times(group, rounds)
        reference = next(iter(medians.values()))
        for name, median in medians.items():
            print(f"| {name} | {median:.2f} | {median / reference:.2f} |", flush=True)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--mapped", action="store_true")
    either.add_argument("--sizes", action="store_true")
    either.add_argument("--counts", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.sizes:
        return compare_sizes(options.rounds)
    if options.counts:
        return compare_counts(options.rounds)
    height = int((options.megapixels * 1e6 / 1.5) ** 0.5) // 8 * 8
    width = int(options.megapixels * 1e6 / height) // 8 * 8
    image = dim_picture(height, width)
    network = weights.load("photo").network.placed_on(torch.device("cpu"))
    window = torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous() / 255
    conditioning = network.condition(torch.nn.functional.adaptive_avg_pool2d(window, 64))
    place = network.window_weights((0, height), (0, width), (height, width))

    def one_window(depth: int, precision: Precision) -> Callable[[], object]:
        local = network.with_precision(torch_dtype(precision))

        def run() -> object:
            with allocator.keep_mapped(), torch.inference_mode():  # like the engine
                return local(window, conditioning, place, depth)

        return run

    def whole_call(depth: int, precision: Precision) -> Callable[[], object]:
        return lambda: napari_dcr.enhance(image, depth=depth, precision=precision, device="cpu")

    cases: dict[str, Callable[[], object]] = {
        "skimage equalize_adapthist": lambda: equalize_adapthist(image)
    }
    for precision in precisions():
        for depth in range(network.stages, -1, -1):
            cases[f"one window, depth {depth}, {precision}"] = one_window(depth, precision)
        cases[f"enhance(), depth {network.stages}, {precision}"] = whole_call(
            network.stages, precision
        )
    with allocator.keep_mapped() if options.mapped else contextlib.nullcontext():
        medians = median_times(cases, options.rounds)
    reference = medians["skimage equalize_adapthist"]
    megapixels = height * width / 1e6
    print(
        f"{width} x {height} RGB uint8, {options.threads} threads, median of {options.rounds} rounds"
    )
    print("\n| | s per megapixel | ratio to CLAHE |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median / megapixels:.3f} | {median / reference:.2f} |")
    shares = [
        f"{medians[f'one window, depth 1, {p}'] / medians[f'one window, depth {network.stages}, {p}']:.2f} ({p})"
        for p in precisions()
    ]
    print(f"\nDepth 1 takes {', '.join(shares)} of full depth's time.")


if __name__ == "__main__":
    main()
