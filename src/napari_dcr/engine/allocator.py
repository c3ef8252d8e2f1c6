"""The heap of the GNU C library: freed feature maps stay mapped for those of the next tile."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any

import psutil

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
LARGEST = 2**31 - 1
MMAPS = 65536
"""What `M_MMAP_MAX` is unless it is set."""

MMAP_THRESHOLD = 32 << 20
"""What the C library itself comes to once it has seen blocks of this size; more it does not take."""

_users = 0
_lock = threading.Lock()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within, freed memory stays mapped; afterwards what is free goes back to the system.

    Otherwise every block above 32 MB is unmapped when it is freed, and mapping
    the pages of tens of feature maps per window anew takes a third of the time
    of a run.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _set(M_MMAP_MAX, 0)
            _set(M_TRIM_THRESHOLD, LARGEST)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(M_MMAP_MAX, MMAPS)
                _set(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
                _set(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD)
                trim()


class Bound:
    """Bounds what stays mapped between two windows: holes may grow over a long run.

    Not less is kept than what a window needs: mapping pages anew takes time, and
    all threads that allocate wait meanwhile.

    Parameters
    ----------
    most : float
        Bytes beyond what is in use now.
    """

    def __init__(self, most: float) -> None:
        self._most, self._floor = most, _resident()

    def keep(self) -> None:
        """Give back what is free if more than that is mapped."""
        if _resident() - self._floor > self._most:
            trim()
            self._floor = _resident()


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)


def trim() -> None:
    """Give memory that is free back to the system, also from between blocks that are not."""
    if library := _glibc():
        library.malloc_trim(0)


def _set(name: int, value: int) -> None:
    if library := _glibc():
        library.mallopt(name, value)


@functools.cache
def _glibc() -> Any:
    """The GNU C library, where that is what allocates; else None."""
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
