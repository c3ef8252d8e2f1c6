"""``python -m napari_dcr.training.evaluation.ablation``: measure what each network part contributes.

Every variant is trained on the same pairs, in the same order, for the same small number of steps.
All are scored on the same pictures: real pairs, and photographs that were held out of training,
rendered four stops too dark.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dcr.network.block_dct import dct
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.classic import ClassicCascade
from napari_dcr.network.global_net import SYMMETRIES, Conditioning
from napari_dcr.network.tone import TABLE_SIZE, Tone
from napari_dcr.training.data import image_files, load_rgb, thumbnail_of
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.evaluation.evaluate import Score, score, setting, table
from napari_dcr.training.forward.synthetic import dim_rendition
from napari_dcr.training.loop import Trainer, TrainingConfig
from napari_dcr.training.losses import exit_loss


class PixelTone(Tone):
    """Tone curve whose maps are gains and biases of pixels instead of block coefficients."""

    @staticmethod
    def _change(folded: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        return dct(torch.addcmul(bias, folded, gain))


RATES = 5e-4, 2e-4
"""First and last learning rate. All variants start from random weights, unlike photo.toml."""


class PartialCascade(Cascade):
    """Cascade in which some parts can be disabled."""

    curve = grid = transform = True

    def condition(
        self,
        thumbnail: Tensor,
        curvature: Tensor | None = None,
        symmetries: Sequence[int] = SYMMETRIES,
    ) -> Conditioning:
        """Compute the conditioning, with disabled parts replaced by neutral ones."""
        whole = super().condition(thumbnail, curvature, symmetries)
        tone = whole.tone if self.curve else _neutral(thumbnail)
        if not self.transform:
            tone = PixelTone(*tone)
        return Conditioning(tone, whole.grid if self.grid else torch.zeros_like(whole.grid))


def _neutral(thumbnail: Tensor) -> Tone:
    """Tone curve that changes nothing."""
    count, channels = thumbnail.shape[:2]
    curve = torch.linspace(0, 1, TABLE_SIZE, device=thumbnail.device).expand(count, -1)
    black = thumbnail.new_zeros(count, channels, 1, 1)
    return Tone(
        curve, torch.ones_like(curve), black, torch.ones_like(black), curve.new_zeros(count)
    )


class CascadeTrainer(Trainer):
    """Trainer of a cascade in which some parts are disabled.

    Attributes
    ----------
    curve, grid, transform : bool
        Whether the tone curve, the feature grid and the transform of blocks are used.
    """

    curve = grid = transform = True

    def build(self) -> Cascade:
        """Make the network to train."""
        network = PartialCascade(self.config.cascade().config)
        network.curve, network.grid, network.transform = self.curve, self.grid, self.transform
        return network

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of the whole network, without that of the curve if the curve is disabled."""
        losses = super().losses(batch, rng)
        return losses if self.curve else {k: v for k, v in losses.items() if k != "curve"}


