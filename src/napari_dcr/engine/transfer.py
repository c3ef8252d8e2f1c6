"""Staging: how windows reach the device that computes, and how its pictures come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Fill = Callable[[NDArray[Any]], None]
"""Writes a batch of windows into an array."""

Work = Callable[..., list[Tensor]]
"""Turns what was sent, now on the device, into pictures."""


class Staging(Protocol):
    """The way to a device and back.

    Three threads share it: one reads and sends, one computes, one fetches and writes.

    Attributes
    ----------
    sends_integers : bool
        Whether integers of 8 and 16 bits are better sent as they are than as float32.
    """

    sends_integers: bool

    def reserve(self, pixels: int) -> None:
        """Be ready for batches of so many pixels."""

    def send(self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor) -> Any:
        """Have windows of a shape and dtype filled in and begin to send them, and tensors beside."""

    def compute(self, sent: Any, work: Work) -> list[Any]:
        """Begin to compute pictures from what was sent."""

    def fetch(self, picture: Any) -> NDArray[np.float32]:
        """Wait for a picture; it is valid until the next one is fetched."""


def staging_for(device: torch.device) -> Staging:
    """How windows reach a device."""
    return Staged(Cuda(device)) if device.type == "cuda" else Direct(device)


class Direct:
    """Nothing to do, or to hide: a CPU, or a device that shares its memory."""

    sends_integers = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reserve(self, pixels: int) -> None:
        """Memory is taken as it is needed."""

    def send(
        self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor
    ) -> tuple[Tensor, ...]:
        """Fill in."""
        windows = torch.empty(tuple(shape), dtype=_torch_type(dtype))
        fill(windows.numpy())
        return windows, *more

    def compute(self, sent: tuple[Tensor, ...], work: Work) -> list[Tensor]:
        """Compute."""
        return [picture.cpu() for picture in work(*(tensor.to(self._device) for tensor in sent))]

    def fetch(self, picture: Tensor) -> NDArray[np.float32]:
        """It is there."""
        return picture.numpy()


class Stream(Protocol):
    """A queue of work on a device."""

    def wait_event(self, event: Any) -> None:
        """Let what is given to it from now on wait for an event."""


class Event(Protocol):
    """A moment in a stream."""

    def synchronize(self) -> None:
        """Wait for it."""


class Accelerator(Protocol):
    """What staging takes of a device with memory and streams of its own.

    Attributes
    ----------
    device : torch.device
    """

    device: torch.device

    def pinned(self, size: int) -> Tensor:
        """So many bytes of page-locked host memory."""

    def stream(self) -> Stream:
        """A new stream."""

    def on(self, stream: Stream) -> AbstractContextManager[Any]:
        """Within, this thread gives its work to a stream."""

    def record(self, stream: Stream | None = None) -> Event:
        """When all is done that was given to a stream, or to this thread's own, so far."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Begin to copy between page-locked and device memory."""

    def lend(self, tensor: Tensor, stream: Stream) -> None:
        """Keep a tensor's memory from others until a stream that did not make it is done with it."""


class Cuda:
    """A CUDA device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def pinned(self, size: int) -> Tensor:
        """So many bytes of page-locked host memory."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def stream(self) -> Stream:
        """A new stream."""
        return torch.cuda.Stream(self.device)

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        """Within, this thread gives its work to a stream."""
        return torch.cuda.stream(stream)

    def record(self, stream: Any = None) -> Event:
        """When all is done that was given to a stream, or to this thread's own, so far."""
        event = torch.cuda.Event(blocking=True)  # waiting takes no core from the other threads
        event.record(stream or torch.cuda.current_stream(self.device))
        return event

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Begin to copy between page-locked and device memory."""
        target.copy_(source, non_blocking=True)

    def lend(self, tensor: Tensor, stream: Any) -> None:
        """Keep a tensor's memory from others until a stream that did not make it is done with it."""
        tensor.record_stream(stream)


