"""The record of a run, stored in the attributes of its zarr array so that it can be resumed."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "napari_dcr"
"""Name of the attribute that holds the record."""

SECONDS = 1.0
"""Interval between updates; if the process is killed, parts finished since then are repeated."""

DAMAGED = "resume: the record of the interrupted run in out is damaged; remove out, or write to another path"

Region = tuple[int | slice, ...]
"""Index of a part in the array."""


class RunRecord:
    """Identity of a run and the list of its finished parts.

    The record is kept in the store itself, so that an interrupted run can be resumed from it.  It
    is written after the parts that it lists, and stores replace attributes atomically.  Every
    part that it lists is therefore complete.

    Parameters
    ----------
    array : zarr.Array
        Array that the run writes to.
    identity : dict
        Everything that the result depends on except the image's pixels; plain values.
    parts : int
        Number of parts of the run.
    resume : bool
        Resume the run that the array holds, if it holds one.
    stamp : callable
        Returns a checksum of the stored bytes of a region of the array.
    clear : callable
        Removes what is stored of a region of the array and cannot be read.

    Raises
    ------
    ValueError
        If the array holds a run with a different identity, or its record is damaged.
    """

    def __init__(
        self,
        array: Any,
        identity: dict[str, Any],
        parts: int,
        resume: bool,
        stamp: Callable[[Any, Region], int],
        clear: Callable[[Any, Region], None],
    ) -> None:
        self._array, self._stamp, self._clear = array, stamp, clear
        self._state: dict[str, Any] = {"identity": identity, "sources": {}}
        self._done = np.zeros(parts, bool)
        self._stamps: NDArray[np.uint32] | None = np.zeros(parts, "<u4")
        self._saved = -SECONDS
        kept = array.attrs.get(KEY) if resume else None
        self._resumed = bool(kept)
        if kept:
            self._refuse_unless_equal(self._identity_of(kept), identity)
            self._restore(kept, parts)
        self.save()

    def _restore(self, kept: dict[str, Any], parts: int) -> None:
        """Continue the state that an array holds."""
        try:
            sources = {str(number): str(digest) for number, digest in kept["sources"].items()}
            bits = np.frombuffer(base64.b64decode(kept["done"], validate=True), np.uint8)
            stamps = None  # the run was started by a version that kept no checksums
            if "stamps" in kept:
                stored = base64.b64decode(kept["stamps"], validate=True)
                stamps = np.frombuffer(stored, "<u4").copy()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(DAMAGED) from error
        if len(bits) != -(-parts // 8) or (stamps is not None and len(stamps) != parts):
            raise ValueError(DAMAGED)
        self._state["sources"], self._stamps = sources, stamps
        self._done = np.unpackbits(bits, count=parts).astype(bool)

    @staticmethod
    def recorded(array: Any) -> dict[str, Any] | None:
        """Identity of the run that an array holds, or None; raises a ValueError if it is damaged."""
        kept = array.attrs.get(KEY)
        return RunRecord._identity_of(kept) if kept else None

    @staticmethod
    def _identity_of(kept: Any) -> dict[str, Any]:
        identity = kept.get("identity") if isinstance(kept, dict) else None
        part = identity.get("part") if isinstance(identity, dict) else None
        sides = part if isinstance(part, list) and len(part) == 2 else [0]
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise ValueError(DAMAGED)
        return dict(identity)  # type: ignore[arg-type]

    @staticmethod
    def _refuse_unless_equal(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        names = sorted(
            n for n in theirs.keys() | ours.keys() if not _same(theirs.get(n), ours.get(n))
        )
        if names:
            differences = ", ".join(
                f"{n} was {theirs.get(n)!r} and is now {ours.get(n)!r}" for n in names
            )
            raise ValueError(
                f"resume: the interrupted run in out used other arguments: {differences};"
                " pass the same arguments, or write to another path"
            )

    def check_source(self, number: int, digest: str) -> None:
        """Refuse to resume with an image other than the one that the run was started with.

        Parameters
        ----------
        number : int
            Number of the group of planes that were surveyed together.
        digest : str
            Digest of the pixels of this group.

        Raises
        ------
        ValueError
            If the digest differs from that of the interrupted run.
        """
        known = self._state["sources"].setdefault(str(number), digest)
        if known != digest:
            raise ValueError(
                "resume: the image's pixels differ from those of the interrupted run in out;"
                " pass the same image, or write to another path"
            )

    def is_done(self, part: int, region: Region | None = None) -> bool:
        """Whether a part is finished; with ``region``, also whether its stored bytes are intact.

        Stored bytes that cannot be read are removed, so that the part can be written again.
        """
        if region is None:
            return bool(self._done[part])
        if self._done[part] and (
            self._stamps is None or int(self._stamps[part]) == self._stamp(self._array, region)
        ):
            return True
        if self._resumed:
            self._clear(self._array, region)
        return False

    def add(self, part: int, region: Region) -> None:
        """Record that a part has been written to the array."""
        if self._stamps is not None:
            self._stamps[part] = self._stamp(self._array, region)
        self._done[part] = True
        if time.monotonic() - self._saved >= SECONDS:
            self.save()

    def save(self) -> None:
        """Write the record to the array's attributes."""
        done = base64.b64encode(np.packbits(self._done).tobytes()).decode()
        state = {**self._state, "done": done}
        if self._stamps is not None:
            state["stamps"] = base64.b64encode(self._stamps.tobytes()).decode()
        self._array.update_attributes({KEY: state})
        self._saved = time.monotonic()

    def finish(self, record: dict[str, Any]) -> None:
        """Add the record of the completed run."""
        self._state["record"] = record
        self.save()


def _same(theirs: Any, ours: Any) -> bool:
    """Whether two values of an option are equal; NaN, a possible no-data value, equals itself."""
    both_nan = isinstance(ours, float) and ours != ours and theirs != theirs
    return both_nan or bool(theirs == ours)