class ClassicTrainer(Trainer):
    """Trainer of the cascade of 2019, with a loss on its final output only."""

    SHARES: ClassVar[dict[str, float]] = {"final": 1.0}

    def build(self) -> Any:
        """Make the network to train."""
        return ClassicCascade()

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss of the output."""
        with self.autocast():
            output = self.network(batch["input"])
        return {"final": exit_loss(output.float(), batch["target"], self.loss)}


@dataclass(frozen=True)
class Variant:
    """Row of the ablation: a network, its training, and the settings to score."""

    trainer: type[Trainer]
    detail_dropout: float = 1.0
    curve: bool = False
    grid: bool = False
    transform: bool = False
    settings: tuple[tuple[int, bool], ...] = ((3, False),)


VARIANTS = {
    "classic (2019)": Variant(ClassicTrainer),
    "anytime head": Variant(CascadeTrainer),
    "+ global grid": Variant(CascadeTrainer, grid=True),
    "+ tone curve": Variant(CascadeTrainer, grid=True, curve=True),
    "+ detail module": Variant(CascadeTrainer, 0.25, True, True, settings=((3, True), (3, False))),
    "+ block transform": Variant(
        CascadeTrainer, 0.25, True, True, True,
        ((3, True), (3, False), (2, True), (1, True), (0, True)),
    ),
}  # fmt: skip


def restore(
    network: nn.Module, picture: metrics.Picture, depth: int, detail: bool
) -> metrics.Picture:
    """Run a network on a whole (h, w, 3) picture, padded to a multiple of its stride."""
    x = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float()[None] / 255
    height, width = picture.shape[:2]
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    with torch.inference_mode():
        if isinstance(network, Cascade):
            conditioning = network.condition(thumbnail_of(picture.astype(np.float32) / 255)[None])
            size = (height, width)
            place = network.window_weights((0, padded.shape[2]), (0, padded.shape[3]), size)
            y = network(padded, conditioning, place, depth, detail)
        else:
            y = network(padded)
    pixels = y[0, :, :height, :width].clamp(0, 1).permute(1, 2, 0).numpy()
    return metrics.to_8_bits(pixels)


def real_pairs(folder: Path) -> Iterator[tuple[metrics.Picture, metrics.Picture]]:
    """Pairs of pictures in ``low`` and ``high``."""
    for path in image_files(folder / "low"):
        yield load_rgb(path), load_rgb(folder / "high" / path.name)


def synthetic_pairs(
    files: list[Path], ev: float = 4.0
) -> Iterator[tuple[metrics.Picture, metrics.Picture]]:
    """Photographs rendered ``ev`` stops too dark, seeded by their position in the list."""
    for seed, path in enumerate(files):
        dim, truth = dim_rendition(load_rgb(path, 640).astype(np.float32) / 255, ev, seed)
        yield metrics.to_8_bits(dim), metrics.to_8_bits(truth)


def trained(variant: Variant, config: TrainingConfig, data: Path, run: Path) -> nn.Module:
    """Train a variant, or load it if it has been trained before; returns its averaged network."""
    config = dataclasses.replace(config, detail_dropout=variant.detail_dropout, shared=0.0)
    parts = {name: getattr(variant, name) for name in ("curve", "grid", "transform")}
    make = type("Row", (variant.trainer,), parts)
    trainer: Trainer = make(config, data, run)
    if trainer.step < config.steps:
        trainer.train()
    return trainer.average.eval()


def main(arguments: list[str] | None = None) -> None:
    """Train the variants that are not trained yet, score all of them, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.ablation", description=__doc__.split("\n")[0]
    )
    parser.add_argument("pairs", type=Path, help="real pairs: folder with low and high")
    parser.add_argument("--data", type=Path, default=os.environ.get("NAPARI_DCR_DATA", "data"))
    parser.add_argument("--run", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    photo = TrainingConfig.read(Path(__file__).parents[1] / "photo.toml")
    config = dataclasses.replace(
        photo, steps=options.steps, batch=options.batch, crop=options.crop, seed=options.seed,
        learning_rate=RATES[0], final_learning_rate=RATES[1],
    )  # fmt: skip
    held_out = config.files(options.data, held_out=True)
    sets = {
        "Real pairs": lambda: real_pairs(options.pairs),
        "Photographs held out, 4 stops down": lambda: synthetic_pairs(held_out),
    }
    scores: dict[str, list[Score]] = {title: [] for title in sets}
    for name, variant in VARIANTS.items():
        network = trained(variant, config, options.data, options.run / name.replace(" ", "-"))
        for depth, detail in variant.settings:
            method = setting(name, depth, detail)
            for title, pairs in sets.items():
                for number, (low, truth) in enumerate(pairs()):
                    values = score(restore(network, low, depth, detail), low, truth)
                    scores[title].append(Score(method, str(number), values))
            print(method, flush=True)
    for title in sets:
        print(f"\n{title}\n\n{table(scores[title])}")


if __name__ == "__main__":
    main()