class Ring:
    """Page-locked buffers that are used in turn, by one thread.

    Parameters
    ----------
    accelerator : Accelerator
    buffers : int
        How many.
    """

    def __init__(self, accelerator: Accelerator, buffers: int) -> None:
        self._accelerator = accelerator
        self._buffers: list[Tensor | None] = [None] * buffers
        self._copied: list[Event | None] = [None] * buffers
        self._turn = 0

    def take(self, room: int, shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
        """The next buffer, once the last copy from or to it is done.

        Parameters
        ----------
        room : int
            Elements to allocate, the first time; more than ``shape`` needs now.
        shape : sequence of int
        dtype : dtype
        """
        self._turn = (self._turn + 1) % len(self._buffers)
        copied, buffer = self._copied[self._turn], self._buffers[self._turn]
        if copied is not None:
            copied.synchronize()
        size = math.prod(shape) * dtype.itemsize
        if buffer is None or len(buffer) < size:
            self._buffers[self._turn] = None  # not both at a time
            buffer = self._accelerator.pinned(max(size, room * dtype.itemsize))
            self._buffers[self._turn] = buffer
        return buffer[:size].view(_torch_type(dtype)).view(tuple(shape))

    def copied(self, event: Event) -> None:
        """When the last buffer that was taken may be used again."""
        self._copied[self._turn] = event


class Sent(NamedTuple):
    """Tensors on their way to the device."""

    tensors: tuple[Tensor, ...]
    arrived: Event


class Computing(NamedTuple):
    """A picture on the device that may not be finished yet."""

    picture: Tensor
    finished: Event


class Staged:
    """Copies both ways beside the computing, each in a stream of its own.

    Windows go through two page-locked buffers, pictures through one: while the
    device copies from one the reading thread fills the other, and a picture has
    been written before the next one is fetched.

    Parameters
    ----------
    accelerator : Accelerator
    """

    sends_integers = True

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._up, self._middle, self._down = (accelerator.stream() for _ in range(3))
        self._windows, self._pictures = Ring(accelerator, 2), Ring(accelerator, 1)
        self._pixels = 0

    def reserve(self, pixels: int) -> None:
        """Allocate for batches of so many pixels when the first one comes."""
        self._pixels = max(self._pixels, pixels)

    def send(self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor) -> Sent:
        """Fill in, and begin to copy."""
        windows = self._windows.take(self._pixels * shape[1], shape, dtype)
        fill(windows.numpy())
        with self._accelerator.on(self._up):
            # These are small, but waited for: the windows come last.
            beside = [tensor.to(self._accelerator.device) for tensor in more]
            there = torch.empty(windows.shape, dtype=windows.dtype, device=self._accelerator.device)
            self._accelerator.copy(there, windows)
        arrived = self._accelerator.record(self._up)
        self._windows.copied(arrived)
        return Sent((there, *beside), arrived)

    def compute(self, sent: Sent, work: Work) -> list[Computing]:
        """Compute once it has arrived; returns before that is done."""
        accelerator = self._accelerator
        # What the pictures are conditioned by was made in this thread's own stream.
        self._middle.wait_event(accelerator.record())
        self._middle.wait_event(sent.arrived)
        for tensor in sent.tensors:
            accelerator.lend(tensor, self._middle)
        # TensorFloat-32 has 10 bits of mantissa: with it tiles would differ from the whole.
        with accelerator.on(self._middle), torch.backends.cudnn.flags(True, allow_tf32=False):
            pictures = [picture.contiguous() for picture in work(*sent.tensors)]
            finished = accelerator.record(self._middle)
        return [Computing(picture, finished) for picture in pictures]

    def fetch(self, computing: Computing) -> NDArray[np.float32]:
        """Copy a picture once it is finished, and wait for it."""
        accelerator, picture = self._accelerator, computing.picture
        here = self._pictures.take(self._pixels * len(picture), picture.shape, np.dtype(np.float32))
        self._down.wait_event(computing.finished)
        accelerator.lend(picture, self._down)
        with accelerator.on(self._down):
            accelerator.copy(here, picture)
        copied = accelerator.record(self._down)
        self._pictures.copied(copied)
        copied.synchronize()
        return here.numpy()


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
