"""The heap stays mapped during runs, within a limit, and is then returned to the system."""

from __future__ import annotations

import pytest

from napari_dcr.engine import allocator


def test_the_heap_stays_mapped_during_concurrent_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, name: int, value: int) -> None:
            calls.append((name, value))

        def malloc_trim(self, keep: int) -> None:
            calls.append((0, keep))

    kept = [(allocator.M_MMAP_MAX, 0), (allocator.M_TRIM_THRESHOLD, 2**31 - 1)]
    monkeypatch.setattr(allocator, "_glibc", Library)
    first, second = allocator.keep_mapped(), allocator.keep_mapped()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert calls == kept
    second.__exit__(None, None, None)
    assert calls[2:-1] == [
        (allocator.M_MMAP_MAX, 65536),
        (allocator.M_MMAP_THRESHOLD, 32 << 20),
        (allocator.M_TRIM_THRESHOLD, 64 << 20),
    ]
    assert calls[-1] == (0, 0)
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with allocator.keep_mapped():
        allocator.trim()


def test_mapped_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = 100
    trims: list[int] = []

    def trim() -> None:
        nonlocal resident
        trims.append(resident)
        resident = 150  # part of what was taken is in use now

    monkeypatch.setattr(allocator, "trim", trim)
    monkeypatch.setattr(allocator, "_resident", lambda: resident)
    bound = allocator.Bound(800)
    for resident in (100, 700, 900, 901, 950, 951):  # noqa: B007 - trim() sets it
        bound.keep()
    assert trims == [901, 951]
