"""Resolve the options for one image to a model, device, precision, runner and rendering."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_dcr.engine.devices import Precision, fast_precision, find_device
from napari_dcr.engine.model_choice import ModelChoice
from napari_dcr.engine.neighbours import FrameAxis, find_frame_axis
from napari_dcr.engine.output import Display, Quantitative, Rendering
from napari_dcr.engine.runner import TileRunner
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.network import weights
from napari_dcr.network.global_net import Route
from napari_dcr.network.isolation import isolated
from napari_dcr.options import Options

NOISE_MODEL = "microscopy"
"""Name of the weights of the noise stage."""


@dataclass(frozen=True)
class RunnerSpec:
    """Everything that a worker process needs to create a runner, except the weights themselves.

    Attributes
    ----------
    model, sha256 : str
        Name or path of the weights, and the checksum that they must have.
    device, precision, depth, detail, tile, with_base
        See `TileRunner`; ``device`` is a name as in ``Options`` and is resolved on the worker.
    noise_stage : RunnerSpec, optional
        Spec of the noise stage, if there is one.
    """

    model: str
    sha256: str
    device: str
    precision: Precision
    depth: int
    detail: bool
    tile: int | None
    with_base: bool = False
    noise_stage: RunnerSpec | None = None


@dataclass(frozen=True)
class Setup:
    """The options of a run, resolved for an image.

    Attributes
    ----------
    model : Model
    spec : RunnerSpec
    runner : TileRunner
    rendering : Rendering
    link_frames : bool
    defects : {"auto", "off"} or Defects
        Estimate the sensor defects, ignore them, or correct the given ones.
    noise : NoiseModel, optional
        Noise model of the camera, if the user has given one.
    denoise_first : {"auto", "on", "off"}
        Whether a noise stage precedes the model; "off" if the model or the depth does not allow it.
    noise_stage : callable, optional
        Returns the setup of the noise stage, whose network also compares neighbouring frames for
        models that brighten. It loads weights, so it is called only when an image needs it.
    choice : ModelChoice, optional
        The model, and why it was chosen.
    neighbours, neighbour_axis
        See `Options`.
    """

    model: weights.Model
    spec: RunnerSpec
    runner: TileRunner
    rendering: Rendering
    link_frames: bool
    defects: Defects | str = "off"
    noise: NoiseModel | None = None
    denoise_first: str = "off"
    noise_stage: Callable[[], Setup] | None = None
    choice: ModelChoice | None = None
    neighbours: str | int = 0
    neighbour_axis: str | None = None

    def frame_axis(self, layout: Layout) -> FrameAxis | None:
        """Axis along which neighbouring frames are used; None if they are not used."""
        return find_frame_axis(
            self.neighbours,
            self.neighbour_axis,
            self.model,
            self._has_stage,
            self.spec.depth,
            layout,
        )

    @property
    def _has_stage(self) -> bool:
        """Whether neighbouring frames can be used; models that brighten use the noise network's stage."""
        if self.model.is_quantitative or not self.neighbours or self.neighbours == "auto":
            return self.model.network.neighbours is not None
        return weights.load(NOISE_MODEL).network.neighbours is not None

    @property
    def defects_key(self) -> str:
        """Key that identifies the defects in records: equal defects have equal keys."""
        return self.defects if isinstance(self.defects, str) else self.defects.sha256

    @classmethod
    def resolve(
        cls,
        options: Options,
        out_dtype: np.dtype[Any],
        bits: int | None = None,
        choice: ModelChoice | None = None,
    ) -> Setup:
        """Load the model, find the device and choose the precision.

        Parameters
        ----------
        options : Options
        out_dtype : dtype
            Dtype of the result.
        bits : int, optional
            Bit depth of the stored result, if it is lower than that of the dtype.
        choice : ModelChoice, optional
            Model for the image. By default it is the model of the options, which must not be "auto".
        """
        choice = choice or ModelChoice(options.model)
        options = replace(options, model=choice.model)
        with isolated():
            return cls._resolve(options, out_dtype, bits or 8 * out_dtype.itemsize, choice)

    @classmethod
    def _resolve(
        cls, options: Options, out_dtype: np.dtype[Any], bits: int, choice: ModelChoice
    ) -> Setup:
        model = weights.load(options.model)
        _check_applies(options, model, choice)
        if options.noise is not None and not model.is_quantitative:
            raise ValueError(
                f"noise: got {options.noise!r} with the {choice}; allowed with models"
                " that keep intensities, such as 'microscopy'"
            )
        depth = depth_of(options, model)
        device = find_device(options.device)
        precision = precision_of(options, device, bits)
        tile = None if options.tile == "auto" else options.tile
        rendering = rendering_of(options, model, out_dtype, options.return_uncertainty)
        # Depth 0 only brightens.
        denoise_first = "off" if model.is_quantitative or depth == 0 else options.denoise_first
        averages = options.neighbours in (1, 2) and not model.is_quantitative and depth > 0
        noise_stage = None
        if denoise_first != "off" or averages:
            noise_stage = functools.cache(
                functools.partial(cls._of_noise_stage, options, out_dtype, bits)
            )
        with_base = rendering.needs_base and depth > 0
        # A lazy result loads the weights later, possibly from another working directory.
        is_file = str(options.model).endswith(".safetensors")
        name = str(Path(options.model).absolute() if is_file else options.model)
        spec = RunnerSpec(
            name, model.sha256, options.device, precision, depth, options.detail,
            tile, with_base,
        )  # fmt: skip
        return cls(
            model,
            spec,
            TileRunner(
                model.network, device, precision, depth, options.detail, tile, with_base,
                noise_stage and (lambda: noise_stage().runner),
            ),
            rendering,
            options.link_frames,
            load_defects(options.defects),
            options.noise,
            denoise_first,
            noise_stage,
            choice,
            options.neighbours,
            options.neighbour_axis,
        )  # fmt: skip

    @classmethod
    def _of_noise_stage(cls, options: Options, out_dtype: np.dtype[Any], bits: int) -> Setup:
        """Resolve the noise stage, which always runs at full depth and strength."""
        whole = Options(
            model=NOISE_MODEL, defects=options.defects, link_frames=options.link_frames,
            tile=options.tile, device=options.device, precision=options.precision, neighbours=0,
        )  # fmt: skip
        return cls.resolve(whole, out_dtype, bits)

    @property
    def denoise_first_key(self) -> str:
        """Key that identifies the noise stage in records, because results depend on it."""
        if self.noise_stage is None:
            return "off"
        return f"{self.denoise_first} {weights.load(NOISE_MODEL).sha256}"

    def spec_for(self, routes: Iterable[Route]) -> RunnerSpec:
        """Spec of a runner that can process windows with these routes."""
        if self.noise_stage is None or not any(route.noise or route.mean for route in routes):
            return self.spec
        return replace(self.spec, noise_stage=self.noise_stage().spec)

    def arrange(self, layout: Layout) -> Layout:
        """Adapt a layout to the model: models that keep intensities process each colour separately."""
        return layout.with_colours_apart() if self.model.is_quantitative else layout


