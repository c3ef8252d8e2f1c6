"""What the options mean for one image: model, device, precision, runner and rendering."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.output import Display, Quantitative, Rendering
from napari_dcr.engine.runner import TileRunner
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.noise import NoiseModel
from napari_dcr.network import weights
from napari_dcr.network.isolation import isolated
from napari_dcr.options import Options


@dataclass(frozen=True)
class RunnerSpec:
    """What a worker needs to make a runner; the weights are its own.

    Attributes
    ----------
    model, sha256 : str
        Name or path of the weights, and what they must be.
    device, precision, depth, detail, tile, with_base
        See `TileRunner`; ``device`` by the name that ``Options`` takes, found where
        the block is computed.
    """

    model: str
    sha256: str
    device: str
    precision: Precision
    depth: int
    detail: bool
    tile: int | None
    with_base: bool = False


@dataclass(frozen=True)
class Setup:
    """What options mean for an image.

    Attributes
    ----------
    model : Model
    spec : RunnerSpec
    runner : TileRunner
    rendering : Rendering
    link_frames : bool
    defects : {"auto", "off"} or Defects
        To find, not to look for, or to correct.
    noise : NoiseModel, optional
        Where it is known.
    """

    model: weights.Model
    spec: RunnerSpec
    runner: TileRunner
    rendering: Rendering
    link_frames: bool
    defects: Defects | str = "off"
    noise: NoiseModel | None = None

    @property
    def defects_key(self) -> str:
        """Name of the defects: the same for the same ones."""
        return self.defects if isinstance(self.defects, str) else self.defects.sha256

    @classmethod
    def resolve(cls, options: Options, out_dtype: np.dtype[Any]) -> Setup:
        """Load the model, find the device, choose the precision."""
        with isolated():
            return cls._resolve(options, out_dtype)

    @classmethod
    def _resolve(cls, options: Options, out_dtype: np.dtype[Any]) -> Setup:
        model = weights.load(options.model)
        _check_colour(options, model)
        if options.noise is not None and not model.is_quantitative:
            raise ValueError(
                f"noise: got {options.noise!r} with the model {model.name!r}; allowed with models"
                " that keep intensities, such as 'microscopy'"
            )
        depth = depth_of(options, model)
        device = find_device(options.device)
        precision = precision_of(options, device, out_dtype)
        tile = None if options.tile == "auto" else options.tile
        rendering = rendering_of(options, model, out_dtype, options.return_uncertainty)
        with_base = rendering.needs_base and depth > 0
        # A lazy result loads the weights later, maybe from another working folder.
        is_file = str(options.model).endswith(".safetensors")
        name = str(Path(options.model).absolute() if is_file else options.model)
        spec = RunnerSpec(
            name, model.sha256, options.device, precision, depth, options.detail,
            tile, with_base,
        )  # fmt: skip
        return cls(
            model,
            spec,
            TileRunner(model.network, device, precision, depth, options.detail, tile, with_base),
            rendering,
            options.link_frames,
            load_defects(options.defects),
            options.noise,
        )

    def arrange(self, layout: Layout) -> Layout:
        """The layout as the model takes it: one that measures takes colours one by one."""
        return layout.with_colours_apart() if self.model.is_quantitative else layout


def _check_colour(options: Options, model: weights.Model) -> None:
    """Refuse what would do nothing."""
    if not model.is_quantitative:
        return
    for name, neutral in (("denoise_colour", None), ("saturation", 1.0)):
        if (value := getattr(options, name)) != neutral:
            raise ValueError(
                f"{name}: got {value!r} with the model {model.name!r}, which keeps intensities"
                f" and knows no colour; allowed is {neutral!r}"
            )


def load_defects(defects: str | Path | Defects) -> Defects | str:
    """The defects of an option: those of a file are read."""
    if isinstance(defects, Defects) or defects in ("auto", "off"):
        return defects
    return Defects.load(defects)


def depth_of(options: Options, model: weights.Model) -> int:
    """How many sub-U-Nets of a model run."""
    stages = model.network.stages
    depth = stages if options.depth is None else options.depth
    if depth > stages:
        raise ValueError(f"depth: got {depth}; the model {model.name!r} allows 0 to {stages}")
    return depth


def precision_of(options: Options, device: torch.device, dtype: np.dtype[Any]) -> Precision:
    """Precision of the convolutions for a result of ``dtype``."""
    if options.precision == "auto":
        return fast_precision(device) if dtype == np.uint8 else "fp32"
    return options.precision  # type: ignore[return-value]


def rendering_of(
    options: Options, model: weights.Model, dtype: np.dtype[Any], uncertainty: bool = False
) -> Rendering:
    """How a model's pictures become the result."""
    if model.is_quantitative:
        # Of a network whose depth 0 is the input itself, part of the denoising is part of all.
        strength = options.strength * options.denoise
        return Quantitative(strength, options.exposure, dtype, uncertainty)
    colour = options.denoise if options.denoise_colour is None else options.denoise_colour
    return Display(
        options.strength, options.exposure, dtype, options.output == "same",
        denoise=options.denoise, denoise_colour=colour, saturation=options.saturation,
    )  # fmt: skip
