"""Read and compose OME-Zarr metadata: axes, levels, versions and display settings.

The specification, versions 0.1 to 0.5, is at https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = "0.5"
"""Version in which images are written whose source is not an OME-Zarr image."""

WRITTEN = ("0.4", "0.5")
"""Versions that can be written: 0.4 on zarr 2 and 0.5 on zarr 3; older ones become 0.4."""

_TYPES = {"time": "t", "channel": "c"}


def find_multiscale(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """First multiscale image in the attributes of a group, or None."""
    images = attributes.get("ome", attributes).get("multiscales")
    usable = isinstance(images, list) and images and isinstance(images[0], dict)
    return dict(images[0]) if usable else None


def namespace(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a group that OME-Zarr defines; up to version 0.4 these are all attributes."""
    return dict(attributes.get("ome", attributes))


def version_of(multiscale: dict[str, Any] | None, attributes: dict[str, Any]) -> str:
    """Version in which the result is written: that of the image, or the next one that is supported."""
    own = attributes.get("ome")
    if own is not None:
        return str(own.get("version", VERSION)) if own.get("version") in WRITTEN else VERSION
    return "0.4"


def attributes(
    version: str, image: dict[str, Any], omero: dict[str, Any] | None, own: dict[str, Any]
) -> dict[str, Any]:
    """Compose the attributes of a group.

    Parameters
    ----------
    version : str
        One of `WRITTEN`.
    image : dict
        Metadata of the multiscale image, from `describe_pyramid`.
    omero : dict, optional
        Names and display settings of channels.
    own : dict
        Attributes of the source; those that OME-Zarr does not define are copied.
    """
    others = {k: v for k, v in own.items() if k not in _OME_KEYS}
    shown = {"omero": omero} if omero else {}
    if version == "0.5":
        return {**others, "ome": {"version": version, "multiscales": [image], **shown}}
    return {**others, "multiscales": [{"version": version, **image}], **shown}


_OME_KEYS = ("ome", "multiscales", "omero", "labels", "image-label", "bioformats2raw.layout", "plate", "well", "napari_dcr")  # fmt: skip


def shown(omero: dict[str, Any], pixels: NDArray[Any], axes: str) -> dict[str, Any]:
    """Adapt the display settings of channels to the range of the enhanced pixels.

    Parameters
    ----------
    omero : dict
        Display settings of the source.
    pixels : ndarray
        Pixels of the coarsest level.
    axes : str
        One letter per axis of ``pixels``.
    """
    channels = []
    for number, channel in enumerate(omero.get("channels", [])):
        inside = (
            pixels.take(number, axes.index("c"))
            if "c" in axes and number < pixels.shape[axes.index("c")]
            else pixels
        )
        finite = inside[np.isfinite(inside)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        limits = (low, high)
        if pixels.dtype.kind in "iu":
            limits = float(np.iinfo(pixels.dtype).min), float(np.iinfo(pixels.dtype).max)
        window = {"min": limits[0], "max": limits[1], "start": low, "end": max(high, low + 1e-9)}
        channels.append({**channel, "window": window})
    return {**omero, "channels": channels}


def letters(multiscale: dict[str, Any], ndim: int) -> str | None:
    """One letter per axis, or None if the metadata do not define the axes."""
    named = multiscale.get("axes")
    if named is None:  # versions 0.1 and 0.2 always have these axes
        return "tczyx" if ndim == 5 else None
    found = []
    for axis in named:
        name = axis if isinstance(axis, str) else axis.get("name", "")
        kind = None if isinstance(axis, str) else axis.get("type")
        found.append(_TYPES.get(str(kind), str(name).lower()))
    return letters_of(found) if len(found) == ndim else None


def letters_of(names: Any) -> str | None:
    """Convert axis names to letters, if all are different letters that include y and x."""
    names = [str(n).lower() for n in names]
    usable = all(len(n) == 1 and n.isalpha() for n in names) and {"y", "x"} <= set(names)
    return "".join(names) if usable and len(set(names)) == len(names) else None


def is_allowed(axes: str) -> bool:
    """Whether the standard allows axes in this order: time, one other, then two or three of space.

    The standard recommends the order z, y, x, but allows any order of these.

    Examples
    --------
    >>> is_allowed("tczyx"), is_allowed("xy"), is_allowed("tzcyx")
    (True, True, False)
    """
    return re.fullmatch("t?[^tzyx]?[zyx]{2,3}", axes) is not None


def level_paths(multiscale: dict[str, Any]) -> list[str]:
    """Paths of the levels in the group, the finest first; empty if the metadata are damaged."""
    levels = multiscale.get("datasets")
    if not isinstance(levels, list) or not all(isinstance(e, dict) and "path" in e for e in levels):
        return []
    return [str(level["path"]) for level in levels]


def mismatch(multiscale: dict[str, Any], level: str, ndim: int) -> str:
    """Reason why the metadata of a level do not describe its array; empty if they do.

    Examples
    --------
    >>> image = {"axes": [{"name": "z"}, {"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}
    >>> mismatch(image, "0", 2)
    "its metadata describe 3 axes, but its array '0' has 2"
    """
    named = multiscale.get("axes")
    if named is not None and len(named) != ndim:
        return f"its metadata describe {len(named)} axes, but its array {level!r} has {ndim}"
    own = next(entry for entry in multiscale["datasets"] if str(entry["path"]) == level)
    for change in own.get("coordinateTransformations", []):
        for kind in ("scale", "translation"):
            if kind in change and len(change[kind]) != ndim:
                return (
                    f"its metadata give a {kind} of {len(change[kind])} values, but its array"
                    f" {level!r} has {ndim} axes"
                )
    return ""


def describe_pyramid(
    axes: str, steps: list[tuple[int, ...]], template: dict[str, Any] | None, level: str
) -> dict[str, Any]:
    """Compose the metadata of a multiscale image.

    Parameters
    ----------
    axes : str
        One letter per axis.
    steps : list of tuple of int
        For each level and axis, the number of pixels of the finest level in one pixel.
    template : dict, optional
        Multiscale metadata of the source image, whose names, units and scale are kept.
    level : str
        Path of the source level in the source image.
    """
    base_scale, base_shift = [1.0] * len(axes), [0.0] * len(axes)
    described: list[Any] = [_describe_axis(a) for a in axes]
    if template is not None:
        named = template.get("axes")
        if named and len(named) == len(axes) and all(isinstance(a, dict) for a in named):
            described = named
        for entry in template["datasets"]:
            if str(entry["path"]) == level:
                for change in entry.get("coordinateTransformations", []):
                    base_scale = change.get("scale", base_scale)
                    base_shift = change.get("translation", base_shift)
    datasets = []
    for number, step in enumerate(steps):
        scale = [s * n for s, n in zip(base_scale, step, strict=True)]
        # The centre of a coarse pixel lies between the centres of the pixels that it averages.
        shift = [t + s * (n - 1) / 2 for t, s, n in zip(base_shift, base_scale, step, strict=True)]
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(shift):
            changes.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": changes})
    kept = {k: v for k, v in (template or {}).items() if k not in ("version", "metadata", "type")}
    return {**kept, "axes": described, "datasets": datasets, "type": "mean"}


def _describe_axis(letter: str) -> dict[str, str]:
    kinds = {"t": "time", "c": "channel", "s": "channel", "z": "space", "y": "space", "x": "space"}
    kind = kinds.get(letter)
    return {"name": letter, "type": kind} if kind else {"name": letter}
