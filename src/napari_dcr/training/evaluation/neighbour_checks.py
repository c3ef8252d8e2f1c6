"""``python -m napari_dcr.training.evaluation.neighbour_checks``: score results with neighbouring frames.

Synthetic sequences with fixed seeds, recorded by an sCMOS camera, are enhanced with and without
neighbouring frames. The tables contain the gain for each kind of motion and number of photons, the
worst gain among many scenes, the effect on transients, bleaching curves and focus series, and the
share of errors within the predicted standard errors.

All checks are in one file, because they share the recordings and their seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_dcr.image.frame_levels import UNCHANGED
from napari_dcr.image.frame_matches import find_match
from napari_dcr.image.frame_shifts import ReducedFrame, whole_pixels
from napari_dcr.image.intensity import Scale
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.thumbnail import Thumbnail
from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.neighbours import FrameFeatures
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.evaluation.microscopy_checks import psnr
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.forward.structures import Scene, synthetic_scene
from napari_dcr.training.sequences import (
    Light,
    Stage,
    blinking,
    changed,
    drift,
    flow,
    focus_series,
    objects,
)

PEAKS = (5, 20, 100)
"""Numbers of photons at the 99.9 percentile of the brightness."""

SEED = 910_000
"""Seed of all sequences; training does not use it."""

SIZE, FRAMES = 224, 5
"""Side of a frame in pixels, and number of frames of a sequence."""

RECORDINGS = 4
"""Recordings with different noise over which transients and bleaching curves are averaged.

