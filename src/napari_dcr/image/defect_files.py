"""Files that hold the defects of a sensor: ``.npz`` without pickle."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
"""Format of the files that `write_defects` writes."""

ARRAYS = ("columns", "rows", "offset", "column_gain", "row_gain", "hot", "excess")
"""Names of the arrays that a file may contain."""

_ALWAYS = ("format", "size", "black")
"""Names of the arrays that every file contains."""


def write_defects(
    path: str | Path,
    size: tuple[int, int, int],
    black: float,
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write the attributes of `napari_dcr.Defects` to an ``.npz`` file, without pickle.

    Parameters
    ----------
    path : str or Path
        Path that ends in ``.npz``.
    size : (int, int, int)
        Height, width and channels.
    black : float
    arrays : mapping
        Some of `ARRAYS`.

    Raises
    ------
    ValueError
        If the path does not end in ``.npz``.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"defects: got {str(path)!r} to save to; allowed are .npz files")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            format=np.array(FORMAT),
            size=np.array(size),
            black=np.array(black),
            **arrays,
        )


def read_defects(path: str | Path) -> dict[str, Any]:
    """Read the attributes of `napari_dcr.Defects` from a file, without pickle.

    Raises
    ------
    FileNotFoundError
    ValueError
        If it is another kind of file.
    """
    problem = f"defects: {path} was not written by Defects.save"
    with Path(path).open("rb") as stream:
        if not is_zipfile(stream):  # numpy would advise to load it with pickle
            raise ValueError(f"{problem}: it is not an .npz file, or it is cut off")
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = {
                name: file[name] for name in (*_ALWAYS, *ARRAYS) if name in file
            }
    except (BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{problem}: an array in it is damaged, or holds no numbers") from error
    if missing := [name for name in _ALWAYS if name not in found]:
        raise ValueError(f"{problem}: it has no array {missing[0]!r}")
    try:
        number, black = int(found.pop("format")), float(found.pop("black"))
        height, width, channels = (int(n) for n in found.pop("size"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{problem}: its format, size or black point is no number") from error
    if number != FORMAT:
        raise ValueError(f"{problem}: it has format {number}; allowed is {FORMAT}")
    return {"height": height, "width": width, "channels": channels, "black": black, **found}
