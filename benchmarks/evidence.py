"""Measure whether denoising improves measurements: segmentation, spots, ratios and tracks.

    python benchmarks/evidence.py
    python benchmarks/evidence.py --real DATA/train/microscopy/dsb2018/fluor_dark --every 12
    python benchmarks/evidence.py --flies DATA/files/flies.mp4

Every task is a classical pipeline of scikit-image and SciPy with fixed parameters. It is applied to
the raw image and to the results of `microscopy`, of a Gaussian blur and, if the package `bm3d` is
installed, of BM3D. The width of the Gaussian and the threshold of the spots are those that are best
for the task and the number of photons on scenes with other seeds. A user cannot choose them in this
way. The truth of synthetic scenes is known. For real pictures and for the video, the truth is the
result of the same pipeline for the bright original.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, spatial
from skimage import feature, filters, measure, morphology, segmentation

import napari_dcr
from napari_dcr.training.data import image_files
from napari_dcr.training.evaluation.microscopy_checks import anscombe_bm3d
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.microscopy import load_grey

Image = NDArray[Any]
Labels = NDArray[np.int32]
Scores = dict[str, float]
Method = Callable[[Image], Image]

SIZE = 256
"""Pixels along each side of a synthetic scene."""

SEED, TUNING = 710_000, 720_000
"""Seeds of the scored scenes, and of the scenes on which widths and thresholds are chosen."""

SIGMAS = (0.7, 1.0, 1.5, 2.0, 3.0)
"""Widths of the Gaussian blur, in pixels."""

PIXEL_NM = 100
"""Size of a pixel in nanometres, for the localisation errors of spots."""

CAMERA = Scmos()


def restored(image: Image, depth: int = 3) -> Image:
    """Denoise with `microscopy`."""
    return np.asarray(napari_dcr.enhance(image, model="microscopy", depth=depth, output="float32"))


def blurred(image: Image, sigma: float) -> Image:
    """Denoise every frame with a Gaussian blur."""
    return ndimage.gaussian_filter(image.astype(np.float64), sigma, axes=(-2, -1))


def frame_by_frame(method: Method) -> Method:
    """Extend a method for single images to stacks, frame by frame."""
    return lambda image: np.stack([method(f) for f in image]) if image.ndim == 3 else method(image)


def candidates() -> dict[str, Method]:
    """Return all methods by name; names of Gaussian blurs end with the width."""
    found: dict[str, Method] = {"raw": lambda image: image.astype(np.float64)}
    for sigma in SIGMAS:
        found[f"Gaussian, {sigma}"] = functools.partial(blurred, sigma=sigma)
    if importlib.util.find_spec("bm3d"):
        found["BM3D"] = frame_by_frame(anscombe_bm3d)
    for depth in (1, 2, 3):
        found[f"ours, depth {depth}"] = functools.partial(restored, depth=depth)
    return found


def expose(light: Image, photons: float, rng: np.random.Generator) -> Image:
    """Simulate an image of light in [0, 1]: ``photons`` at 1, with a background of 4 % of them."""
    values = CAMERA.expose((photons * (0.96 * light + 0.04)).astype(np.float32), rng)
    return np.clip(values, 0, 65535).astype(np.uint16)


def nuclei_scene(rng: np.random.Generator) -> tuple[Image, Labels]:
    """Draw textured ellipses, some of which touch; returns the light and the labels."""
    y, x = np.mgrid[:SIZE, :SIZE]
    light, labels = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), np.int32)
    for number in range(1, 45):
        cy, cx = rng.uniform(8, SIZE - 8, 2)
        a, b, turn = rng.uniform(7, 13), rng.uniform(6, 10), rng.uniform(0, np.pi)
        dy, dx = y - cy, x - cx
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        if (labels[inside] > 0).mean() > 0.1:
            continue
        inside &= labels == 0
        texture = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2)[inside]
        light[inside] = rng.uniform(0.25, 0.9) * np.clip(1 + 1.2 * texture, 0.3, 2)
        labels[inside] = number
    return np.clip(ndimage.gaussian_filter(light, 1.2), 0, 1), labels


def segment(image: Image) -> Labels:
    """Segment nuclei by Otsu's threshold and a watershed of the distance transform."""
    mask = image > filters.threshold_otsu(image)
    mask = ndimage.binary_fill_holes(morphology.remove_small_objects(mask, max_size=40))
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1)
    peaks = feature.peak_local_max(distance, min_distance=5, labels=measure.label(mask))
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(segmentation.watershed(-distance, markers, mask=mask), np.int32)


