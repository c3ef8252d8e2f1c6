"""The record of a run in the attributes of the zarr array that it writes."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "napari_dcr"
"""Attribute under which it stands."""

SECONDS = 1.0
"""Between updates; parts finished since the last one are done again if the process is killed."""


Region = tuple[int | slice, ...]
"""Index of a part in the array."""


class RunRecord:
    """What a run is, and which of its parts are finished.

    Kept in the store itself, so that a run that was killed can go on there.  It
    is written after the parts that it names, and stores replace attributes
    atomically, so a part that it names is complete.

    Parameters
    ----------
    array : zarr.Array
        Written to.
    identity : dict
        Everything that the pixels depend on but the image's own pixels; plain values.
    parts : int
        How many there are.
    resume : bool
        Go on with the run that the array holds, if it holds one.
    stamp : callable
        Gives a checksum of what is stored of a region of the array.

    Raises
    ------
    ValueError
        If it holds another one.
    """

    def __init__(
        self,
        array: Any,
        identity: dict[str, Any],
        parts: int,
        resume: bool,
        stamp: Callable[[Any, Region], int],
    ) -> None:
        self._array, self._stamp = array, stamp
        self._state: dict[str, Any] = {"identity": identity, "sources": {}}
        self._done = np.zeros(parts, bool)
        self._stamps: NDArray[np.uint32] | None = np.zeros(parts, "<u4")
        self._saved = -SECONDS
        kept = array.attrs.get(KEY) if resume else None
        if kept:
            theirs = kept["identity"]
            self._refuse_unless_equal(theirs, identity)
            self._state["sources"] = dict(kept["sources"])
            bits = np.frombuffer(base64.b64decode(kept["done"]), np.uint8)
            self._done = np.unpackbits(bits, count=parts).astype(bool)
            if "stamps" in kept:
                self._stamps = np.frombuffer(base64.b64decode(kept["stamps"]), "<u4").copy()
            else:  # begun by a version that kept none
                self._stamps = None
        self.save()

    @staticmethod
    def recorded(array: Any) -> dict[str, Any] | None:
        """Identity of the run that an array holds."""
        kept = array.attrs.get(KEY)
        return dict(kept["identity"]) if kept else None

    @staticmethod
    def _refuse_unless_equal(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        names = sorted(
            name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)
        )
        if names:
            said = ", ".join(f"{n} {theirs.get(n)!r} there and {ours.get(n)!r} here" for n in names)
            raise ValueError(
                f"resume: got a run that is not the one in out: {said};"
                " give the same arguments, or write elsewhere"
            )

    def check_source(self, number: int, digest: str) -> None:
        """Refuse to go on with another image than the one that was begun with.

        Parameters
        ----------
        number : int
            Of the linked frames that were surveyed together.
        digest : str
            Of their pixels.
        """
        known = self._state["sources"].setdefault(str(number), digest)
        if known != digest:
            raise ValueError(
                "resume: got an image whose pixels are not those that out was begun with;"
                " give the same image, or write elsewhere"
            )

    def is_done(self, part: int, region: Region | None = None) -> bool:
        """Whether a part was finished, and what is stored of its region, if given, is still that."""
        if not self._done[part]:
            return False
        if region is None or self._stamps is None:
            return True
        return int(self._stamps[part]) == self._stamp(self._array, region)

    def add(self, part: int, region: Region) -> None:
        """A part is in the array."""
        if self._stamps is not None:
            self._stamps[part] = self._stamp(self._array, region)
        self._done[part] = True
        if time.monotonic() - self._saved >= SECONDS:
            self.save()

    def save(self) -> None:
        """Write it."""
        done = base64.b64encode(np.packbits(self._done).tobytes()).decode()
        state = {**self._state, "done": done}
        if self._stamps is not None:
            state["stamps"] = base64.b64encode(self._stamps.tobytes()).decode()
        self._array.update_attributes({KEY: state})
        self._saved = time.monotonic()

    def finish(self, record: dict[str, Any]) -> None:
        """Add what the finished run was."""
        self._state["record"] = record
        self.save()
