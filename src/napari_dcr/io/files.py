"""What the families of image files share: a picture with its metadata, and writing it atomically."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarnings
from napari_dcr.io.metadata import Metadata


@dataclass(frozen=True)
class Picture:
    """An image as it stands in a file.

    Attributes
    ----------
    pixels : ndarray
    axes : str
        A letter per axis, as `napari_dcr.enhance` takes it.
    metadata : Metadata
        What the file says beside the pixels, for `write`.
    samples : str
        What the samples of a pixel are; see `napari_dcr.image.axes.Layout`.
    notes : tuple of str
        What was left out or taken for something, to be told to the user.
    doubt : str
        What speaks against the axes, for a user who has not given them.
    """

    pixels: NDArray[Any]
    axes: str
    metadata: Metadata = field(default_factory=Metadata)
    samples: str = ""
    notes: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def layout(self) -> Layout:
        """Shape, axes and samples."""
        return Layout(tuple(self.pixels.shape), self.axes, self.samples)


def warnings_of(path: Path, notes: tuple[str, ...]) -> InputWarnings:
    """Warn of what was left out of a file or taken for something."""
    found = InputWarnings()
    for note in notes:
        found.add(f"{path.name}: {note}")
    return found


def partial_path(path: Path) -> Path:
    """Where a file is written: beside its place, as a rename is atomic only within a file system.

    The name is a hidden one, which no search of a folder finds.
    """
    return path.with_name(f".{secrets.token_hex(4)}.partial.{path.name}")


@contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Context manager that gives a temporary path and moves it to ``path`` once it is complete.

    A killed process leaves no half file under the final name.
    """
    partial = partial_path(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_holds(path: Path, dtype: np.dtype[Any], dtypes: tuple[str, ...]) -> None:
    """Check early that a file format supports a dtype.

    Raises
    ------
    ValueError
        If ``dtypes`` names some and ``dtype`` is not among them.
    """
    if dtypes and dtype.name not in dtypes:
        raise ValueError(
            f"{path}: {path.suffix.lower()} holds {' or '.join(dtypes)}, not {dtype.name};"
            " write .tif, or ask for another output dtype"
        )


def check_array(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Say if an array is not what the result goes into.

    Raises
    ------
    ValueError
    """
    if tuple(out.shape) != tuple(shape) or out.dtype != dtype:
        raise ValueError(
            f"out: got shape {tuple(out.shape)} and dtype {out.dtype}; needed are {tuple(shape)} and {dtype}"
        )
    if getattr(out, "read_only", False):
        raise ValueError("out: got a read-only array; it must be writeable")


class NotInstalled(ValueError):
    """A package that a format needs is not installed."""


def import_optional(module: str, extra: str) -> Any:
    """Import a package that only some formats need.

    Parameters
    ----------
    module : str
        Name of the module.
    extra : str
        The extra of this package that installs it.

    Raises
    ------
    NotInstalled
        If it is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalled(
            f"{module.partition('.')[0]} is needed for this; install it with"
            f' pip install "napari-dcr[{extra}]"'
        ) from error


def import_zarr() -> Any:
    """The zarr package.

    Raises
    ------
    NotInstalled
        If it is not installed.
    """
    return import_optional("zarr", "zarr")


def stamp_of(path: Path, *others: object) -> str:
    """Name, size and time of a file, which change when its pixels do.

    Parameters
    ----------
    path : Path
    *others : object
        What else tells an image from the others of the file, such as the number of a scene.
    """
    status = path.stat()
    return " ".join(map(str, (path, status.st_size, status.st_mtime_ns, *others)))
