"""Plates of OME-Zarr (high-content screening): their fields, and their metadata around results.

Next-generation file format, versions 0.4 and 0.5, "plate" and "well": https://ngff.openmicroscopy.org
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from napari_dcr.io import ome_metadata as ome
from napari_dcr.io.files import import_zarr

OME = "OME"
"""Group in which bioformats2raw keeps OME-XML."""


_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
"""Files with the metadata of a group, in both formats of zarr."""


def fields_of(path: Path) -> list[str]:
    """Paths of all fields within a plate or a well; empty for other folders.

    A well that the plate lists but that is missing counts as one field, which raises an error when
    it is opened. So does a plate with damaged metadata, whose list is empty, too.
    """
    group = _group(path)
    try:
        return [] if group is None else _fields(path, ome.namespace(dict(group.attrs)))
    except (KeyError, TypeError, AttributeError):
        return []


def _fields(path: Path, own: dict[str, Any]) -> list[str]:
    """Paths of the fields that the metadata of a plate or a well list."""
    if "well" in own:
        return [str(image["path"]) for image in own["well"].get("images", [])]
    fields = []
    for well in own.get("plate", {}).get("wells", []):
        inner = _group(path / well["path"])
        described = None if inner is None else ome.namespace(dict(inner.attrs)).get("well")
        images = [{"path": "0"}] if described is None else described.get("images", [])
        fields += [f"{well['path']}/{image['path']}" for image in images]
    return fields


def copy_around(source: Path, target: Path, field: str, overwrite: bool = False) -> None:
    """Create the groups around the result of a field: plate, row and well with their metadata.

    Parameters
    ----------
    source, target : Path
        Plate or well that contains the field, and plate or well of the results.
    field : str
        Path of the field within both.
    overwrite : bool
        Whether to replace the metadata of an earlier result.
    """
    zarr = import_zarr()
    here = Path()
    for part in ["", *Path(field).parent.parts]:
        here = here / part
        group, before = _group(source / here), _group(target / here)
        is_kept = before is not None and (not overwrite or dict(before.attrs) == dict(group.attrs))
        if group is None or is_kept:
            continue
        for name in _METADATA:  # of the plate that is replaced
            (target / here / name).unlink(missing_ok=True)
        made = zarr.open_group(
            store=str(target / here), mode="a", zarr_format=group.metadata.zarr_format
        )
        made.update_attributes(dict(group.attrs))
    if (source / OME).is_dir() and not (target / OME).exists():
        shutil.copytree(source / OME, target / OME)


def _group(path: Path) -> Any:
    """The zarr group at a path, or None."""
    zarr = import_zarr()
    try:
        # For an array, open_group() of zarr 3.0.8 to 3.1.2 raises AssertionError.
        node = zarr.open(store=str(path), mode="r")
    except Exception:  # any type, for damaged metadata; an error is raised when it is opened
        return None
    return node if isinstance(node, zarr.Group) else None
