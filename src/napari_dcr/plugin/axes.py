"""Find the axes of a layer from its labels, the viewer or its file, and describe them in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dcr.image.axes import Layout
from napari_dcr.plugin.pixels import layer_shape

if TYPE_CHECKING:
    from napari.layers import Image

AXIS_LETTERS = {
    "time": "t", "frame": "t", "frames": "t", "depth": "z", "plane": "z", "slice": "z",
    "channel": "c", "channels": "c", "ch": "c", "colour": "c", "color": "c",
    "row": "y", "rows": "y", "height": "y", "column": "x", "columns": "x", "width": "x",
}  # fmt: skip
"""Letters of axes for names that other software uses."""

WORDS = {"t": "time point", "z": "plane", "c": "channel"}

MOST_CHANNELS = 10
"""Largest number of channels without a question about the axes."""

LONGEST = 8
"""Largest ratio of the longer to the shorter side of an image without a question about the axes."""

FEW = range(2, 6)
"""Lengths of an unnamed axis that is likely to hold channels."""


@dataclass(frozen=True)
class Axes:
    """Axes of a layer's array.

    Attributes
    ----------
    letters : str
        One letter per axis, as in the option ``axes``.
    guessed : bool
        Whether the stepped axes were guessed, because no label or file defines them.
    """

    letters: str
    guessed: bool


def layer_axes(layer: Image, viewer_labels: Sequence[str] = ()) -> str:
    """Axes of a layer's array, one letter per axis; see `find_axes`."""
    return find_axes(layer, viewer_labels).letters


def find_axes(layer: Image, viewer_labels: Sequence[str] = ()) -> Axes:
    """Find the axes of a layer's array.

    They are taken from the layer's axis labels if these are letters or well-known names, otherwise
    from the labels of the viewer's sliders, otherwise from the layer's file.  If none of them
    defines the axes, the last two dimensions are y and x, and the others are stepped axes with
    guessed letters.  The samples of a colour layer come last.

    Parameters
    ----------
    layer : Image
    viewer_labels : sequence of str
        Axis labels of the viewer, ``viewer.dims.axis_labels``.
    """
    samples = "s" * bool(layer.rgb)
    own = [str(label) for label in layer.axis_labels]
    shared = [str(label) for label in viewer_labels][-layer.ndim :]
    for labels in (own, shared if len(shared) == layer.ndim else []):
        letters = _letters(labels, bool(layer.rgb))
        if letters is not None:
            return Axes(letters + samples, False)
    stored = _axes_of_file(layer)
    if stored is not None:
        return Axes(stored, False)
    leading = [AXIS_LETTERS.get(label.lower(), label.lower()) for label in own[:-2]]
    usable = all(len(a) == 1 and a.isalpha() and a not in "yxs" for a in leading)
    if not usable or len(set(leading)) < len(leading) or (layer.rgb and "c" in leading):
        leading = list("wvurqptz"[-len(leading) :]) if leading else []
        return Axes("".join(leading) + "yx" + samples, bool(leading))
    return Axes("".join(leading) + "yx" + samples, False)


def _letters(labels: Sequence[str], rgb: bool) -> str | None:
    """Convert labels to letters; None if one of them has no letter."""
    letters = [AXIS_LETTERS.get(label.lower(), label.lower()) for label in labels]
    usable = all(len(a) == 1 and a.isalpha() and a != "s" for a in letters)
    if not usable or len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters):
        return None
    return None if rgb and "c" in letters else "".join(letters)


def _axes_of_file(layer: Image) -> str | None:
    """Axes that the layer's file defines, if it holds exactly this array."""
    from napari_dcr.io.opening import open_image

    path = layer.source.path
    if path is None or layer.ndim < 3:
        return None
    shape = layer_shape(layer)
    with contextlib.suppress(Exception):  # napari may have read a format that we cannot read
        opened = open_image(path)
        known = opened.axes is not None and tuple(opened.array.shape) == shape
        if known and ("s" in opened.axes) == bool(layer.rgb):  # type: ignore[operator]
            return opened.axes
    return None


