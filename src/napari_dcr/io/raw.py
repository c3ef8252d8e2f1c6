"""Camera raw files: developed to a print for `photo`, or opened as colour planes in linear light.

LibRaw (rawpy) decodes the mosaic of most cameras. tifffile decodes float and linear DNG, of which
LibRaw would keep 14 bits. Everything else is computed here in floating point, because LibRaw clips
values below the black level, truncates the black level to an integer, and derives the white point
from the brightest pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.image.axes import Layout
from napari_dcr.image.defect_survey import find_defects
from napari_dcr.image.defects import Defects
from napari_dcr.image.demosaic import demosaic_bands
from napari_dcr.image.tone import linear_to_srgb
from napari_dcr.io import dng, raw_tags
from napari_dcr.io import tags as t
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import (
    Picture,
    check_holds,
    import_optional,
    replaced_when_complete,
    stamp_of,
    warnings_of,
    without_messages,
)  # fmt: skip
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.views import Planes, turned

PRINT, PLANES = "print", "mosaic"
"""Names of the two scenes of a raw file: the developed print and the colour planes."""

DTYPES = ("float32",)
"""Dtypes of colour planes that a DNG can be written from."""

_ORIENTATIONS = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
"""EXIF orientation for each value of LibRaw's ``flip``."""

_SHOWN_IN = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
"""Display colours of the planes, as hexadecimal RGB."""

_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
"""IEC 61966-2-1."""


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
        """Row and column of each pixel of the colour filter array."""
        return [(y, x) for y in range(self.pattern.shape[0]) for x in range(self.pattern.shape[1])]

    def planes(self) -> list[NDArray[np.float32]]:
        """Split the mosaic into one plane for each place of the colour filter array.

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
        """Develop a print: apply white balance, clip highlights, demosaic, convert to sRGB.

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
    """Raw file that planes were read from.

    Attributes
    ----------
    path : Path
    sensor : Sensor
    """

    path: Path
    sensor: Sensor


