"""Camera raw files: developed to a print for `photo`, or opened as colour planes in linear light.

LibRaw (rawpy) decodes the mosaic of most cameras. tifffile decodes float and linear DNG, of which
LibRaw would keep 14 bits. Everything else is computed here in floating point, because LibRaw clips
values below the black level, truncates the black level to an integer, and derives the white point
from the brightest pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.image.defects import Defects
from napari_dcr.io import dng, raw_tags
from napari_dcr.io import tags as t
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import (
    import_optional,
    stamp_of,
    warnings_of,
    without_messages,
)  # fmt: skip
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.sensor import SRGB_TO_XYZ, Origin, Sensor, matrix_of
from napari_dcr.io.views import Planes, turned

PRINT, PLANES = "print", "mosaic"
"""Names of the two scenes of a raw file: the developed print and the colour planes."""

_ORIENTATIONS = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
"""EXIF orientation for each value of LibRaw's ``flip``."""

_SHOWN_IN = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
"""Display colours of the planes, as hexadecimal RGB."""


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
    raw_tags.check_complete(path)
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
    colours = [sensor.pattern[place] for place in sensor.places]
    if sensor.pattern.size == 1:
        colours = list(range(len(planes)))
    channels = tuple(Channel(names[colour], _SHOWN_IN.get(names[colour], "")) for colour in colours)
    metadata = Metadata(
        tags, calibration=Calibration(channels=channels), native=Origin(path, sensor)
    )
    return Opened(
        planes, "cyx", lambda: stamp_of(path, PLANES), metadata=metadata, warnings=warnings,
        measured=True, from_sensor=True,
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
    else:
        raw_tags.check_raw(path)
    notes: tuple[str, ...] = ()
    factors: NDArray[np.float64] | None
    if page is not None and (page.is_float or page.is_packed or not page.is_mosaic):
        light, pattern, white = _of_page(path, page, number)
    else:
        with _unpacked(path) as (raw, messages):
            notes += messages
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
        factors = 1 / (to_camera @ SRGB_TO_XYZ).sum(1)
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
        with without_messages() as messages:
            file = library.imread(str(path))
            file.unpack()
    except library.LibRawError as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("latin-1") if isinstance(reason, bytes) else str(reason)
        words = "it is cut off or damaged, or of a camera or kind that is not supported"
        raise ValueError(f"{words} (LibRaw says: {text})") from error
    with file:
        prefix = f"{path}: "
        yield file, tuple(f"LibRaw says: {line.removeprefix(prefix)}" for line in messages)


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
    return factors, matrix, np.linalg.inv(SRGB_TO_XYZ @ matrix * daylight)


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
    corner = raw.sizes.top_margin, raw.sizes.left_margin
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
    if page is not None and page.pattern is not None:
        top, left, bottom, right = page.area
        active = raw.raw_image[top:bottom, left:right]
        if active.size and (*corner, *stored.shape) != (top, left, *active.shape):
            # LibRaw moves odd corners of the active area to even ones.
            stored, corner = active, (top, left)
            merged = page.pattern if len(set(page.pattern.ravel())) > 1 else np.zeros((1, 1), int)
    height, width = stored.shape
    if page is None:
        p, q = pattern.shape
        level = levels[np.minimum(pattern, 3)]
        black = np.tile(level, (-(-height // p), -(-width // q)))[:height, :width]
    else:
        # LibRaw drops fractions and levels of single rows and columns; the tags have them.
        black = page.black_of(*corner, height, width)[..., 0]
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
