"""Read windows from the planes of an array image, and write finished windows back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.output import LeftAlone, Rendering
from napari_dcr.engine.tiles import WHOLE, Spans
from napari_dcr.image.alpha import to_associated, to_straight
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import Scale
from napari_dcr.image.missing import REACH, filled, missing
from napari_dcr.image.padding import Padding, mark_padding


@dataclass(frozen=True)
class ArrayPlane:
    """One plane of an array: a frame, and a channel or all its colours.

    Attributes
    ----------
    source, target : array
        Arrays to read from and to write to.
    layout : Layout
        Layout of both arrays.
    frame : tuple of int
        Index on the stepped axes.
    channel : int
        Index of the channel; 0 without a channel axis.
    network_channels : int
        Number of channels that the network takes; grey is repeated in each of them.
    scale : Scale
        Black and white point of the image.
    rendering : Rendering
    uncertainty : array, optional
        Array that the rendering's second plane is written to.
    defects : Defects, optional
        Sensor defects to correct while reading.
    padding : tuple of Padding
        Solid areas that hold no data.
    scene : ((int, int), (int, int)), optional
        Start and stop of the rows and columns that are enhanced as if they were the whole plane;
        all if None.
    """

    source: Any
    target: Any
    layout: Layout
    frame: tuple[int, ...]
    channel: int
    network_channels: int
    scale: Scale
    rendering: Rendering
    uncertainty: Any = None
    defects: Defects | None = None
    padding: tuple[Padding, ...] = ()
    scene: Spans | None = None

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Read (S, h, w) in the image's own units, including alpha, with defects corrected."""
        return read_corrected(
            self.source, self.layout, self.frame, self.channel, rows, columns, self.defects,
            self.padding,
        )  # fmt: skip

    @property
    def is_left_alone(self) -> bool:
        """Whether the plane is returned unchanged, because it holds no picture."""
        return isinstance(self.rendering, LeftAlone)

    @property
    def area(self) -> Spans:
        """Rows and columns that are enhanced."""
        return self.scene or ((0, self.layout.height), (0, self.layout.width))

    @property
    def colours(self) -> int:
        """Number of leading samples that are given to the network; alpha is not."""
        return self.layout.band(self.channel).colours

    def to_working(
        self, own: NDArray[Any], rows: slice, columns: slice, out: NDArray[np.float32]
    ) -> None:
        """Fill (C, h, w) with the network's input for a window that was read.

        Missing pixels are filled from those around them in the scene.
        """
        own = own[: self.colours]
        if missing(own) is not None:
            wide = [
                slice(max(first, span.start - REACH), min(last, span.stop + REACH))
                for span, (first, last) in zip((rows, columns), self.area, strict=True)
            ]
            y, x = rows.start - wide[0].start, columns.start - wide[1].start
            own = filled(self.read(*wide)[: self.colours])
            own = own[:, y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]
        self.rendering.to_working(own, self.scale, out)

    def working_values(self, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        """Lookup table of `to_working` for every value of an unsigned dtype."""
        own = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None, None]
        working = np.empty((1, *own.shape[1:]), np.float32)
        self.rendering.to_working(own, self.scale, working)
        return working[0, 0]

    def render(
        self,
        own: NDArray[Any],
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None = None,
        place: tuple[slice, slice] = WHOLE,
    ) -> NDArray[Any]:
        """Combine own values with the network's result, and that of depth 0, into the result.

        Both results are those of a ``place`` in the window; the rest is returned unchanged.
        Alpha follows the colours.  If the rendering returns an uncertainty, the uncertainty of
        the colours and that of alpha come last.
        """
        part = slice(None), *place
        if own[part].shape == own.shape:
            return self._rendered(self.rendering, own, enhanced, base)
        result = self._rendered(LeftAlone(self.rendering), own, enhanced, base)
        if own[part].size:
            result[part] = self._rendered(self.rendering, own[part], enhanced, base)
        return result

    def _rendered(
        self,
        rendering: Rendering,
        own: NDArray[Any],
        enhanced: NDArray[np.float32],
        base: NDArray[np.float32] | None,
    ) -> NDArray[Any]:
        colours, alpha = own[: self.colours], np.ma.getdata(own[self.colours :])
        result = rendering.render(colours, self.scale, enhanced, base)
        if not len(alpha):
            return result
        # Corrected pixels are floats; alpha has the range of the image's own dtype.
        alpha = self.rendering.convert_alpha(alpha.astype(self.source.dtype.newbyteorder("=")))
        samples = [result[: self.colours], alpha, result[self.colours :]]
        if len(result) > self.colours:
            samples.append(np.zeros(alpha.shape, result.dtype))
        return np.concatenate(samples, dtype=result.dtype)

    def write(self, rows: slice, columns: slice, values: NDArray[Any]) -> None:
        """Write (S, h, w) and, if an array was given for it, the uncertainty that follows."""
        index = self.layout.index(self.frame, self.channel, rows, columns, slice(None))
        if self.uncertainty is not None:
            half = len(values) // 2
            self.uncertainty[index] = self.layout.from_planar(values[half:])
            values = values[:half].astype(self.rendering.dtype)
        if self.layout.band(self.channel).associated:
            n = self.colours
            values = np.concatenate([to_associated(values[:n], values[n : n + 1]), values[n:]])
        self.target[index] = self.layout.from_planar(values)


def read_plane(
    source: Any, layout: Layout, frame: tuple[int, ...], channel: int, rows: slice, columns: slice
) -> NDArray[Any]:
    """Read a window of one plane as (S, h, w), in native byte order, with missing pixels masked.

    Colours that are stored multiplied by alpha are divided by it.
    """
    index = layout.index(frame, channel, rows, columns, slice(None))
    planes = native(layout.to_planar(np.asanyarray(source[index])))
    band = layout.band(channel)
    if band.associated:
        n, own = band.colours, np.ma.getdata(planes)
        straight = np.concatenate([to_straight(own[:n], own[n : n + 1]), own[n:]])
        if isinstance(planes, np.ma.MaskedArray):
            return np.ma.MaskedArray(straight, np.ma.getmaskarray(planes))
        return straight
    return planes


def read_corrected(
    source: Any,
    layout: Layout,
    frame: tuple[int, ...],
    channel: int,
    rows: slice,
    columns: slice,
    defects: Defects | None,
    padding: tuple[Padding, ...] = (),
) -> NDArray[Any]:
    """Read a window of one plane with sensor defects corrected.

    The result does not depend on the extent of the window.  Its ``padding`` is masked.
    """
    if defects is None and not padding:
        return read_plane(source, layout, frame, channel, rows, columns)
    margin = margin_of(defects, padding)
    wide = [
        slice(max(0, span.start - margin), min(size, span.stop + margin))
        for span, size in ((rows, layout.height), (columns, layout.width))
    ]
    colours = layout.band(channel).colours
    own = read_plane(source, layout, frame, channel, *wide)
    own = mark_padding(own, colours, padding, wide[0].start, wide[1].start)
    if defects is not None:
        number = layout.frame_number(frame)
        own = defects.correct(own, wide[0].start, wide[1].start, 0, number, colours)
    y, x = rows.start - wide[0].start, columns.start - wide[1].start
    return own[:, y : y + rows.stop - rows.start, x : x + columns.stop - columns.start]


def margin_of(defects: Defects | None, padding: tuple[Padding, ...]) -> int:
    """Pixels around a window that `read_corrected` needs."""
    around = max((kind.margin for kind in padding), default=0)
    return around + (0 if defects is None else defects.margin)


def native(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert pixels to the byte order of this machine."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
