"""Devices: which are available, their free memory, and the precision they compute correctly."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from napari_dcr.engine import allocator
from napari_dcr.network.cascade import Cascade

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Measured by `benchmarks/memory.py windows`, including heap fragmentation, and rounded up, because
# `Counts` needs more than the tone curve that is measured.
_BYTES_PER_PIXEL = {"fp32": 130, "bf16": 100, "fp16": 100}
_BYTES_PER_CHANNEL = {"fp32": 13, "bf16": 6, "fp16": 6}


@dataclass(frozen=True)
class DeviceInfo:
    """Description of a device for users.

    Attributes
    ----------
    name : str
        Name of the device in torch, as the option ``device`` accepts it.
    label : str
        Product name of the device.
    free : int
        Free memory in bytes.
    """

    name: str
    label: str
    free: int


def bytes_per_pixel(network: Cascade, precision: Precision) -> float:
    """Peak working memory in bytes per pixel of a window."""
    return _BYTES_PER_PIXEL[precision] + network.config.widths[0] * _BYTES_PER_CHANNEL[precision]


def list_devices() -> list[DeviceInfo]:
    """Devices that can run the network, best first."""
    found = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            found.append(
                DeviceInfo(f"cuda:{i}", torch.cuda.get_device_name(i), free_memory(f"cuda:{i}"))
            )
    if torch.backends.mps.is_available():
        found.append(DeviceInfo("mps", "Apple GPU", free_memory("mps")))
    threads = torch.get_num_threads()
    found.append(
        DeviceInfo("cpu", f"{threads} thread{'s' if threads > 1 else ''}", free_memory("cpu"))
    )
    return found


def find_device(name: str) -> torch.device:
    """The torch device for ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises
    ------
    ValueError
        If the device is not available; the message lists the available devices.
    """
    names = [d.name for d in list_devices()]
    if name == "auto":
        return torch.device(names[0])
    if name == "cuda" and "cuda:0" in names:
        return torch.device("cuda:0")
    if name not in names:
        raise ValueError(
            f"device: got {name!r}; allowed here are 'auto', {', '.join(map(repr, names))}"
        )
    return torch.device(name)


class _OneCoreFree:
    """Number of blocks that leave a core free, and the number of threads without them."""

    lock = threading.Lock()
    users = 0
    threads = 1


@contextlib.contextmanager
def one_core_free() -> Iterator[None]:
    """Context manager within which this thread computes on all processor cores except one.

    PyTorch's threads wait for the slowest of them after each operation, and occupy their cores
    while they wait.  If other threads of the process need a core as well, such as those that draw a
    window, fewer threads are faster.  New threads of the process begin with the lower number too,
    until the last of these blocks has ended.
    """
    with _OneCoreFree.lock:
        if not _OneCoreFree.users:  # within another block, PyTorch reports the lower number
            _OneCoreFree.threads = torch.get_num_threads()
        _OneCoreFree.users += 1
        threads = _OneCoreFree.threads
        torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        with _OneCoreFree.lock:
            _OneCoreFree.users -= 1
            torch.set_num_threads(threads)


def free_memory(device: torch.device | str) -> int:
    """Memory in bytes that a run on the device may still allocate."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # Memory that torch's caching allocator holds unused is available too.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return min([int(psutil.virtual_memory().available), *_cgroup_rooms(Path("/"))])


def _cgroup_rooms(root: Path) -> list[int]:
    """Remaining memory, in bytes, under each cgroup limit of this process.

    Containers and batch systems set these limits, which the machine's free memory does not
    reflect, and the kernel kills processes that exceed one.  Supports cgroup versions 1 and 2:
    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    rooms = []
    for membership in memberships:
        number, controllers, group = membership.split(":", 2)
        if number == "0":
            mount, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = mount / group.lstrip("/")
        # In a container the path may be that of the host, while only the mount is visible.
        for place in dict.fromkeys((folder, *folder.parents, mount)):
            if place == mount or mount in place.parents:
                room = _cgroup_room(place, limit, used)
                rooms += [] if room is None else [room]
    return rooms


def _cgroup_room(folder: Path, limit: str, used: str) -> int | None:
    try:
        most = (folder / limit).read_text().strip()
        taken = int((folder / used).read_text())
        statistics = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):
        return None
    if most == "max":
        return None
    # The page cache counts as used, but the kernel frees it before it kills a process.
    cached = dict(zip(statistics[::2], statistics[1::2], strict=False))
    reclaimable = int(cached.get("total_inactive_file", cached.get("inactive_file", 0)))
    return max(0, int(most) - taken + reclaimable)


_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",  # of page-locked memory
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports that memory ran out.

    On CPU, MPS and in page-locked memory torch raises a plain `RuntimeError`; it is recognised
    by its exact wording, so that no other error is mistaken for it.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error) for m in _OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Return memory that is free but cached by the allocator to the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        allocator.trim()


def torch_dtype(precision: Precision) -> torch.dtype:
    """Torch dtype of a precision."""
    return _DTYPES[precision]


@functools.cache
def fast_precision(device: torch.device) -> Precision:
    """Low precision that this device has in hardware and computes correctly, else ``"fp32"``.

    The choice depends on the hardware and not on timings, so that a machine gives the same
    result however busy it is.  Correctness is tested on one window of an odd shape, for which
    wrong results have been reported (pytorch#163347, #169688).
    """
    candidate = hardware_precision(device)
    if candidate == "fp32":
        return candidate
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Cascade().float().placed_on(device).eval()
        torch.nn.init.normal_(network.head.weight, std=0.02)
        window = torch.rand(1, 3, 264, 328, dtype=torch.float32)
    difference = _trial(network, window, candidate) - _trial(network, window, "fp32")
    return candidate if bool(difference.abs().max() < 0.02) else "fp32"


def hardware_precision(device: torch.device) -> Precision:
    """Low precision that this device has in hardware, else ``"fp32"``."""
    if device.type in ("cuda", "mps"):
        return "fp16"
    # Without AMX or AVX512-BF16 a CPU emulates bf16, which is many times slower than fp32.  Intel's
    # AVX512-BF16 without AMX, as in some virtual machines, has no more throughput than fp32: the
    # networks take 1.10 to 1.17 times as long in bf16 there.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    wide = capabilities.get("avx512_bf16") and "Intel" not in str(capabilities.get("cpu_name"))
    return "bf16" if capabilities.get("amx_bf16") or wide else "fp32"


def _trial(network: Cascade, window: torch.Tensor, precision: Precision) -> torch.Tensor:
    height, width = window.shape[2:]
    with torch.inference_mode():
        window = window.to(network.head.weight.device)
        conditioning = network.condition(torch.nn.functional.adaptive_avg_pool2d(window, 64))
        place = network.window_weights((0, height), (0, width), (height, width))
        place = place[0].to(window.device), place[1].to(window.device)
        local = network.with_precision(torch_dtype(precision))
        out = local(window, conditioning, place, network.stages)
        assert isinstance(out, torch.Tensor)
        return out.cpu()
