"""Training of the stage of neighbouring frames, on top of a cascade that is not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.thumbnail import Thumbnail
from napari_dcr.network import weights
from napari_dcr.network.binning import local_means
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.neighbours import Comparison, FrameFeatures, NeighbourStage
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.forward.instruments import Readout, sample_camera, sample_readout
from napari_dcr.training.loop import draw_symmetries
from napari_dcr.training.microscopy import (
    INTERVAL,
    CountsWeights,
    counts_losses,
    draw_noise,
    draw_scene,
    draw_scenes,
)
from napari_dcr.training.pool import PoolTrainer
from napari_dcr.training.sequences import Light, draw_sequence

SIDE = NeighbourStage.FRAMES

FRAMES = 8
"""Frames of a recording."""

LARGEST = 3
"""Largest binning of recordings with correlated noise."""

LEAST = 0.05
"""Added to losses of single frames before others are divided by them."""

START = 0.7
"""Share of the mean difference of the frames' estimates that an untrained stage adds."""


class _Recording(NamedTuple):
    values: NDArray[np.float32]
    expected: NDArray[np.float32]
    noise: NoiseModel
    thumbnail: NDArray[np.float64]


class Sequences(Dataset[dict[str, Tensor]]):
    """Seeded recordings of moving scenes in working units; item ``i`` is the same on every machine.

    Parameters
    ----------
    scenes : sequence of ndarray
    size : int
        Side of the frames in pixels.
    length, seed : int
        Number of recordings, and seed of the whole series.
    """

    def __init__(self, scenes: Sequence[NDArray[Any]], size: int, length: int, seed: int) -> None:
        self.scenes, self.size, self.length, self.seed = scenes, size, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, 1, number))
        recording = self._record(rng)
        unit, black = np.float32(recording.noise.unit), np.float32(recording.noise.offset)
        scaled, shifts = np.float32(1), np.zeros((FRAMES, 1, 1), np.float32)
        if rng.random() < 0.1:  # frames whose noise is estimated one by one
            scaled = np.float32(1 + 0.02 * rng.standard_normal())
            shifts = (0.1 * unit * rng.standard_normal(shifts.shape)).astype(np.float32)
        x, target = (
            torch.from_numpy((i - (black + shifts)) / (unit * scaled))[:, None].float()
            for i in (recording.values, recording.expected)
        )
        return {
            "x": x,
            "target": target,
            "thumbnail": torch.from_numpy((recording.thumbnail - black) / unit).float()[None],
            "curvature": torch.tensor([recording.noise.curvature]).float(),
            "symmetries": torch.tensor(draw_symmetries(rng)),
            "depth": torch.tensor(int(rng.choice([1, 2, 3], p=[0.1, 0.15, 0.75]))),
            "detail": torch.tensor(bool(rng.random() < 0.75)),
        }

    def _record(self, rng: np.random.Generator) -> _Recording:
        readout = replace(sample_readout(rng), fall_off=0.0, enlarged=1.0)
        size = self.size * (LARGEST if readout.is_correlated else 1)
        pair = [draw_scene(self.scenes, rng, brightfield=0.05) for _ in range(2)]
        light = draw_sequence(pair[0], pair[1], size, FRAMES, rng)
        low, high = ((-1, 0.7), (0.7, 5.7), (5.7, 8))[int(rng.choice(3, p=[0.06, 0.88, 0.06]))]
        peak = float(np.exp(rng.uniform(low, high)))
        ground = peak * float(np.exp(rng.uniform(np.log(0.003), np.log(0.7))))
        photons = light * np.float32(peak) + np.float32(ground)
        if rng.random() < 0.3:  # gain of single pixels, which stays
            spread = 0.02 * rng.random() * rng.standard_normal(photons.shape[1:])
            photons = photons * np.maximum(1 + spread, 0).astype(np.float32)
        values, expected = _recorded(readout, photons, rng)
        estimate = estimate_noise(list(values))
        noise, binning = estimate.binned, estimate.binning
        if max(binning) * self.size > size:
            noise, binning = estimate.model, (1, 1)
        noise = draw_noise(noise, estimate.model, values[SIDE], expected[SIDE], rng)
        thumbnail = Thumbnail(1, size, size)
        thumbnail.add(values.mean(0)[None].astype(np.float32), 0, 0)
        down, across = binning
        means = local_means(torch.from_numpy(values)[:, None], binning)[:, 0].numpy()
        y, x = rng.integers(0, binning)
        part = np.s_[:, y : y + down * self.size : down, x : x + across * self.size : across]
        return _Recording(means[part], expected[part], noise, thumbnail.mean)


