"""Metadata of image files, in a form that every format can be written from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from napari_dcr.io import tags as t
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.tags import Tag, Tags

T = TypeVar("T")


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image file, independent of its format.

    Attributes
    ----------
    tags : dict
        TIFF and EXIF tags of the first page: orientation, resolution, profile, camera, location.
    pages : dict
        Tags of further pages, by number of page.
    exif : bytes
        The EXIF block as read; empty if there was none.
    chunks : tuple of (bytes, bytes)
        Ancillary chunks of a PNG: type and content.
    calibration : Calibration
    imagej : dict, optional
        ImageJ's metadata as tifffile returns them.
    ome : str, optional
        OME-XML.
    shaped : bool
        Whether the description holds the axes in the form that tifffile writes.
    display_map : ndarray, optional
        Lookup table (3, 256) with the colours in which intensities are displayed.
    native : optional
        Metadata that only the same format can store, for results in that format.
    """

    tags: Tags = field(default_factory=dict)
    pages: dict[int, Tags] = field(default_factory=dict)
    exif: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    imagej: dict[str, Any] | None = None
    ome: str | None = None
    shaped: bool = False
    display_map: Any = None
    native: Any = None

    @property
    def orientation(self) -> int:
        """EXIF Orientation, 1 to 8, by which viewers turn the pixels."""
        return _orientation(self.tags)

    @property
    def orientations(self) -> set[int]:
        """Orientations of all pages."""
        return {self.orientation, *map(_orientation, self.pages.values())}

    @property
    def icc_profile(self) -> bytes:
        """ICC profile; empty if there is none."""
        return self.tags[t.ICC_PROFILE].data if t.ICC_PROFILE in self.tags else b""

    @property
    def xmp(self) -> bytes:
        """XMP packet; empty if there is none."""
        return self.tags[t.XMP].data if t.XMP in self.tags else b""

    @property
    def resolution(self) -> tuple[float, float, int] | None:
        """Pixels per unit along x and y, and the unit: 1 for none, 2 for inch, 3 for centimetre."""
        x, y = self.tags.get(t.X_RESOLUTION), self.tags.get(t.Y_RESOLUTION)
        if not x or not y or not x.count or not y.count:
            return None
        unit = self.tags.get(t.RESOLUTION_UNIT)
        return x.numbers[0], y.numbers[0], int(unit.numbers[0]) if unit and unit.count else 2

    @property
    def nodata(self) -> float | None:
        """No-data value from GDAL's tag, or None."""
        tag = self.tags.get(t.GDAL_NODATA)
        try:
            return None if tag is None else float(tag.text)
        except ValueError:
            return None

    def with_nodata(self, value: float) -> Metadata:
        """Copy with a no-data value in GDAL's tag."""
        if self.nodata == value:
            return self
        return replace(self, tags={**self.tags, t.GDAL_NODATA: t.text_tag(f"{value:.17g}")})

    def without(self, *codes: int) -> Metadata:
        """Copy without some tags of the first page."""
        return replace(self, tags={k: v for k, v in self.tags.items() if k not in codes})

    def upright(self) -> Metadata:
        """Copy for pixels that have been rotated upright."""
        made = replace(self.without(t.ORIENTATION), exif=b"")
        if self.orientation < 5:
            return made
        tags, found = dict(made.tags), self.calibration
        if {t.X_RESOLUTION, t.Y_RESOLUTION} <= tags.keys():
            x, y = tags[t.X_RESOLUTION], tags[t.Y_RESOLUTION]
            tags |= {t.X_RESOLUTION: y, t.Y_RESOLUTION: x}
        calibration = replace(
            found,
            sizes=_exchanged(found.sizes),
            units=_exchanged(found.units),
            origin=_exchanged(found.origin),
        )
        return replace(made, tags=tags, calibration=calibration)

    def with_resolution(self, x: float, y: float, unit: int) -> Metadata:
        """Copy with another resolution."""
        new = {
            t.X_RESOLUTION: t.rational_tag(x),
            t.Y_RESOLUTION: t.rational_tag(y),
            t.RESOLUTION_UNIT: t.short_tag(unit),
        }
        return replace(self, tags={**self.tags, **new})

    def exif_tags(self) -> Tags:
        """Tags for an EXIF block."""
        return {k: v for k, v in self.tags.items() if k in _IN_EXIF}


def _exchanged(values: dict[str, T]) -> dict[str, T]:
    """Values by axis letter, with those of x and y exchanged."""
    return {{"x": "y", "y": "x"}.get(axis, axis): value for axis, value in values.items()}


def _orientation(tags: Tags) -> int:
    tag = tags.get(t.ORIENTATION)
    value = int(tag.numbers[0]) if tag and tag.count else 1
    return value if 1 <= value <= 8 else 1


_IN_EXIF = frozenset(
    (269, t.DESCRIPTION, t.MAKE, t.MODEL, t.ORIENTATION, t.X_RESOLUTION, t.Y_RESOLUTION,
     t.RESOLUTION_UNIT, t.SOFTWARE, t.DATE_TIME, t.ARTIST, 316, 318, 319, t.COPYRIGHT, t.EXIF, t.GPS,
     40091, 40092, 40093, 40094, 40095)
)  # fmt: skip
"""Tags of a page that also exist in EXIF."""

_STRUCTURE = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288,
     289, 290, 291, 292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336,
     338, 339, 340, 341, 342, 343, 344, 345, 346, 347, 351, 512, 513, 514, 515, 517, 518, 519, 520,
     521, 529, 530, 531, 532, 559, 32781, 32995, 32996, 32997, 32998, 33421, 33422,
     33628, 33629, 33630, 33631, 34412, 37439, 37724, 50674, 50838, 50839)
)  # fmt: skip
"""Tags that describe the storage of pixels or hold other pixels, which belong to the old file."""

_DNG = range(50706, 51123)

_STATISTICS = re.compile(rb'\s*<Item name="STATISTICS_[^>]*>[^<]*</Item>')


def _without_statistics(tag: Tag) -> Tag:
    """Items of GDAL's metadata without the statistics of the old pixels."""
    return replace(tag, data=_STATISTICS.sub(b"", tag.data))


_CHANGED: dict[int, Callable[[Tag], Tag]] = {t.GDAL_METADATA: _without_statistics}
"""Conversion of tags that are neither copied nor dropped."""


def kept_tags(tags: Tags) -> Tags:
    """Tags of a page that remain true for its enhanced pixels."""
    return {
        code: _CHANGED[code](tag) if code in _CHANGED else tag
        for code, tag in tags.items()
        if code not in _STRUCTURE and code not in _DNG
    }
