"""Transfers of tiles between host and device memory."""

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

Computation = Callable[..., list[Tensor]]
"""Computes pictures from the tensors that were sent to the device."""


class Transfer(Protocol):
    """Transfers of tiles between host and device memory.

    Three threads use it: one reads and sends, one computes, one fetches and writes.

    Attributes
    ----------
    sends_integers : bool
        Whether integers of 8 and 16 bits are sent unconverted instead of as float32.
    """

    sends_integers: bool

    def reserve(self, pixels: int) -> None:
        """Prepare for batches of up to this many pixels."""

    def upload(self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor) -> Any:
        """Let ``fill`` write windows and start sending them, together with further tensors."""

    def compute(self, upload: Any, work: Computation) -> list[Any]:
        """Start computing pictures from what was uploaded."""

    def download(self, picture: Any) -> NDArray[np.float32]:
        """Wait for a picture and return it; it is valid until the next one is fetched."""


def transfer_for(device: torch.device) -> Transfer:
    """The transfer that suits a device."""
    return (
        AsynchronousTransfer(Cuda(device)) if device.type == "cuda" else SynchronousTransfer(device)
    )


class SynchronousTransfer:
    """Synchronous transfer for a CPU, or for a device that shares the host's memory."""

    sends_integers = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reserve(self, pixels: int) -> None:
        """Do nothing: memory is allocated for every window."""

    def upload(
        self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor
    ) -> tuple[Tensor, ...]:
        """Allocate and fill windows."""
        windows = torch.empty(tuple(shape), dtype=_torch_type(dtype))
        fill(windows.numpy())
        return windows, *more

    def compute(self, upload: tuple[Tensor, ...], work: Computation) -> list[Tensor]:
        """Compute the pictures and copy them to the host."""
        return [picture.cpu() for picture in work(*(tensor.to(self._device) for tensor in upload))]

    def download(self, picture: Tensor) -> NDArray[np.float32]:
        """Return a picture as an array."""
        return picture.numpy()


class Stream(Protocol):
    """A queue of work on a device."""

    def wait_event(self, event: Any) -> None:
        """Make all work submitted from now on wait for an event."""


class Event(Protocol):
    """A point in a device's queue of operations (stream), for which others can wait."""

    def synchronize(self) -> None:
        """Wait until the stream has reached it."""


class Accelerator(Protocol):
    """The operations that `AsynchronousTransfer` needs from a device with its own memory and streams.

    Attributes
    ----------
    device : torch.device
    """

    device: torch.device

    def pinned(self, size: int) -> Tensor:
        """Allocate page-locked host memory of this many bytes."""

    def stream(self) -> Stream:
        """Create a stream."""

    def submit_to(self, stream: Stream) -> AbstractContextManager[Any]:
        """Context manager that submits this thread's work to a stream."""

    def record(self, stream: Stream | None = None) -> Event:
        """Event after all work submitted so far to a stream, or to this thread's own stream."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start copying between page-locked and device memory."""

    def record_stream(self, tensor: Tensor, stream: Stream) -> None:
        """Keep a tensor's memory from being reused until another stream has finished with it."""


class Cuda:
    """A CUDA device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def pinned(self, size: int) -> Tensor:
        """Allocate page-locked host memory of this many bytes."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def stream(self) -> Stream:
        """Create a stream."""
        return torch.cuda.Stream(self.device)

    def submit_to(self, stream: Any) -> AbstractContextManager[Any]:
        """Context manager that submits this thread's work to a stream."""
        return torch.cuda.stream(stream)

    def record(self, stream: Any = None) -> Event:
        """Event after all work submitted so far to a stream, or to this thread's own stream."""
        event = torch.cuda.Event(blocking=True)  # waiting does not occupy a core
        event.record(stream or torch.cuda.current_stream(self.device))
        return event

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start copying between page-locked and device memory."""
        target.copy_(source, non_blocking=True)

    def record_stream(self, tensor: Tensor, stream: Any) -> None:
        """Keep a tensor's memory from being reused until another stream has finished with it."""
        tensor.record_stream(stream)


