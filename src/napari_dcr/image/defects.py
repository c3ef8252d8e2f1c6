"""Defects of a sensor: offsets of its columns and rows, hot and dead pixels; correcting them."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.missing import missing

MARGIN = 2
"""Pixels around a window that the filling of hot pixels looks at."""

FORMAT = 1
"""Of the files that `Defects.save` writes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Defects:
    """What a sensor adds to every image, to be taken away before anything else is done.

    A pixel is corrected to ``black + (value - offset - column - row - black) / (column gain *
    row gain)``; hot and dead pixels are replaced by the mean of their neighbours.

    Attributes
    ----------
    height, width : int
        Of the images in pixels.
    channels : int
        Channels that are told apart; what is given for one holds for every channel.
    columns : ndarray, shape (f, c, p, width), or None
        Offsets of columns in the image's units: for one frame or every frame, for each
        channel, for all rows or for the p equal parts of the rows that have an amplifier
        each.
    rows : ndarray, shape (f, c, p, height), or None
        Offsets of rows; the p parts are of the columns.
    offset : ndarray, shape (c, height, width), or None
        Offset of every pixel.
    column_gain, row_gain : ndarray, shape (c, width) and (c, height), or None
        Factors about 1.
    black : float
        Level of the sensor without light, which gains multiply from.
    hot : ndarray of int, shape (n, 3)
        Channel, row and column of hot, dead and stuck pixels, in this order.
    excess : ndarray, shape (n,)
        How far each of them was from its neighbours in the images they were found in.

    Raises
    ------
    ValueError
        If shapes do not fit one another, or values are not finite.

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
            if value is None:
                continue
            value = np.ascontiguousarray(value, np.float64)
            fits = value.ndim == len(shape) and all(
                n > 0 and m in (None, n) for n, m in zip(value.shape, shape, strict=True)
            )
            fits = fits and value.shape[1 if len(shape) == 4 else 0] in (1, self.channels)
            if not fits:
                raise ValueError(
                    f"defects: got {name} of shape {value.shape}; allowed is {shape}"
                    f" with 1 or {self.channels} channels"
                )
            if not np.isfinite(value).all() or ("gain" in name and (value <= 0).any()):
                allowed = "finite numbers" + (" above 0" if "gain" in name else "")
                raise ValueError(f"defects: got {name} with other values; allowed are {allowed}")
            object.__setattr__(self, name, value)
        if not math.isfinite(self.black):
            raise ValueError(f"defects: got black {self.black}; allowed are finite numbers")
        hot = np.asarray(self.hot)
        if hot.ndim != 2 or hot.shape[1] != 3 or (hot.size and hot.dtype.kind not in "iu"):
            raise ValueError(
                f"defects: got hot of shape {hot.shape} and dtype {hot.dtype};"
                " allowed is (n, 3) of integers: channel, row, column"
            )
        size = (self.channels, self.height, self.width)
        if ((hot < 0) | (hot >= size)).any():
            raise ValueError(
                f"defects: got hot pixels outside an image of {size} channels, rows, columns"
            )
        order = np.lexsort(hot.T[::-1])
        object.__setattr__(self, "hot", hot[order].astype(np.int32))
        excess = np.asarray(self.excess, np.float64)
        excess = excess[order] if len(excess) == len(hot) else np.zeros(len(hot))
        object.__setattr__(self, "excess", excess)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to correct."""
        lines = (self.columns, self.rows, self.offset, self.column_gain, self.row_gain)
        return all(x is None for x in lines) and not len(self.hot)

    @property
    def margin(self) -> int:
        """Pixels around a window that are needed to correct it."""
        return MARGIN if len(self.hot) else 0

    @functools.cached_property
    def sha256(self) -> str:
        """Of all that the correction depends on."""
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
            In the image's own units.
        row, column : int
            Place of its first pixel in the image.  Hot pixels closer than `MARGIN` to its
            border are filled exactly only if that is the image's border as well.
        channel : int
            Channel of the first sample.
        frame : int
            Number of the frame, where frames have offsets of their own.
        colours : int, optional
            Samples that are corrected; those that follow, alpha, stay as they are.

        Returns
        -------
        ndarray, shape (s, h, w)
            float64 for float64, float32 for all else.  Saturated pixels of integers,
            and missing ones (not finite, or masked), stay as they are.
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
            self._fill(own, row, column, channel + sample, lost)
            if window.dtype.kind in "iu":
                full = window[sample] == np.iinfo(window.dtype).max
                if full.any():
                    full[self._hot_within(row, column, height, width, channel + sample)] = False
                    own[full] = np.iinfo(window.dtype).max
            if lost is not None:
                own[lost] = window[sample][lost]
        return result if mask is np.ma.nomask else np.ma.MaskedArray(result, mask)

    def _correct_lines(
        self, own: NDArray[Any], places: tuple[slice, slice], channel: int, frame: int
    ) -> None:
        """Take offsets and gains out of the pixels of one channel, in place."""
        rows, columns = places
        if self.offset is not None:
            own -= _of(self.offset, channel)[places]
        for offsets, size, (along, across) in (
            (self.columns, self.height, (columns, rows)),
            (self.rows, self.width, (rows, columns)),
        ):
            if offsets is None:
                continue
            lines = _of(_of(offsets, frame), channel)[:, along]
            part = np.arange(across.start, across.stop) * len(lines) // size
            for number in range(part[0], part[-1] + 1):
                inside = np.flatnonzero(part == number)
                span = slice(inside[0], inside[-1] + 1)
                if along is columns:
                    own[span] -= lines[number]
                else:
                    own[:, span] -= lines[number][:, None]
        if self.column_gain is None and self.row_gain is None:
            return
        own -= self.black
        if self.column_gain is not None:
            own /= _of(self.column_gain, channel)[columns]
        if self.row_gain is not None:
            own /= _of(self.row_gain, channel)[rows][:, None]
        own += self.black

    def _hot_within(
        self, row: int, column: int, height: int, width: int, channel: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns, in a window, of its hot pixels."""
        if not len(self.hot):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        own = self._by_channel(channel)
        # They are in the order of rows.
        low, high = np.searchsorted(own[:, 0], [row, row + height])
        y, x = (own[low:high] - (row, column)).T
        inside = (x >= 0) & (x < width)
        return y[inside].astype(np.intp), x[inside].astype(np.intp)

    def _by_channel(self, channel: int) -> NDArray[Any]:
        """Rows and columns of the hot pixels of a channel, in the order of rows."""
        wanted = channel if self.channels > 1 else 0
        low, high = np.searchsorted(self.hot[:, 0], [wanted, wanted + 1])
        return self.hot[low:high, 1:]

    def _fill(
        self,
        own: NDArray[Any],
        row: int,
        column: int,
        channel: int,
        missing: NDArray[np.bool_] | None,
    ) -> None:
        """Replace hot pixels by the mean of their good neighbours, in place."""
        height, width = own.shape
        y, x = self._hot_within(row, column, height, width, channel)
        if not len(y):
            return
        good = np.ones(own.shape, bool) if missing is None else ~missing
        good[y, x] = False
        left = np.arange(len(y))
        filled = np.empty(len(y), own.dtype)
        for radius in (1, MARGIN):
            total, count = np.zeros(len(left)), np.zeros(len(left))
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    # Nearer neighbours count more: the scene is alike there.
                    weight = 1 / max(dy * dy + dx * dx, 1)
                    ny, nx = y[left] + dy, x[left] + dx
                    inside = (ny >= 0) & (ny < height) & (nx >= 0) & (nx < width)
                    ny, nx = np.where(inside, ny, 0), np.where(inside, nx, 0)
                    usable = inside & good[ny, nx]
                    total += np.where(usable, weight * own[ny, nx], 0)
                    count += weight * usable
            some = count > 0
            filled[left[some]] = total[some] / count[some]
            left = left[~some]
            if not len(left):
                break
        filled[left] = own[y[left], x[left]]  # a whole patch of defects: nothing to go by
        own[y, x] = filled

    def line_means(self, channel: int) -> tuple[Floats, Floats]:
        """Offsets of columns and of rows of a channel, (p, n) each, on average over frames."""
        found = []
        for offsets, size in ((self.columns, self.width), (self.rows, self.height)):
            if offsets is None:
                found.append(np.zeros((1, size)))
            else:
                found.append(offsets.mean(0)[min(channel, offsets.shape[1] - 1)])
        return found[0], found[1]

    def check_fits(self, height: int, width: int, channels: int, frames: int) -> None:
        """Refuse an image that these are not the defects of.

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
        """Defects of one frame alone, as its frame 0 and every other."""
        lines = {
            name: value[frame : frame + 1]
            for name in ("columns", "rows")
            if (value := getattr(self, name)) is not None and len(value) > 1
        }
        return replace(self, **lines)

    def with_frames(self, places: Sequence[int]) -> Defects:
        """The same for a stack that has further frames at ``places``, in rising order.

        They get the mean of the others, so that `line_means` stays what it is.
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

    def for_channel(self, channel: int, count: int = 1) -> Defects:
        """Defects of ``count`` channels from ``channel`` on, as channel 0 and so on.

        What is given once holds for every channel.
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

    def describe(self) -> str:
        """What was found, for people.

        Examples
        --------
        >>> Defects(4, 4, hot=np.array([[0, 1, 2]])).describe()
        '1 hot or dead pixel'
        """
        parts = []
        for name, value in (("column", self.columns), ("row", self.rows)):
            if value is not None:
                each = ", of every frame" if len(value) > 1 else ""
                halves = f", {value.shape[2]} parts" if value.shape[2] > 1 else ""
                parts.append(f"{name} offsets of {_rms(value):.3g} RMS{halves}{each}")
        if self.offset is not None:
            parts.append(f"pixel offsets of {_rms(self.offset):.3g} RMS")
        for name, value in (("column", self.column_gain), ("row", self.row_gain)):
            if value is not None:
                parts.append(f"{name} gains of {_rms(value - 1):.2%} RMS")
        if count := len(self.hot):
            parts.append(f"{count} hot or dead pixel{'s' if count > 1 else ''}")
        return ", ".join(parts) or "no defects"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a record: root mean squares in the image's units, and counts."""
        found: dict[str, Any] = {}
        for name in ("columns", "rows", "offset", "column_gain", "row_gain"):
            value = getattr(self, name)
            if value is not None:
                found[name] = round(_rms(value - ("gain" in name)), 6)
        for name in ("columns", "rows"):
            if getattr(self, name) is not None and len(getattr(self, name)) > 1:
                found[f"{name}_of_every_frame"] = True
        return {
            **found,
            "hot_pixels": len(self.hot),
            "sha256": self.sha256,
            "found": self.describe(),
        }

    def map(self, channel: int = 0, frame: int = 0) -> Floats:
        """What is subtracted from each dark pixel, (height, width); NaN for hot pixels."""
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
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise ValueError(f"defects: got {str(path)!r} to save to; allowed are .npz files")
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                format=np.array(FORMAT),
                size=np.array([self.height, self.width, self.channels]),
                black=np.array(self.black),
                **self._arrays(),
            )

    @classmethod
    def load(cls, path: str | Path) -> Defects:
        """Read what `save` wrote; nothing is unpickled.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is another one.
        """
        path = Path(path)
        known = {f.name for f in fields(cls)} - {"height", "width", "channels", "black"}
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT:
                    raise ValueError(
                        f"defects: {path} has format {int(file['format'])}; allowed is {FORMAT}"
                    )
                height, width, channels = (int(n) for n in file["size"])
                arrays = {name: file[name] for name in known & set(file.files)}
                black = float(file["black"])
                return cls(height, width, channels, black=black, **arrays)
        except (KeyError, BadZipFile, TypeError, EOFError, ValueError) as error:
            raise ValueError(
                f"defects: {path} is no file that Defects.save wrote ({error})"
            ) from error

    @classmethod
    def from_frames(cls, dark: Any, flat: Any = None) -> Defects:
        """Measure the defects of a sensor from frames without light, and evenly lit ones.

        Parameters
        ----------
        dark : ndarray, shape (n, h, w) or (h, w)
            Frames of the exposure time and temperature of the images to correct.
        flat : ndarray, shape (n, h, w) or (h, w), optional
            Frames of an even, structureless light.

        Returns
        -------
        Defects
            The offset of every pixel, relative to their median, shrunk by its standard
            error; hot pixels; with ``flat`` also the gains of columns and rows and dead
            pixels.

        Raises
        ------
        ValueError
            If shapes do not fit.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> pattern = rng.normal(100, 3, (32, 32))
        >>> dark = pattern + rng.normal(0, 1, (20, 32, 32))
        >>> found = Defects.from_frames(dark)
        >>> bool(np.std(found.offset[0] - pattern) < 0.3)
        True
        """
        darks = _frames("dark", dark)
        height, width = darks.shape[1:]
        if min(height, width) < 5:
            raise ValueError(f"dark: got frames of {(height, width)}; allowed are sides from 5")
        mean = darks.mean(0)
        offset = mean - np.median(mean)
        spread = 1.4826 * float(np.median(np.abs(offset))) or float(offset.std()) or 1.0
        hot = np.abs(offset) > HOT_DARK * spread
        # Of one frame nobody knows which part is noise: only lines and hot pixels are taken.
        if len(darks) > 1:
            error = float(np.median(darks.var(0, ddof=1))) / len(darks)
            signal = max(spread**2 - error, 0.0)
            per_pixel = np.where(hot, 0, offset * (signal / (signal + error) if signal else 0.0))
        else:
            per_pixel = np.zeros_like(offset)
        lines = [_line_median(np.where(hot, np.nan, offset - per_pixel), axis) for axis in (0, 1)]
        per_pixel = per_pixel + lines[0] + (lines[1] - np.median(lines[1]))[:, None]
        gains: dict[str, Any] = {}
        if flat is not None:
            flats = _frames("flat", flat)
            if flats.shape[1:] != (height, width):
                raise ValueError(
                    f"flat: got frames of {flats.shape[1:]}; allowed are those of dark,"
                    f" {(height, width)}"
                )
            light = flats.mean(0) - mean
            level = float(np.median(light))
            if not level > 0:
                raise ValueError("flat: got frames that are not brighter than dark")
            dead = np.abs(light / level - 1) > 0.5
            # An uneven lamp is no gain: only what differs from the neighbouring lines is.
            logarithm = np.log(np.where(dead | hot, np.nan, np.maximum(light, 1e-6 * level)))
            for name, axis in (("column_gain", 0), ("row_gain", 1)):
                line = _line_median(logarithm, axis)
                gains[name] = np.exp(line - _smooth(line))[None]
            hot |= dead
        y, x = np.nonzero(hot)
        places = np.stack([np.zeros_like(y), y, x], 1)
        return cls(
            height, width, offset=per_pixel[None], hot=places,
            excess=np.where(hot, offset - per_pixel, 0)[y, x],
            black=float(np.median(mean)), **gains,
        )  # fmt: skip


