"""Export of a finished training run to a weights file."""

from __future__ import annotations

from pathlib import Path

from napari_dcr.network import weights
from napari_dcr.training.loop import Trainer, commit


def export(trainer: Trainer, path: Path) -> str:
    """Write the finished network; returns the file's sha256."""
    config = trainer.config
    training = {
        "seed": config.seed,
        "steps": trainer.step,
        "hours": round(trainer.seconds / 3600, 2),
        "commit": commit(),
        "photographs": len(config.files(trainer.data)),
    }
    return weights.save(trainer.finished(), path, trainer.header(training))
