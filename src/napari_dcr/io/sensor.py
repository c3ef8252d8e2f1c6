"""Pixels of a camera's sensor in linear light, developed in floating point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.defect_survey import find_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.demosaic import demosaic_bands
from napari_dcr.image.tone import linear_to_srgb

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
"""Matrix from linear sRGB to XYZ (IEC 61966-2-1)."""


@dataclass(frozen=True)
class Sensor:
    """Pixels of a sensor, and the calibration that is needed to develop them.

    Attributes
    ----------
    light : ndarray of float32, shape (h, w) or (h, w, n)
        Pixels minus the black level, in the units of the file: a mosaic, or all colours.
    pattern : ndarray of int, shape (p, q)
        Colour filter array: 0 is red, 1 green, 2 blue.  Its shape is (1, 1) for a grey sensor,
        and for files that store all colours of each pixel.
    white : float
        Saturation level minus the black level.
    balance : ndarray, shape (n,)
        White balance: one factor for each colour; the smallest factor is 1.
    matrix : ndarray, shape (3, n)
        Colour matrix from white-balanced camera colours to linear sRGB.
    to_camera : ndarray, shape (n, 3), or None
        Matrix from XYZ to camera colours without white balance; None if it is unknown.
    orientation : int
        EXIF orientation, 1 to 8.
    notes : tuple of str
        Warnings for the user.
    """

    light: NDArray[np.float32]
    pattern: NDArray[Any]
    white: float
    balance: NDArray[np.float64]
    matrix: NDArray[np.float64]
    to_camera: NDArray[np.float64] | None
    orientation: int
    notes: tuple[str, ...] = ()

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each pixel of the colour filter array: red, then green, then blue."""
        rows, columns = map(range, self.pattern.shape)
        places = [(y, x) for y in rows for x in columns]
        return sorted(places, key=lambda place: int(self.pattern[place]))

    def planes(self) -> list[NDArray[np.float32]]:
        """Split the mosaic into one plane for each place of the colour filter array.

        The order is red, green, green, blue for every order of the colours on the sensor.
        All planes have the same shape; incomplete rows and columns at the end are left out.
        """
        p, q = self.pattern.shape
        if self.light.ndim == 3:
            return list(np.moveaxis(self.light, 2, 0))
        height, width = (n // m * m for n, m in zip(self.light.shape, (p, q), strict=True))
        cut = self.light[:height, :width]
        return [cut[y::p, x::q] for y, x in self.places]

    def with_planes(self, planes: Any) -> Sensor:
        """Return a copy with the pixels of the planes replaced."""
        light = self.light.copy()
        if light.ndim == 3:
            return replace(self, light=np.moveaxis(np.asarray(planes, np.float32), 0, 2))
        p, q = self.pattern.shape
        for (y, x), plane in zip(self.places, planes, strict=True):
            light[y : y + plane.shape[0] * p : p, x : x + plane.shape[1] * q : q] = plane
        return replace(self, light=light)

    def corrected(self, given: Defects | str) -> tuple[Sensor, list[Defects]]:
        """Correct defects of the sensor on each plane.

        Parameters
        ----------
        given : Defects, "auto" or "off"
            Defects to correct; "auto" estimates them from the planes.

        Returns
        -------
        Sensor
        list of Defects
            Corrected defects of each plane; empty for "off".
        """
        planes, found = self.planes(), []
        if given == "off":
            return self, []
        for number, plane in enumerate(planes):
            if isinstance(given, Defects):
                given.check_fits(plane.shape[0], plane.shape[1], len(planes), 1)
                own = given.for_channel(number) if given.channels > 1 else given
            else:
                own = find_defects(np.ascontiguousarray(plane))
            found.append(own)
            planes[number] = own.correct(np.ascontiguousarray(plane)[None], 0, 0)[0]
        return self.with_planes(planes), found

    def developed(self) -> NDArray[np.uint16]:
        """Develop a picture: apply white balance, clip highlights, demosaic, convert to sRGB.

        Returns
        -------
        ndarray of uint16, shape (h, w, 3), or (h, w) for a grey sensor
            In the orientation in which the sensor was read out.
        """
        height, width = self.light.shape[:2]
        is_grey = len(self.balance) == 1
        result = np.empty((height, width) if is_grey else (height, width, 3), np.uint16)
        matrix = self.matrix.astype(np.float32)
        for rows, colours in self._colours(clip=True):
            band = colours[0] if is_grey else np.tensordot(colours, matrix, (0, 1))
            coded = linear_to_srgb(np.clip(band, 0, 1))
            result[rows] = np.rint(coded * np.float32(65535)).astype(np.uint16)
        return result

    def linear(self) -> NDArray[np.float32]:
        """Demosaic without white balance: camera colours (h, w, n) in the units of the file."""
        result = np.empty((*self.light.shape[:2], len(self.balance)), np.float32)
        factors = self._factors()
        for rows, colours in self._colours(clip=False):
            result[rows] = np.moveaxis(colours, 0, 2) / factors
        if self.light.ndim == 2:  # measured samples keep their exact values
            p, q = self.pattern.shape
            for y, x in self.places:
                result[y::p, x::q, self.pattern[y, x]] = self.light[y::p, x::q]
        return result

    def _factors(self) -> NDArray[np.float32]:
        """Factors that convert units of the file to white-balanced fractions of white."""
        factors: NDArray[np.float32] = (self.balance / self.white).astype(np.float32)
        return factors

    def _colours(self, clip: bool) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield bands of rows with their white-balanced colours (n, rows, w)."""
        factors = self._factors()
        if self.light.ndim == 3:
            yield slice(0, len(self.light)), _clipped(np.moveaxis(self.light * factors, 2, 0), clip)
            return
        p, q = self.pattern.shape
        balanced = self.light.copy()
        for y, x in self.places:
            balanced[y::p, x::q] *= factors[self.pattern[y, x]]
        yield from demosaic_bands(_clipped(balanced, clip), self.pattern)


def _clipped(values: NDArray[np.float32], clip: bool) -> NDArray[np.float32]:
    """Clip at the level where the first colour saturates, so that white highlights stay white."""
    return np.minimum(values, np.float32(1)) if clip else values


@dataclass(frozen=True)
class Origin:
    """Raw file from which planes were read.

    Attributes
    ----------
    path : Path
    sensor : Sensor
    """

    path: Path
    sensor: Sensor


def matrix_of(to_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the matrix from white-balanced camera colours to linear sRGB; it maps white to white."""
    mixed = to_camera @ SRGB_TO_XYZ
    inverse: NDArray[np.float64] = np.linalg.inv(mixed / mixed.sum(1, keepdims=True))
    return inverse