HOT_DARK = 8.0
"""Standard deviations of all offsets beyond which a pixel of a dark frame is hot."""


def _of(values: Floats, number: int) -> Floats:
    """Entry of the first axis; what there is one of holds for all."""
    if len(values) == 1:
        number = 0
    found: Floats = values[number]
    return found


def _rms(values: NDArray[Any]) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))


def _frames(name: str, frames: Any) -> NDArray[np.float64]:
    """Frames (n, h, w) from one or several."""
    array = np.asarray(frames)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not array.size or array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name}: got shape {array.shape} and dtype {array.dtype};"
            " allowed are numbers of shape (h, w) or (n, h, w)"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: got values that are not finite")
    return array


def _line_median(image: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Median of each column (axis 0) or row (axis 1) without NaN; 0 where there is nothing."""
    some = np.isfinite(image).any(axis)
    lines = np.zeros(len(some))
    lines[some] = np.nanmedian(image[:, some] if axis == 0 else image[some], axis)
    return lines


def _smooth(line: NDArray[np.float64], radius: int = 7) -> NDArray[np.float64]:
    """Running median over ``2 radius + 1`` places."""
    padded = np.pad(line, radius, "reflect" if len(line) > radius else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1)
    found: NDArray[np.float64] = np.median(windows, -1)
    return found


def check_defects(value: object) -> str | Path | Defects:
    """Validate the argument ``defects``.

    Raises
    ------
    TypeError, ValueError
        If it is neither "auto", "off", the path of an ``.npz`` file nor `Defects`.
    """
    if isinstance(value, Defects) or (isinstance(value, str) and value in ("auto", "off")):
        return value
    if isinstance(value, (str, Path)) and Path(value).suffix.lower() == ".npz":
        return value
    kind = ValueError if isinstance(value, (str, Path)) else TypeError
    raise kind(
        f"defects: got {value!r}; allowed are 'auto', 'off', Defects, or the path of an .npz file"
        " that Defects.save wrote"
    )


def common_and_own(tables: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Mean of the tables of several channels, then what each differs from it by."""
    mean: NDArray[np.float64] = np.mean(tables, 0)
    return [mean, *(table - mean for table in tables)]
