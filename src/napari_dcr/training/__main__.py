"""``python -m napari_dcr.training CONFIG``: train weights from a config file."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

import torch

from napari_dcr.training.export import export
from napari_dcr.training.loop import Trainer, TrainingConfig
from napari_dcr.training.microscopy import MicroscopyTrainer
from napari_dcr.training.neighbours import NeighbourTrainer


def main(arguments: list[str] | None = None) -> None:
    """Train, resuming from a checkpoint if there is one, and export the weights."""
    parser = argparse.ArgumentParser(prog="python -m napari_dcr.training", description=__doc__)
    parser.add_argument(
        "config",
        type=Path,
        help="TOML file, or the name of a configuration of the package: photo, microscopy, neighbours",
    )
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("NAPARI_DCR_DATA", "data"), help="data folder"
    )
    parser.add_argument(
        "--run", type=Path, help="folder for log and checkpoint (default: runs/NAME)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that load training data")
    parser.add_argument("--out", type=Path, help="weights file (default: in the run folder)")
    parser.add_argument("--start", type=Path, help="weights file that a new run starts from")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after this many minutes"
    )
    options = parser.parse_args(arguments)
    config = TrainingConfig.read(options.config)
    run = options.run or Path("runs") / config.name
    trainer_class: type[Trainer] = Trainer
    if "neighbours" in config.network:
        trainer_class = NeighbourTrainer
    elif config.network.get("base") == "counts":
        trainer_class = MicroscopyTrainer
    trainer = trainer_class(config, options.data, run, options.device, options.start)
    trainer.train(options.workers, options.minutes)
    path = options.out or run / f"{config.name}.safetensors"
    print(path, export(trainer, path))


if __name__ == "__main__":
    main()
