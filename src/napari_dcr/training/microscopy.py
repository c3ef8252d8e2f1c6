"""Training of one-channel weights for microscopy: expected counts from noisy ones."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from napari_dcr.training.loop import TrainingConfig, draw_symmetries
from napari_dcr.training.losses import ms_ssim
from napari_dcr.training.pool import PoolTrainer

INTERVAL = 0.6827
"""Share of pixels whose error should lie within the predicted standard error."""


@functools.lru_cache(maxsize=1)
def load_grey(path: Path) -> NDArray[Any]:
    """Read an image as (h, w): the green channel of colour pictures, the values of grey ones."""
    pixels = np.asarray(PILImage.open(path))
    return pixels if pixels.ndim == 2 else pixels[..., 1]


def _scene(drawn: tuple[Path | str, int, Sequence[int]]) -> NDArray[np.float16]:
    """Draw one scene: from a file, or a synthetic one of the kind that is named."""
    source, size, seed = drawn
    rng = np.random.default_rng(seed)
    if isinstance(source, Path):
        scene = real_scene(load_grey(source), size, rng)
    else:
        scene = {"synthetic": synthetic_scene, "cultured": cultured_scene}[source](size, rng)
    return scene.astype(np.float16)


def draw_scenes(data: Path, config: TrainingConfig, workers: int = 0) -> list[NDArray[np.float16]]:
    """Draw the scenes of a run, in ``workers`` processes; the result does not depend on their number.

    They are synthetic scenes of any kind, scenes of adherent cells, and for each real image as many
    scenes as ``parts`` has for its folder, or one.
    """
    settings = config.data
    parts = settings.get("parts", {})
    files = [p for p in config.files(data) for _ in range(parts.get(p.parent.name, 1))]
    sources: list[Path | str] = [*["synthetic"] * settings["synthetic"]]
    sources += [*["cultured"] * settings["cultured"], *files]
    drawn = [(s, settings["size"], (config.seed, 7, i)) for i, s in enumerate(sources)]
    if not workers:
        return [_scene(each) for each in drawn]
    with ProcessPoolExecutor(workers) as executor:
        return list(executor.map(_scene, drawn, chunksize=16))


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


LIGHT = 16
"""Side in pixels of the blocks whose means tell where a recording is bright."""


class MicroscopyRecordings(Dataset[dict[str, Tensor]]):
    """Seeded recordings in working units; item ``i`` is the same on every machine.

    Parameters
    ----------
    scenes : sequence of ndarray
    crop : int
        Side of the crops to be drawn, in pixels; every recording is at least this large.
    length : int
        Number of recordings.
    seed : int
        Seed of the whole series.
    """

    def __init__(self, scenes: Sequence[NDArray[Any]], crop: int, length: int, seed: int) -> None:
        self.scenes, self.crop, self.length, self.seed = scenes, crop, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
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
        taken = np.s_[y::down, x::across]
        offset, unit = np.float32(noise.offset), np.float32(noise.unit)
        target = torch.from_numpy((expected[taken] - offset) / unit)[None].float()
        return {
            "input": torch.from_numpy((means[taken] - offset) / unit)[None].float(),
            "target": target,
            "thumbnail": torch.from_numpy((thumbnail.mean - offset) / unit).float(),
            "curvature": torch.tensor(noise.curvature).float(),
            "light": F.avg_pool2d(target, LIGHT, ceil_mode=True)[0],
        }


_weights = functools.lru_cache(maxsize=4096)(sample_weights)


def draw_crop(
    recording: dict[str, Tensor], crop: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Draw a crop of a recording: the brighter of two, because large parts of many scenes are empty."""
    shape = height, width = recording["input"].shape[1:]
    places = 2 * rng.integers(0, [(n - crop) // 2 + 1 for n in shape], (2, 2))
    blocks = [[slice(n // LIGHT, (n + crop) // LIGHT) for n in place] for place in places]
    light = [float(recording["light"][rows, columns].mean()) for rows, columns in blocks]
    top, left = (int(n) for n in places[int(np.argmax(light))])
    window = np.s_[:, top : top + crop, left : left + crop]
    return {
        "thumbnail": recording["thumbnail"],
        "input": recording["input"][window],
        "target": recording["target"][window],
        "curvature": recording["curvature"],
        "rows": _weights(top, top + crop, height, 16),
        "columns": _weights(left, left + crop, width, 16),
    }


@dataclass(frozen=True)
class CountsWeights:
    """Weight of each term of `counts_losses` beside the squared error in units of the noise.

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


def _means(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3))


def _similarity(picture: Tensor, target: Tensor) -> Tensor:
    return ms_ssim(picture[None], target[None], scales=1)


def counts_losses(
    picture: Tensor, target: Tensor, counts: Counts, terms: CountsWeights, detail: bool = True
) -> Tensor:
    """Loss of each item of a batch at one exit of the cascade, in counts.

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

    Returns
    -------
    Tensor, shape (B,)
    """
    estimate, deviation = picture.chunk(2, 1)
    noise = counts.deviation(estimate.detach())
    error = estimate - target
    relative = error / noise
    level = (noise**2).mean((1, 2, 3), keepdim=True).sqrt()
    loss = _means(relative**2) + terms.even * _means((error / level) ** 2)
    blocks = F.avg_pool2d(error, 16) / F.avg_pool2d(noise, 16)
    loss = loss + terms.blocks * _means(blocks**2)
    if detail and terms.structure:
        low = target.amin((1, 2, 3), keepdim=True)
        span = (target.amax((1, 2, 3), keepdim=True) - low).clamp(min=1)
        pairs = ((picture - low) / span for picture in (estimate, target))
        loss = loss + terms.structure * (1 - torch.vmap(_similarity)(*pairs))
    # The minimum of the pinball loss is the quantile of the error (Koenker and Bassett 1978).
    beyond = relative.detach().abs() - deviation / noise
    pinball = torch.where(beyond > 0, INTERVAL * beyond, (INTERVAL - 1) * beyond)
    return loss + terms.interval * _means(pinball)


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


MOST = 0.3
"""Loss of a crop above which its gradient no longer grows.

Such crops show recordings whose noise the model does not describe. They would outweigh all others."""


class MicroscopyTrainer(PoolTrainer):
    """Trainer of the cascade on counts."""

    SHARES: ClassVar[dict[str, float]] = {"early": 0.4, "final": 1.0}
    WEIGHTS: ClassVar[type[Any]] = CountsWeights

    def finished(self) -> Cascade:
        """Network to export: the moving average on the CPU, with calibrated standard errors."""
        return calibrated(super().finished())

    def recordings(self, count: int, workers: int) -> Dataset[dict[str, Tensor]]:
        """Recordings of synthetic scenes, cultured cells, and scenes from real images."""
        scenes = draw_scenes(self.data, self.config, workers)
        return MicroscopyRecordings(scenes, self.config.crop, count, self.config.seed)

    def prepare(self, recording: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keep on the CPU what the place of a crop is drawn from, to draw it without waiting."""
        return super().prepare(recording) | {"light": recording["light"]}

    def item(self, held: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw a crop."""
        return draw_crop(held, self.config.crop, rng)

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
        losses = {}
        for name, picture in (("early", early), ("final", final)):
            each = counts_losses(picture.float(), batch["target"], counts, self.loss, detail)
            losses[name] = (each * (MOST / each.detach().clamp(min=MOST))).mean()
        return losses
