"""Settings of glibc's allocator, so that the feature maps of a tile reuse the previous tile's memory."""

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
"""Default of `M_MMAP_MAX` in glibc."""

MMAP_THRESHOLD = 32 << 20
"""Largest threshold that glibc's own dynamic adjustment reaches."""

_users = 0
_lock = threading.Lock()


@contextlib.contextmanager
def keep_mapped() -> Iterator[None]:
    """Context manager that keeps freed memory mapped inside the block and returns it on exit.

    By default every block above 32 MB is unmapped when it is freed. Mapping the
    pages of tens of feature maps again for every window takes a third of the time
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
    """Limit on the free memory that stays mapped, which fragmentation increases during a run.

    The limit is never below what a window needs, because mapping pages again takes
    time and blocks every thread that allocates.

    Parameters
    ----------
    most : float
        Allowed bytes beyond the memory in use when the object is created.
    """

    def __init__(self, most: float) -> None:
        self._most, self._floor = most, _resident()

    def keep(self) -> None:
        """Return free memory to the system if the limit is exceeded."""
        if _resident() - self._floor > self._most:
            trim()
            self._floor = _resident()


def _resident() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def trim() -> None:
    """Return free memory to the system, including free pages between allocated blocks."""
    if library := _glibc():
        library.malloc_trim(0)


def _set(name: int, value: int) -> None:
    if library := _glibc():
        library.mallopt(name, value)


@functools.cache
def _glibc() -> Any:
    """Handle of the GNU C library, or None on systems with another C library."""
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
