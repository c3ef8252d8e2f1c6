"""Training of one-channel weights for microscopy: expected counts from noisy ones."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import Dataset

import napari_dcr
from napari_dcr.image.noise import estimate_noise
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.thumbnail import Thumbnail
from napari_dcr.network import weights
from napari_dcr.network.binning import local_means
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import sample_weights
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import (
    Emccd,
    Pmt,
    Scmos,
    sample_camera,
    sample_readout,
)
from napari_dcr.training.forward.structures import Scene, real_scene, synthetic_scene
from napari_dcr.training.loop import Trainer, draw_symmetries
from napari_dcr.training.losses import ms_ssim

INTERVAL = 0.6827
"""Share of pixels whose error should lie within the predicted standard error."""


@functools.lru_cache(maxsize=1)
def load_grey(path: Path) -> NDArray[Any]:
    """Read an image as (h, w): the green channel of colour pictures, the values of grey ones."""
    pixels = np.asarray(PILImage.open(path))
    return pixels if pixels.ndim == 2 else pixels[..., 1]


def draw_scenes(
    files: Sequence[Path], synthetic: int, cultured: int, size: int, seed: int
) -> list[NDArray[np.float16]]:
    """Draw synthetic scenes of any kind, scenes of adherent cells, and one scene from each file."""
    count = synthetic + cultured + len(files)
    rngs = (np.random.default_rng((seed, 7, i)) for i in range(count))
    scenes: list[Scene] = [synthetic_scene(size, next(rngs)) for _ in range(synthetic)]
    scenes += [cultured_scene(size, next(rngs)) for _ in range(cultured)]
    scenes += [real_scene(load_grey(path), size, next(rngs)) for path in files]
    return [scene.astype(np.float16) for scene in scenes]


def draw_scene(
    scenes: Sequence[NDArray[Any]], rng: np.random.Generator, brightfield: float
) -> Scene:
    """Draw one of the scenes, rotated and mirrored; a share ``brightfield`` of them is inverted."""
    scene: Scene = scenes[int(rng.integers(len(scenes)))].astype(np.float32)
    scene = np.rot90(scene, int(rng.integers(4)))
    if rng.random() < 0.5:
        scene = scene[::-1]
    if rng.random() < brightfield:  # brightfield shows dark structures on a bright background
        scene = np.float32(1.02) - np.minimum(scene, np.float32(1))
    return scene


def draw_noise(
    noise: NoiseModel,
    model: NoiseModel,
    values: NDArray[Any],
    expected: NDArray[Any],
    rng: np.random.Generator,
) -> NoiseModel:
    """Noise that the network is given: the estimate, with errors as estimates have them.

    Where the estimate for single pixels, ``model``, is far off, ``noise`` is scaled to the error of
    the recording.
    """
    error = float(np.mean((values - expected) ** 2))
    usual = float(np.mean(model.deviation(expected) ** 2))
    if error > 2 * usual:
        noise = noise.scaled(error / usual)
    return NoiseModel(
        noise.gain * np.exp(0.06 * rng.standard_normal()),
        noise.offset + 0.1 * noise.unit * rng.standard_normal(),
        noise.dark * np.exp(0.1 * rng.standard_normal()),
    )


CROPS, TOGETHER = 2, 8
"""Number of crops from each recording, and of recordings that take turns in the series.

