"""Open and create zarr arrays and OME-Zarr images with their pyramids."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.file_errors import reason_of
from napari_dcr.engine.resume import DAMAGED, KEY, RunRecord
from napari_dcr.engine.sources import is_zarr
from napari_dcr.engine.tiles import Size
from napari_dcr.image.axes import Layout
from napari_dcr.io import ome_metadata as ome
from napari_dcr.io.calibration import Calibration
from napari_dcr.io.files import check_array, import_zarr, partial_path
from napari_dcr.io.pyramids import build_pyramid, create_array, level_steps, shards_of
from napari_dcr.io.zarr_chunks import remove_leftovers, remove_unreadable, stored_stamp
from napari_dcr.io.zarr_nodata import NODATA, nodata_attributes

_OF_PIXELS = (KEY, "actual_range")
"""Attributes that describe the pixels of the source: the record of a run, and the range of CF."""

LARGEST_CHUNK = 1024
"""Rows and columns of the chunks of new arrays."""


def open_path(path: Path) -> Any:
    """Open the zarr array or group at a path for reading.

    Raises
    ------
    ValueError
        If there is no zarr array or group at the path.
    """
    zarr = import_zarr()
    file = next((p for p in (path, *path.parents) if p.is_file()), None)
    if file is not None:
        kind = "a zip" if zipfile.is_zipfile(file) else "a file"
        raise ValueError(
            f"image: {file} is {kind}, not a folder; unpack it, or pass the array that"
            " zarr.open(zarr.storage.ZipStore(...)) returns"
        )
    try:
        return zarr.open(store=str(path), mode="r")
    except Exception as error:  # zarr raises any type of exception for damaged metadata
        words = "it holds no zarr array or group, or its metadata are damaged"
        reason = reason_of(error, str(path), words)
        raise ValueError(f"image: {path} cannot be opened as zarr: {reason}") from error


def find_image(node: Any) -> tuple[Any, str | None, dict[str, Any] | None]:
    """Array of a zarr array or OME-Zarr group.

    Returns
    -------
    array : zarr.Array
        The array; for a group, the finest level.
    axes : str or None
        One letter per axis, if the metadata define them.
    pyramid : dict or None
        Metadata of the multiscale image that the array belongs to, with the path of its level as
        ``"level"``.

    Raises
    ------
    ValueError
        If the group is not a multiscale image, or if its metadata and its array do not match.
    """
    zarr = import_zarr()
    node = anchored(node)
    group: Any = node
    if isinstance(node, zarr.Group):
        multiscale = ome.find_multiscale(dict(node.attrs))
        if multiscale is None:
            try:
                content = _what_is_in(node)
            except (KeyError, IndexError, TypeError, AttributeError):
                content = "holds no image, or its OME-Zarr metadata are damaged"
            raise ValueError(f"image: the zarr group {str(path_of(node))!r} {content}")
        level = (ome.level_paths(multiscale) or [""])[0]
        array = node.get(level) if level else None
        if not isinstance(array, zarr.Array):
            missing = (
                f"the array {level!r} of its finest level" if level else "the list of its levels"
            )
            raise ValueError(f"image: {path_of(node)}: {missing} is missing: it is incomplete")
        if reason := ome.mismatch(multiscale, level, array.ndim):
            raise ValueError(
                f"image: {path_of(node)}: {reason}; correct the metadata, or pass the array"
                f" {path_of(array)}, which is read without them"
            )
    else:
        array, (group, multiscale, level) = node, _parent_image(node)
    axes = None if multiscale is None else ome.letters(multiscale, array.ndim)
    names = getattr(array.metadata, "dimension_names", None)
    if axes is None and names:
        axes = ome.letters_of(names)
    if multiscale is None:
        return array, axes, None
    return array, axes, {**multiscale, "level": level, "group": group}


def anchored(node: Any) -> Any:
    """Reopen an array or group by its absolute path, because the working directory may change."""
    zarr = import_zarr()
    root = getattr(node.store, "root", None)
    if not isinstance(root, Path) or root.is_absolute():
        return node
    store = type(node.store)(root.absolute(), read_only=node.store.read_only)
    mode = "r" if node.store.read_only else "r+"
    return zarr.open(store=store, path=node.path, mode=mode)


def path_of(node: Any) -> Path:
    """Path of a node, or its position in its store."""
    root = getattr(node.store, "root", None)
    return Path(str(node.store_path)) if root is None else Path(root) / node.path


def _what_is_in(group: Any) -> str:
    """Describe the content of a group that is no image, and what to pass instead."""
    place = path_of(group)
    attributes = dict(group.attrs)
    own = {**attributes, **attributes.get("ome", {})}
    if "bioformats2raw.layout" in own:
        names = sorted(
            (n for n, g in group.groups() if ome.find_multiscale(dict(g.attrs))), key=_natural
        )
        if names:
            return f"holds images {', '.join(names)}; pass one: {place}/{names[0]}"
    if "plate" in own:
        wells = own["plate"].get("wells") or [{"path": "A/1"}]
        return (
            f"is a plate; pass a field of one of its wells: {place}/{wells[0]['path']}/0. The shell"
            " command takes the plate"
        )
    if "well" in own:
        return f"is a well; pass one of its fields: {place}/{own['well']['images'][0]['path']}"
    arrays = ", ".join(group.array_keys())
    return f"is not a multiscale image; pass one of its arrays: {arrays or 'it has none'}"


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (1 << 62, name)


def described(axes: str, calibration: Calibration) -> dict[str, Any] | None:
    """Convert metadata of another format to those of a multiscale image; None if there are none."""
    if not calibration:
        return None
    image, omero = calibration.to_ngff(axes)
    return {**image, "level": "0", "omero": omero}


def calibration_of(axes: str, pyramid: dict[str, Any]) -> Calibration:
    """Calibration from the metadata that `find_image` returns."""
    omero = pyramid.get("omero")
    if "group" in pyramid:
        omero = ome.namespace(dict(pyramid["group"].attrs)).get("omero")
    return Calibration.of_ngff(axes, pyramid, pyramid["level"], omero)


def _parent_image(array: Any) -> tuple[Any, dict[str, Any] | None, str]:
    """Group and multiscale image that an array is a level of."""
    zarr = import_zarr()
    place, _, name = array.path.rpartition("/")
    store = array.store
    if not array.path:  # the array was opened by its path
        root = getattr(store, "root", None)
        if root is None or not hasattr(zarr.storage, "LocalStore"):
            return None, None, ""
        store, place, name = str(Path(root).parent), "", Path(root).name
    try:
        group = zarr.open_group(store=store, path=place, mode="r")
    except (FileNotFoundError, ValueError, TypeError):
        return None, None, ""
    multiscale = ome.find_multiscale(dict(group.attrs))
    if multiscale is None or name not in ome.level_paths(multiscale):
        return None, None, ""
    if ome.mismatch(multiscale, name, array.ndim):
        return None, None, ""
    return group, multiscale, name


def labels_folder(group: Any) -> Path | None:
    """Folder of the label images of an OME-Zarr image, or None."""
    root = getattr(group.store, "root", None)
    folder = None if root is None else Path(root) / group.path / "labels"
    return folder if folder is not None and folder.is_dir() else None


def left_out(group: Any) -> tuple[str, ...]:
    """Messages about parts of an OME-Zarr image that are omitted or written differently."""
    own = dict(group.attrs)
    found = []
    images = ome.namespace(own).get("multiscales", [])
    if len(images) > 1:
        found.append(
            f"it holds {len(images)} multiscale images; the first is taken and"
            f" {len(images) - 1} left out"
        )
    version = str(images[0].get("version", "0.4")) if "ome" not in own and images else None
    if version not in (None, *ome.WRITTEN):
        found.append(f"its OME-Zarr version {version} is written as 0.4")
    if "labels" in set(group.group_keys()) and labels_folder(group) is None:
        found.append("its labels are not copied, because its store is not a folder")
    return tuple(found)


def own_attributes(array: Any) -> dict[str, Any]:
    """Attributes of a zarr array that remain true for its result; empty for other arrays."""
    if not is_zarr(array):
        return {}
    found = dict(array.attrs)
    return {
        k: v for k, v in found.items() if k not in _OF_PIXELS and not k.startswith("STATISTICS_")
    }


def write_unit(array: Any, layout: Layout) -> tuple[int, int]:
    """Rows and columns that are written at once: those of a shard, or of a chunk without shards."""
    unit = array.shards or array.chunks
    return unit[layout.axes.index("y")], unit[layout.axes.index("x")]


def is_result(path: Path) -> bool:
    """Whether a path holds a zarr array or an OME-Zarr image that this package has written."""
    zarr = import_zarr()
    if not path.is_dir():
        return False
    try:
        node = zarr.open(store=str(path), mode="r")
        array = node.get("0") if isinstance(node, zarr.Group) else node
    except Exception:  # any type, for damaged metadata
        return False
    return isinstance(array, zarr.Array) and KEY in array.attrs


def check_replaceable(path: Path, argument: str) -> None:
    """Raise a ValueError unless a path holds a result of this package, which may be replaced."""
    if not is_result(path):
        raise ValueError(
            f"{argument}: {path} exists and is not a result of napari-dcr, so it is not replaced;"
            " write to another path"
        )


class ZarrSink:
    """Sink that writes to an existing zarr array, or to a new one at a path.

    A result that is to be replaced stays at its path until the new one, in a hidden folder beside it,
    is complete.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    out : zarr.Array or Path
    pyramid : dict, optional
        Metadata of the multiscale image that the source belongs to.
    multiscale : bool
        Whether to create an OME-Zarr image with all its levels.
    resume : bool
        Resume the interrupted run that ``out`` holds, if any.
    like : array, optional
        Source: if it is a zarr array, a new array that is no OME-Zarr image has its format version,
        names of axes and fill value; if it is sharded, its chunks and shards.
    overwrite : bool
        Replace a result of this package at ``out``; without effect if ``resume``.
    nodata : float, optional
        Value of pixels without data.
    attributes : dict, optional
        Attributes of a new array.
    """

    one_size, in_order = True, False

    def __init__(
        self,
        layout: Layout,
        dtype: np.dtype[Any],
        out: Any,
        pyramid: dict[str, Any] | None,
        multiscale: bool,
        resume: bool,
        like: Any = None,
        overwrite: bool = False,
        nodata: float | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self._nodata = nodata
        self._replaced: Path | None = None
        if overwrite and not resume and isinstance(out, Path) and out.exists():
            check_replaceable(out, "out")
            self._replaced = out.resolve()
            out = partial_path(self._replaced)
        self._layout, self._dtype, self._out, self._resume = layout, dtype, out, resume
        self._pyramid, self._multiscale = pyramid, multiscale
        self._source = (pyramid or {}).get("group")
        version = ome.version_of(pyramid, dict(self._source.attrs)) if self._source else ome.VERSION
        self._version = version if version in ome.WRITTEN else ome.VERSION
        self._own, self._like = attributes or {}, None
        self._zarr_format = 2 if self._version == "0.4" else 3
        if not multiscale:
            self._like = like if is_zarr(like) else None
            self._zarr_format = self._like.metadata.zarr_format if self._like is not None else 3
        self._group: Any = None
        # Sharded arrays give sharded results, with one plane in each shard.
        sharded = shards_of(like, layout.axes) if self._zarr_format == 3 else None
        self._array = self._find() if isinstance(out, Path) else out
        self.record: RunRecord | None = None
        self.unit: Size = (1, 1)
        self.part: Size | None = None
        self._sharded = sharded if self._array is None else None
        if self._sharded is not None:
            self.unit = self._sharded[1]
        if self._array is not None:
            check_array(self._array, layout.shape, dtype)
            self.unit = write_unit(self._array, layout)
            recorded = RunRecord.recorded(self._array) if resume else None
            if recorded is not None:
                height, width = recorded["part"]
                sides = zip((height, width), self.unit, (layout.height, layout.width), strict=True)
                if any(side % unit and side < most for side, unit, most in sides):
                    raise ValueError(DAMAGED)
                self.part = height, width

    def _find(self) -> Any:
        """Array of an interrupted run, or None."""
        if not self._out.exists():
            return None
        if not self._resume:
            raise ValueError(
                f"out: {self._out} exists; pass overwrite=True to replace it, or resume=True to resume an"
                " interrupted run"
            )
        zarr = import_zarr()
        foreign = ValueError(
            f"resume: {self._out} does not hold an interrupted run, and is not written to;"
            " write to another path"
        )
        if not self._out.is_dir():
            raise foreign
        try:
            node = zarr.open(store=str(self._out), mode="r+")
            array = node.get("0") if isinstance(node, zarr.Group) else node
        except FileNotFoundError:
            if any(path.suffix != ".partial" for path in self._out.rglob("*") if path.is_file()):
                raise foreign from None
            return None  # the process was killed before it wrote the first metadata
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"resume: the metadata of {self._out} are damaged: {error}; remove it, or write to"
                " another path"
            ) from error
        if isinstance(node, zarr.Group):
            self._group = node
            if array is None and not node.attrs and not list(node.keys()):
                return None  # the process was killed before it created the array
        begun_by_us = array is not None and KEY in array.attrs
        if not begun_by_us or isinstance(node, zarr.Group) != self._multiscale:
            raise foreign
        return array

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> Any:
        """Open the array, or create it."""
        if self._array is None:
            try:
                self._array = self._create(part)
            except BaseException:
                # zarr makes the folder before it writes the metadata.
                with suppress(OSError):
                    self._out.rmdir()
                raise
        elif self._resume:
            remove_leftovers(self._array)
        elif self._nodata is not None and NODATA not in self._array.attrs:
            self._array.update_attributes(nodata_attributes(self._nodata, self._dtype))
        self.record = RunRecord(
            self._array, {**identity, "part": list(part)}, parts, self._resume, stored_stamp,
            remove_unreadable,
        )  # fmt: skip
        return self._array

    def _create(self, part: Size) -> Any:
        """Create the array, and the group of an OME-Zarr image."""
        chunk, shard = self._sharded or ((_divisor(part[0]), _divisor(part[1])), None)
        place, name = self._out, None
        if self._multiscale:
            zarr = import_zarr()
            self._group = self._group or zarr.open_group(
                store=str(self._out), mode="a", zarr_format=self._zarr_format
            )
            place, name = self._group, "0"
        # Set the attribute together with the array, because it marks the array as ours.
        return create_array(
            place, name, self._layout, self._dtype, chunk, {**self._own, KEY: {}},
            self._zarr_format, shard, self._like, self._nodata,
        )  # fmt: skip

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Add the pyramid and the record."""
        if self._group is not None:
            yield from build_pyramid(self._group, self._layout, self._nodata)
            yield from self._copy_labels()
            self._group.update_attributes(self._attributes())
        assert self.record is not None
        self.record.finish(record)
        if self._replaced is not None:
            self._replace(self._replaced)

    def _replace(self, place: Path) -> None:
        """Move the complete result to the path of an earlier one, and remove that."""
        zarr = import_zarr()
        before = partial_path(place)
        place.rename(before)
        try:
            self._out.rename(place)
        except BaseException:
            before.rename(place)
            raise
        self._out, self._replaced, self.record = place, None, None
        shutil.rmtree(before, ignore_errors=True)
        node = zarr.open(store=str(place), mode="r+")
        self._group, self._array = (None, node) if self._group is None else (node, node["0"])

    def _attributes(self) -> dict[str, Any]:
        """Attributes of the group: those of the image, and further ones of the source."""
        pyramid, steps = self._pyramid, level_steps(self._layout)
        level = "" if pyramid is None else str(pyramid["level"])
        template = {
            k: v for k, v in (pyramid or {}).items() if k not in ("group", "omero", "level")
        }
        image = ome.describe_pyramid(self._layout.axes, steps, template or None, level)
        omero, own = (pyramid or {}).get("omero"), {}
        if self._source is not None:
            own = dict(self._source.attrs)
            omero = ome.namespace(own).get("omero")
        if omero:
            coarse = self._group[str(len(steps) - 1)][...]
            omero = ome.shown(omero, coarse, self._layout.axes)
        return ome.attributes(self._version, image, omero, own)

    def _copy_labels(self) -> Iterator[str]:
        """Copy the source's labels, if both stores are folders of the same zarr format."""
        source = self._source
        if source is None or not isinstance(self._out, Path):
            return
        labels, target = labels_folder(source), self._out / "labels"
        alike = source.metadata.zarr_format == self._zarr_format
        if labels is not None and alike and not target.exists():
            yield "copying the labels"
            shutil.copytree(labels, target)

    @property
    def result(self) -> Any:
        """Group of an OME-Zarr image, otherwise the array."""
        return self._array if self._group is None else self._group

    def close(self) -> None:
        """Save the record of finished parts, or remove the part of a result that was to replace another."""
        if self._replaced is not None:
            shutil.rmtree(self._out, ignore_errors=True)
        elif self.record is not None:
            self.record.save()


def _divisor(size: int) -> int:
    """Rows or columns of a chunk, which divide those of a part."""
    while size > LARGEST_CHUNK and size % 2 == 0:
        size //= 2
    return size