def average_precision(found: Labels, truth: Labels) -> float:
    """TP / (TP + FP + FN), mean over IoU thresholds of 0.5 to 0.9 (Data Science Bowl 2018)."""
    found, truth = measure.label(found), measure.label(truth)
    joint = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(joint, (truth.ravel(), found.ravel()), 1)
    union = joint.sum(1, keepdims=True) + joint.sum(0, keepdims=True) - joint
    overlap = (joint / np.maximum(union, 1))[1:, 1:]
    hits = [(overlap > t).sum() for t in np.arange(0.5, 0.95, 0.05)]
    return float(np.mean([h / max(sum(overlap.shape) - h, 1) for h in hits]))


def nuclei(
    photons: float, rng: np.random.Generator, methods: dict[str, Method]
) -> dict[str, Scores]:
    """Score the segmentation of synthetic nuclei."""
    light, labels = nuclei_scene(rng)
    image = expose(light, photons, rng)
    return {
        name: {"nuclei, AP": average_precision(segment(method(image)), labels)}
        for name, method in methods.items()
    }


SPOT_SIGMA = 1.3
"""Standard deviation of a spot's image, in pixels."""

SPOT_THRESHOLDS = np.geomspace(3, 200, 20)
"""Thresholds of the spot detector, in robust standard deviations of its response."""


def spots_scene(rng: np.random.Generator) -> tuple[Image, Image]:
    """Draw diffraction-limited spots on an uneven background; returns the light and the positions."""
    count = 60
    places = rng.uniform(8, SIZE - 8, (count, 2))
    y, x = np.mgrid[:SIZE, :SIZE]
    light = 0.25 * ndimage.gaussian_filter(rng.random((SIZE, SIZE)), 24)
    light = 0.1 * (light - light.min()) / np.ptp(light)
    for (cy, cx), height in zip(places, rng.uniform(0.3, 0.9, count), strict=True):
        light += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * SPOT_SIGMA**2))
    return np.clip(light, 0, 1), places


def find_spots(image: Image, threshold: float) -> Image:
    """Find maxima of the Laplacian of Gaussian; positions are those of parabolas through three pixels."""
    response = -ndimage.gaussian_laplace(image, SPOT_SIGMA)
    middle = np.median(response)
    deviation = max(1.4826 * np.median(np.abs(response - middle)), 1e-9)
    peaks = feature.peak_local_max(
        response, min_distance=2, threshold_abs=middle + threshold * deviation, exclude_border=2
    )
    places = peaks.astype(np.float64)
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        before, here, after = (response[tuple((peaks + k * step).T)] for k in (-1, 0, 1))
        places[:, axis] += 0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-12)
    return places


def match(found: Image, truth: Image, distance: float) -> tuple[Image, Image]:
    """Match found and true positions one to one, at most ``distance`` pixels apart; returns indices."""
    if not len(found) or not len(truth):
        return np.zeros(0, int), np.zeros(0, int)
    costs = spatial.distance.cdist(found, truth)
    rows, columns = optimize.linear_sum_assignment(np.minimum(costs, distance))
    near = costs[rows, columns] < distance
    return rows[near], columns[near]


def spots(
    photons: float, rng: np.random.Generator, methods: dict[str, Method]
) -> dict[str, Scores]:
    """Score detection and localisation of spots, at every threshold."""
    light, truth = spots_scene(rng)
    image = expose(light, photons, rng)
    scores: dict[str, Scores] = {}
    for name, method in methods.items():
        clean = method(image)
        scores[name] = {}
        for threshold in SPOT_THRESHOLDS:
            found = find_spots(clean, float(threshold))
            rows, columns = match(found, truth, 3)
            key = f"@{threshold:.2f}"
            scores[name][f"spots, F1{key}"] = 2 * len(rows) / max(len(found) + len(truth), 1)
            error = (
                np.sqrt(np.mean(np.sum((found[rows] - truth[columns]) ** 2, 1)))
                if len(rows)
                else np.nan
            )
            scores[name][f"spots, nm{key}"] = float(PIXEL_NM * error)
    return scores


