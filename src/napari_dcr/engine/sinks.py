"""Interface of sinks, which results are written to, whole chunks at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.tiles import Size
from napari_dcr.image.intensity import Scale


class Sink(Protocol):
    """Destination of a result: an array in memory, a zarr or a file.

    Attributes
    ----------
    unit : tuple of int
        Rows and columns that must be written at once.
    part : tuple of int or None
        Rows and columns that the interrupted run wrote at once, if this run resumes it.
    one_size : bool
        Whether all parts of the result have one size, which is chosen before the sink is opened.
    in_order : bool
        Whether the sink takes one frame after the other, with all channels of each.
    """

    unit: Size
    part: Size | None
    one_size: bool
    in_order: bool

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> Any:
        """Open the array to write to; ``part`` rows and columns will be written at once."""

    @property
    def record(self) -> RunRecord | None:
        """Record of the finished parts, or None if the sink cannot be resumed."""

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Complete the result; yields messages about its progress."""

    @property
    def result(self) -> Any:
        """The result that `enhance` returns."""

    def close(self) -> None:
        """Close all open files, whether or not the run was completed."""


@runtime_checkable
class ViewedSink(Protocol):
    """Sink of a result that is only for viewing, and needs to know what is shown as white."""

    def show(self, scale: Scale) -> None:
        """Take the black and white point of a group of planes before its first part is written."""
