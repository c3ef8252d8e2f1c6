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
from napari_dcr.network.neighbours import FrameFeatures, NeighbourStage
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.forward.instruments import Readout, sample_camera, sample_readout
from napari_dcr.training.loop import Trainer, draw_symmetries
from napari_dcr.training.microscopy import (
    INTERVAL,
    CountsWeights,
    counts_loss,
    draw_noise,
    draw_scene,
    draw_scenes,
)
from napari_dcr.training.sequences import Light, draw_sequence

SIDE = NeighbourStage.FRAMES

FRAMES, TOGETHER = 8, 8
"""Frames of a recording, and number of recordings that take turns in the series."""

USES = 2 * (FRAMES - 2 * SIDE)
"""Items from each recording: every frame with all of its neighbours, in both directions of time."""

LARGEST = 3
"""Largest binning of recordings with correlated noise."""


START = 0.7
"""Share of the mean difference of the frames' estimates that an untrained stage adds."""


class _Recording(NamedTuple):
    values: NDArray[np.float32]
    expected: NDArray[np.float32]
    noise: NoiseModel
    thumbnail: NDArray[np.float64]


class SequenceFeatures(Dataset[dict[str, Tensor]]):
    """Seeded items: five frames, as the frozen cascade sees them, and the expectation of the middle one.

    Parameters
    ----------
    scenes : sequence of ndarray
    network : Cascade
        The cascade below the stage.
    size : int
        Side of the frames in pixels.
    length, seed : int
        Number of items, and seed of the whole series.
    """

    def __init__(
        self, scenes: Sequence[NDArray[Any]], network: Cascade, size: int, length: int, seed: int
    ) -> None:
        self.scenes, self.network = scenes, network
        self.size, self.length, self.seed = size, length, seed
        self._recent: dict[int, list[dict[str, Tensor]]] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        turn, number = divmod(index, TOGETHER)
        number += turn // USES * TOGETHER
        if number not in self._recent:
            recent = list(self._recent.items())[1 - TOGETHER :]
            self._recent = {**dict(recent), number: self._frames(number)}
        middle, backwards = divmod((turn + number) % USES, 2)
        frames = self._recent[number][middle : middle + 2 * SIDE + 1]
        if backwards:
            frames = frames[::-1]
        each = "latent", "pixels", "estimate", "variance"
        item = {k: torch.stack([frame[k] for frame in frames]) for k in each}
        centre = frames[SIDE]
        return item | {k: centre[k] for k in ("base", "x", "maps", "target", "curvature")}

    def _frames(self, number: int) -> list[dict[str, Tensor]]:
        """Features of every frame of a recording."""
        rng = np.random.default_rng((self.seed, 1, number))
        recording = self._record(rng)
        unit, black = np.float32(recording.noise.unit), np.float32(recording.noise.offset)
        curvature = torch.tensor([recording.noise.curvature]).float()
        thumbnail = torch.from_numpy((recording.thumbnail - black) / unit).float()[None]
        depth = int(rng.choice([1, 2, 3], p=[0.1, 0.15, 0.75]))
        detail = bool(rng.random() < 0.75)
        size = self.size
        place = self.network.window_weights((0, size), (0, size), (size, size))
        scaled, shifted = 1.0, 0.0
        if rng.random() < 0.1:  # frames whose noise is estimated one by one
            scaled, shifted = 1 + 0.02 * rng.standard_normal(), 0.1
        frames = []
        with torch.no_grad():
            conditioning = self.network.condition(thumbnail, curvature, draw_symmetries(rng))
            for values, expected in zip(recording.values, recording.expected, strict=True):
                own = black + np.float32(shifted * rng.standard_normal()) * unit
                x, target = (
                    torch.from_numpy((i - own) / (unit * np.float32(scaled)))[None, None].float()
                    for i in (values, expected)
                )
                f = self.network.frame_features(x, conditioning, place, depth, detail)
                named = {
                    k: v[0] for k, v in f._asdict().items() if k not in ("encoding", "present")
                }
                frames.append(named | {"target": target[0], "curvature": curvature[0]})
        return frames

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


@dataclass(frozen=True)
class NeighbourWeights(CountsWeights):
    """Weights of the loss; see `CountsWeights`.

    Attributes
    ----------
    worse : float
        Squared error of 16 x 16 pixels beyond that of the single frame, in units of the noise.
    """

    even: float = 1.0
    structure: float = 0.08
    worse: float = 0.5


class NeighbourTrainer(Trainer):
    """Trainer of the stage; the weights of the cascade below it keep their values."""

    SHARES: ClassVar[dict[str, float]] = {"fused": 1.0, "worse": 1.0}
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

    def pairs(self) -> Dataset[dict[str, Tensor]]:
        """All items of the run."""
        config = self.config
        length = config.length * config.batch
        return SequenceFeatures(self.scenes(), self.network, config.crop, length, config.seed)

    def scenes(self) -> list[NDArray[np.float16]]:
        """Synthetic scenes, cultured cells, and one scene from each of the real images."""
        data, files = self.config.data, self.config.files(self.data)
        return draw_scenes(
            files, data["synthetic"], data["cultured"], data["size"], self.config.seed
        )

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss of the result, and what it loses to the single frame."""
        stage = self.network.neighbours
        assert stage is not None
        counts = Counts(batch["curvature"][:, None, None, None])
        frames = frame_features(stage, batch)
        centre, others = frames[SIDE], [*frames[:SIDE], *frames[SIDE + 1 :]]
        present = torch.from_numpy(draw_present(len(batch["x"]), rng)).float()
        with self.autocast():
            added = stage(centre, others, present.to(centre.x.device))
        pictures = [
            counts.picture(centre.base, centre.x, maps.float())
            for maps in (centre.maps + added, centre.maps)
        ]
        fused = counts_loss(pictures[0], batch["target"], counts, self.loss)
        noise = counts.deviation(pictures[1][:, :1])
        errors = [F.avg_pool2d(((p[:, :1] - batch["target"]) / noise) ** 2, 16) for p in pictures]
        worse = self.loss.worse * (errors[0] - errors[1]).clamp(min=0).mean()
        return {"fused": fused, "worse": worse}


def frame_features(stage: NeighbourStage, batch: dict[str, Tensor]) -> list[FrameFeatures]:
    """Features of the five frames of each item of a batch."""
    frames = []
    for which in range(2 * SIDE + 1):
        latent, pixels, estimate, variance = (
            batch[k][:, which] for k in ("latent", "pixels", "estimate", "variance")
        )
        encoding = stage.encoding(latent, pixels, estimate)
        frames.append(
            FrameFeatures(
                batch["base"],
                batch["x"],
                latent,
                batch["maps"],
                encoding,
                pixels,
                estimate,
                variance,
            )
        )
    return frames


def interval_factor(
    network: Cascade, scenes: Sequence[NDArray[Any]], size: int, recordings: int = 40
) -> float:
    """Factor for the standard errors with neighbours so that 68.27 % of the errors lie within them.

    It is the median over recordings of all kinds, with seeds that no training uses.  In a mean, the
    few whose noise is not described by the model would count most.
    """
    items = SequenceFeatures(scenes, network, size, recordings * USES, 690_000)
    stage, factors = network.neighbours, []
    assert stage is not None
    for number in range(recordings):
        first = number // TOGETHER * USES * TOGETHER + number % TOGETHER
        item = {k: v[None] for k, v in items[first].items()}
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
