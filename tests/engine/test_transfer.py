"""Transfers to and from a simulated GPU: order, reuse of buffers, and transferred dtypes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import napari_dcr
from napari_dcr.engine import runner, windows
from napari_dcr.engine.transfer import AsynchronousTransfer, BufferRing


class FakeStream:
    """Stream that copies at the latest possible time: when its result is awaited."""

    def __init__(self, fake: FakeAccelerator, name: str) -> None:
        self.fake, self.name = fake, name
        self.copies: list[Callable[[], None]] = []
        self.given = self.done = 0

    def wait_event(self, event: FakeEvent) -> None:
        self.fake.log.append((self.name, "waits for", event.stream.name))
        event.stream.work_until(event.moment)

    def work_until(self, moment: int) -> None:
        with self.fake.lock:
            while self.done < moment:
                self.copies[self.done]()
                self.done += 1


class FakeEvent:
    def __init__(self, stream: FakeStream) -> None:
        self.stream, self.moment = stream, stream.given

    def synchronize(self) -> None:
        self.stream.fake.log.append(("host", "waits for", self.stream.name))
        self.stream.work_until(self.moment)


class FakeAccelerator:
    """Device that uses host memory, and executes everything as late as possible."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.log: list[tuple[str, str, Any]] = []
        self.allocated: list[int] = []
        self.lock = threading.RLock()
        self.current = threading.local()
        self.streams: list[FakeStream] = []

    def pinned(self, size: int) -> Tensor:
        self.allocated.append(size)
        return torch.empty(size, dtype=torch.uint8)

    def stream(self) -> FakeStream:
        names = "up", "middle", "down"
        self.streams.append(FakeStream(self, names[len(self.streams) % 3]))
        return self.streams[-1]

    @contextlib.contextmanager
    def submit_to(self, stream: Any) -> Iterator[None]:
        before = getattr(self.current, "stream", None)
        self.current.stream = stream
        yield
        self.current.stream = before

    def record(self, stream: Any = None) -> FakeEvent:
        return FakeEvent(stream or FakeStream(self, "default"))

    def copy(self, target: Tensor, source: Tensor) -> None:
        stream: FakeStream = self.current.stream
        content = source.clone()
        target.view(torch.uint8).fill_(0xA5)  # must not be read before the copy has finished

        def copy() -> None:
            assert torch.equal(source, content), "overwritten before it was copied"
            target.copy_(source)

        with self.lock:
            stream.copies.append(copy)
            stream.given += 1
        self.log.append((stream.name, "copies", source.dtype))

    def record_stream(self, tensor: Tensor, stream: Any) -> None:
        self.log.append((stream.name, "borrows", tensor.dtype))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeAccelerator:
    """Let all runners compute on the simulated device."""
    fake = FakeAccelerator()
    monkeypatch.setattr(windows, "transfer_for", lambda _: AsynchronousTransfer(fake))
    return fake


FAST: dict[str, Any] = {
    "model": "photo",
    "depth": 1,
    "device": "cpu",
    "precision": "fp32",
    "tile": 64,
}


@settings(max_examples=12)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    axes=st.sampled_from(["yx", "yxs", "cyx", "tyx"]),
    samples=st.sampled_from([3, 4]),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    batch=st.sampled_from([0, 1 << 16]),
    link_frames=st.booleans(),
)
def test_asynchronous_transfer_gives_the_same_result(
    dtype: str, axes: str, samples: int, height: int, width: int, batch: int, link_frames: bool
) -> None:
    shape = {"yx": (height, width), "yxs": (height, width, samples)}.get(axes, (3, height, width))
    image = (np.random.default_rng(height).random(shape) ** 3 * 250).astype(dtype)
    options = {**FAST, "axes": axes, "link_frames": link_frames}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(runner.BATCH_PIXELS, "cpu", 0)
        expected = napari_dcr.enhance(image, **options)
        patch.setattr(windows, "transfer_for", lambda _: AsynchronousTransfer(FakeAccelerator()))
        patch.setitem(runner.BATCH_PIXELS, "cpu", batch)
        result = napari_dcr.enhance(image, **options)
    if batch:  # frames computed together differ in their last bits
        assert np.abs(result.astype(float) - expected).max() <= (1 if dtype != "float32" else 1e-3)
    else:
        np.testing.assert_array_equal(result, expected)


