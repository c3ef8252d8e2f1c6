"""Weights files: safetensors with the network's shape in the header, and their cards."""

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

from napari_dcr.image.noise import NoiseEstimate
from napari_dcr.network.cards import shipped
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.isolation import isolated

FORMAT = "napari-dcr 2"

WHITENESS = 0.75
"""Least `NoiseEstimate.whiteness` of images like those of training, which have 0.9 to 1.1."""


@dataclass(frozen=True)
class Model:
    """A network with its weights.

    Attributes
    ----------
    name : str
        What ``model=`` takes.
    network : Cascade
        In evaluation mode, on the CPU.
    sha256 : str
        Of the weights file.
    training : dict
        Seed, steps, commit and so on, from the file's header.
    """

    name: str
    network: Cascade
    sha256: str
    training: dict[str, Any]

    @property
    def is_quantitative(self) -> bool:
        """Whether it works in the image's own units, one channel at a time."""
        return self.network.config.base == "counts"

    def doubts(self, noise: NoiseEstimate, level: float) -> list[str]:
        """Why an image is not what the weights saw in training.

        Parameters
        ----------
        noise : NoiseEstimate
            Of the image.
        level : float
            Bright level of the image, in its own units.
        """
        found = []
        if noise.whiteness < WHITENESS and noise.binning == (1, 1):
            found.append(
                "the noise is not independent from pixel to pixel (was the image resampled,"
                " compressed or smoothed?): some of it will stay"
            )
        if noise.model.deviation(level) > max(level - noise.model.offset, 0):
            found.append("the signal is weaker than its noise: details may be missing")
        return found


def find(model: str | Path) -> Path:
    """The file of a model: ``"auto"``, a shipped name, or a path to a safetensors file.

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.
    """
    names = shipped()
    if model == "auto":
        model = "photo"
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
    """Load a model; a file that is loaded already and has not changed is not read again."""
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
                f"model: {path} says format {header.get('format')!r}; needed is {FORMAT!r}"
            )
        config = json.loads(header["network"])
        # Their first, random weights must not take numbers from the user's generator.
        with isolated(), torch.random.fork_rng(devices=[]):
            network = Cascade(CascadeConfig(**{**config, "widths": tuple(config["widths"])}))
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
