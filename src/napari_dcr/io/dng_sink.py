"""Write linear DNG files from the denoised colour planes of a camera raw file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.io import dng, raw_tags
from napari_dcr.io import tags as t
from napari_dcr.io.files import Picture, check_holds, replaced_when_complete
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.sensor import Origin

DTYPES = ("float32",)
"""Allowed dtypes of the colour planes from which a DNG is written."""


def write_dng(path: Path, picture: Picture) -> None:
    """Demosaic denoised planes and write them as a linear DNG, without brightening them."""
    origin = picture.metadata.native
    if not isinstance(origin, Origin):
        raise ValueError(_ONLY_RAW.format(path=path))
    check_holds(path, picture.pixels.dtype, DTYPES)
    sensor = origin.sensor.with_planes(list(picture.pixels))
    tags = raw_tags.for_dng(origin.path, sensor.to_camera, sensor.balance)
    tags |= raw_tags.described(picture.metadata.tags)
    tags[t.ORIENTATION] = t.short_tag(sensor.orientation)
    dng.write_linear(path, sensor.linear(), sensor.white, tags)


_ONLY_RAW = (
    "{path}: a DNG can only be written from a camera raw file that is denoised and not brightened;"
    ' give a raw file and --denoise-only (in Python scene="mosaic"), or write .tif, .png or .jpg'
)


def check_dng(path: Path, axes: str, samples: str) -> None:
    """Check that an image consists of colour planes.

    Raises
    ------
    ValueError
        If it does not.
    """
    if axes != "cyx":
        raise ValueError(_ONLY_RAW.format(path=path))


class DngSink:
    """Sink that collects colour planes in memory and writes them as a DNG file at the end.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Metadata of the planes.
    """

    unit = (1, 1)
    part: tuple[int, int] | None = None
    record: Any = None
    one_size = in_order = False

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata
    ) -> None:
        check_dng(path, layout.axes, layout.samples)
        if not isinstance(metadata.native, Origin):
            raise ValueError(_ONLY_RAW.format(path=path))
        self._layout, self._dtype, self._metadata = layout, dtype, metadata
        self.result = path
        self._planes: NDArray[Any] | None = None

    def open(self, part: tuple[int, int], identity: dict[str, Any], parts: int) -> Any:
        """Create the array for the planes."""
        self._planes = np.empty(self._layout.shape, self._dtype)
        return self._planes

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Write the file."""
        assert self._planes is not None
        with replaced_when_complete(self.result) as partial:
            write_dng(partial, Picture(self._planes, self._layout.axes, self._metadata))
        yield from ()

    def close(self) -> None:
        """Release the planes."""
        self._planes = None
