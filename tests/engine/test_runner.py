"""The runner: running out of memory, fixed tiles, cancelling."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import devices, runner
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.runner import TileRunner
from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory:"
    " you tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
)


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
        lambda: RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
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
    assert any("out of memory: continuing with tiles of" in m for m in messages)


STAGES = {
    "read": (ArrayPlane, "read"),
    "convert": (ArrayPlane, "to_working"),
    "compute": (TileRunner, "_run_tiles"),
    "finish": (ArrayPlane, "render"),
    "write": (ArrayPlane, "write"),
}


def fail_once(monkeypatch: pytest.MonkeyPatch, stage: str, call: int, error: BaseException) -> None:
    """Let the ``call``-th call of a stage fail."""
    owner, name = STAGES[stage]
    original = getattr(owner, name)
    calls = itertools.count(1)

    def failing(*arguments: Any) -> Any:
        if next(calls) == call:
            raise error
        return original(*arguments)

    monkeypatch.setattr(owner, name, failing)


def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the automatic window be so small that the picture takes several tiles."""
    monkeypatch.setitem(runner.AUTOMATIC_PIXELS, "fp32", 2 * 173 * 173)


@pytest.mark.parametrize("stage", STAGES)
def test_memory_may_run_out_at_every_stage(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    small_windows(monkeypatch)
    expected = napari_dcr.enhance(picture, depth=0, precision="fp32")
    fail_once(monkeypatch, stage, 3, MemoryError())
    messages: list[str] = []
    result = napari_dcr.enhance(
        picture, depth=0, precision="fp32", progress=lambda step: messages.append(step.message)
    )
    assert (result == expected).all()
    assert sum("out of memory: continuing with tiles of" in m for m in messages) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_error_ends_the_run_and_its_threads(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """This includes errors that resemble out-of-memory errors."""
    small_windows(monkeypatch)
    fail_once(monkeypatch, stage, 3, RuntimeError("out of memory slots"))
    with pytest.raises(RuntimeError, match="^out of memory slots$"):
        napari_dcr.enhance(picture, depth=0, precision="fp32")
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("read", "write", "survey"))]