The noise of single-frame results is as large as the effects."""

STEPS = (0.3, 0.5, 1.0, 2.0)
"""Distances between the planes of focus series, in depths of field."""

Image = NDArray[np.float64]


class Recording:
    """Recording whose frames can be enhanced one by one or with their neighbours.

    As in the engine, all frames share one noise model, the shift of each whole frame is estimated,
    and neighbours are aligned by whole pixels.

    Parameters
    ----------
    network : Cascade
        Network that has a stage of neighbouring frames.
    values : ndarray, shape (frames, h, w)
    noise : NoiseModel, optional
        Estimated from the frames if None.
    """

    def __init__(
        self, network: Cascade, values: NDArray[np.float32], noise: NoiseModel | None = None
    ) -> None:
        self.network, self.values = network, values
        self.noise = noise or estimate_noise(list(values)).model
        size = values.shape[1:]
        thumbnail = Thumbnail(1, *size)
        thumbnail.add(values.mean(0, dtype=np.float64)[None].astype(np.float32), 0, 0)
        unit, black = self.noise.unit, self.noise.offset
        means = torch.from_numpy((thumbnail.mean - black) / unit).float()[None]
        curvature = torch.tensor([self.noise.curvature]).float()
        self._conditioning = network.condition(means, curvature)
        self._place = network.window_weights((0, size[0]), (0, size[1]), (size[0], size[1]))
        self._features: dict[int, FrameFeatures] = {}
        self._reduced = [self._reduce(frame) for frame in values]

    @staticmethod
    def _reduce(frame: NDArray[np.float32]) -> ReducedFrame:
        return ReducedFrame.of(lambda y, x: frame[None, y, x], *frame.shape)

    def _frame(self, number: int) -> FrameFeatures | None:
        if not 0 <= number < len(self.values):
            return None
        if number not in self._features:
            scaled = (self.values[number] - self.noise.offset) / self.noise.unit
            x = torch.from_numpy(scaled.astype(np.float32))[None, None]
            self._features[number] = self.network.frame_features(
                x, self._conditioning, self._place, self.network.stages
            )
        return self._features[number]

    def _aligned(self, number: int, other: int) -> FrameFeatures | None:
        """Features of another frame, shifted so that they match frame ``number``."""
        features = self._frame(other)
        if features is None:
            return None
        match = find_match(self._reduced[number], self._reduced[other])
        if match is None:
            return None
        if match.level != UNCHANGED:
            stage, counts = self.network.neighbours, self._conditioning.tone
            assert stage is not None
            assert isinstance(counts, Counts)
            scale = Scale(self.noise.offset, self.noise.offset + self.noise.unit)
            level = match.level.between(scale, scale)
            features = stage.scaled(features, level.ratio, level.addend, counts, counts)
        return features.aligned(*whole_pixels(match.shift, (1, 1)))

    def enhanced(self, number: int, neighbours: int) -> tuple[Image, Image]:
        """Enhanced frame and its standard error, with ``neighbours`` frames on each side."""
        with torch.inference_mode():
            centre = self._frame(number)
            assert centre is not None
            span = max(neighbours, 1)
            steps = [k for k in range(-span, span + 1) if k]
            others = [self._aligned(number, number + k) if neighbours else None for k in steps]
            out = self.network.fuse(centre, others, self._conditioning)[0].double().numpy()
        return self.noise.offset + self.noise.unit * out[0], self.noise.unit * out[1]


def record(
    network: Cascade, light: Light, peak: float, seed: Sequence[int]
) -> tuple[Recording, Image]:
    """Simulate a recording of ``light`` by an sCMOS camera, with another seed for each frame.

    Returns the recording and its expected value without noise.
    """
    camera = Scmos()
    photons = peak * (0.95 * light.astype(np.float64) + 0.05)
    values = np.stack(
        [camera.expose(f, np.random.default_rng((*seed, t))) for t, f in enumerate(photons)]
    )
    return Recording(network, values), camera.noise.offset + camera.noise.gain * photons


def scenes(number: int, rng: np.random.Generator, size: int = SIZE) -> tuple[Stage, Stage]:
    """Draw two scenes: one of cultured cells and one synthetic, in alternating order."""
    kinds: list[Callable[[int, np.random.Generator], Scene]] = [cultured_scene, synthetic_scene]
    if number % 2:
        kinds.reverse()
    first, second = (kind(size, rng) for kind in kinds)
    return Stage(first, size, rng), Stage(second, size, rng)


MOTIONS: dict[str, Callable[[Stage, Stage, np.random.Generator], Light]] = {
    "static": lambda stage, _, rng: drift(stage, FRAMES, rng, 0),
    "0.5 px per frame": lambda stage, _, rng: drift(stage, FRAMES, rng, 0.5),
    "1.5 px per frame": lambda stage, _, rng: drift(stage, FRAMES, rng, 1.5),
    "local flow, 1 px": lambda stage, _, rng: flow(stage, FRAMES, rng, 1.0),
    "blinking": lambda stage, _, rng: blinking(drift(stage, FRAMES, rng, 0), rng),
    "4 px per frame": lambda stage, _, rng: drift(stage, FRAMES, rng, 4),
}
"""Kinds of motion in the table of gains."""

HARD: dict[str, Callable[[Stage, Stage, np.random.Generator], Light]] = {
    **MOTIONS,
    "12 px per frame": lambda stage, _, rng: drift(stage, FRAMES, rng, 12),
    "objects": lambda stage, other, rng: objects(stage, other, FRAMES, rng),
    "cut or unrelated": lambda stage, other, rng: changed(
        drift(stage, FRAMES, rng, 0), other, rng, (0, 1), FRAMES // 2
    ),
    "black frame": lambda stage, other, rng: changed(
        drift(stage, FRAMES, rng, 0), other, rng, (2,), FRAMES // 2
    ),
    "saturated frame": lambda stage, other, rng: changed(
        drift(stage, FRAMES, rng, 0), other, rng, (3,), FRAMES // 2
    ),
    "focus series": lambda stage, other, rng: focus_series(
        stage, other, FRAMES, rng, float(rng.choice(STEPS))
    ),
}
"""Kinds of sequences among which the worst gain is searched."""


@dataclass(frozen=True)
class Gain:
    """PSNR in dB of the middle frame, and share of its errors within the standard errors.

    ``single`` values are those without neighbours, ``fused`` values those with neighbours.
    """

    single: float
    fused: float
    within_single: float
    within_fused: float

    @property
    def gain(self) -> float:
        """Increase of the PSNR by the neighbours, in dB."""
        return self.fused - self.single


def measure(network: Cascade, light: Light, peak: float, seed: Sequence[int]) -> Gain:
    """Score the middle frame with and without its neighbours."""
    recording, expected = record(network, light, peak, seed)
    middle = len(light) // 2
    truth = expected[middle]
    span = float(np.ptp(truth))
    scores, within = [], []
    for neighbours in (0, 2):
        estimate, error = recording.enhanced(middle, neighbours)
        scores.append(psnr(estimate, truth, span))
        within.append(float(np.mean(np.abs(estimate - truth) <= error)))
    return Gain(*scores, *within)


def gains(network: Cascade, count: int, kinds: Sequence[str]) -> dict[tuple[str, int], list[Gain]]:
    """Gains of ``count`` scenes for each kind of motion and peak."""
    result: dict[tuple[str, int], list[Gain]] = {}
    for kind in kinds:
        for number in range(count):
            for peak in PEAKS:
                rng = np.random.default_rng((SEED, number))
                light = HARD[kind](*scenes(number, rng), rng)
                seed = (SEED, 1, number, peak)
                result.setdefault((kind, peak), []).append(measure(network, light, peak, seed))
    return result


def hard_scenes(network: Cascade, count: int, size: int = 160) -> Iterator[tuple[str, float, Gain]]:
    """Yield kind, peak and gain of ``count`` scenes at 3 to 300 photons, cycling through all kinds."""
    names = list(HARD)
    for number in range(count):
        rng = np.random.default_rng((SEED, 2, number))
        peak = float(np.exp(rng.uniform(np.log(3), np.log(300))))
        kind = names[number % len(names)]
        light = HARD[kind](*scenes(number // len(names), rng, size), rng)
        yield kind, peak, measure(network, light, peak, (SEED, 3, number))


@dataclass(frozen=True)
class Transient:
    """Effect of neighbours on a spot that becomes brighter for ``duration`` frames.

    ``height`` is the rise relative to the brightness of the spot, and ``radius`` that of the spot in
    pixels. ``peak`` is the measured rise, and ``before`` the rise before its onset, both relative to
    the rise in single-frame results; means over `RECORDINGS`.
    """

    duration: int
    height: float
    radius: int
    peak: float
    before: float


def transients(network: Cascade, size: int = 96) -> Iterator[Transient]:
    """Measure transients in spots of three sizes, by comparison with equal recordings without transients."""
    frames, onset = 9, 4
    for duration in (1, 3):
        for height in (0.2, 0.5, 1.0, 3.0):
            for number, radius in enumerate((3, 6, 12)):
                rng = np.random.default_rng((SEED, 4, number))
                scene = 0.15 + 0.2 * scenes(number, rng, size)[0].seen()
                y, x = np.mgrid[:size, :size] - size // 2
                spot = ndimage.gaussian_filter((np.hypot(y, x) <= radius).astype(float), 1)
                cell = (scene + 0.4 * spot).astype(np.float32)
                light = np.repeat(cell[None], frames, 0)
                quiet, active = light, light.copy()
                active[onset : onset + duration] += (height * 0.4 * spot).astype(np.float32)
                found = [
                    _rise(network, quiet, active, spot > 0.5, onset, (SEED, 5, number, repeat))
                    for repeat in range(RECORDINGS)
                ]
                peak, before = np.mean(found, 0)
                yield Transient(duration, height, radius, float(peak), float(before))


def _rise(
    network: Cascade, quiet: Light, active: Light, inside: NDArray[np.bool_], onset: int,
    seed: Sequence[int],
) -> tuple[float, float]:  # fmt: skip
    """Measure the rise of a transient and that before its onset, relative to single-frame results."""
    traces = {}
    for name, light in (("quiet", quiet), ("active", active)):
        recording, _ = record(network, light, 50, seed)
        lit = np.flatnonzero((active != quiet).any((1, 2)))
        for neighbours in (0, 2):
            traces[name, neighbours] = np.array(
                [
                    recording.enhanced(t, neighbours)[0][inside].mean()
                    for t in range(onset - 2, int(lit[-1]) + 1)
                ]
            )
    single, fused = (traces["active", n] - traces["quiet", n] for n in (0, 2))
    return fused[2:].max() / single[2:].max(), np.abs(fused[:2]).max() / single[2:].max()


@dataclass(frozen=True)
class Bleaching:
    """Effect of neighbours on the slopes of the means of blocks of 32 x 32 pixels.

    ``lost`` is the share of light lost per frame. ``mean`` and ``largest`` are the mean and the
    largest change of a slope, relative to that of single-frame results. ``single`` and ``fused`` are
    the root mean square errors of the slopes relative to the true ones, which photon noise causes.
    """

    lost: float
    mean: float
    largest: float
    single: float
    fused: float


def bleaching(network: Cascade) -> Iterator[Bleaching]:
    """Measure the slopes of bleaching curves, in `RECORDINGS` of 16 blocks."""
    frames, block = 12, 32

    def slopes(values: NDArray[np.floating]) -> Image:
        means = values.reshape(frames, 4, block, 4, block).mean((2, 4))
        return np.asarray(np.polyfit(np.arange(frames), means.reshape(frames, -1), 1)[0])

    for lost in (0.01, 0.03, 0.06):
        rng = np.random.default_rng((SEED, 6))
        scene = 0.2 + 0.8 * scenes(1, rng, 128)[0].seen()
        light = (scene * ((1 - lost) ** np.arange(frames))[:, None, None]).astype(np.float32)
        errors = []
        for repeat in range(RECORDINGS):
            recording, expected = record(network, light, 50, (SEED, 7, repeat))
            single, fused = (
                slopes(np.stack([recording.enhanced(t, n)[0] for t in range(frames)]))
                for n in (0, 2)
            )
            true = slopes(expected)
            errors.append([fused / single - 1, single / true - 1, fused / true - 1])
        change, *others = np.array(errors).transpose(1, 0, 2)
        yield Bleaching(
            lost,
            float(change.mean()),
            float(np.abs(change).max()),
            *(float(np.sqrt(np.mean(other**2))) for other in others),
        )


FLICKER = (0.01, 0.03, 0.1)
"""Standard deviations of the light of a lamp that flickers."""


def flickering(network: Cascade, count: int) -> Iterator[tuple[float, list[float]]]:
    """Yield the flicker of a lamp and the mean gain at each of `PEAKS`, for scenes without motion."""
    for flicker in FLICKER:
        gained: list[float] = []
        for peak in PEAKS:
            each = []
            for number in range(count):
                rng = np.random.default_rng((SEED, number))
                light = drift(scenes(number, rng)[0], FRAMES, rng, 0)
                lamp = 1 + flicker * np.random.default_rng((SEED, 10, number)).standard_normal(
                    FRAMES
                )
                lit = (light * lamp[:, None, None]).astype(np.float32)
                each.append(measure(network, lit, peak, (SEED, 1, number, peak)).gain)
            gained.append(float(np.mean(each)))
        yield flicker, gained


def report(network: Cascade, count: int, hard: int) -> None:
    """Print all tables."""
    by_motion = gains(network, count, list(MOTIONS))
    print(
        f"\nGain over the single frame in dB at 5 / 20 / 100 photons, {count} scenes: mean (worst)\n"
    )
    print("| " + " | ".join(MOTIONS) + " |\n|" + "---|" * len(MOTIONS))
    cells = []
    for kind in MOTIONS:
        each = [[g.gain for g in by_motion[kind, peak]] for peak in PEAKS]
        cells.append(" / ".join(f"{np.mean(g):+.2f} ({min(g):+.2f})" for g in each))
    print("| " + " | ".join(cells) + " |")
    print("\nPSNR without and with neighbours, and share of errors within the standard errors\n")
    print(
        "| motion | photons | single | fused | within, single | within, fused |\n|---|---|---|---|---|---|"
    )
    for (kind, peak), several in by_motion.items():
        row = np.mean([(g.single, g.fused, g.within_single, g.within_fused) for g in several], 0)
        print(f"| {kind} | {peak} | {row[0]:.2f} | {row[1]:.2f} | {row[2]:.1%} | {row[3]:.1%} |")

    print(f"\n{hard} scenes of all kinds, 3 to 300 photons: gain in dB\n")
    print("| kind | scenes | mean | worst |\n|---|---|---|---|", flush=True)
    by_kind: dict[str, list[float]] = {}
    for kind, _, gain in hard_scenes(network, hard):
        if np.isfinite(gain.gain):  # not where both results have no error at all
            by_kind.setdefault(kind, []).append(gain.gain)
    for kind, values in by_kind.items():
        print(f"| {kind} | {len(values)} | {np.mean(values):+.2f} | {min(values):+.3f} |")
    every = np.concatenate(list(by_kind.values()))
    print(f"| all | {len(every)} | {every.mean():+.2f} | {every.min():+.3f} |")

    print("\nTransients at 50 photons: peak and rise before the onset, relative to single frames\n")
    print("| frames | height | radius | peak | before |\n|---|---|---|---|---|")
    for t in transients(network):
        print(
            f"| {t.duration} | {t.height:.0%} | {t.radius} | {t.peak:.1%} | {t.before:.2%} |",
            flush=True,
        )
    print("\nBleaching: slopes of the means of blocks, at 50 photons\n")
    print(
        "| lost per frame | mean change | largest change | error, single | error, fused |\n"
        "|---|---|---|---|---|"
    )
    for b in bleaching(network):
        print(
            f"| {b.lost:.0%} | {b.mean:+.2%} | {b.largest:.2%} | {b.single:.2%} | {b.fused:.2%} |",
            flush=True,
        )
    print(
        "\nFlickering lamp: mean gain in dB\n\n| flicker | 5 | 20 | 100 photons |\n|---|---|---|---|"
    )
    for flicker, gained in flickering(network, count):
        print(f"| {flicker:.0%} |", " | ".join(f"{g:+.2f}" for g in gained), "|", flush=True)
    print(
        "\nFocus series: gain in dB, mean (worst)\n\n| step | 5 | 20 | 100 photons |\n|---|---|---|---|"
    )
    for step in STEPS:
        by_peak: dict[int, list[float]] = {peak: [] for peak in PEAKS}
        for number in range(count):
            rng = np.random.default_rng((SEED, 8, number))
            light = focus_series(*scenes(number, rng), FRAMES, rng, step)
            for peak in PEAKS:
                focused = measure(network, light, peak, (SEED, 9, number, peak))
                by_peak[peak].append(focused.gain)
        cells = [f"{np.mean(g):+.2f} ({min(g):+.2f})" for g in by_peak.values()]
        print(f"| {step} |", " | ".join(cells), "|", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.neighbour_checks", description=__doc__
    )
    parser.add_argument("--model", default="microscopy")
    parser.add_argument("--scenes", type=int, default=6, help="scenes for each kind of motion")
    parser.add_argument(
        "--hard", type=int, default=200, help="scenes among which the worst gain is searched"
    )
    options = parser.parse_args(arguments)
    network = weights.load(options.model).network
    if network.neighbours is None:
        parser.error(f"--model: {options.model} has no stage of neighbouring frames")
    report(network, options.scenes, options.hard)


if __name__ == "__main__":
    main()
