"""Devices: their list, their memory, the precision to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import devices
from napari_dcr.network.cascade import Cascade


def test_cgroup_limits_are_respected(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert devices._cgroup_rooms(tmp_path) == []
    write("proc/self/cgroup", "0::/job/step\n")
    write("sys/fs/cgroup/job/step/memory.max", "max\n")
    write("sys/fs/cgroup/job/step/memory.current", "700\n")
    write("sys/fs/cgroup/job/step/memory.stat", "anon 600\ninactive_file 100\n")
    write("sys/fs/cgroup/job/memory.max", "1000\n")
    write("sys/fs/cgroup/job/memory.current", "800\n")
    write("sys/fs/cgroup/job/memory.stat", "anon 600\ninactive_file 150\n")
    assert devices._cgroup_rooms(tmp_path) == [350]
    write("proc/self/cgroup", "9:cpu:/\n4:memory:/elsewhere\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "450\n")
    write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 20\n")
    assert devices._cgroup_rooms(tmp_path) == [70]


def test_threads_that_leave_a_core_free_may_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first thread ends while the second one computes, as when Live is switched off and on.
    numbers: list[int] = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: numbers[-1])
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    first, second = devices.one_core_free(), devices.one_core_free()
    first.__enter__()
    second.__enter__()
    assert numbers[-1] == 3
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert numbers == [4, 3, 3, 4, 4]
    with devices.one_core_free():
        assert numbers[-1] == 3
    assert numbers[-1] == 4


def test_devices_are_listed_and_the_fast_precision_is_close(picture: NDArray[np.uint8]) -> None:
    names = [d.name for d in devices.list_devices()]
    assert names[-1] == "cpu"
    assert devices.find_device("auto").type == names[0].split(":")[0]
    assert all(d.free > 0 for d in devices.list_devices())
    exact = napari_dcr.enhance(picture, device="cpu", precision="fp32").astype(int)
    fast = napari_dcr.enhance(picture, device="cpu", precision="bf16").astype(int)
    assert np.abs(exact - fast).mean() < 1
    assert devices.fast_precision(torch.device("cpu")) in ("fp32", "bf16")


@pytest.mark.parametrize(
    ("name", "instructions", "precision"),
    [
        ("Intel Xeon", {"amx_bf16", "avx512_bf16"}, "bf16"),
        ("Intel Xeon", {"avx512_bf16"}, "fp32"),  # AMX is masked by a hypervisor
        ("AMD EPYC", {"avx512_bf16"}, "bf16"),
        ("AMD EPYC", set(), "fp32"),
    ],
)
def test_bf16_is_used_on_processors_that_compute_it_faster(
    monkeypatch: pytest.MonkeyPatch, name: str, instructions: set[str], precision: str
) -> None:
    known = {"amx_bf16", "avx512_bf16"}
    capabilities = {"cpu_name": name} | {key: key in instructions for key in known}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert devices.hardware_precision(torch.device("cpu")) == precision


def test_a_wrong_fast_precision_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = devices._trial

    def wrong(network: Cascade, window: torch.Tensor, precision: Any) -> torch.Tensor:
        return trial(network, window, precision) + (0.1 if precision == "bf16" else 0)

    monkeypatch.setattr(devices, "hardware_precision", lambda _: "bf16")
    assert devices.fast_precision.__wrapped__(torch.device("cpu")) == "bf16"
    monkeypatch.setattr(devices, "_trial", wrong)
    assert devices.fast_precision.__wrapped__(torch.device("cpu")) == "fp32"
