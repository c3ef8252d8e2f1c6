"""Sinks: what results are written to, whole chunks at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from napari_dcr.engine.resume import RunRecord
from napari_dcr.engine.tiles import Size


class Sink(Protocol):
    """What a run writes to.

    Attributes
    ----------
    unit : tuple of int
        Rows and columns that must be written at once.
    part : tuple of int or None
        Rows and columns that an earlier run, which is gone on with, wrote at once.
    """

    unit: Size
    part: Size | None

    def open(self, part: Size, identity: dict[str, Any], parts: int) -> Any:
        """The array to write to, of which ``part`` rows and columns will be written at once."""

    @property
    def record(self) -> RunRecord | None:
        """Which parts are finished; None where it is not kept."""

    def finish(self, record: dict[str, Any]) -> Iterator[str]:
        """Complete the result; yields what it is at."""

    @property
    def result(self) -> Any:
        """What the caller gets."""

    def close(self) -> None:
        """Close what is open, whether or not the run was finished."""
