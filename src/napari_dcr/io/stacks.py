"""Arrange the planes of an instrument's file as one array with named axes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.io.views import Planes

Read = Callable[[dict[str, int], slice, slice], NDArray[Any]]
"""Function that reads rows and columns of a plane, which is given by its index per leading axis."""


def stack(
    sizes: Mapping[str, int],
    plane: tuple[int, ...],
    dtype: np.dtype[Any],
    read: Read,
    by_region: bool = False,
    close: Callable[[], Any] | None = None,
) -> tuple[Planes, str]:
    """Arrange the planes of a file.

    Parameters
    ----------
    sizes : dict
        Lengths of the leading axes by letter.
    plane : tuple of int
        Number of rows, columns and, for colour images, colours.
    dtype : dtype
    read : callable
    by_region : bool
        Whether part of a plane can be read without reading all of it.
    close : callable, optional
        Closes the file when the array is no longer referenced.

    Returns
    -------
    array : Planes
    axes : str
        Letters of the axes in the order of OME-Zarr: time, others, channels, z, y, x.

    Examples
    --------
    >>> zeros = lambda place, rows, columns: np.zeros((5, 6))[rows, columns]
    >>> array, axes = stack({"z": 3, "c": 2}, (5, 6), np.dtype("u1"), zeros)
    >>> array.shape, axes
    ((2, 3, 5, 6), 'czyx')
    """
    order = sorted(sizes, key=lambda a: {"t": 0, "c": 2, "z": 3}.get(a, 1))

    def read_at(place: tuple[int, ...], rows: slice, columns: slice) -> NDArray[Any]:
        return read(dict(zip(order, place, strict=True)), rows, columns)

    samples = plane[2] if len(plane) > 2 else 1
    shape = (*(int(sizes[a]) for a in order), *(int(n) for n in plane))
    axes = "".join(order) + "yx" + "s" * (samples > 1)
    array = Planes(shape, dtype, read_at, samples, by_region)
    if close is not None:
        weakref.finalize(array, close)
    return array, axes


@contextmanager
def closed_on_error(close: Callable[[], Any]) -> Iterator[None]:
    """Context manager that closes a file if its content cannot be opened."""
    try:
        yield
    except BaseException:
        close()
        raise


class SeveralScenes(ValueError):
    """A file holds several images and none was chosen.

    Attributes
    ----------
    names : list of str
        Names of the images; empty strings for images without a name.
    """

    def __init__(self, message: str, names: list[str]) -> None:
        super().__init__(message)
        self.names = names


def chosen(names: list[str], scene: int | str | None) -> int:
    """Number of the image that a scene refers to.

    Raises
    ------
    ValueError
        If there is no such image, or if there are several and none was chosen.

    Examples
    --------
    >>> chosen(["left", "right"], "right")
    1
    """
    listed = ", ".join(f"{i} ({name})" if name else str(i) for i, name in enumerate(names))
    if scene is None:
        if len(names) == 1:
            return 0
        raise SeveralScenes(f"it holds {len(names)} images; choose one by scene: {listed}", names)
    if isinstance(scene, int) and 0 <= scene < len(names):
        return scene
    if isinstance(scene, str) and names.count(scene) == 1:
        return names.index(scene)
    raise ValueError(f"scene: got {scene!r}; allowed are {listed}")


def mean_step(values: Any) -> float:
    """Mean distance between neighbours, to 12 digits; 0 for fewer than two values.

    Examples
    --------
    >>> mean_step([0.0, 2.0, 5.0])
    2.5
    """
    if len(values) < 2:
        return 0.0
    return rounded(abs(float(values[-1]) - float(values[0])) / (len(values) - 1))


def rounded(value: float) -> float:
    """Round a value to 12 digits, to remove errors of binary arithmetic.

    Examples
    --------
    >>> rounded(1.6e-06 * 1e6)
    1.6
    """
    return float(f"{value:.12g}")
