"""Devices: which there are, what fits on them, which precision to trust."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from napari_dcr.engine import allocator
from napari_dcr.network.cascade import Cascade

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Measured by benchmarks/memory.py windows, holes in the heap included, and rounded up: `Counts`
# take more than the curve that is measured.
_BYTES_PER_PIXEL = {"fp32": 130, "bf16": 100, "fp16": 100}
_BYTES_PER_CHANNEL = {"fp32": 13, "bf16": 6, "fp16": 6}


@dataclass(frozen=True)
class DeviceInfo:
    """A device as a user wants to see it.

    Attributes
    ----------
    name : str
        What torch calls it, and what ``device=`` takes.
    label : str
        Its product name.
    free : int
        Free memory in bytes.
    """

    name: str
    label: str
    free: int


def bytes_per_pixel(network: Cascade, precision: Precision) -> float:
    """Peak working memory per pixel of a window."""
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
        If there is no such device here; the message lists those that there are.
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


def free_memory(device: torch.device | str) -> int:
    """Bytes that a run on the device may still take."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What the caching allocator holds without using it is free to us.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return min([int(psutil.virtual_memory().available), *_cgroup_rooms(Path("/"))])


def _cgroup_rooms(root: Path) -> list[int]:
    """Bytes left below each memory limit of the control groups that this process is in.

    Containers and batch systems limit memory by them, and the kernel kills
    whoever exceeds one; the machine's free memory knows nothing of it.
    Versions 1 and 2: https://docs.kernel.org/admin-guide/cgroup-v2.html
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
        # In a container the path may be that of the host, of which only the mount is seen.
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
    # The page cache counts as used, but is given up before anything is killed.
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
    """Whether an exception says, in so many words, that memory ran out.

    CPU, MPS and page-locked memory report it as a plain `RuntimeError`; only their
    exact wording counts, so that no other error is ever taken for it.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error) for m in _OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give memory that is free, but kept for later, back to the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        allocator.trim()


def torch_dtype(precision: Precision) -> torch.dtype:
    """Dtype of the convolutions."""
    return _DTYPES[precision]


@functools.cache
def fast_precision(device: torch.device) -> Precision:
    """Low precision that this device has in hardware and computes correctly, else ``"fp32"``.

    By what the device is, not by a stopwatch: the same machine gives the same
    result however busy it is.  Tried on one window of an odd shape, for which
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
    # Without these, bf16 on a CPU is emulated: many times slower than fp32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16" if fast else "fp32"


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