def open_raw(path: Path, scene: int | str | None) -> Opened:
    """Open a raw file as a print, or as colour planes in linear light.

    Parameters
    ----------
    path : Path
    scene : {None, 0, "print", 1, "mosaic"}
        0 and None mean the print; 1 means the colour planes.
    """
    if scene not in (None, 0, 1, PRINT, PLANES):
        raise ValueError(f"scene: got {scene!r}; allowed are 0, {PRINT!r}, and 1, {PLANES!r}")
    tags = raw_tags.read(path)
    raw_tags.check_sensor(tags)
    sensor = read_sensor(path)
    warnings = warnings_of(path, sensor.notes)
    if scene in (1, PLANES):
        return _open_planes(path, sensor, tags, warnings)
    metadata = Metadata({code: tag for code, tag in tags.items() if code != t.ORIENTATION})
    axes = "yx" if len(sensor.balance) == 1 else "yxs"
    shape = sensor.light.shape[:2]
    shape = shape[::-1] if sensor.orientation >= 5 else shape
    shape = shape if axes == "yx" else (*shape, 3)
    cache: list[NDArray[np.uint16]] = []

    def read(_: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        if not cache:
            cache.append(_turned(sensor.developed(), axes, sensor))
        return cache[0][rows, columns]

    opened = Opened(
        Planes(shape, np.dtype(np.uint16), read, 1 if axes == "yx" else 3, by_region=True), axes,
        lambda: stamp_of(path), metadata=metadata, samples="" if axes == "yx" else "rgb",
        warnings=warnings,
    )  # fmt: skip

    def develop(given: Defects | str) -> tuple[Opened, list[Defects]]:
        corrected, found = sensor.corrected(given)
        key = given if isinstance(given, str) else given.sha256
        pixels = _turned(corrected.developed(), axes, sensor)
        return replace(opened, array=pixels, fingerprint=lambda: stamp_of(path, key)), found

    return replace(opened, develop=develop)


def _turned(pixels: NDArray[Any], axes: str, sensor: Sensor) -> NDArray[Any]:
    return np.ascontiguousarray(turned(pixels, axes, sensor.orientation))


def _open_planes(path: Path, sensor: Sensor, tags: Any, warnings: Any) -> Opened:
    if sensor.pattern.size > 4:
        raise ValueError(
            f"its sensor repeats {sensor.pattern.shape[0]} x {sensor.pattern.shape[1]} colours"
            " (X-Trans), which cannot be denoised in planes; write .tif, .png or .jpg"
        )
    planes = np.stack(sensor.planes())
    names = ["red", "green", "blue"] if len(sensor.balance) > 1 else ["grey"]
    colours = sensor.pattern.ravel() if sensor.pattern.size > 1 else range(len(planes))
    channels = tuple(Channel(names[colour], _SHOWN_IN.get(names[colour], "")) for colour in colours)
    metadata = Metadata(
        tags, calibration=Calibration(channels=channels), native=Origin(path, sensor)
    )
    return Opened(
        planes, "cyx", lambda: stamp_of(path, PLANES), metadata=metadata, warnings=warnings,
        measured=True,
    )  # fmt: skip


def read_sensor(path: Path) -> Sensor:
    """Read the pixels and the calibration of a raw file.

    Raises
    ------
    ValueError
        If the file is damaged, is not a raw file, or has an unsupported sensor.
    """
    page = None
    if path.suffix.lower() == ".dng":
        page, number = dng.read_page(path)
    notes: tuple[str, ...] = ()
    factors: NDArray[np.float64] | None
    if page is not None and (page.is_float or page.is_packed or not page.is_mosaic):
        light, pattern, white = _of_page(path, page, number)
    else:
        with _unpacked(path) as (raw, said):
            notes += said
            light, pattern, white = _of_library(raw, page)
            factors, matrix, to_camera = _colours_of_library(raw)
            if raw.sizes.pixel_aspect != 1:
                notes += (
                    f"its pixels are not square ({raw.sizes.pixel_aspect:g}); it is not stretched",
                )
            orientation = _ORIENTATIONS.get(int(raw.sizes.flip), 1)
    if not white > 0:
        raise ValueError("its saturation level is not above its black level")
    if page is not None and (page.white is None or not page.white.min() > 0):
        notes += (f"it states no saturation level; {white:g} above black is used",)
    colours = light.shape[2] if light.ndim == 3 else int(pattern.max()) + 1
    if colours == 1:
        turn = orientation if page is None else page.orientation
        return Sensor(light, pattern, white, np.ones(1), np.ones((3, 1)), None, turn, notes)
    if page is not None:
        orientation, to_camera = page.orientation, page.to_camera
        matrix = None if to_camera is None else matrix_of(to_camera)
        factors = None if page.neutral is None else 1 / page.neutral
        if page.has_shading:
            notes += ("its corrections of the lens's shading (OpcodeList2) are not applied",)
    if factors is None and to_camera is not None:
        factors = 1 / (to_camera @ _SRGB_TO_XYZ).sum(1)
        notes += ("it states no white balance; the one for daylight is used",)
    if factors is None or not np.isfinite(factors).all() or (factors <= 0).any():
        factors = np.ones(3)
        notes += ("it states no white balance; none is applied",)
    if matrix is None:
        matrix = np.eye(3)
        notes += ("it has no colour matrix; its colours are treated as sRGB",)
    return Sensor(
        light, pattern, white, factors / factors.min(), matrix, to_camera, orientation, notes
    )


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Context manager that decodes a file with LibRaw, and gives it with LibRaw's messages."""
    library = import_optional("rawpy", "raw")
    try:
        with without_messages() as said:
            file = library.imread(str(path))
            file.unpack()
    except library.LibRawError as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("latin-1") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"LibRaw says: {text}") from error
    with file:
        prefix = f"{path}: "
        yield file, tuple(f"LibRaw says: {line.removeprefix(prefix)}" for line in said)


