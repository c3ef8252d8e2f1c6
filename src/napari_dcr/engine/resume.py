"""The record of a run in the attributes of the zarr array that it writes."""

from __future__ import annotations

import base64
import time
from typing import Any

import numpy as np

KEY = "napari_dcr"
"""Attribute under which it stands."""

SECONDS = 1.0
"""Between updates; parts finished since the last one are done again if the process is killed."""


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

    Raises
    ------
    ValueError
        If it holds another one.
    """

    def __init__(self, array: Any, identity: dict[str, Any], parts: int, resume: bool) -> None:
        self._array = array
        self._state: dict[str, Any] = {"identity": identity, "sources": {}}
        self._done = np.zeros(parts, bool)
        self._saved = -SECONDS
        kept = array.attrs.get(KEY) if resume else None
        if kept:
            theirs = kept["identity"]
            self._refuse_unless_equal(theirs, identity)
            self._state["sources"] = dict(kept["sources"])
            bits = np.frombuffer(base64.b64decode(kept["done"]), np.uint8)
            self._done = np.unpackbits(bits, count=parts).astype(bool)
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

    def is_done(self, part: int) -> bool:
        """Whether a part is in the array."""
        return bool(self._done[part])

    def add(self, part: int) -> None:
        """A part is in the array."""
        self._done[part] = True
        if time.monotonic() - self._saved >= SECONDS:
            self.save()

    def save(self) -> None:
        """Write it."""
        done = base64.b64encode(np.packbits(self._done).tobytes()).decode()
        self._array.update_attributes({KEY: {**self._state, "done": done}})
        self._saved = time.monotonic()

    def finish(self, record: dict[str, Any]) -> None:
        """Add what the finished run was."""
        self._state["record"] = record
        self.save()
