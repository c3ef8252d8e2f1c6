"""OME-Zarr metadata: what axes a multiscale image has and where its levels are.

Next-generation file format, versions 0.1 to 0.5: https://ngff.openmicroscopy.org
"""

from __future__ import annotations

from typing import Any

VERSION = "0.5"

_TYPES = {"time": "t", "channel": "c"}


def find_multiscale(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """First multiscale image in a group's attributes, or None if there is none."""
    images = attributes.get("ome", attributes).get("multiscales")
    return dict(images[0]) if images else None


def letters(multiscale: dict[str, Any], ndim: int) -> str | None:
    """A letter per axis, or None if the metadata does not tell."""
    named = multiscale.get("axes")
    if named is None:  # 0.1 and 0.2: always these
        return "tczyx" if ndim == 5 else None
    found = []
    for axis in named:
        name = axis if isinstance(axis, str) else axis.get("name", "")
        kind = None if isinstance(axis, str) else axis.get("type")
        found.append(_TYPES.get(str(kind), str(name).lower()))
    return letters_of(found) if len(found) == ndim else None


def letters_of(names: Any) -> str | None:
    """Axis names as letters, provided that each is a letter of its own and y and x are among them."""
    names = [str(n).lower() for n in names]
    usable = all(len(n) == 1 and n.isalpha() for n in names) and {"y", "x"} <= set(names)
    return "".join(names) if usable and len(set(names)) == len(names) else None


def level_paths(multiscale: dict[str, Any]) -> list[str]:
    """Paths of the levels within the group, finest first."""
    return [str(level["path"]) for level in multiscale["datasets"]]


def describe_pyramid(
    axes: str, steps: list[tuple[int, ...]], template: dict[str, Any] | None, level: str
) -> dict[str, Any]:
    """Attributes of a group that holds a pyramid.

    Parameters
    ----------
    axes : str
        A letter per axis.
    steps : list of tuple of int
        Pixels of the finest level per pixel, for each level and axis.
    template : dict, optional
        Multiscale metadata of the image that it was made from: names, units and
        scale are kept.
    level : str
        Path of the level of that image that it was made from.
    """
    base_scale, base_shift = [1.0] * len(axes), [0.0] * len(axes)
    described: list[Any] = [_describe_axis(a) for a in axes]
    name = None
    if template is not None:
        name = template.get("name")
        kept = template.get("axes")
        if kept and len(kept) == len(axes) and all(isinstance(a, dict) for a in kept):
            described = kept
        for entry in template["datasets"]:
            if str(entry["path"]) == level:
                for change in entry.get("coordinateTransformations", []):
                    base_scale = change.get("scale", base_scale)
                    base_shift = change.get("translation", base_shift)
    datasets = []
    for number, step in enumerate(steps):
        scale = [s * n for s, n in zip(base_scale, step, strict=True)]
        # The centre of a pixel of a coarse level lies between those it is the mean of.
        shift = [t + s * (n - 1) / 2 for t, s, n in zip(base_shift, base_scale, step, strict=True)]
        changes: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(shift):
            changes.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": changes})
    image: dict[str, Any] = {"axes": described, "datasets": datasets, "type": "mean"}
    if name:
        image["name"] = name
    if template is not None and "coordinateTransformations" in template:
        image["coordinateTransformations"] = template["coordinateTransformations"]
    return {"ome": {"version": VERSION, "multiscales": [image]}}


def _describe_axis(letter: str) -> dict[str, str]:
    kinds = {"t": "time", "c": "channel", "s": "channel", "z": "space", "y": "space", "x": "space"}
    kind = kinds.get(letter)
    return {"name": letter, "type": kind} if kind else {"name": letter}