def test_finished_tiles_are_kept(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third tile fails once: the first two are not computed again."""
    small_windows(monkeypatch)
    computed: list[tuple[int, ...]] = []
    run_tiles = TileRunner._run_tiles
    calls = itertools.count(1)

    def failing(self: TileRunner, batch: Any, *sent: torch.Tensor) -> Any:
        if next(calls) == 3:
            raise MemoryError
        computed.extend((*task.tile.core_rows, *task.tile.core_columns) for task in batch)
        return run_tiles(self, batch, *sent)

    monkeypatch.setattr(TileRunner, "_run_tiles", failing)
    napari_dcr.enhance(picture, depth=1, precision="fp32")
    done = np.zeros(picture.shape[:2], int)
    for top, bottom, left, right in computed:
        done[top:bottom, left:right] += 1
    assert (done == 1).all()


@pytest.mark.parametrize("model", ["photo", "microscopy"])
@pytest.mark.parametrize("link_frames", [True, False])
def test_small_frames_are_computed_in_batches_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, model: str, link_frames: bool
) -> None:
    frames = np.random.default_rng(0).poisson(40, (40, 30, 41)).astype(np.float32)
    frames[7] *= 1.5
    sizes: list[int] = []
    run_tiles = TileRunner._run_tiles

    def counted(self: TileRunner, batch: Any, *sent: torch.Tensor) -> Any:
        sizes.append(len(batch))
        return run_tiles(self, batch, *sent)

    monkeypatch.setattr(TileRunner, "_run_tiles", counted)
    options: dict[str, Any] = {
        "model": model, "axes": "tyx", "device": "cpu", "precision": "fp32",
        "link_frames": link_frames, "denoise_first": "off",
    }  # fmt: skip
    together = napari_dcr.enhance(frames, **options)
    assert sizes == [40]
    monkeypatch.setitem(runner.BATCH_PIXELS, "cpu", 0)
    alone = napari_dcr.enhance(frames, **options)
    assert sizes == [40] + [1] * 40
    assert np.abs(together - alone).max() <= 1e-6 * np.ptp(alone)


@pytest.mark.parametrize("link_frames", [True, False])
def test_small_frames_are_batched_unless_memory_is_short(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, link_frames: bool
) -> None:
    stack = picture[:240, :400].reshape(3, 80, 400, 3)
    messages: list[str] = []

    def enhanced() -> NDArray[np.float32]:
        result: NDArray[np.float32] = napari_dcr.enhance(
            stack, depth=1, precision="fp32", axes="tyxs", link_frames=link_frames,
            output="float32", device="cpu", progress=lambda step: messages.append(step.message),
        )  # fmt: skip
        return result

    expected = enhanced()
    monkeypatch.setitem(runner.BATCH_PIXELS, "cpu", 1 << 19)
    windows = small_memory(monkeypatch, 10**9, MemoryError)
    assert np.abs(enhanced() - expected).max() < 1e-5
    assert len(windows) == 1
    fail_once(monkeypatch, "compute", 1, MemoryError())
    assert np.abs(enhanced() - expected).max() < 1e-5
    assert len(windows) == 1 + 3
    assert "out of memory: continuing with one frame at a time" in messages


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
def test_other_errors_are_not_mistaken_for_out_of_memory(
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
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("read", "write"))]


@pytest.fixture(scope="module")
def on_cpu() -> dict[tuple[str, str], TileRunner]:
    """Network on the CPU at full depth, by model and precision."""
    runners = {}
    for model in ("photo", "microscopy"):
        network = weights.load(model).network
        for precision in ("fp32", "bf16"):
            runners[model, precision] = TileRunner(
                network, torch.device("cpu"), precision, network.stages, True
            )
    return runners


def test_runners_share_the_networks_of_a_device(
    on_cpu: dict[tuple[str, str], TileRunner],
) -> None:
    network = weights.load("photo").network
    for precision in ("fp32", "bf16"):
        again = TileRunner(network, torch.device("cpu"), precision, 1, False)
        assert again.network is on_cpu["photo", precision].network is not network
        assert again.local is on_cpu["photo", precision].local
        assert (again.local is again.network) == (precision == "fp32")


@example(width=2828, model="photo", precision="fp32")
@given(
    width=st.integers(1400, 5700),
    model=st.sampled_from(["photo", "microscopy"]),
    precision=st.sampled_from(["fp32", "bf16"]),
)
def test_overlap_of_8_megapixels_costs_at_most_15_percent(
    on_cpu: dict[tuple[str, str], TileRunner], width: int, model: str, precision: str
) -> None:
    """Images are square, or up to four times as long as wide."""
    height = round(8e6 / width)
    chosen = on_cpu[model, precision]
    grid = chosen.grid(height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "free_memory", lambda _: 1 << 34)
        size = chosen.part_size(grid)
    windows = sum(
        (tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0])
        for tile in grid.cut(size)
    )
    assert windows <= 1.15 * height * width


@functools.cache
def runner_of_width(width: int) -> TileRunner:
    """Runner of a network with this many feature channels at its finest level."""
    network = Cascade(CascadeConfig(widths=(width, 2 * width, 4 * width)))
    return TileRunner(network, torch.device("cpu"), "fp32", network.stages, True)


@given(free=st.integers(1 << 28, 1 << 34), width=st.sampled_from([8, 16, 32, 64]))
def test_a_window_takes_no_more_than_half_of_what_is_free(free: int, width: int) -> None:
    wide = runner_of_width(width)
    grid = wide.grid(5000, 5000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "free_memory", lambda _: free)
        window = grid.largest_window(wide.part_size(grid))
    assert window * devices.bytes_per_pixel(wide.network, "fp32") <= free / 2
