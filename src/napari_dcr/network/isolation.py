"""Independence of the caller's PyTorch settings, and of a forked process's threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def isolated(device: torch.device | None = None) -> Iterator[None]:
    """Context manager within which PyTorch's results do not depend on the caller's settings.

    Inside the block the default device, autocast, inference mode and the precision of float32
    products have PyTorch's default values; on exit the caller's values are restored.  The default
    dtype is not changed, because the code of this package always names its dtypes.

    A generator must not ``yield`` inside the block, as its caller would then see these settings.

    Parameters
    ----------
    device : torch.device, optional
        Device to compute on, if it is not the CPU.
    """
    types = {"cpu"} | ({device.type} if device is not None else set())
    with contextlib.ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            # Within this context, every call of PyTorch first runs Python code.
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
    """Compute with one thread, because a forked process lacks the other threads of OpenMP."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)
