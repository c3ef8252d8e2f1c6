"""Describe the defects of a sensor in a sentence and in a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

OFFSETS = ("columns", "rows", "offset")
GAINS = ("column_gain", "row_gain")


def describe_defects(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Describe the arrays of `napari_dcr.Defects` in a sentence.

    Examples
    --------
    >>> describe_defects({"columns": np.full((1, 1, 2, 9), 2.0), "hot": np.zeros((3, 3), int)})
    'column offsets of 2 RMS, 2 parts, 3 hot or dead pixels'
    """
    parts = []
    for name in OFFSETS[:2]:
        if (value := arrays.get(name)) is not None:
            each = ", of every frame" if len(value) > 1 else ""
            halves = f", {value.shape[2]} parts" if value.shape[2] > 1 else ""
            parts.append(f"{name.removesuffix('s')} offsets of {_rms(value):.3g} RMS{halves}{each}")
    if (value := arrays.get("offset")) is not None:
        parts.append(f"pixel offsets of {_rms(value):.3g} RMS")
    for name in GAINS:
        if (value := arrays.get(name)) is not None:
            parts.append(f"{name.removesuffix('_gain')} gains of {_rms(value - 1):.2%} RMS")
    if count := len(arrays.get("hot", ())):
        parts.append(f"{count} hot or dead pixel{'s' if count > 1 else ''}")
    return ", ".join(parts) or "no defects"


def summarise_defects(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Summarise offsets and gains for a record, by their root mean squares in the image's units."""
    summary: dict[str, Any] = {}
    for name in (*OFFSETS, *GAINS):
        if (value := arrays.get(name)) is not None:
            summary[name] = round(_rms(value - (name in GAINS)), 6)
    for name in OFFSETS[:2]:
        if len(arrays.get(name, ())) > 1:
            summary[f"{name}_of_every_frame"] = True
    return summary


def _rms(values: NDArray[Any]) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))
