"""The runner: running out of memory, fixed tiles, cancelling; devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import devices
from napari_dcr.engine.runner import TileRunner
from napari_dcr.network.cascade import Cascade

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory:"
    " you tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 50, (300, 410, 3), np.uint8)


def small_memory(
    monkeypatch: pytest.MonkeyPatch, limit: int, error: Callable[[], BaseException]
) -> list[int]:
    """Let windows of more than ``limit`` pixels fail as if memory had run out."""
    windows: list[int] = []
    forward = Cascade.forward

    def limited(self: Cascade, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        pixels = x.shape[2] * x.shape[3]
        windows.append(pixels)
        if pixels > limit:
            raise error()
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(Cascade, "forward", limited)
    return windows


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        lambda: RuntimeError(CPU_MESSAGE),
        lambda: RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    ],
)
def test_backs_off_to_smaller_tiles_and_says_so(
    picture: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], BaseException],
) -> None:
    expected = napari_dcr.enhance(picture, depth=1, precision="fp32", output="float32")
    small_memory(monkeypatch, 60_000, error)
    messages: list[str] = []
    result = napari_dcr.enhance(
        picture, depth=1, precision="fp32", output="float32",
        progress=lambda step: messages.append(step.message),
    )  # fmt: skip
    assert np.abs(result - expected).max() < 1e-5
    assert any("memory is short: going on with tiles of" in m for m in messages)


def test_finished_tiles_are_kept(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third tile fails once: the first two are not computed again."""
    calls: list[tuple[int, ...]] = []
    run_tile = TileRunner._run_tile

    def failing(self: TileRunner, tile: Any, *args: Any) -> Any:
        calls.append((*tile.core_rows, *tile.core_columns))
        if len(calls) == 3:
            raise MemoryError
        return run_tile(self, tile, *args)

    monkeypatch.setattr(TileRunner, "_run_tile", failing)
    monkeypatch.setattr("napari_dcr.engine.runner.AUTOMATIC_CORE", 128)
    napari_dcr.enhance(picture, depth=1, precision="fp32")
    assert len(calls) == len(set(calls))
    done = np.zeros(picture.shape[:2], int)
    for i, (top, bottom, left, right) in enumerate(calls):
        if i != 2:
            done[top:bottom, left:right] += 1
    assert (done == 1).all()


def test_a_fixed_tile_is_honoured_or_refused_with_one_that_fits(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = small_memory(monkeypatch, 10**9, MemoryError)
    napari_dcr.enhance(picture, depth=0, tile=128, precision="fp32")
    assert max(windows) == 128 * 128
    small_memory(monkeypatch, 30_000, MemoryError)
    with pytest.raises(MemoryError, match="^tile: got 256, which does not fit .* 128 does"):
        napari_dcr.enhance(picture, depth=0, tile=256, precision="fp32")


def test_gives_up_with_a_clear_message(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_memory(monkeypatch, 0, MemoryError)
    with pytest.raises(MemoryError, match="^device cpu: out of memory even with tiles of"):
        napari_dcr.enhance(picture, depth=1, precision="fp32")


@pytest.mark.parametrize(
    "message",
    [
        "expected memory format channels_last",
        "CUDA error: an illegal memory access was encountered",
        "Input out of range: not enough memory slots",
    ],
)
def test_no_other_error_is_taken_for_it(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    windows = small_memory(monkeypatch, 0, lambda: RuntimeError(message))
    with pytest.raises(RuntimeError, match=message):
        napari_dcr.enhance(picture, depth=1, precision="fp32")
    assert len(windows) == 1


def test_closing_the_generator_stops_between_tiles(picture: NDArray[np.uint8]) -> None:
    out = np.zeros_like(picture)
    options = napari_dcr.Options(depth=1, tile=64, precision="fp32")
    steps = napari_dcr.enhance_steps(picture, options, out)
    for step in steps:
        if step.done >= 2 * 64 * 64:
            break
    steps.close()
    assert out[:64, :128].any()
    assert not out[64:].any()


def test_devices_are_listed_and_the_fast_precision_is_close(picture: NDArray[np.uint8]) -> None:
    names = [d.name for d in devices.list_devices()]
    assert names[-1] == "cpu"
    assert devices.find_device("auto").type == names[0].split(":")[0]
    assert all(d.free > 0 for d in devices.list_devices())
    exact = napari_dcr.enhance(picture, device="cpu", precision="fp32").astype(int)
    fast = napari_dcr.enhance(picture, device="cpu", precision="bf16").astype(int)
    assert np.abs(exact - fast).mean() < 1
    assert devices.fast_precision(torch.device("cpu")) in ("fp32", "bf16")


def test_a_wrong_fast_precision_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = devices._trial

    def wrong(network: Cascade, window: torch.Tensor, precision: Any) -> torch.Tensor:
        return trial(network, window, precision) + (0.1 if precision == "bf16" else 0)

    monkeypatch.setattr(devices, "_hardware_precision", lambda _: "bf16")
    assert devices.fast_precision.__wrapped__(torch.device("cpu")) == "bf16"
    monkeypatch.setattr(devices, "_trial", wrong)
    assert devices.fast_precision.__wrapped__(torch.device("cpu")) == "fp32"