def _recorded(
    readout: Readout, photons: Light, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and expectations of frames that go through the same camera and the same file.

    The frames are recorded one above the other, so that they share black level and stretch. Some
    have a pattern that stays: offsets of single pixels, and defects that nothing corrects.
    """
    frames, height, width = photons.shape
    tall = np.ascontiguousarray(photons.reshape(frames * height, width))
    recorded = readout.record(sample_camera(rng), tall, rng)
    values = recorded.values.reshape(photons.shape).astype(np.float32)
    # Cameras saturate, too; `Readout` corrects expectations for its own limits only.
    expected = np.minimum(recorded.expected, 65535).reshape(photons.shape)
    if readout.bits == 16 and rng.random() < 0.3:
        noise = float(np.std(values[0] - expected[0]))
        pattern = noise * rng.uniform(0, 0.4) * rng.standard_normal(values.shape[1:])
        hot = rng.random(values.shape[1:]) < rng.choice([0, 1e-4, 1e-3])
        pattern += hot * rng.exponential(6 * noise, values.shape[1:])
        values = np.clip(np.rint(values + pattern), 0, 65535).astype(np.float32)
    return values, expected


def sequence_features(network: Cascade, recording: dict[str, Tensor]) -> dict[str, Tensor]:
    """Features of all frames of a recording, as the cascade below the stage computes them."""
    size = recording["x"].shape[2]
    weights = [
        w.to(recording["x"].device)
        for w in network.window_weights((0, size), (0, size), (size, size))
    ]
    with torch.no_grad():
        symmetries = recording["symmetries"].tolist()
        conditioning = network.condition(recording["thumbnail"], recording["curvature"], symmetries)
        grid = conditioning.grid.expand(len(recording["x"]), *conditioning.grid.shape[1:])
        features = network.frame_features(
            recording["x"],
            conditioning._replace(grid=grid),
            (weights[0], weights[1]),
            int(recording["depth"]),
            bool(recording["detail"]),
        )
    named = {k: getattr(features, k) for k in ("base", "x", "latent", "maps")}
    named |= {k: getattr(features.compared, k) for k in ("pixels", "estimate", "variance")}
    return named | {k: recording[k] for k in ("target", "curvature")}


def draw_frames(features: dict[str, Tensor], middle: int, step: int) -> dict[str, Tensor]:
    """Five frames around the one with the index ``middle``; ``step`` is -1 to reverse time."""
    which = [middle + step * n for n in range(-SIDE, SIDE + 1)]
    item = {k: features[k][which] for k in ("latent", "pixels", "estimate", "variance")}
    item |= {k: features[k][middle] for k in ("base", "x", "maps", "target")}
    item["targets"] = features["target"][which[:SIDE] + which[SIDE + 1 :], 0]
    return item | {"curvature": features["curvature"][0]}


@dataclass(frozen=True)
class NeighbourWeights(CountsWeights):
    """Weights of the loss; see `CountsWeights`.

    Attributes
    ----------
    worse : float
        Squared error of 16 x 16 pixels beyond that of the single frame, relative to its mean.
    leaks : float
        Mean gate where the light of a neighbour differs visibly; see `has_changed`.
    """

    even: float = 1.0
    structure: float = 0.08
    worse: float = 0.5
    leaks: float = 0.3


class NeighbourTrainer(PoolTrainer):
    """Trainer of the stage; the weights of the cascade below it keep their values."""

    SHARES: ClassVar[dict[str, float]] = {"fused": 1.0, "worse": 1.0, "leaks": 1.0}
    WEIGHTS: ClassVar[type[Any]] = NeighbourWeights

    def build(self) -> Cascade:
        """Cascade with the weights of ``base`` and a new stage."""
        base = weights.load(self.config.data["base"]).network
        config = replace(base.config, neighbours=tuple(self.config.network["neighbours"]))
        network = Cascade(config)
        network.load_state_dict(network.state_dict() | base.state_dict())
        network.requires_grad_(False)
        assert network.neighbours is not None
        network.neighbours.requires_grad_(True)
        # Begin near the mean of the estimates of all frames, which are next to last in the head.
        head = network.neighbours.head
        pixels = head.out_channels // 2
        with torch.no_grad():
            for pixel in range(pixels):
                head.weight[pixel, head.in_channels - 2 * pixels + pixel, 1, 1] = START
        return network

    def finished(self) -> Cascade:
        """Network to export: the moving average on the CPU, with calibrated standard errors."""
        return calibrated(super().finished(), self.scenes(), self.config.crop)

    def header(self, training: dict[str, Any]) -> dict[str, Any]:
        """Record of the training of the cascade, and of that of the stage."""
        base = weights.load(self.config.data["base"])
        return {**base.training, "neighbours": {**training, "base": base.sha256}}

    def recordings(self, count: int, workers: int) -> Dataset[dict[str, Tensor]]:
        """Recordings of moving scenes."""
        return Sequences(self.scenes(workers), self.config.crop, count, self.config.seed)

    def scenes(self, workers: int = 0) -> list[NDArray[np.float16]]:
        """Scenes that move."""
        return draw_scenes(self.data, self.config, workers)

    def prepare(self, recording: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the features of all frames once."""
        settings = {k: recording[k] for k in ("symmetries", "depth", "detail")}
        return sequence_features(self.network, super().prepare(recording) | settings)

    def item(self, held: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw five frames, in either direction of time."""
        middle = int(rng.integers(SIDE, FRAMES - SIDE))
        return draw_frames(held, middle, int(rng.choice([-1, 1])))

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss of the result, and what it loses to the single frame."""
        stage = self.network.neighbours
        assert stage is not None
        counts = Counts(batch["curvature"][:, None, None, None])
        frames = frame_features(stage, batch)
        centre, others = frames[SIDE], [*frames[:SIDE], *frames[SIDE + 1 :]]
        present = torch.from_numpy(draw_present(len(batch["x"]), rng)).float()
        present = present.to(centre.x.device)
        with self.autocast():
            added, gates = stage.gated(centre, others, present)
        fused, single = (
            counts.picture(centre.base, centre.x, maps.float())
            for maps in (centre.maps + added, centre.maps)
        )
        # Every recording counts alike, however large its error is: relative to the single frame.
        before = counts_losses(single, batch["target"], counts, self.loss).detach()
        after = counts_losses(fused, batch["target"], counts, self.loss)
        noise = counts.deviation(single[:, :1])
        errors = [
            F.avg_pool2d(((p[:, :1] - batch["target"]) / noise) ** 2, 16) for p in (fused, single)
        ]
        scale = errors[1].mean((1, 2, 3)) + LEAST
        worse = (errors[0] - errors[1]).clamp(min=0).mean((1, 2, 3)) / scale
        changes = has_changed(batch["targets"], batch["target"], noise)
        leaks = (torch.cat(gates, 1).float() * changes).sum() / (changes.sum() + 1)
        return {
            "fused": (after / (before + LEAST)).mean(),
            "worse": self.loss.worse * worse.mean(),
            "leaks": self.loss.leaks * leaks,
        }


def has_changed(targets: Tensor, target: Tensor, noise: Tensor) -> Tensor:
    """Where the light of neighbouring frames differs from that of a frame, so that it could be seen.

    Parameters
    ----------
    targets : Tensor, shape (B, n, H, W)
        Expected values of the neighbours.
    target, noise : Tensor, shape (B, 1, H, W)
        Expected values of the frame, and the standard deviation of their noise.

    Returns
    -------
    Tensor, shape (B, n, H / 2, W / 2)
        0 to 1: from two to four standard deviations of the difference of means of 4 x 4 or 8 x 8 pixels.
    """
    folded = F.avg_pool2d((targets - target) / noise, 2)
    seen = torch.zeros_like(folded)
    for side in (2, 4):
        means = F.interpolate(F.avg_pool2d(folded, side), folded.shape[2:], mode="nearest")
        seen = torch.maximum(seen, (2 * side / 2**0.5 * means.abs() - 2) / 2)
    return seen.clamp(0, 1)


def frame_features(stage: NeighbourStage, batch: dict[str, Tensor]) -> list[FrameFeatures]:
    """Features of the five frames of each item of a batch."""
    frames = []
    for which in range(2 * SIDE + 1):
        latent, *own = (batch[k][:, which] for k in ("latent", "pixels", "estimate", "variance"))
        compared = Comparison(*own)
        encoding = stage.encoding(latent, compared)
        frames.append(
            FrameFeatures(batch["base"], batch["x"], latent, batch["maps"], encoding, compared)
        )
    return frames


def interval_factor(
    network: Cascade, scenes: Sequence[NDArray[Any]], size: int, recordings: int = 40
) -> float:
    """Factor for the standard errors with neighbours so that 68.27 % of the errors lie within them.

    It is the median over recordings of all kinds, with seeds that no training uses.  In a mean, the
    few whose noise is not described by the model would count most.
    """
    items = Sequences(scenes, size, recordings, 690_000)
    stage, factors = network.neighbours, []
    assert stage is not None
    for number in range(recordings):
        item = draw_frames(sequence_features(network, items[number]), SIDE, 1)
        item = {k: v[None] for k, v in item.items()}
        counts = Counts(item["curvature"][:, None, None, None])
        with torch.no_grad():
            frames = frame_features(stage, item)
            centre, others = frames[SIDE], [*frames[:SIDE], *frames[SIDE + 1 :]]
            maps = centre.maps + stage(centre, others)
            picture = counts.picture(centre.base, centre.x, maps)
        error = (picture[:, :1] - item["target"]).abs() / picture[:, 1:]
        factors.append(float(np.quantile(error.numpy(), INTERVAL)))
    return float(np.median(factors))


def calibrated(
    network: Cascade, scenes: Sequence[NDArray[Any]], size: int, recordings: int = 40
) -> Cascade:
    """Scale the standard errors with neighbours by `interval_factor`, in place."""
    factor = interval_factor(network, scenes, size, recordings)
    assert network.neighbours is not None
    bias = network.neighbours.head.bias
    assert bias is not None
    with torch.no_grad():
        # The second half of the head adds to the logarithm of the standard error.
        bias[len(bias) // 2 :] += float(np.log(factor))
    return network


def draw_present(items: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Which of the four neighbours each item shows: mostly all of them, and at least one."""
    present = np.ones((items, 2 * SIDE), np.float32)
    for row in present:
        kind = rng.random()
        if kind < 0.12:  # one neighbour on each side
            row[[0, 3]] = 0
        elif kind < 0.2:  # the end of a stack
            row[:2] = 0
        elif kind < 0.28:
            row[2:] = 0
        elif kind < 0.36:
            row[:] = rng.random(4) < 0.6
            row[int(rng.integers(4))] = 1
    return present