def matrix_of(to_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the matrix from white-balanced camera colours to linear sRGB; it maps white to white."""
    mixed = to_camera @ _SRGB_TO_XYZ
    inverse: NDArray[np.float64] = np.linalg.inv(mixed / mixed.sum(1, keepdims=True))
    return inverse


def _colours_of_library(raw: Any) -> tuple[Any, Any, Any]:
    """White balance, matrix to sRGB and matrix from XYZ; None for those that are unknown."""
    factors: Any = np.asarray(raw.camera_whitebalance, np.float64)[:3]
    # 0 means "not stated"; LibRaw would then estimate the white balance from the picture.
    if not np.isfinite(factors).all() or (factors <= 0).any():
        factors = None
    to_camera: Any = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
    if np.isfinite(to_camera).all() and to_camera.any():
        return factors, matrix_of(to_camera), to_camera
    matrix: Any = np.asarray(raw.color_matrix, np.float64)[:, :3]
    daylight = np.asarray(raw.daylight_whitebalance, np.float64)[:3]
    if not np.isfinite(matrix).all() or not matrix.any() or (daylight <= 0).any():
        return factors, None, None
    return factors, matrix, np.linalg.inv(_SRGB_TO_XYZ @ matrix * daylight)


def _of_page(path: Path, page: dng.DngPage, number: int) -> tuple[Any, NDArray[Any], float]:
    """Pixels minus black level, pattern and white level of a DNG, decoded by tifffile."""
    pixels = dng.read_pixels(path, number)
    top, left, bottom, right = page.area
    pixels = pixels[top:bottom, left:right]
    if page.table is not None and pixels.dtype.kind == "u":
        pixels = page.table[np.minimum(pixels, len(page.table) - 1)]
    kind = pixels.dtype
    full = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
    white = np.full(1, full) if page.white is None or not page.white.min() > 0 else page.white
    black = page.black_of(top, left, *pixels.shape[:2])
    if pixels.ndim == 2:
        black = black[..., 0]
    light = (pixels.astype(np.float64) - black).astype(np.float32)
    pattern = np.zeros((1, 1), int) if page.pattern is None else page.pattern
    return light, pattern, float(white.min() - black.mean())


def _of_library(raw: Any, page: dng.DngPage | None) -> tuple[Any, NDArray[Any], float]:
    """Pixels minus black level, pattern and white level, decoded by LibRaw."""
    stored, names = raw.raw_image_visible, raw.color_desc.decode()
    if stored is None:
        raise ValueError("its sensor is of a kind that is not supported")
    levels = np.asarray(raw.black_level_per_channel, np.float64)
    white = float(raw.white_level) - float(levels.mean())
    if stored.ndim == 3:
        light = stored[..., :3].astype(np.float32) - levels[:3].astype(np.float32)
        return light, np.zeros((1, 1), int), white
    pattern = raw.raw_pattern
    if pattern is None:
        raise ValueError("it does not state its colour filter array")
    pattern = np.asarray(pattern)
    merged = _merged(pattern, names)
    height, width = stored.shape
    if page is None:
        p, q = pattern.shape
        level = levels[np.minimum(pattern, 3)]
        black = np.tile(level, (-(-height // p), -(-width // q)))[:height, :width]
    else:
        # LibRaw drops fractions and levels of single rows and columns; the tags have them.
        black = page.black_of(raw.sizes.top_margin, raw.sizes.left_margin, height, width)[..., 0]
        white = float(raw.white_level) - float(black.mean())
    return (stored.astype(np.float64) - black).astype(np.float32), merged, white


def _merged(pattern: NDArray[Any], names: str) -> NDArray[Any]:
    """Convert LibRaw's pattern, which counts two greens, to 0 red, 1 green, 2 blue."""
    if len(set(pattern.ravel())) == 1:
        return np.zeros((1, 1), int)
    letters = [[names[min(number, len(names) - 1)] for number in row] for row in pattern]
    if others := {letter for row in letters for letter in row} - set("RGB"):
        raise ValueError(f"its sensor has filters of the colours {', '.join(sorted(others))}; allowed are red, green and blue")  # fmt: skip
    return np.array([["RGB".index(letter) for letter in row] for row in letters])


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
    "{path}: a DNG holds the light that a camera raw file recorded, denoised and not brightened;"
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
    in_order = False

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
