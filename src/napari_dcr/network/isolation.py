"""Independence of the caller's PyTorch settings, and of a forked process's threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def isolated(device: torch.device | None = None) -> Iterator[None]:
    """Context manager within which PyTorch computes the same whatever the caller has set.

    The default device, autocast and inference mode are those of the thread that calls; within,
    they are PyTorch's own, and so is the precision of float32 products. The default dtype is
    left alone: code of this package names its dtypes.

    Never leave a generator's ``yield`` inside: the caller would get these settings.

    Parameters
    ----------
    device : torch.device, optional
        What is computed on, if not the CPU.
    """
    types = {"cpu"} | ({device.type} if device is not None else set())
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        for kind in sorted(types):
            stack.enter_context(torch.autocast(kind, enabled=False))
        precision = torch.get_float32_matmul_precision()
        if precision != "highest":  # "medium" computes float32 in bfloat16, also on CPUs
            stack.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("highest")
        yield


def _use_one_thread() -> None:
    """Compute with one thread: OpenMP's others do not exist in a forked process, and it would wait for them."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)
