"""Stored chunks of zarr arrays in folders: their checksums, and removal of unreadable ones."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def files_stamp(array: Any) -> str | None:
    """Digest of names, sizes and times of an array's files, if it is stored in a folder."""
    root = getattr(array.store, "root", None)
    if root is None:
        return None
    stamp = hashlib.sha256()
    for folder, folders, files in os.walk(Path(root) / array.path):
        folders.sort()
        for name in sorted(files):
            status = (Path(folder) / name).stat()
            stamp.update(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return stamp.hexdigest()


def stored_stamp(array: Any, region: tuple[int | slice, ...]) -> int:
    """Checksum of the stored chunks, or shards, of a region.

    Parameters
    ----------
    array : zarr.Array
    region : tuple of int or slice
        Region that consists of whole chunks.
    """
    if getattr(array.store, "root", None) is None:
        return zlib.crc32(np.ascontiguousarray(array[region]).data)
    stamp = 0
    for path, _ in _stored(array, region):
        # A chunk that only contains the fill value is not stored.
        stamp = zlib.crc32(path.read_bytes() if path.is_file() else b"none", stamp)
    return stamp


def _stored(
    array: Any, region: tuple[int | slice, ...]
) -> Iterator[tuple[Path, tuple[slice, ...]]]:
    """Path and index of each chunk, or shard, that a region of an array in a folder overlaps."""
    unit, places = array.shards or array.chunks, []
    for part, n, size in zip(region, unit, array.shape, strict=True):
        start, stop, _ = (slice(part, part + 1) if isinstance(part, int) else part).indices(size)
        places.append(range(start // n, -(-stop // n)))
    for place in itertools.product(*places):
        path = Path(array.store.root) / array.path / array.metadata.encode_chunk_key(place)
        yield path, tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, unit, strict=True))


def unreadable(array: Any, region: tuple[int | slice, ...]) -> Path | None:
    """First stored chunk, or shard, of a region that cannot be read; None if there is none."""
    if getattr(array.store, "root", None) is None:
        return None
    stored = _stored(array, region)
    return next((path for path, index in stored if _is_unreadable(array, path, index)), None)


def remove_unreadable(array: Any, region: tuple[int | slice, ...]) -> None:
    """Remove stored chunks, or shards, of a region that cannot be read.

    Zarr reads a shard, or a chunk of several planes, before it writes a part of it.
    """
    if getattr(array.store, "root", None) is None:
        return
    for path, index in _stored(array, region):
        if path.is_dir():
            shutil.rmtree(path)
        elif _is_unreadable(array, path, index):
            path.unlink()


def _is_unreadable(array: Any, path: Path, index: tuple[slice, ...]) -> bool:
    """Whether a chunk, or shard, is stored but cannot be read."""
    if path.exists():
        try:
            array[index]
        except Exception:  # every codec has its own errors
            return True
    return False


def remove_leftovers(array: Any) -> None:
    """Remove temporary files of a killed process."""
    root = getattr(array.store, "root", None)
    if root is not None:
        for path in (Path(root) / array.path).rglob("*.partial"):
            path.unlink()
