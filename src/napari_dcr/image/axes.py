"""Meaning of the axes of an array: y, x, colour samples, channels, and stepped axes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPPED_NAMES = "ztpqruvw"
"""Letters for leading axes that the caller has not named, from the innermost axis outwards."""


def is_integer(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy, and not a Boolean."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def turns_of(orientation: int) -> tuple[bool, bool, bool]:
    """Steps that rotate or mirror a stored picture upright, in this order.

    Parameters
    ----------
    orientation : int
        EXIF Orientation, 1 to 8.

    Returns
    -------
    over_y, over_x : bool
        Whether to reverse the rows and the columns.
    exchanged : bool
        Whether to exchange y and x afterwards.
    """
    return orientation in (3, 4, 6, 7), orientation in (2, 3, 7, 8), orientation >= 5


def turned_back(orientation: int) -> int:
    """EXIF Orientation that undoes another one.

    Examples
    --------
    >>> turned_back(6)
    8
    """
    return {6: 8, 8: 6}.get(orientation, orientation)


@dataclass(frozen=True)
class Band:
    """Samples of a pixel that are enhanced together.

    Attributes
    ----------
    start : int
        Index of the first sample on the sample axis.
    colours : int
        Number of samples that are enhanced: 3 for red, green and blue, 1 for grey.
    alphas : int
        Number of alpha samples that follow; they are not enhanced.
    associated : bool
        Whether the colours are stored multiplied by the first alpha sample.
    """

    start: int
    colours: int
    alphas: int
    associated: bool = False

    @property
    def stop(self) -> int:
        """Index after the last sample."""
        return self.start + self.colours + self.alphas


GREY = Band(0, 1, 0)
"""The only band of an image without a sample axis."""


@dataclass(frozen=True)
class Layout:
    """The axes of an image, one letter each.

    ``y`` and ``x`` are the axes of a plane, ``s`` holds the samples of each pixel, and ``c``
    independent channels.  All other letters are stepped axes: each of their planes is enhanced by
    itself.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    axes : str
        One letter per axis, for example ``"tyxs"``.
    samples : str
        Meaning of the samples, one letter each: ``rgb`` for a colour, ``a`` for alpha, ``A`` for
        alpha by which the preceding colours are multiplied, and ``y`` for a sample that is
        enhanced by itself, such as grey or near infrared.  By default ``"rgb"`` or ``"rgba"``.

    Examples
    --------
    >>> layout = Layout.resolve((12, 30, 64, 48))
    >>> layout.axes, layout.planes, layout.describe()
    ('tzyx', 360, '12 t x 30 z x 64 y x 48 x')
    """

    shape: tuple[int, ...]
    axes: str
    samples: str = ""

    def __post_init__(self) -> None:
        if not self.samples and "s" in self.axes:
            object.__setattr__(self, "samples", "rgba"[: self.shape[self.axes.index("s")]])

    @classmethod
    def resolve(
        cls,
        shape: tuple[int, ...],
        axes: str | None = None,
        channel_axis: int | None = None,
        rgb: bool | None = None,
        samples: str = "",
    ) -> Layout:
        """Determine the axes of an array from its shape and the caller's arguments.

        Parameters
        ----------
        shape : tuple of int
            Shape of the array.
        axes : str, optional
            One letter per axis.
        channel_axis : int, optional
            Index of the axis of independent channels.
        rgb : bool, optional
            Whether the last axis holds colour samples.  By default it does if its length is 3 or
            4 and there are at least three axes.
        samples : str
            Meaning of the samples, if a file defines it; used if the axes include an ``s`` of
            this length.

        Raises
        ------
        ValueError
            If the arguments do not fit the shape, or contradict each other.
        """
        ndim = len(shape)
        if 0 in shape:
            raise ValueError(
                f"image: got an empty array of shape {shape}; allowed are axes of length 1 or more"
            )
        if axes is not None:
            return cls._named(shape, axes, channel_axis, rgb, samples)
        if channel_axis is not None:
            if not is_integer(channel_axis) or not -ndim <= channel_axis < ndim:
                raise ValueError(
                    f"channel_axis: got {channel_axis!r} for an image of {ndim} axes; allowed is {-ndim}..{ndim - 1}"
                )
            if rgb:
                raise ValueError(
                    "channel_axis: got an axis together with rgb=True; colour samples are not channels"
                )
            rgb = False
            channel_axis = int(channel_axis) % ndim
        if rgb is None:
            rgb = ndim >= 3 and shape[-1] in (3, 4)
        spatial = ndim - rgb - (channel_axis is not None)
        if spatial < 2:
            raise ValueError(
                f"image: got shape {shape}, which leaves {spatial} axes for y and x; 2 are needed"
            )
        if rgb and shape[-1] not in (3, 4):
            raise ValueError(
                f"rgb: got True, but the last axis has length {shape[-1]}; allowed is 3 or 4"
            )
        stepped = STEPPED_NAMES[: spatial - 2][::-1]
        if len(stepped) < spatial - 2:
            raise ValueError(
                f"image: got {ndim} axes; at most {len(STEPPED_NAMES) + 3} are allowed"
            )
        letters = stepped + "yx" + "s" * rgb
        if channel_axis is not None:
            letters = letters[:channel_axis] + "c" + letters[channel_axis:]
        return cls(tuple(shape), letters)

    @classmethod
    def _named(
        cls,
        shape: tuple[int, ...],
        axes: str,
        channel_axis: int | None,
        rgb: bool | None,
        samples: str,
    ) -> Layout:
        letters = axes.lower() if isinstance(axes, str) else ""
        if not letters.isalpha() or len(letters) != len(shape) or len(set(letters)) != len(letters):
            raise ValueError(
                f"axes: got {axes!r} for an image of shape {shape}; allowed are {len(shape)} different letters"
            )
        if not {"y", "x"} <= set(letters):
            raise ValueError(f"axes: got {axes!r}; both y and x must be among the letters")
        if {"c", "s"} <= set(letters):
            raise ValueError(
                f"axes: got {axes!r}; an image has colour samples (s) or channels (c), not both"
            )
        count = shape[letters.index("s")] if "s" in letters else 0
        samples = samples if count == len(samples) else ""
        if count and not samples and count not in (3, 4):
            raise ValueError(
                f"axes: got {axes!r}, but axis s has length {count}; allowed is 3 (RGB) or 4 (RGBA)"
            )
        if channel_axis is not None and letters.find("c") != channel_axis % len(shape):
            raise ValueError(
                f"channel_axis: got {channel_axis}, which contradicts axes={axes!r}; pass only one of them"
            )
        if rgb is not None and rgb != ("s" in letters):
            raise ValueError(
                f"rgb: got {rgb}, which contradicts axes={axes!r}; pass only one of them"
            )
        return cls(tuple(shape), letters, samples)

    @property
    def height(self) -> int:
        """Length of y in pixels."""
        return self.shape[self.axes.index("y")]

    @property
    def width(self) -> int:
        """Length of x in pixels."""
        return self.shape[self.axes.index("x")]

    @property
    def is_rgb(self) -> bool:
        """Whether the samples include red, green and blue."""
        return "rgb" in self.samples

    @property
    def has_alpha(self) -> bool:
        """Whether one of the samples is alpha."""
        return "a" in self.samples.lower()

    @property
    def bands(self) -> list[Band]:
        """Groups of samples that are enhanced together, in order."""
        if not self.samples:
            return [GREY]
        matches = re.finditer("(rgb|.)([aA]*)", self.samples)
        return [Band(m.start(), len(m[1]), len(m[2]), m[2].startswith("A")) for m in matches]

    def band(self, channel: int) -> Band:
        """Samples that a channel consists of."""
        bands = self.bands
        return bands[channel] if len(bands) > 1 else bands[0]

    def with_colours_apart(self) -> Layout:
        """Layout in which each colour is a separate channel; alpha stays alpha."""
        return replace(self, samples=self.samples.replace("rgb", "yyy"))

    def channel_of(self, other: Layout, channel: int) -> int:
        """The channel that begins with the first sample of a channel of another layout of the same array.

        Examples
        --------
        >>> together = Layout((8, 9, 4), "yxs", "yrgb")
        >>> together.with_colours_apart().channel_of(together, 1)
        1
        """
        if "s" not in self.axes:
            return channel
        start = other.band(channel).start
        return [band.start for band in self.bands].index(start)

    @property
    def channels(self) -> int:
        """Number of independent channels: the length of the channel axis, or the number of bands."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else len(self.bands)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Lengths of the stepped axes."""
        return tuple(n for n, a in zip(self.shape, self.axes, strict=True) if a not in "yxsc")

    @property
    def planes(self) -> int:
        """Number of planes: frames times channels."""
        return int(np.prod(self.frame_shape, dtype=int)) * self.channels

    def frame_number(self, frame: tuple[int, ...]) -> int:
        """Position of a frame in `frames`."""
        return int(np.ravel_multi_index(frame, self.frame_shape)) if frame else 0

    def frames(self) -> Iterator[tuple[int, ...]]:
        """Indices into the stepped axes, in C order."""
        return itertools.product(*(range(n) for n in self.frame_shape))

    def index(
        self, frame: tuple[int, ...], channel: int, rows: slice, columns: slice, samples: slice
    ) -> tuple[int | slice, ...]:
        """Index of a window of one plane; ``samples`` are counted from the plane's first sample."""
        fixed = iter(frame)
        if "s" in self.axes:
            band = self.band(channel)
            start, stop, _ = samples.indices(band.stop - band.start)
            samples = slice(band.start + start, band.start + stop)
        place: dict[str, int | slice] = {"y": rows, "x": columns, "s": samples, "c": channel}
        return tuple(place[a] if a in place else next(fixed) for a in self.axes)

    @property
    def sample_axis(self) -> int | None:
        """Axis of the samples in a window that `index` reads; None without samples."""
        axes = self._plane_axes()
        return axes.index("s") if "s" in axes else None

    def _plane_axes(self) -> str:
        return "".join(a for a in self.axes if a in "yxs")

    def to_planar(self, window: NDArray[Any]) -> NDArray[Any]:
        """Transpose a window that `index` reads to (samples, h, w)."""
        axes = self._plane_axes()
        if "s" not in axes:
            return window[None] if axes == "yx" else window.T[None]
        return window.transpose([axes.index(a) for a in "syx"])

    def from_planar(self, planar: NDArray[Any]) -> NDArray[Any]:
        """Inverse of `to_planar`."""
        axes = self._plane_axes()
        if "s" not in axes:
            return planar[0] if axes == "yx" else planar[0].T
        return planar.transpose(["syx".index(a) for a in axes])

    def place(self, frame: tuple[int, ...], channel: int) -> str:
        """Description of a plane's position, such as ``"t 3/12, channel 1/2"``; empty for one plane."""
        names = [a for a in self.axes if a not in "yxsc"]
        parts = [f"{a} {i + 1}/{n}" for a, i, n in zip(names, frame, self.frame_shape, strict=True)]
        if self.channels > 1:
            parts.append(f"channel {channel + 1}/{self.channels}")
        return ", ".join(parts)

    def describe(self) -> str:
        """Description of the shape, such as ``"12 t x 64 y x 48 x"``."""
        return " x ".join(f"{n} {a}" for n, a in zip(self.shape, self.axes, strict=True))