def ratio(
    photons: float, rng: np.random.Generator, methods: dict[str, Method]
) -> dict[str, Scores]:
    """Score the ratio of two channels in the pixels of nuclei: median error in percent of the truth."""
    light, labels = nuclei_scene(rng)
    gains = np.append(0, rng.uniform(0.3, 1.0, labels.max()))
    second = light * ndimage.gaussian_filter(gains[labels], 1)
    images = [expose(channel, photons, rng) for channel in (light, second)]
    background = CAMERA.offset + 0.04 * photons * CAMERA.noise.gain
    truth = second / np.maximum(light, 1e-6)
    inside = ndimage.binary_erosion(labels > 0, iterations=2) & (light > 0.15)
    scores = {}
    for name, method in methods.items():
        one, two = (method(image) - background for image in images)
        error = two[inside] / np.maximum(one[inside], 1) / truth[inside] - 1
        scores[name] = {"ratio of a pixel, % error": float(100 * np.median(np.abs(error)))}
    return scores


def real_nuclei(path: Path, photons: float, methods: dict[str, Method]) -> dict[str, Scores]:
    """Score the segmentation of a simulated dim exposure against that of the real bright picture."""
    pixels = load_grey(path).astype(np.float64)[:SIZE, :SIZE]
    low, high = np.quantile(pixels, [0.01, 0.999])
    light = np.clip((pixels - low) / max(high - low, 1), 0, 1)
    truth = segment(ndimage.gaussian_filter(light, 1))
    image = expose(light, photons, np.random.default_rng((SEED, len(path.name))))
    return {
        name: {"real nuclei, AP": average_precision(segment(method(image)), truth)}
        for name, method in methods.items()
    }


def fly_positions(frame: Image) -> Image:
    """Find the centres of the two largest bright objects of a frame."""
    background = np.median(frame)
    bright = frame > background + 0.5 * (np.quantile(frame, 0.995) - background)
    labels = measure.label(ndimage.binary_opening(bright, iterations=2))
    regions = sorted(measure.regionprops(labels), key=lambda r: -r.area)[:2]
    return np.array([r.centroid for r in regions if r.area > 100]).reshape(-1, 2)


def track(frames: Image) -> list[dict[int, Image]]:
    """Link each position to the nearest one in the previous frame; returns positions by track.

    A track without a position in a frame keeps its last one for later frames.
    """
    tracks: list[dict[int, Image]] = []
    last: dict[int, Image] = {}
    for frame in frames:
        places = fly_positions(frame)
        names = list(last)
        current: dict[int, Image] = {}
        if names and len(places):
            rows, columns = match(places, np.array([last[n] for n in names]), 40)
            current = {names[c]: places[r] for r, c in zip(rows, columns, strict=True)}
            rest = [p for r, p in enumerate(places) if r not in rows]
        else:
            rest = list(places)
        for place in rest:
            current[max([*last, *current, -1]) + 1] = place
        last = {**{n: p for n, p in last.items() if len(current) < 2}, **current}
        tracks.append(current)
    return tracks


def switches(tracks: Sequence[dict[int, Image]], truth: Sequence[dict[int, Image]]) -> Scores:
    """Count identity switches (Bernardin and Stiefelhagen 2008), and positions that were missed."""
    assigned: dict[int, int] = {}
    count = missed = total = 0
    for now, true in zip(tracks, truth, strict=True):
        total += len(true)
        if not now or not true:
            missed += len(true)
            continue
        names, real = list(now), list(true)
        rows, columns = match(np.array(list(now.values())), np.array(list(true.values())), 20)
        missed += len(true) - len(rows)
        for r, c in zip(rows, columns, strict=True):
            count += assigned.get(real[c], names[r]) != names[r]
            assigned[real[c]] = names[r]
    # The width of the Gaussian is chosen by the first score.
    return {"positions missed, %": 100 * missed / max(total, 1), "identity switches": float(count)}


def flies(path: Path, photons: float, count: int, methods: dict[str, Method]) -> dict[str, Scores]:
    """Score tracks of two flies in a simulated dim exposure against those in the bright video."""
    array = napari_dcr.open_image(path).array
    frames = np.stack([np.asarray(array[k], np.float64) for k in range(count)])
    frames = frames[..., 1] if frames.ndim == 4 else frames
    truth = track(frames)
    light = frames / frames.max()
    image = expose(light, photons, np.random.default_rng((SEED, 5)))
    return {name: switches(track(method(image)), truth) for name, method in methods.items()}


class Row(NamedTuple):
    """Scores of all methods for one task and number of photons."""

    task: str
    photons: float
    scores: dict[str, Scores]


def _mean(values: Sequence[float]) -> float:
    """Mean without NaN, the localisation error of a scene in which no spot was found."""
    valid = [v for v in values if not np.isnan(v)]
    return float(np.mean(valid)) if valid else float("nan")


