"""Files that hold the defects of a sensor: ``.npz`` without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
"""Format of the files that `write_defects` writes."""

ARRAYS = ("columns", "rows", "offset", "column_gain", "row_gain", "hot", "excess")
"""Names of the arrays that a file may contain."""


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
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["format"]) != FORMAT:
                raise ValueError(f"it has format {int(file['format'])}; allowed is {FORMAT}")
            height, width, channels = (int(n) for n in file["size"])
            found: dict[str, Any] = {name: file[name] for name in ARRAYS if name in file.files}
            black = float(file["black"])
    except (KeyError, BadZipFile, TypeError, EOFError, ValueError) as error:
        raise ValueError(f"defects: {path} was not written by Defects.save ({error})") from error
    return {"height": height, "width": width, "channels": channels, "black": black, **found}
