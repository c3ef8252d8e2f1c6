"""Tools that all file formats share: pictures with metadata, atomic writing, optional packages."""

from __future__ import annotations

import importlib
import logging
import math
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from napari_dcr.engine.devices import free_memory
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarnings
from napari_dcr.io.metadata import Metadata

LONGEST_NAME = 255
"""Bytes of the name of a file."""


@dataclass(frozen=True)
class Picture:
    """An image with the metadata of its file.

    Attributes
    ----------
    pixels : ndarray
    axes : str
        One letter per axis, as in the option ``axes``.
    metadata : Metadata
        Metadata of the file, for `write`.
    samples : str
        Meaning of the samples of a pixel; see `napari_dcr.image.axes.Layout`.
    notes : tuple of str
        Messages for the user about parts of the file that were omitted or interpreted.
    doubt : str
        Reason to doubt the axes, for users who have not passed axes themselves.
    measured : bool
        Whether the file is of an instrument that measures; see `Opened`.
    """

    pixels: NDArray[Any]
    axes: str
    metadata: Metadata = field(default_factory=Metadata)
    samples: str = ""
    notes: tuple[str, ...] = ()
    doubt: str = ""
    measured: bool = False

    @property
    def layout(self) -> Layout:
        """Layout of the axes and samples."""
        return Layout(tuple(self.pixels.shape), self.axes, self.samples)


def warnings_of(path: Path, notes: tuple[str, ...]) -> InputWarnings:
    """Warnings about parts of a file that were omitted or interpreted."""
    found = InputWarnings()
    for note in notes:
        found.add(f"{path.name}: {note}")
    return found


def partial_path(path: Path) -> Path:
    """Temporary path in the same folder, because a rename is atomic only within a file system.

    The name is hidden, so that searches of the folder do not find it, and ends as that of the
    path, which the longest names do only in part.
    """
    start, name = f".{secrets.token_hex(4)}.partial.", path.name
    while len(os.fsencode(start + name)) > LONGEST_NAME:
        name = name[1:]
    return path.with_name(start + name)


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Context manager that gives a temporary path and moves it to ``path`` once it is complete.

    If the process is killed, no incomplete file remains under the final name.
    """
    partial = partial_path(path)
    try:
        with naming_result(partial, path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming_result(partial: Path, path: Path) -> Iterator[None]:
    """Context manager whose errors name the path of a result instead of its temporary path."""

    def named(value: Any) -> Any:
        if isinstance(value, (str, Path)):
            text = str(value).replace(str(partial), str(path)).replace(partial.name, path.name)
            return type(value)(text)
        return value

    try:
        yield
    except Exception as error:
        error.args = tuple(map(named, error.args))
        if isinstance(error, OSError):  # its message consists of these, not of the arguments
            for name in ("strerror", "filename", "filename2"):
                if (value := getattr(error, name)) is not None:
                    setattr(error, name, named(value))
        raise


def reserve(path: Path) -> None:
    """Reserve the space of a file on its disk before its pixels are written through a memory map.

    On a full disk a memory map ends the process by a signal instead of raising an error.

    Raises
    ------
    OSError
        If the disk has too little space.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))


def why_missing(path: Path) -> str:
    """Why there is nothing at a path; empty if there is."""
    if path.exists():
        return ""
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which does not exist"
    return "there is no such file"


def unwritable_folder(path: Path) -> Path | None:
    """Folder that an output would be created in, or its first one that exists, if it is not writable."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    return None if os.access(folder, os.W_OK) else folder


def check_holds(path: Path, dtype: np.dtype[Any], dtypes: tuple[str, ...]) -> None:
    """Check early that a file format supports a dtype.

    Raises
    ------
    ValueError
        If ``dtypes`` is not empty and does not contain ``dtype``.
    """
    if dtypes and dtype.name not in dtypes:
        raise ValueError(
            f"{path}: {path.suffix.lower()} holds {' or '.join(dtypes)}, not {dtype.name};"
            " write .tif, or choose another output dtype"
        )


def check_memory(shape: tuple[int, ...], pixel_bytes: int) -> None:
    """Refuse pictures that do not fit into memory: dark ones can be 2000 times as large as their file.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    pixel_bytes : int
        Bytes of each pixel.

    Raises
    ------
    ValueError
        If the pixels need more than half of the free memory.
    """
    needed = math.prod(shape) * pixel_bytes
    if needed > (free := free_memory("cpu")) // 2:
        raise ValueError(
            f"its {' x '.join(map(str, shape))} pixels need {needed / 2**30:.1f} GiB of memory;"
            f" allowed is half of the {free / 2**30:.1f} GiB that are free"
        )


@contextmanager
def pillow_picture(path: Path, formats: tuple[str, ...] | None = None) -> Iterator[Any]:
    """Context manager that opens a picture of any size with Pillow, if its pixels fit into memory.

    Pillow itself refuses more than 179 megapixels, which some telephones record.

    Raises
    ------
    ValueError
        If its pixels need more than half of the free memory.
    """
    limit = PILImage.MAX_IMAGE_PIXELS
    PILImage.MAX_IMAGE_PIXELS = None
    try:
        file = PILImage.open(path, formats=formats)
    finally:
        PILImage.MAX_IMAGE_PIXELS = limit
    with file:
        check_memory(file.size[::-1], 8)
        yield file


def check_array(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that an array has the shape and dtype of the result, and is writeable.

    Raises
    ------
    ValueError
    """
    if tuple(out.shape) != tuple(shape) or out.dtype != dtype:
        raise ValueError(
            f"out: got shape {tuple(out.shape)} and dtype {out.dtype}; allowed are {tuple(shape)} and {dtype}"
        )
    if getattr(out, "read_only", False):
        raise ValueError("out: got a read-only array; it must be writeable")


class NotInstalled(ValueError):
    """Error for a package that a format needs and that is not installed."""


def import_optional(module: str, extra: str) -> Any:
    """Import an optional package that a format needs.

    Parameters
    ----------
    module : str
        Name of the module.
    extra : str
        Name of the extra of this package that installs the module.

    Raises
    ------
    NotInstalled
        If the module is not installed; the message names the command to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalled(
            f"{module.partition('.')[0]} is needed for this; install it with"
            f' pip install "napari-dcr[{extra}]"'
        ) from error


@contextmanager
def without_messages() -> Iterator[list[str]]:
    """Context manager that captures the lines that a C library prints to stderr, and yields them."""
    lines: list[str] = []
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            stream.seek(0)
            lines += stream.read().decode("utf-8", "replace").split("\n")[:-1]


@contextmanager
def without_log(name: str = "tifffile") -> Iterator[list[str]]:
    """Context manager that captures the messages that a library logs, and yields its warnings."""
    lines: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            lines.append(" ".join(record.getMessage().split()))
        return False

    logger = logging.getLogger(name)
    logger.addFilter(note)
    try:
        yield lines
    finally:
        logger.removeFilter(note)


def import_zarr() -> Any:
    """Import the zarr package.

    Raises
    ------
    NotInstalled
        If it is not installed.
    """
    return import_optional("zarr", "zarr")


def stamp_of(path: Path, *others: object) -> str:
    """Stamp of a file from its name, size and time, which changes when the file is written.

    Parameters
    ----------
    path : Path
    *others : object
        Further values that identify the image within the file, such as the number of a scene.
    """
    status = path.stat()
    return " ".join(map(str, (path, status.st_size, status.st_mtime_ns, *others)))
