"""Defects of a sensor, and their correction: offsets of columns and rows, hot and dead pixels.

The file is long because one class holds all maps of a sensor, which every change of shape or place must
change together.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import turns_of
from napari_dcr.image.dark_frames import measure_defects
from napari_dcr.image.defect_correction import (
    MARGIN,
    Floats,
    divide_by_gains,
    fill_hot_pixels,
    subtract_offsets,
)
from napari_dcr.image.defect_description import describe_defects, summarise_defects
from napari_dcr.image.defect_files import FORMAT, read_defects, write_defects
from napari_dcr.image.defect_validation import checked_lines, checked_places
from napari_dcr.image.missing import missing


@dataclass(frozen=True, eq=False)
class Defects:
    """Defects of a sensor, which are corrected before an image is processed.

    A pixel is corrected to ``black + (value - offset - column - row - black) / (column gain *
    row gain)``; hot and dead pixels are replaced by the mean of their neighbours.

    Attributes
    ----------
    height, width : int
        Size of the images in pixels.
    channels : int
        Number of channels; values that are given for a single channel hold for every channel.
    columns : ndarray, shape (f, c, p, width), or None
        Offsets of columns in the image's units: for one frame or every frame, for each
        channel, and for all rows or for p equal parts of the rows, each with its own amplifier.
    rows : ndarray, shape (f, c, p, height), or None
        Offsets of rows, for p equal parts of the columns.
    offset : ndarray, shape (c, height, width), or None
        Offset of every pixel.
    column_gain, row_gain : ndarray, shape (c, width) and (c, height), or None
        Factors about 1.
    black : float
        Level of the sensor without light, which gains multiply from.
    hot : ndarray of int, shape (n, 3)
        Channel, row and column of hot, dead and stuck pixels, in this order.
    excess : ndarray, shape (n,)
        Distance of each of them from its neighbours in the images in which they were found.

    Raises
    ------
    ValueError
        If shapes contradict each other, or values are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> offsets = np.zeros((1, 1, 1, 8), np.float32)
    >>> offsets[..., 3] = 2
    >>> defects = Defects(8, 8, columns=offsets, hot=np.array([[0, 5, 6]]))
    >>> image = np.full((1, 8, 8), 10, np.uint16)
    >>> image[0, :, 3] += 2
    >>> image[0, 5, 6] = 999
    >>> bool((defects.correct(image, 0, 0) == 10).all())
    True
    """

    height: int
    width: int
    channels: int = 1
    columns: Floats | None = None
    rows: Floats | None = None
    offset: Floats | None = None
    column_gain: Floats | None = None
    row_gain: Floats | None = None
    black: float = 0.0
    hot: NDArray[Any] = field(default_factory=lambda: np.empty((0, 3), np.int32))
    excess: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        shapes = {
            "columns": (None, None, None, self.width),
            "rows": (None, None, None, self.height),
            "offset": (None, self.height, self.width),
            "column_gain": (None, self.width),
            "row_gain": (None, self.height),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None:
                value = checked_lines(name, value, shape, self.channels)
                object.__setattr__(self, name, value)
        if not math.isfinite(self.black):
            raise ValueError(f"defects: got black {self.black}; allowed are finite numbers")
        hot = checked_places(self.hot, (self.channels, self.height, self.width))
        order = np.lexsort(hot.T[::-1])
        object.__setattr__(self, "hot", hot[order].astype(np.int32))
        excess = np.asarray(self.excess, np.float64)
        excess = excess[order] if len(excess) == len(hot) else np.zeros(len(hot))
        object.__setattr__(self, "excess", excess)

    @property
    def is_empty(self) -> bool:
        """Whether there are no defects to correct."""
        return self.has_only_hot_pixels and not len(self.hot)

    @property
    def has_only_hot_pixels(self) -> bool:
        """Whether there are neither offsets nor gains."""
        return self._arrays().keys() <= {"hot", "excess"}

    @property
    def margin(self) -> int:
        """Width in pixels of the border around a window that its correction needs."""
        return MARGIN if len(self.hot) else 0

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of everything that the correction depends on."""
        digest = hashlib.sha256(
            f"{FORMAT} {self.channels} {self.height} {self.width} {self.black}".encode()
        )
        for name, value in self._arrays().items():
            digest.update(f"{name} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def correct(
        self,
        window: NDArray[Any],
        row: int,
        column: int,
        channel: int = 0,
        frame: int = 0,
        colours: int | None = None,
    ) -> NDArray[Any]:
        """Correct a window of an image.

        Parameters
        ----------
        window : ndarray, shape (s, h, w)
            Pixels in the image's own units.
        row, column : int
            Position of the first pixel in the image.  Hot pixels closer than `MARGIN` to the border of
            the window are only filled exactly if it is also the border of the image.
        channel : int
            Channel of the first sample.
        frame : int
            Number of the frame, if each frame has its own offsets.
        colours : int, optional
            Number of samples to correct; the samples after them (alpha) are not changed.

        Returns
        -------
        ndarray, shape (s, h, w)
            Corrected pixels, as float64 for float64 and float32 otherwise.  Saturated integers and
            missing pixels (not finite, or masked) are not changed.
        """
        samples, height, width = window.shape
        gone, mask = missing(window), np.ma.getmask(window)
        window = np.ma.getdata(window)
        wide: Any = np.float64 if window.dtype == np.float64 else np.float32
        result = window.astype(wide)
        places = slice(row, row + height), slice(column, column + width)
        for sample in range(samples if colours is None else colours):
            own = result[sample]
            self._correct_lines(own, places, channel + sample, frame)
            lost = None if gone is None else gone[sample]
            hot = self._hot_within(row, column, height, width, channel + sample)
            fill_hot_pixels(own, *hot, lost)
            if window.dtype.kind in "iu":
                full = window[sample] == np.iinfo(window.dtype).max
                full[hot] = False
                if full.any():
                    own[full] = np.iinfo(window.dtype).max
            if lost is not None:
                own[lost] = window[sample][lost]
        return result if mask is np.ma.nomask else np.ma.MaskedArray(result, mask)

    def _correct_lines(
        self, own: NDArray[Any], places: tuple[slice, slice], channel: int, frame: int
    ) -> None:
        """Correct offsets and gains in the pixels of one channel, in place."""
        if self.offset is not None:
            own -= _of(self.offset, channel)[places]
        for axis, offsets in enumerate((self.columns, self.rows)):
            if offsets is not None:
                # Arithmetic with one dtype takes a third of the time.
                lines = _of(_of(offsets, frame), channel).astype(own.dtype, copy=False)
                subtract_offsets(own, lines, axis, places, (self.height, self.width)[axis])
        gains = [
            None if gain is None else _of(gain, channel)[place]
            for gain, place in ((self.row_gain, places[0]), (self.column_gain, places[1]))
        ]
        divide_by_gains(own, gains[0], gains[1], self.black)

    def _hot_within(
        self, row: int, column: int, height: int, width: int, channel: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the hot pixels in a window."""
        if not len(self.hot):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        own = self._by_channel(channel)
        # They are sorted by rows.
        low, high = np.searchsorted(own[:, 0], [row, row + height])
        y, x = (own[low:high] - (row, column)).T
        inside = (x >= 0) & (x < width)
        return y[inside].astype(np.intp), x[inside].astype(np.intp)

    def _by_channel(self, channel: int) -> NDArray[Any]:
        """Rows and columns of the hot pixels of a channel, in the order of rows."""
        own = channel if self.channels > 1 else 0
        low, high = np.searchsorted(self.hot[:, 0], [own, own + 1])
        return self.hot[low:high, 1:]

    def line_means(self, channel: int) -> tuple[Floats, Floats]:
        """Offsets of the columns and rows of a channel, (p, n) each, averaged over frames."""
        found = [
            np.zeros((1, size)) if lines is None else _of(lines.mean(0), channel)
            for lines, size in ((self.columns, self.width), (self.rows, self.height))
        ]
        return found[0], found[1]

    def check_fits(self, height: int, width: int, channels: int, frames: int) -> None:
        """Check that the defects fit the size of an image.

        Raises
        ------
        ValueError
        """
        if (self.height, self.width) != (height, width):
            raise ValueError(
                f"defects: got those of images of {self.height} x {self.width} pixels; allowed for"
                f" this image are those of {height} x {width}"
            )
        if self.channels not in (1, channels):
            raise ValueError(
                f"defects: got those of {self.channels} channels; allowed are 1 and {channels}"
            )
        for name in ("columns", "rows"):
            value = getattr(self, name)
            if value is not None and len(value) not in (1, frames):
                raise ValueError(
                    f"defects: got {name} of {len(value)} frames; allowed are 1 and {frames}"
                )

    def for_frame(self, frame: int) -> Defects:
        """Defects of one frame, which then hold for every frame."""
        lines = {
            name: value[frame : frame + 1]
            for name in ("columns", "rows")
            if (value := getattr(self, name)) is not None and len(value) > 1
        }
        return replace(self, **lines)

    def with_frames(self, places: Sequence[int]) -> Defects:
        """Defects for a stack with further frames at ``places``, in increasing order.

        These frames get the mean of the others, so that `line_means` does not change.
        """
        lines: dict[str, Any] = {}
        for name in ("columns", "rows"):
            value = getattr(self, name)
            if value is not None and len(value) > 1:
                own = list(value)
                for place in places:
                    own.insert(place, value.mean(0))
                lines[name] = np.stack(own)
        return replace(self, **lines)

    def without_moving_lines(self) -> Defects:
        """Copy in which offsets that differ from frame to frame are replaced by their mean."""
        both = ("columns", self.columns), ("rows", self.rows)
        lines = {name: lines.mean(0, keepdims=True) for name, lines in both if lines is not None}
        return replace(self, **lines)

    def for_channel(self, channel: int, count: int = 1) -> Defects:
        """Defects of ``count`` channels starting at ``channel``, renumbered from 0.

        Values that are given for a single channel hold for every channel.
        """
        if self.channels == 1:
            return self
        own = slice(channel, channel + count)
        many = {
            name: value[:, own] if name in ("columns", "rows") else value[own]
            for name in ("columns", "rows", "offset", "column_gain", "row_gain")
            if (value := getattr(self, name)) is not None
            and value.shape[1 if name in ("columns", "rows") else 0] > 1
        }
        chosen = (self.hot[:, 0] >= channel) & (self.hot[:, 0] < channel + count)
        hot, excess = self.hot[chosen] - (channel, 0, 0), self.excess[chosen]
        return replace(self, **many, channels=count, hot=hot, excess=excess)

    def placed(self, top: int, left: int, height: int, width: int) -> Defects:
        """Defects of larger images, of which ``top``, ``left`` is the first pixel of these images.

        Examples
        --------
        >>> Defects(4, 4, hot=np.array([[0, 1, 2]])).placed(10, 20, 30, 40).hot.tolist()
        [[0, 11, 22]]
        """
        if (self.height, self.width) == (height, width):
            return self
        sides = (top, height - top - self.height), (left, width - left - self.width)
        whole = self._with_whole_lines()  # parts of larger images would end elsewhere
        lines: dict[str, Any] = {}
        for axis, name in enumerate(("columns", "rows")):
            if (value := getattr(whole, name)) is not None:
                lines[name] = np.pad(value, [(0, 0)] * 3 + [sides[1 - axis]])
        if whole.offset is not None:
            lines["offset"] = np.pad(whole.offset, [(0, 0), *sides])
        for name, side in (("row_gain", sides[0]), ("column_gain", sides[1])):
            if (gain := getattr(self, name)) is not None:
                lines[name] = np.pad(gain, [(0, 0), side], constant_values=1.0)
        hot = self.hot + np.array([0, top, left], np.int32)
        return replace(self, height=height, width=width, hot=hot, **lines)

    def _with_whole_lines(self) -> Defects:
        """The same defects with lines of one part; differences between parts become offsets of pixels.

        These differences are the same in all frames.
        """
        offset = np.zeros((1, 1, 1)) if self.offset is None else self.offset
        lines: dict[str, Any] = {}
        for axis, name in enumerate(("columns", "rows")):
            if (value := getattr(self, name)) is None:
                continue
            lines[name] = mean = value.mean(2, keepdims=True)
            if value.shape[2] > 1:
                length = (self.height, self.width)[axis]
                part = np.arange(length) * value.shape[2] // length
                own = (value - mean)[0][:, part]
                offset = offset + (own if axis == 0 else own.swapaxes(1, 2))
        if offset.any():
            lines["offset"] = np.broadcast_to(offset, (len(offset), self.height, self.width))
        return replace(self, **lines)

    def turned(self, orientation: int) -> Defects:
        """Defects of the same images, rotated or mirrored according to an EXIF Orientation.

        Parameters
        ----------
        orientation : int
            EXIF Orientation, 1 to 8.

        Examples
        --------
        >>> Defects(4, 6, hot=np.array([[0, 1, 2]])).turned(6).hot.tolist()
        [[0, 2, 2]]
        """
        if orientation == 1:
            return self
        over_y, over_x, exchanged = turns_of(orientation)
        own, sizes = self, (self.height, self.width)
        for name, size, over in (("columns", sizes[0], over_y), ("rows", sizes[1], over_x)):
            lines = getattr(own, name)
            if over and lines is not None and size % lines.shape[2]:
                # Unequal parts end elsewhere when they are reversed.
                steps = lines - lines.mean(2, keepdims=True)
                if np.allclose(steps, steps[:1]):
                    own = own._with_whole_lines()
                else:
                    part = np.arange(size) * lines.shape[2] // size
                    own = replace(own, **{name: lines[:, :, part]})
        step_y, step_x = (slice(None, None, -1 if over else 1) for over in (over_y, over_x))
        index = {
            "columns": (..., step_y, step_x), "rows": (..., step_x, step_y),
            "offset": (..., step_y, step_x),
            "column_gain": (..., step_x), "row_gain": (..., step_y),
        }  # fmt: skip
        arrays: dict[str, Any] = {
            name: value[index[name]] for name, value in own._arrays().items() if name in index
        }
        hot = self.hot.copy()
        for axis, over in enumerate((over_y, over_x)):
            if over:
                hot[:, 1 + axis] = sizes[axis] - 1 - hot[:, 1 + axis]
        if exchanged:
            other = {"columns": "rows", "rows": "columns",
                     "column_gain": "row_gain", "row_gain": "column_gain"}  # fmt: skip
            arrays = {other.get(name, name): value for name, value in arrays.items()}
            if "offset" in arrays:
                arrays["offset"] = arrays["offset"].swapaxes(1, 2)
            hot, sizes = hot[:, [0, 2, 1]], sizes[::-1]
        return Defects(
            *sizes, self.channels, black=self.black, hot=hot, excess=self.excess, **arrays
        )

    def describe(self) -> str:
        """Describe the defects in words.

        Examples
        --------
        >>> Defects(4, 4, hot=np.array([[0, 1, 2]])).describe()
        '1 hot or dead pixel'
        """
        return describe_defects(self._arrays())

    def to_dict(self) -> dict[str, Any]:
        """Summary as plain values, for a record: root mean squares in the image's units, and counts."""
        return {
            **summarise_defects(self._arrays()),
            "hot_pixels": len(self.hot),
            "sha256": self.sha256,
            "found": self.describe(),
        }

    def map(self, channel: int = 0, frame: int = 0) -> Floats:
        """Value that is subtracted from each dark pixel, (height, width); NaN for hot pixels."""
        dark = np.full((1, self.height, self.width), self.black)
        found: Floats = self.black - self.correct(dark, 0, 0, channel, frame)[0]
        if len(self.hot):
            y, x = self._by_channel(channel).T
            found[y, x] = np.nan
        return found

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f.name: value
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), np.ndarray)
        }

    def save(self, path: str | Path) -> None:
        """Write to an ``.npz`` file of arrays, without pickle.

        Raises
        ------
        ValueError
            If the path does not end in ``.npz``.
        """
        size = self.height, self.width, self.channels
        write_defects(path, size, self.black, self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> Defects:
        """Load a file that `save` has written; does not use pickle.

        Raises
        ------
        FileNotFoundError
        ValueError
            If it is another kind of file, or its arrays contradict each other.
        """
        return cls(**read_defects(path))

    @classmethod
    def from_frames(cls, dark: Any, flat: Any = None) -> Defects:
        """Measure the defects of a sensor from dark frames and evenly lit frames.

        Parameters
        ----------
        dark : ndarray, shape (n, h, w) or (h, w)
            Dark frames with the exposure time and temperature of the images to correct.
        flat : ndarray, shape (n, h, w) or (h, w), optional
            Frames of an even light without structure.

        Returns
        -------
        Defects
            The offset of every pixel, relative to their median, shrunk by its standard
            error; hot pixels; with ``flat`` also the gains of columns and rows and dead
            pixels.

        Raises
        ------
        ValueError
            If shapes contradict each other.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> pattern = rng.normal(100, 3, (32, 32))
        >>> dark = pattern + rng.normal(0, 1, (20, 32, 32))
        >>> found = Defects.from_frames(dark)
        >>> bool(np.std(found.offset[0] - pattern) < 0.3)
        True
        """
        return cls(**measure_defects(dark, flat))


def _of(values: Floats, number: int) -> Floats:
    """Entry of the first axis; a single entry holds for all indices."""
    found: Floats = values[0 if len(values) == 1 else number]
    return found