class BufferRing:
    """Page-locked buffers that one thread uses in turn.

    Parameters
    ----------
    accelerator : Accelerator
    buffers : int
        Number of buffers.
    """

    def __init__(self, accelerator: Accelerator, buffers: int) -> None:
        self._accelerator = accelerator
        self._buffers: list[Tensor | None] = [None] * buffers
        self._copied: list[Event | None] = [None] * buffers
        self._turn = 0

    def take(self, room: int, shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
        """Wait for the last copy from or to the next buffer, and return that buffer.

        Parameters
        ----------
        room : int
            Elements to allocate the first time, at least as many as ``shape`` needs.
        shape : sequence of int
        dtype : dtype
        """
        self._turn = (self._turn + 1) % len(self._buffers)
        copied, buffer = self._copied[self._turn], self._buffers[self._turn]
        if copied is not None:
            copied.synchronize()
        size = math.prod(shape) * dtype.itemsize
        if buffer is None or len(buffer) < size:
            self._buffers[self._turn] = None  # frees the old buffer before the new one is allocated
            buffer = self._accelerator.pinned(max(size, room * dtype.itemsize))
            self._buffers[self._turn] = buffer
        return buffer[:size].view(_torch_type(dtype)).view(tuple(shape))

    def copied(self, event: Event) -> None:
        """Set the event after which the buffer taken last may be used again."""
        self._copied[self._turn] = event


class Upload(NamedTuple):
    """Tensors on their way to the device."""

    tensors: tuple[Tensor, ...]
    arrived: Event


class Computing(NamedTuple):
    """A picture on the device that may still be in progress."""

    picture: Tensor
    finished: Event


class AsynchronousTransfer:
    """Asynchronous transfer: upload, computation and download each have a stream.

    Windows pass through two page-locked buffers: while the device copies from one,
    the reading thread fills the other. Pictures pass through a third buffer; each is
    written before the next one is fetched.

    Parameters
    ----------
    accelerator : Accelerator
    """

    sends_integers = True

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._up, self._middle, self._down = (accelerator.stream() for _ in range(3))
        self._windows, self._pictures = BufferRing(accelerator, 2), BufferRing(accelerator, 1)
        self._pixels = 0

    def reserve(self, pixels: int) -> None:
        """Allocate for batches of up to this many pixels when the first one arrives."""
        self._pixels = max(self._pixels, pixels)

    def upload(
        self, shape: Sequence[int], dtype: np.dtype[Any], fill: Fill, *more: Tensor
    ) -> Upload:
        """Fill a buffer and start copying it to the device."""
        windows = self._windows.take(self._pixels * shape[1], shape, dtype)
        fill(windows.numpy())
        with self._accelerator.submit_to(self._up):
            # Copying these small tensors blocks, so it comes before the windows.
            beside = [tensor.to(self._accelerator.device) for tensor in more]
            there = torch.empty(windows.shape, dtype=windows.dtype, device=self._accelerator.device)
            self._accelerator.copy(there, windows)
        arrived = self._accelerator.record(self._up)
        self._windows.copied(arrived)
        return Upload((there, *beside), arrived)

    def compute(self, upload: Upload, work: Computation) -> list[Computing]:
        """Queue the computation after the upload; returns before it has finished."""
        accelerator = self._accelerator
        # The conditioning was computed in this thread's own stream.
        self._middle.wait_event(accelerator.record())
        self._middle.wait_event(upload.arrived)
        for tensor in upload.tensors:
            accelerator.record_stream(tensor, self._middle)
        # TensorFloat-32 has a mantissa of 10 bits: tiled results would differ from whole ones.
        with (
            accelerator.submit_to(self._middle),
            torch.backends.cudnn.flags(True, allow_tf32=False),
        ):
            pictures = [picture.contiguous() for picture in work(*upload.tensors)]
            finished = accelerator.record(self._middle)
        return [Computing(picture, finished) for picture in pictures]

    def download(self, computing: Computing) -> NDArray[np.float32]:
        """Copy a finished picture to the host and wait for the copy."""
        accelerator, picture = self._accelerator, computing.picture
        here = self._pictures.take(self._pixels * len(picture), picture.shape, np.dtype(np.float32))
        self._down.wait_event(computing.finished)
        accelerator.record_stream(picture, self._down)
        with accelerator.submit_to(self._down):
            accelerator.copy(here, picture)
        copied = accelerator.record(self._down)
        self._pictures.copied(copied)
        copied.synchronize()
        return here.numpy()


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
