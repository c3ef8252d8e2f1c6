"""Calls leave the process as it was: PyTorch's settings, priority, warnings, signals, threads, files."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine.progress_bar import ProgressBar

FAST: dict[str, Any] = {"device": "cpu", "depth": 1}


def grey(seed: int = 0, height: int = 64, width: int = 72) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).poisson(40, (height, width)).astype(np.uint16)


def state() -> dict[str, Any]:
    """Global state of PyTorch and of the process."""
    return {
        "threads of PyTorch": torch.get_num_threads(),
        "between operations": torch.get_num_interop_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.empty(0).device,
        "products": torch.get_float32_matmul_precision(),
        "random numbers": torch.random.get_rng_state().tolist(),
        "NumPy's random numbers": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "NumPy's errors": np.geterr(),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0,
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "threads": sorted(t.name for t in threading.enumerate()),
        "working directory": str(Path.cwd()),
        "standard output": (sys.stdout, sys.stderr),
    }


def interrupted() -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        napari_dcr.enhance(grey(3), **FAST, progress=stop)


def refused() -> None:
    with pytest.raises(ValueError, match="tile"):
        napari_dcr.enhance(grey(), tile=1)


def live() -> None:
    with napari_dcr.LiveEnhancer(**FAST) as enhancer:
        enhancer(grey(4))


def with_a_bar() -> None:
    with ProgressBar() as bar:
        napari_dcr.enhance(grey(5), **FAST, progress=bar)


CALLS: dict[str, Callable[[], Any]] = {
    "grey": lambda: napari_dcr.enhance(grey(1), **FAST),
    "colour": lambda: napari_dcr.enhance(np.stack([grey(2) // 4] * 3, -1).astype(np.uint8), **FAST),
    "stack": lambda: napari_dcr.enhance(np.stack([grey(n) for n in range(3)]), axes="tyx", **FAST),
    "report": lambda: napari_dcr.enhance(grey(6), return_report=True, **FAST),
    "interrupted": interrupted,
    "refused": refused,
    "live": live,
    "bar": with_a_bar,
}


@pytest.mark.parametrize("call", CALLS)
def test_calls_do_not_change_global_state(call: str) -> None:
    CALLS[call]()  # the first call imports modules and loads weights
    before = state()
    CALLS[call]()
    after = state()
    assert {k for k in before if before[k] != after[k]} == set()


def test_the_number_of_threads_of_the_caller_is_kept() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        napari_dcr.enhance(grey(), **FAST)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_many_calls_leave_nothing_behind() -> None:
    process, rng = psutil.Process(), np.random.default_rng(0)
    counted = []
    for number in range(60):
        height, width = (int(n) for n in rng.integers(20, 90, 2))
        napari_dcr.enhance(grey(number, height, width), device="cpu", depth=number % 2)
        if number in (39, 59):  # the cache of surveys is full after 32
            gc.collect()
            files = process.num_fds() if hasattr(process, "num_fds") else 0
            counted.append((threading.active_count(), files, len(gc.get_objects())))
    (threads, files, objects), later = counted
    assert later[0] == threads
    assert later[1] == files
    assert later[2] < objects + 300


def _sum(seed: int) -> str:
    return napari_dcr.enhance(grey(seed), **FAST).tobytes().hex()


def test_threads_and_processes_at_once_give_the_same_results() -> None:
    expected = [_sum(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(_sum, range(4))) == expected
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as processes:
        assert list(processes.map(_sum, range(4))) == expected
