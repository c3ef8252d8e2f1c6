"""Training loop: seeded, resumable, controlled by a configuration file."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from napari_dcr.engine.devices import hardware_precision
from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.detail import DetailModule
from napari_dcr.network.global_net import SYMMETRIES
from napari_dcr.training.data import RADIANCE, SUFFIXES, PhotoPairs, image_files
from napari_dcr.training.forward.shot import Conditions
from napari_dcr.training.losses import LossWeights, curve_loss, exit_loss


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training run, as in the TOML file.

    Attributes
    ----------
    name : str
        Name of the weights.
    seed, steps, batch, crop : int
        Random seed, number of steps, batch size, and side of a crop in pixels.
    learning_rate, final_learning_rate, warmup, weight_decay, clip, ema : float
        Settings of AdamW with linear warm-up (in steps) and cosine decay, largest gradient norm,
        and decay of the moving average of the weights.
    detail_dropout : float
        Share of steps with the regional part off, if each step trains one setting (``shared`` = 0).
    shared : float
        If above 0, every step trains both settings of the detail module, and the parameters that
        both use get this share of the gradient of the setting with the regional part.
    regional_rate : float
        Learning rate of the regional parts alone, relative to that of the rest.
    frozen : list of str
        Parts of the network, such as ``global_net``, that are not trained.
    network, loss, data : dict
        Values of `CascadeConfig` and `LossWeights`, and the folders with photographs.
    phases : list of dict
        `Conditions`, each with the step ``from_step`` at which it begins.  Later phases may
        simulate worse cameras.  A phase with ``steps`` and ``learning_rate`` extends the run to
        that many steps and restarts the cosine decay from that rate (warm restart, Loshchilov
        and Hutter 2017).
    """

    name: str
    seed: int
    steps: int
    batch: int
    crop: int
    learning_rate: float
    final_learning_rate: float
    warmup: int
    weight_decay: float
    ema: float
    clip: float
    detail_dropout: float
    network: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    shared: float = 0.0
    regional_rate: float = 1.0

    @classmethod
    def read(cls, path: str | Path) -> TrainingConfig:
        """Read a TOML file, or a configuration of the package by its name."""
        if not Path(path).exists():
            path = Path(__file__).with_name(f"{path}.toml")
        return cls(**tomllib.loads(Path(path).read_text()))

    def cascade(self) -> Cascade:
        """Build the network."""
        network = {**self.network, "widths": tuple(self.network["widths"])}
        return Cascade(CascadeConfig(**network))

    @property
    def length(self) -> int:
        """Number of steps of the whole run."""
        return max([self.steps, *(p.get("steps", 0) for p in self.phases)])

    def conditions(self) -> dict[int, Conditions]:
        """Conditions from which shots are drawn, by the first item that they apply to."""
        result: dict[int, Conditions] = {}
        for phase in self.phases:
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in phase.items()
            }
            first = int(values.pop("from_step")) * self.batch
            values.pop("steps", None)
            values.pop("learning_rate", None)
            result[first] = Conditions(**values)
        return result

    def files(self, root: Path, held_out: bool = False) -> list[Path]:
        """Photographs to train on, or those that are held out."""
        return [path for files in self._files(root, held_out) for path in files]

    def shares(self, root: Path) -> list[float]:
        """Relative frequency of each file, from the ``shares`` of the folders, or equal for all files."""
        groups = self._files(root)
        folders = self.data.get("shares") or [len(files) for files in groups]
        return [
            share / len(files) for share, files in zip(folders, groups, strict=True) for _ in files
        ]

    def _files(self, root: Path, held_out: bool = False) -> list[list[Path]]:
        every = int(self.data["validate_every"])
        groups = []
        for folder in self.data["folders"]:
            files = image_files(root / folder, SUFFIXES | RADIANCE)
            files = [p for p in files if p.name not in self.data["exclude"]]
            if not files:
                kinds = ", ".join(sorted(SUFFIXES | RADIANCE))
                raise ValueError(
                    f"data: got the folder {root / folder} without pictures; required is at least"
                    f" one file of the types {kinds}"
                )
            groups.append([p for i, p in enumerate(files) if (i % every == every - 1) == held_out])
        return groups


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate: linear warm-up, then half a cosine, which some phases restart."""
    start, end, high = config.warmup, config.steps, config.learning_rate
    if step < start:
        return high * (step + 1) / start
    for phase in config.phases:
        if "learning_rate" in phase and step >= phase["from_step"]:
            start, end, high = phase["from_step"], phase["steps"], phase["learning_rate"]
    progress = min((step - start) / max(1, end - start), 1)
    low = config.final_learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def draw_symmetries(rng: np.random.Generator) -> list[int]:
    """Draw two of the symmetries that the global network averages over; all would take too long."""
    return [int(k) for k in rng.permutation(len(SYMMETRIES))[:2]]


class Trainer:
    """State of a run: network, its average, optimiser, step.

    Parameters
    ----------
    config : TrainingConfig
    data : Path
        Root of the data folder.
    run : Path
        Folder for the log and the checkpoint; a checkpoint there is resumed.
    device : str
        Torch device.
    start : Path or None
        Weights file of the same network from which a new run starts.  Its stage of neighbouring
        frames is left out, unless the run trains that stage.
    """

    SHARES: ClassVar[dict[str, float]] = {
        "curve": 1.0, "early": 0.3, "final": 1.0, "early_off": 0.3, "final_off": 1.0,
    }  # fmt: skip
    """Weights of the losses in the minimised sum."""

    WEIGHTS: ClassVar[type[Any]] = LossWeights
    """Class that holds the weights of the loss terms of the configuration."""

    def __init__(
        self,
        config: TrainingConfig,
        data: Path,
        run: Path,
        device: str = "cpu",
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.data, self.run_folder = config, data, run
        self.device = torch.device(device)
        self.network = self.build().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start:
            state = weights.load(start).network.state_dict()
            if self.network.neighbours is None:  # that stage is trained after the cascade
                state = {k: v for k, v in state.items() if not k.startswith("neighbours.")}
            self.network.load_state_dict(state)
        for part in config.frozen:
            self.network.get_submodule(part).requires_grad_(False)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        regional = {
            p
            for module in self.network.modules()
            if isinstance(module, DetailModule)
            for p in (*module.regional.parameters(), *module.mix.parameters())
        }
        shared = [p for p in self.network.parameters() if p not in regional]
        own = [p for p in self.network.parameters() if p in regional]
        groups = [{"params": shared, "scale": 1.0}, {"params": own, "scale": config.regional_rate}]
        self.optimiser = torch.optim.AdamW(
            groups, config.learning_rate, weight_decay=config.weight_decay
        )
        self.loss = self.WEIGHTS(**config.loss)
        self.step = 0
        self.seconds = 0.0
        run.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    def build(self) -> Cascade:
        """Create the network to train."""
        return self.config.cascade()

    def finished(self) -> Cascade:
        """Network to export: the moving average, on the CPU."""
        return self.average.cpu()

    def header(self, training: dict[str, Any]) -> dict[str, Any]:
        """Record of the training for the header of the weights file."""
        return training

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.run_folder / "checkpoint.pt"

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def pairs(self) -> Dataset[dict[str, Tensor]]:
        """All pairs of the run."""
        config = self.config
        return PhotoPairs(
            config.files(self.data),
            config.crop,
            config.length * config.batch,
            config.seed,
            config.conditions(),
            config.shares(self.data),
            config.data.get("drawn", 0.0),
            rooms=config.data.get("rooms", 0.0),
        )

    def batches(self, workers: int) -> Iterator[dict[str, Tensor]]:
        """Batches from the current step on, identical for resumed and uninterrupted runs."""
        batch = self.config.batch
        rest = Subset(self.pairs(), range(self.step * batch, self.config.length * batch))
        loader = DataLoader(
            rest, batch, num_workers=workers, prefetch_factor=4 if workers else None
        )
        yield from loader

    def autocast(self) -> torch.autocast:
        """Mixed precision, if the device has it in hardware."""
        has = hardware_precision(self.device) != "fp32"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=has)

    def draw_exits(self, rng: np.random.Generator) -> tuple[int, int, bool]:
        """Shallow exit, drawn at random; last exit; and whether the regional part is on, drawn at random."""
        last = self.network.stages
        shallow = int(rng.integers(1, last)) if last > 1 else last
        return shallow, last, bool(rng.random() >= self.config.detail_dropout)

    def losses(self, batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of the curve, of one random exit and of the last one, with one setting or both."""
        shallow, last, drawn = self.draw_exits(rng)
        conditioning = self.network.condition(batch["thumbnail"], symmetries=draw_symmetries(rng))
        place = batch["rows"], batch["columns"]
        losses = {}
        for detail in (False, True) if self.config.shared else (drawn,):
            with self.autocast():
                base, *exits = self.network(
                    batch["input"], conditioning, place, last, detail, exits=(0, shallow, last)
                )
            suffix = "_off" if self.config.shared and not detail else ""
            target = batch["target" if detail else "careful"]
            for name, output in zip(("early", "final"), exits, strict=True):
                losses[name + suffix] = exit_loss(output.float(), target, self.loss, detail)
        losses["curve"] = curve_loss(conditioning, batch, base, self.loss)
        return losses

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Train one step and return the losses."""
        config = self.config
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * learning_rate(config, self.step)
        losses = self.losses(batch, np.random.default_rng((config.seed, 1, self.step)))
        self.optimiser.zero_grad(set_to_none=True)
        self._backward({k: self.SHARES[k] * v for k, v in losses.items()})
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        if torch.isfinite(norm):  # a batch whose gradient overflows is skipped
            self.optimiser.step()
        decay = min(config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        self.step += 1
        return {k: v.item() for k, v in losses.items()}

    def _backward(self, losses: dict[str, Tensor]) -> None:
        """Compute the gradients of the sum, scaled by ``shared`` if both settings are trained."""
        losses = dict(losses)
        if self.config.shared:
            restored = losses.pop("early") + losses.pop("final")
            restored.backward(retain_graph=True)
            for parameter in self.optimiser.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(self.config.shared)
        torch.stack(list(losses.values())).sum().backward()

    def train(self, workers: int = 1, minutes: float = math.inf, log_every: int = 100) -> None:
        """Train until the last step or for a number of minutes; write a checkpoint every three minutes."""
        started = saved = time.monotonic()
        spent = self.seconds
        history: list[dict[str, float]] = []
        with (self.run_folder / "log.jsonl").open("a") as log:
            for batch in self.batches(workers):
                history.append(self.train_step(batch))
                now = time.monotonic()
                self.seconds = spent + now - started
                if self.step % log_every == 0:
                    line = {"step": self.step, "seconds": round(self.seconds)}
                    means = {k: sum(h[k] for h in history) / len(history) for k in history[0]}
                    print(json.dumps(line | means), file=log, flush=True)
                    history = []
                if now - saved > 180:
                    self.save()
                    saved = now
                if now - started > 60 * minutes:
                    break
        self.save()


def commit() -> str:
    """Name the commit of the training code, for the card."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