def mean(several: Sequence[dict[str, Scores]]) -> dict[str, Scores]:
    """Mean of every score of every method."""
    return {
        name: {key: _mean([s[name][key] for s in several]) for key in scores}
        for name, scores in several[0].items()
    }


LOWER_IS_BETTER = ("nm", "%", "switches")


def is_lower_better(key: str) -> bool:
    """Whether a score is an error."""
    return any(word in key for word in LOWER_IS_BETTER)


def choose(scores: dict[str, Scores], tuning: dict[str, Scores]) -> dict[str, Scores]:
    """Select the best width of the Gaussian, and each method's best threshold, by the tuning scores."""

    def with_threshold(name: str) -> tuple[Scores, float]:
        keys = [key for key in tuning[name] if "F1@" in key]
        if not keys:
            key = next(iter(tuning[name]))
            return scores[name], tuning[name][key] * (-1 if is_lower_better(key) else 1)
        best = max(keys, key=lambda key: tuning[name][key])
        suffix = best[best.index("@") :]
        kept = {k.removesuffix(suffix): v for k, v in scores[name].items() if k.endswith(suffix)}
        return kept, tuning[name][best]

    chosen = {name: with_threshold(name) for name in scores}
    gaussians = [name for name in scores if name.startswith("Gaussian")]
    best = max(gaussians, key=lambda name: chosen[name][1])
    return {
        "best Gaussian" if name == best else name: value
        for name, (value, _) in chosen.items()
        if name == best or name not in gaussians
    }


def synthetic(
    photons: Sequence[float], count: int, methods: dict[str, Method], tasks: Sequence[str]
) -> list[Row]:
    """Score the three tasks with a known truth."""
    rows = []
    tuned = {k: v for k, v in methods.items() if k == "raw" or k.startswith("Gaussian")}
    for task in (task for task in (nuclei, spots, ratio) if task.__name__ in tasks):
        # Only Gaussians have a width, but every method needs a threshold for spots.
        tried = methods if task is spots else tuned
        for level in photons:
            numbers = range(TUNING, TUNING + max(1, count // 2))
            tuning = mean([task(level, np.random.default_rng((n, 3)), tried) for n in numbers])
            numbers = range(SEED, SEED + count)
            scores = mean([task(level, np.random.default_rng((n, 3)), methods) for n in numbers])
            rows.append(Row(task.__name__, level, choose(scores, {**scores, **tuning})))
    return rows


def print_rows(rows: Sequence[Row]) -> None:
    """Print a Markdown table; the best score of each row is bold."""
    names = list(rows[0].scores)
    print("\n| measurement | photons |", " | ".join(names), "|")
    print("|---|---|" + "---|" * len(names))
    for row in rows:
        for key in next(iter(row.scores.values())):
            values = [row.scores[name][key] for name in names]
            best = np.nanmin(values) if is_lower_better(key) else np.nanmax(values)
            cells = [f"**{v:.3g}**" if v == best else f"{v:.3g}" for v in values]
            print(f"| {key} | {row.photons:g} |", " | ".join(cells), "|")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photons", type=float, nargs="+", default=[3, 5, 20, 100])
    parser.add_argument("--scenes", type=int, default=6, help="synthetic scenes for each task")
    names = ["nuclei", "spots", "ratio"]
    parser.add_argument("--tasks", nargs="+", default=names, choices=names)
    parser.add_argument("--real", type=Path, help="folder with pictures of nuclei")
    parser.add_argument("--every", type=int, default=12, help="take every n-th picture")
    parser.add_argument(
        "--flies", type=Path, help="video of two bright animals on a dark background"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[""],
        help="methods whose names begin with these words (raw and Gaussian are always included)",
    )
    parser.add_argument("--frames", type=int, default=200, help="frames of the video")
    options = parser.parse_args()
    wanted = ("raw", "Gaussian", *options.methods)
    methods = {name: run for name, run in candidates().items() if name.startswith(wanted)}
    rows = (
        []
        if options.flies or options.real
        else synthetic(options.photons, options.scenes, methods, options.tasks)
    )
    for photons in options.photons:
        if options.real:
            paths = image_files(options.real)[:: options.every]
            half = mean([real_nuclei(p, photons, methods) for p in paths[1::2] or paths])
            scores = mean([real_nuclei(p, photons, methods) for p in paths[::2]])
            rows.append(Row("real nuclei", photons, choose(scores, half)))
        if options.flies:
            scores = flies(options.flies, photons, options.frames, methods)
            rows.append(Row("flies", photons, choose(scores, scores)))
    print_rows(rows)


if __name__ == "__main__":
    main()