def test_order_and_reuse_of_transfers_and_their_dtypes(fake: FakeAccelerator) -> None:
    stack = np.random.default_rng(0).integers(100, 900, (3, 150, 200), np.uint16)
    napari_dcr.enhance(stack, axes="tyx", denoise_first="off", **FAST)
    tiles = 3 * 3 * 4
    # Two buffers for windows, one for pictures: once each, however many tiles and frames.
    window = (64 + 2 * 40) * (64 + 2 * 40)
    assert sorted(fake.allocated) == [2 * window, 2 * window, 4 * 3 * window]
    assert fake.log.count(("up", "copies", torch.uint16)) == tiles
    assert fake.log.count(("down", "copies", torch.float32)) == tiles
    assert len([e for e in fake.log if e[1] == "copies"]) == 2 * tiles
    # What was made in one stream and is used in another is kept for it.
    assert fake.log.count(("middle", "borrows", torch.uint16)) == tiles
    assert fake.log.count(("down", "borrows", torch.float32)) == tiles
    # Each picture is computed from what has arrived, and copied once it is finished.
    middle = [e for e in fake.log if e[0] == "middle" and e[1] == "waits for"]
    assert [e[2] for e in middle] == ["default", "up"] * tiles
    down = [e[1:] for e in fake.log if e[0] == "down"]
    once = [("waits for", "middle"), ("borrows", torch.float32), ("copies", torch.float32)]
    assert down == once * tiles
    # From the third window on, a buffer is reused after its last copy has finished.
    assert fake.log.count(("host", "waits for", "up")) == tiles - 2


@pytest.mark.parametrize("step", ["pinned", "copy", "record_stream"])
def test_memory_may_run_out_during_a_transfer(
    fake: FakeAccelerator, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    image = np.random.default_rng(0).integers(0, 90, (150, 200, 3), np.uint8)
    expected = napari_dcr.enhance(image, **{**FAST, "tile": "auto"})
    original = getattr(fake, step)
    errors: list[BaseException] = [torch.OutOfMemoryError("CUDA out of memory.")]

    def failing(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return original(*arguments)

    monkeypatch.setattr(fake, step, failing)
    messages: list[str] = []
    result = napari_dcr.enhance(
        image, **{**FAST, "tile": "auto"}, progress=lambda step: messages.append(step.message)
    )
    assert any("out of memory" in message for message in messages)
    assert np.abs(result.astype(int) - expected).max() <= 1


def test_a_stopped_run_can_be_started_again(fake: FakeAccelerator) -> None:
    image = np.random.default_rng(0).integers(0, 90, (150, 200, 3), np.uint8)
    steps = napari_dcr.enhance_steps(image, napari_dcr.Options(**FAST))
    for step in steps:
        if step.done:
            break
    steps.close()
    again = napari_dcr.enhance(image, **FAST)
    assert again.shape == image.shape


def test_the_fake_device_detects_a_buffer_that_is_filled_too_early() -> None:
    class Hasty(BufferRing):
        def copied(self, event: Any) -> None:
            pass

    staging = AsynchronousTransfer(FakeAccelerator())
    staging._windows = Hasty(staging._accelerator, 2)
    upload = []
    for value in range(3):

        def fill(windows: NDArray[Any], value: int = value) -> None:
            windows[...] = value

        upload.append(staging.upload((1, 1, 8, 8), np.dtype(np.uint8), fill))
    with pytest.raises(AssertionError, match="overwritten before it was copied"):
        staging.compute(upload[0], lambda windows: [windows[0].float()])
