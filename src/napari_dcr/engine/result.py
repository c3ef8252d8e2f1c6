"""Progress, result and record of a run, and the identity that a resumed run must have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.group_conditioning import RemovedNoise
from napari_dcr.engine.neighbours import FrameAxis
from napari_dcr.engine.setup import Setup
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.quality import Report
from napari_dcr.options import Options
from napari_dcr.version import __version__


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes
    ----------
    done, total : int
        Number of pixels that have been enhanced, and that will be enhanced in total.
    message : str
        Description of the current step, for display.
    frames : int
        Number of frames in total, if the image is a recording; otherwise 0.
    """

    done: int
    total: int
    message: str
    frames: int = 0


@dataclass(frozen=True)
class Enhancement:
    """A result with the record of the run that produced it.

    Attributes
    ----------
    image : array
        The enhanced image, as `enhance` returns it.
    record : dict
        Options, model, the reason if it was chosen automatically, sha256 of the weights, version, device, precision,
        intensity ranges, warnings about the input and seconds; plain values. For `microscopy`
        it also holds the estimated noise and, unless the result is lazy, the reports.
    reports : list of Report
        One report for each channel; empty for `photo` and for lazy results.
    defects : list of Defects
        Corrected sensor defects, one entry for each group of planes that was surveyed together.
    residual : ndarray or None
        Input minus result, with the result's gain removed, if ``return_residual`` was set.
    uncertainty : ndarray or None
        Estimated standard error of each pixel, if ``return_uncertainty`` was set.
    """

    image: Any
    record: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    residual: NDArray[Any] | None = None
    uncertainty: NDArray[Any] | None = None
    defects: list[Defects] = field(default_factory=list)


def describe_run(
    options: Options,
    setup: Setup,
    layout: Layout,
    ranges: list[list[float]],
    noise: list[dict[str, Any]],
    defects: list[Defects],
    warnings: Iterable[str],
    denoise_first: Sequence[RemovedNoise | None] = (),
    axis: FrameAxis | None = None,
) -> dict[str, Any]:
    """Record of a run's options, model and estimates, as plain values.

    Parameters
    ----------
    options : Options
    setup : Setup
    layout : Layout
    ranges : list
        Black and white point of each group of planes.
    noise : list
        Noise of each group of planes, if the model works in counts.
    defects : list
        Corrected sensor defects of each group of planes.
    warnings : iterable of str
        Warnings about the input, see `InputWarning`.
    denoise_first : sequence
        Noise that the noise stage removes from each group of planes; None without a noise stage.
    axis : FrameAxis, optional
        Axis along which frames helped each other.
    """
    spec, reason = setup.spec, setup.choice and setup.choice.reason
    corrected = [d.to_dict() for d in defects if not d.is_empty]
    stage = {}
    if any(denoise_first) and setup.noise_stage is not None:
        first = setup.noise_stage().spec
        stage = {
            "denoise_first": {
                "model": first.model,
                "sha256": first.sha256,
                "share": [group.share if group else 0.0 for group in denoise_first],
                "noise": [
                    [each and each.to_dict() for each in group.colours] if group else []
                    for group in denoise_first
                ],
            }
        }
    return {
        "options": options.to_dict(),
        "model": setup.model.name,
        **({"model_reason": reason} if reason else {}),
        "sha256": spec.sha256,
        "depth": spec.depth,
        "axes": layout.axes,
        "ranges": ranges,
        **({"noise": noise} if noise else {}),
        **({"defects": corrected} if corrected else {}),
        **stage,
        **({"neighbours": {"axis": axis.letter, "frames": axis.reach}} if axis else {}),
        "version": __version__,
        "precision": spec.precision,
        "warnings": list(warnings),
    }


def identify_run(
    options: Options, setup: Setup, layout: Layout, axis: FrameAxis | None
) -> dict[str, Any]:
    """Identity of a run that can be resumed: all that the result depends on, except the pixels.

    Values are those that JSON returns for them.
    """
    values = options.to_dict()
    given = values["input_range"]
    names = (
        "strength", "exposure", "denoise", "denoise_colour", "saturation", "input_range",
        "link_frames", "output", "tile", "nodata", "noise",
    )  # fmt: skip
    spec = setup.spec
    return {
        **{name: values[name] for name in names},
        "input_range": list(given) if isinstance(given, tuple) else given,
        "axes": layout.axes,
        "sha256": spec.sha256,
        "defects": setup.defects_key,
        "denoise_first": setup.denoise_first_key,
        "neighbours": [axis.letter, axis.reach] if axis else None,
        "depth": spec.depth,
        "detail": spec.detail,
        "precision": spec.precision,
        "version": __version__,
    }


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """Convert a record for JSON: numbers that are not finite become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if isinstance(value, float) and not np.isfinite(value):
            return None
        return value

    result: dict[str, Any] = plain(record)
    return result