def _check_applies(options: Options, model: weights.Model, choice: ModelChoice) -> None:
    """Refuse options that would have no effect."""
    if options.denoise_first == "on" and options.depth == 0:
        raise ValueError(
            "denoise_first: got 'on' with depth 0, which only brightens; allowed are 'auto' and"
            " 'off', or a larger depth"
        )
    if not model.is_quantitative:
        return
    if options.denoise_first == "on":
        raise ValueError(
            "denoise_first: got 'on' with a model that only removes noise; allowed are 'auto'"
            f" and 'off'. This is the {choice}"
        )
    for name, neutral in (("denoise_colour", None), ("saturation", 1.0)):
        if (value := getattr(options, name)) != neutral:
            raise ValueError(
                f"{name}: got {value!r} with a model that processes each channel separately;"
                f" allowed is {neutral!r}. This is the {choice}"
            )


def load_defects(defects: str | Path | Defects) -> Defects | str:
    """Return the value of the option ``defects``; if it is a path, load the file."""
    if isinstance(defects, Defects) or defects in ("auto", "off"):
        return defects
    return Defects.load(defects)


def depth_of(options: Options, model: weights.Model) -> int:
    """Number of sub-U-Nets to run."""
    stages = model.network.stages
    depth = stages if options.depth is None else options.depth
    if depth > stages:
        raise ValueError(f"depth: got {depth}; the model {model.name!r} allows 0 to {stages}")
    return depth


def precision_of(options: Options, device: torch.device, bits: int) -> Precision:
    """Precision of the convolutions for a result with this number of bits."""
    if options.precision == "auto":
        return fast_precision(device) if bits <= 8 else "fp32"
    return options.precision  # type: ignore[return-value]


def rendering_of(
    options: Options, model: weights.Model, dtype: np.dtype[Any], uncertainty: bool = False
) -> Rendering:
    """Rendering that turns the network's output into the result."""
    if model.is_quantitative:
        # Depth 0 of these models is the input itself, so `denoise` has the same effect as `strength`.
        strength = options.strength * options.denoise
        return Quantitative(strength, options.exposure, dtype, uncertainty)
    colour = options.denoise if options.denoise_colour is None else options.denoise_colour
    return Display(
        options.strength, options.exposure, dtype, options.output == "same",
        denoise=options.denoise, denoise_colour=colour, saturation=options.saturation,
    )  # fmt: skip
