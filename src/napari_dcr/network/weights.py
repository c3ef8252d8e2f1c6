"""Weights files: safetensors whose header holds the configuration of the network."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from napari_dcr.image.noise_model import NoiseEstimate
from napari_dcr.network.cards import shipped
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.isolation import isolated

FORMAT = "napari-dcr 2"

WHITENESS = 0.75
"""Smallest `NoiseEstimate.whiteness` without a warning; training images have 0.9 to 1.1."""


@dataclass(frozen=True)
class Model:
    """A network with its weights.

    Attributes
    ----------
    name : str
        Name or path, as in the option ``model``.
    network : Cascade
        The network in evaluation mode, on the CPU.
    sha256 : str
        SHA-256 of the weights file.
    training : dict
        Record of the training from the file's header: seed, steps, commit and others.
    """

    name: str
    network: Cascade
    sha256: str
    training: dict[str, Any]

    @property
    def is_quantitative(self) -> bool:
        """Whether the model keeps intensities, and processes one channel at a time."""
        return self.network.config.base == "counts"

    def doubts(self, noise: NoiseEstimate, level: float) -> list[str]:
        """Describe in what way an image differs from the training images.

        Parameters
        ----------
        noise : NoiseEstimate
            Noise of the image.
        level : float
            Bright level of the image, in its own units.

        Returns
        -------
        list of str
            Messages for the report; empty if the image resembles the training images.
        """
        messages = []
        if noise.whiteness < WHITENESS and noise.binning == (1, 1):
            messages.append(
                "neighbouring pixels share noise (was the image resampled, compressed or smoothed?),"
                " so some of it remains; use the camera's unprocessed frames if you have them"
            )
        if noise.model.deviation(level) > max(level - noise.model.offset, 0):
            messages.append("the signal is weaker than its noise: faint details may be missing")
        return messages


def find(model: str | Path) -> Path:
    """Path of the weights for a shipped name or the path of a safetensors file.

    Raises
    ------
    ValueError
        If there is no such model; the message lists the available ones.
    """
    names = shipped()
    if str(model) in names:
        return names[str(model)]
    path = Path(model)
    if path.suffix == ".safetensors" and path.is_file():
        return path.resolve()
    allowed = ", ".join(map(repr, ("auto", *names)))
    raise ValueError(
        f"model: got {str(model)!r}; allowed are {allowed}, or the path of a .safetensors file"
    )


def load(model: str | Path) -> Model:
    """Load a model; an unchanged file that has been loaded before is not read again."""
    path = find(model)
    status = path.stat()
    return _load(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _load(path: Path, _modified: int, _size: int) -> Model:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(
                f"model: {path} has the format {header.get('format')!r}; allowed is {FORMAT!r}"
            )
        config = json.loads(header["network"])
        # The random initial weights must not advance the user's random generator.
        with isolated(), torch.random.fork_rng(devices=[]):
            network = Cascade(CascadeConfig.from_dict(config))
            network.float().load_state_dict(load_file(path))
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"model: {path} is not a weights file of this version: {error}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = path.stem if path in shipped().values() else str(path)
    return Model(name, network.eval(), digest, json.loads(header.get("training", "{}")))


def save(network: Cascade, path: Path, training: dict[str, Any]) -> str:
    """Write a weights file; returns its sha256."""
    header = {
        "format": FORMAT,
        "network": json.dumps(network.config.to_dict()),
        "training": json.dumps(training, sort_keys=True),
    }
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, header)
    return hashlib.sha256(path.read_bytes()).hexdigest()