def describe(shape: tuple[int, ...], axes: str, *, guessed: bool = False) -> str:
    """Describe a shape in words.

    Raises
    ------
    ValueError
        If the letters do not fit the shape.

    Examples
    --------
    >>> describe((12, 2, 512, 640), "tcyx")
    '12 time points, 2 channels, 640 x 512 pixels'
    >>> describe((512, 640, 4), "yxs")
    '640 x 512 pixels, RGB with alpha'
    >>> describe((300, 480, 640), "zyx", guessed=True)
    'guessed: 300 frames, 640 x 480 pixels'
    """
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not axes.isalpha():
        raise ValueError(
            f"This image has {len(shape)} axes; enter {len(shape)} different letters, for example"
            f" {_example(shape)} (got {axes!r})."
        )
    layout = Layout.resolve(shape, axes)
    lengths = dict(zip(layout.axes, shape, strict=True))
    stepped = [a for a in layout.axes if a not in "yxs"]
    parts = []
    for letter in stepped:
        word = WORDS.get(letter, f"step of {letter}")
        if guessed and len(stepped) == 1:
            word = "frame"
        first, _, rest = word.partition(" of ")
        plural = first + "s" * (lengths[letter] != 1)
        parts.append(f"{lengths[letter]} {plural}{' of ' + rest if rest else ''}")
    parts.append(f"{layout.width} x {layout.height} pixels")
    if layout.is_rgb:
        parts.append("RGB with alpha" if layout.has_alpha else "RGB")
    return ("guessed: " if guessed else "") + ", ".join(parts)


def describe_place(place: str, *, guessed: bool = False) -> str:
    """Describe the position of a plane in words.

    Parameters
    ----------
    place : str
    guessed : bool
        Whether the axes were guessed; a single one is then called "frame", as by `describe`.

    Examples
    --------
    >>> describe_place("t 46/300, channel 1/2")
    'time point 46 of 300, channel 1 of 2'
    >>> describe_place("z 46/300", guessed=True)
    'frame 46 of 300'
    """
    guessed = guessed and place.count("/") == 1

    def in_words(found: re.Match[str]) -> str:
        axis, number, count = found.groups()
        word = WORDS.get(axis, axis if len(axis) > 1 else f"step of {axis}")
        word = "frame" if guessed else word
        return f"{word} {number} of {count}"

    return re.sub(r"\b([a-z]+) (\d+)/(\d+)", in_words, place)


def _example(shape: tuple[int, ...]) -> str:
    samples = "s" * (len(shape) > 2 and shape[-1] in (3, 4))
    return "qptzyx"[-(len(shape) - len(samples)) :] + samples


def doubt(shape: tuple[int, ...], axes: Axes) -> str | None:
    """Question about axes that the user should check before a run; None if they are plausible.

    Examples
    --------
    >>> doubt((4, 100, 120), Axes("yxc", False))
    'Is this right: 120 channels?'
    >>> doubt((3, 512, 512), Axes("zyx", True))
    'Is this right: 3 planes, not channels (c) or time points (t)?'
    >>> doubt((300, 512, 512), Axes("zyx", True)) is None
    True
    """
    lengths = dict(zip(axes.letters, shape, strict=True))
    if lengths.get("c", 1) > MOST_CHANNELS:
        return f"Is this right: {lengths['c']} channels?"
    width, height = lengths["x"], lengths["y"]
    if max(width, height) > LONGEST * min(width, height):
        return f"Is this right: an image of {width} x {height} pixels?"
    if axes.guessed:
        for letter in (a for a in axes.letters if a not in "yxsc"):
            if lengths[letter] in FEW:
                what = {"t": "time points", "z": "planes"}.get(letter, f"steps of {letter}")
                others = [f"{w}s ({a})" for a, w in WORDS.items() if a in "ct" and a != letter]
                return f"Is this right: {lengths[letter]} {what}, not {' or '.join(others[::-1])}?"
    return None
