"""What a run yields and returns: its progress and the result with its record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from napari_dcr.engine.setup import Setup
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.quality import Report
from napari_dcr.options import Options
from napari_dcr.version import __version__


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Pixels enhanced so far, and in all.
    message : str
        What is going on, for people.
    """

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Enhancement:
    """A result and how it came about.

    Attributes
    ----------
    image : array
        The enhanced image, as `enhance` returns it.
    record : dict
        Options, model, sha256 of the weights, version, device, precision,
        intensity ranges, warnings about the input and seconds; plain values. For `microscopy` also the noise
        that was found and, where the result can be read, the reports.
    reports : list of Report
        One for each channel, where there are any.
    defects : list of Defects
        Those that were corrected, of each group of planes that was looked at by itself.
    residual : ndarray or None
        Input minus result, without its gain, if it was asked for.
    uncertainty : ndarray or None
        Deviation of each pixel's error, if it was asked for.
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
) -> dict[str, Any]:
    """Record of what is done, and with what; plain values.

    Parameters
    ----------
    options : Options
    setup : Setup
    layout : Layout
    ranges : list
        Black and white point of each group of planes.
    noise : list
        Noise of each group of planes, where the model works in counts.
    defects : list
        Defects of the sensor that were corrected, of each group of planes that has some.
    warnings : iterable of str
        What was left alone or read in an unexpected way, see `InputWarning`.
    """
    spec = setup.spec
    found = [d.to_dict() for d in defects if not d.is_empty]
    return {
        "options": options.to_dict(),
        "model": setup.model.name,
        "sha256": spec.sha256,
        "depth": spec.depth,
        "axes": layout.axes,
        "ranges": ranges,
        **({"noise": noise} if noise else {}),
        **({"defects": found} if found else {}),
        "version": __version__,
        "precision": spec.precision,
        "warnings": list(warnings),
    }