Simulating a recording is slow, so it is used more than once."""


class _Recording(NamedTuple):
    values: NDArray[Any]
    expected: NDArray[np.float32]
    noise: NoiseModel
    thumbnail: NDArray[np.float64]


class MicroscopyPairs(Dataset[dict[str, Tensor]]):
    """Seeded training pairs in working units; item ``i`` is the same on every machine.

    Parameters
    ----------
    files : sequence of Path
        Real images, with one scene from each; a file may be listed several times.
    synthetic, cultured : int
        Number of synthetic scenes of any kind, and of adherent cells.
    size, crop : int
        Sides of a scene and of a training crop, in pixels.
    length : int
        Number of items.
    seed : int
        Seed of the whole series.
    """

    def __init__(
        self,
        files: Sequence[Path],
        synthetic: int,
        cultured: int,
        size: int,
        crop: int,
        length: int,
        seed: int,
    ) -> None:
        self.crop, self.length, self.seed = crop, length, seed
        self.scenes = draw_scenes(files, synthetic, cultured, size, seed)
        self._recordings: dict[int, _Recording] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        turn, number = divmod(index, TOGETHER)
        number += turn // CROPS * TOGETHER
        if number not in self._recordings:
            recent = list(self._recordings.items())[1 - TOGETHER :]
            self._recordings = {**dict(recent), number: self._record(number)}
        last = self._recordings[number]
        shape = height, width = last.values.shape
        unit, black = np.float32(last.noise.unit), np.float32(last.noise.offset)
        # Take the brighter of two crops, because large parts of many scenes are empty.
        places = 2 * rng.integers(0, [(n - self.crop) // 2 + 1 for n in shape], (2, 2))
        windows = [np.s_[top : top + self.crop, left : left + self.crop] for top, left in places]
        brighter = int(np.argmax([last.expected[window].mean() for window in windows]))
        window, (top, left) = windows[brighter], (int(n) for n in places[brighter])
        return {
            "thumbnail": torch.from_numpy((last.thumbnail - black) / unit).float(),
            "input": torch.from_numpy((last.values[window] - black) / unit)[None].float(),
            "target": torch.from_numpy((last.expected[window] - black) / unit)[None].float(),
            "curvature": torch.tensor(last.noise.curvature).float(),
            "rows": sample_weights(top, top + self.crop, height, 16),
            "columns": sample_weights(left, left + self.crop, width, 16),
        }

    def _record(self, number: int) -> _Recording:
        rng = np.random.default_rng((self.seed, 1, number))
        scene = draw_scene(self.scenes, rng, brightfield=0.06)
        if rng.random() < 0.02:
            scene = np.full_like(scene, scene.mean())
        low, high = ((-1, 0.7), (0.7, 6), (6, 11))[int(rng.choice(3, p=[0.08, 0.8, 0.12]))]
        peak = float(np.exp(rng.uniform(low, high)))
        ground = peak * float(np.exp(rng.uniform(np.log(0.001), np.log(0.7))))
        readout = sample_readout(rng)
        if readout.is_correlated:  # a crop must remain after averages over up to 5 x 5 pixels
            scene = np.pad(
                scene, [(0, max(0, 5 * self.crop - n)) for n in scene.shape], "symmetric"
            )
        photons = np.ascontiguousarray(scene * np.float32(peak) + np.float32(ground))
        values, expected = readout.record(sample_camera(rng), photons, rng)

        # Use the noise that the engine would estimate, unless the estimate is far off.
        estimate = estimate_noise(values)
        noise, binning = estimate.binned, estimate.binning
        if any(n // side < self.crop for n, side in zip(values.shape, binning, strict=True)):
            noise, binning = estimate.model, (1, 1)
        noise = draw_noise(noise, estimate.model, values, expected, rng)
        pixels = values.astype(np.float32)
        thumbnail = Thumbnail(1, *scene.shape)
        thumbnail.add(pixels[None], 0, 0)
        # Like the engine, take every n-th average, so that the noise is nearly white.
        down, across = binning
        means = local_means(torch.from_numpy(pixels)[None, None], binning)[0, 0].numpy()
        y, x = rng.integers(0, binning)
        return _Recording(
            means[y::down, x::across], expected[y::down, x::across], noise, thumbnail.mean
        )


@dataclass(frozen=True)
class CountsWeights:
    """Weight of each term of `counts_loss` beside the squared error in units of the noise.

    Attributes
    ----------
    even : float
        Squared error in units of the whole crop's noise, which gives bright areas more weight.
    blocks : float
        Squared error of the means of 16 x 16 pixels, which preserves sums.
    structure : float
        1 - SSIM, where the regional part of the detail modules is on.
    interval : float
        Pinball loss of the predicted standard error.
    """

    even: float = 0.5
    blocks: float = 1.0
    structure: float = 0.05
    interval: float = 0.2


def counts_loss(
    picture: Tensor, target: Tensor, counts: Counts, terms: CountsWeights, detail: bool = True
) -> Tensor:
    """Loss of one exit of the cascade, in counts.

    The minimum of squared errors is the conditional mean, so that intensities stay linear.  The
    weights must not depend on the truth, because this would shift the mean.  With ``detail``,
    structural similarity is added; where structure is uncertain, the result then has more contrast
    than the mean.

    Parameters
    ----------
    picture : Tensor, shape (B, 2, H, W)
        Estimate and its standard error.
    target : Tensor, shape (B, 1, H, W)
        Expected counts.
    counts : Counts
    terms : CountsWeights
    detail : bool
        Whether the regional part of the detail modules is on.
    """
    estimate, deviation = picture.chunk(2, 1)
    noise = counts.deviation(estimate.detach())
    error = estimate - target
    relative = error / noise
    level = (noise**2).mean((1, 2, 3), keepdim=True).sqrt()
    loss = (relative**2).mean() + terms.even * ((error / level) ** 2).mean()
    blocks = F.avg_pool2d(error, 16) / F.avg_pool2d(noise, 16)
    loss = loss + terms.blocks * (blocks**2).mean()
    if detail and terms.structure:
        low = target.amin((1, 2, 3), keepdim=True)
        span = (target.amax((1, 2, 3), keepdim=True) - low).clamp(min=1)
        loss = loss + terms.structure * (
            1 - ms_ssim((estimate - low) / span, (target - low) / span, scales=1)
        )
    # The minimum of the pinball loss is the quantile of the error (Koenker and Bassett 1978).
    beyond = relative.detach().abs() - deviation / noise
    pinball = torch.where(beyond > 0, INTERVAL * beyond, (INTERVAL - 1) * beyond)
    return loss + terms.interval * pinball.mean()


def interval_factor(model: Path, recordings: int = 30) -> float:
    """Factor for the predicted standard errors so that 68.27 % of the errors lie within them.

    It is measured with noise estimated from the image, as for users, on synthetic recordings of 3 to
    300 photons with separate seeds; half of them simulate typical cameras, half any camera.
    """
    factors = []
    for number in range(recordings):
        rng = np.random.default_rng((680_000, number))
        scene = synthetic_scene(256, rng)
        peak, ground = float(np.exp(rng.uniform(1.1, 5.7))), float(rng.uniform(0.02, 0.4))
        photons = peak * ((1 - ground) * scene + ground)
        typical = (Scmos(), Emccd(), Pmt(bits=16))
        camera = sample_camera(rng) if number % 2 else typical[number // 2 % 3]
        noise = camera.noise
        values = camera.expose(photons, rng).astype(np.uint16)
        out, deviation = napari_dcr.enhance(
            values, model=model, output="float32", precision="fp32", return_uncertainty=True
        )
        error = np.abs(out - noise.offset - (noise.photon or noise.gain) * photons)
        factors.append(np.quantile(error / deviation, INTERVAL))
    return float(np.exp(np.mean(np.log(factors))))


def calibrated(network: Cascade, recordings: int = 30) -> Cascade:
    """Scale the standard errors that a network predicts by `interval_factor`, in place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trained.safetensors"
        weights.save(network, path, {})
        factor = interval_factor(path, recordings)
    bias = network.head.bias
    assert bias is not None
    with torch.no_grad():
        # The second half of the head predicts the logarithm of the standard error.
        bias[len(bias) // 2 :] += float(np.log(factor))
    return network


class MicroscopyTrainer(Trainer):
    """Trainer of the cascade on counts."""

    SHARES: ClassVar[dict[str, float]] = {"early": 0.4, "final": 1.0}
    WEIGHTS: ClassVar[type[Any]] = CountsWeights

    def finished(self) -> Cascade:
        """Network to export: the moving average on the CPU, with calibrated standard errors."""
        return calibrated(super().finished())

    def pairs(self) -> Dataset[dict[str, Tensor]]:
        """All pairs of the run."""
        config = self.config
        return MicroscopyPairs(
            self._files(), config.data["synthetic"], config.data["cultured"],
            config.data["size"], config.crop, config.length * config.batch, config.seed,
        )  # fmt: skip

    def _files(self) -> list[Path]:
        """Real images, repeated for the number of their scenes, which is ``parts`` for each folder."""
        files = self.config.files(self.data)
        parts = self.config.data.get("parts", {})
        often = [parts.get(path.parent.name, 2) for path in files]
        return [path for path, n in zip(files, often, strict=True) for _ in range(n)]

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of a random exit and of the last one."""
        shallow, last, detail = self.draw_exits(rng)
        conditioning = self.network.condition(
            batch["thumbnail"], batch["curvature"], draw_symmetries(rng)
        )
        counts = conditioning.tone
        assert isinstance(counts, Counts)
        place = batch["rows"], batch["columns"]
        with self.autocast():
            early, final = self.network(
                batch["input"], conditioning, place, last, detail, exits=(shallow, last)
            )
        return {
            "early": counts_loss(early.float(), batch["target"], counts, self.loss, detail),
            "final": counts_loss(final.float(), batch["target"], counts, self.loss, detail),
        }
