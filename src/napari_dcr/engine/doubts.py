"""Find what in a survey is unlikely to be measured data: padding, no-data values, unusable planes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.groups import Group
from napari_dcr.engine.output import Quantitative
from napari_dcr.engine.survey import Survey
from napari_dcr.engine.survey_blocks import Extreme
from napari_dcr.image.axes import Layout
from napari_dcr.image.noise_model import NoiseEstimate

UNFIT = 0.01
"""Share of the pixels from which a dtype that does not hold their values is refused."""

FEW = 32
"""Number of levels below which a warning is given if floats are rounded to whole numbers."""

FILL = 0.01
"""Smallest share of pixels with one value, far from all others, that is reported as a possible no-data value."""


def describe_doubts(
    survey: Survey, shared: GroupConditioning, dtype: np.dtype[Any], group: Group, layout: Layout
) -> Iterator[str]:
    """Describe planes that are returned unchanged, and values that are unlikely to be measured.

    Parameters
    ----------
    survey : Survey
        Survey of the group.
    shared : GroupConditioning
        Conditioning of the group.
    dtype : dtype
        Dtype of the image.
    group : Group
    layout : Layout

    Yields
    ------
    str
        One warning message each.
    """
    frames = group.frames(layout)
    name = _name(group, layout)
    reasons: dict[str, list[str]] = {}
    for number, reason in shared.left_alone.items():
        reasons.setdefault(reason, []).append(layout.place(frames[number], group.channel))
    for reason, places in reasons.items():
        named = ", ".join(places[:3]) + f" and {len(places) - 3} more" * (len(places) > 3)
        yield f"{named or 'image'}: {reason}; left as {'they are' if places[1:] else 'it is'}"
    if len(shared.left_alone) == len(frames):
        return
    if shared.light == 0:
        mean = survey.thumbnail.mean()
        if mean > (shared.scale.black + shared.scale.white) / 2:
            yield f"{name}: it is bright already, with a mean of {mean:.4g}; left as it is"
        else:
            yield f"{name}: too dark to be enhanced, with less than two of 255 levels; left as it is"
    if shared.noise is not None and not _is_noisy(survey, shared.noise, dtype):
        yield f"{name}: no noise was found, so almost nothing is removed"
    if shared.noise is not None and shared.noise.is_uncertain:
        low = survey.unit * shared.noise.read_noise
        high = low / (1 - shared.noise.structure) ** 0.5
        yield (
            f"{name}: structure and noise of so few pixels cannot be distinguished; the noise has a standard"
            f" deviation between {low:.3g}, which is assumed, and {high:.3g}. If you know the noise, pass noise="
        )
    shares: dict[tuple[float, ...], float] = {}
    for kind in (kind for kinds in shared.padding.values() for kind in kinds):
        shares[kind.colour] = shares.get(kind.colour, 0) + kind.share / len(frames)
    for colour, share in shares.items():
        value = ", ".join(f"{sample:.9g}" for sample in colour)
        yield (
            f"nodata: about {share:.2%} of the pixels of {name} have the value {value} in solid"
            " areas; they are treated as pixels without data and left as they are"
        )
    for fill in survey.fills:
        far = dtype != np.uint8 and not _has_two_values(survey) and _is_far(fill, survey)
        if far and (fill.value,) not in shares:
            yield (
                f"nodata: {fill.count / survey.pixels:.2%} of the pixels of {name} have the value"
                f" {fill.value:.9g}, far from all others; if they hold no data, pass"
                f" nodata={fill.value:.9g}"
            )


def describe_misfit(
    survey: Survey, shared: GroupConditioning, rendering: Quantitative, dtype: np.dtype[Any],
    group: Group, layout: Layout,
) -> str:  # fmt: skip
    """Describe values that the dtype of a result in the image's own units does not hold.

    Parameters
    ----------
    survey, shared, dtype, group, layout
        See `describe_doubts`.
    rendering : Quantitative
        Rendering of the result.

    Returns
    -------
    str
        Warning message; empty if all values fit.

    Raises
    ------
    ValueError
        If the user has chosen a dtype that holds too few of the values, or too few levels.
    """
    out, name = rendering.dtype, _name(group, layout)
    if not survey.fills or not np.isfinite([end.value for end in survey.fills]).all():
        return ""
    gain, zero = 2.0**rendering.exposure, shared.black
    ends = [zero + gain * (end.value - zero) for end in survey.fills]
    is_whole = out.kind != "f"
    limits = np.iinfo(out) if is_whole else np.finfo(out)
    low, high = float(limits.min), float(limits.max)
    found = f"{name} has values from {ends[0]:.6g} to {ends[1]:.6g}"
    # The values of a group that is surveyed later cannot stop a run that has nearly finished.
    is_refused = out != dtype and not any(group.frame or ())
    advice = "allowed are 'same' and dtypes that hold these values, such as 'float32'"
    if ends[0] < low - 0.5 * is_whole or ends[1] > high + 0.5 * is_whole:
        inner = (zero + (limit - zero) / gain for limit in (low, high))
        share = survey.histogram.share_outside(*inner)
        if is_refused and share > UNFIT:
            raise ValueError(
                f"output: got {out.name!r}, which holds {low:.6g} to {high:.6g}, but {found};"
                f" {share:.1%} of its pixels would be clipped, because this model keeps the units;"
                f" {advice}. For a picture for viewing, choose model='photo'"
            )
        part = f"about {share:.2%} of its pixels" if share else "single pixels"
        brighter = f" with exposure {rendering.exposure:g}" if gain != 1 else ""
        return (
            f"output: {out.name} holds {low:.6g} to {high:.6g}; {found}{brighter}, and {part} are"
            " clipped; pass output='float32' to keep them"
        )
    if is_whole and dtype.kind == "f":
        span = gain * (survey.histogram.quantile(0.9999) - survey.histogram.quantile(0.001))
        if is_refused and span < 1:
            raise ValueError(
                f"output: got {out.name!r}, which holds whole numbers, but {found}; rounding would leave"
                f" at most two of them, because this model keeps the units; {advice}"
            )
        if span < FEW:
            return (
                f"output: got {out.name!r}, which holds whole numbers; {found}, so the result has only"
                f" about {span + 1:.0f} levels; pass output='float32' to keep fractions"
            )
    return ""


def _name(group: Group, layout: Layout) -> str:
    """Name of a group of planes."""
    frames = group.frames(layout)
    name = layout.place(frames[0], group.channel) if len(frames) == 1 else ""
    if not name and layout.channels > 1:
        name = f"channel {group.channel + 1}/{layout.channels}"
    return name or "image"


def _is_noisy(survey: Survey, noise: NoiseEstimate, dtype: np.dtype[Any]) -> bool:
    """Whether the noise of bright blocks is above that of rounding; most blocks may be empty."""
    assert survey.noise is not None
    means = survey.noise["mean"]
    least = 0.3 if dtype.kind in "iu" else 2e-6 * max(np.ptp(means), abs(means[0]))
    return bool(noise.model.deviation(float(np.quantile(means, 0.9))) > least)


def _has_two_values(survey: Survey) -> bool:
    """Whether the image has only two values, as a mask or a scanned page."""
    return sum(fill.count for fill in survey.fills) >= survey.pixels


def _is_far(fill: Extreme, survey: Survey) -> bool:
    """Whether many pixels have a value that is far from all other values."""
    if not FILL <= fill.count / max(survey.pixels, 1) < 1 or not np.isfinite(fill.next):
        return False
    low, high = survey.histogram.quantiles_without(fill.value, (0.01, 0.99))
    return abs(fill.value - fill.next) > 0.5 * (high - low)
