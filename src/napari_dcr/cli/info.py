"""The command ``napari-dcr info``: versions, devices and weights of an installation, for bug reports.

It prints neither paths nor names of users or computers.
"""

from __future__ import annotations

import argparse
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from napari_dcr.version import __version__

WINDOW = ("napari", "npe2", "PyQt6", "PySide6", "PyQt5", "PySide2")
"""Packages of which the window needs some; no extra lists them one by one."""


def run(_: argparse.Namespace) -> int:
    """Print versions, platform, devices, weights and extras."""
    import torch

    from napari_dcr.engine.devices import list_devices
    from napari_dcr.network import cards, weights

    print(f"napari-dcr {__version__}")
    print(
        f"python {platform.python_version()} ({platform.python_implementation()}),"
        f" torch {torch.__version__}, numpy {version('numpy')}"
    )
    print(f"platform: {_platform()}")
    print("devices:")
    for device in list_devices():
        print(f"  {device.name}: {device.label}, {device.free / 2**30:.1f} GiB free")
    print("weights:")
    for name, path in cards.shipped().items():
        model = weights.load(name)
        size = path.stat().st_size / 2**20
        print(f"  {name}: depth 0 to {model.network.stages}, {size:.1f} MiB, sha256 {model.sha256}")
    print("packages:")
    for extra, packages in _packages().items():
        print(f"  {extra}: {', '.join(_described(packages))}")
    print(f"  window: {', '.join(_described(WINDOW, missing=False)) or 'none'}")
    return 0


def _platform() -> str:
    """Operating system, its release and the processor's architecture."""
    libc = " ".join(platform.libc_ver()).strip()
    parts = platform.system(), platform.release(), platform.machine(), libc
    return " ".join(part for part in parts if part)


def _packages() -> dict[str, list[str]]:
    """Packages that a plain install and each extra need, by the name of the extra."""
    try:
        requirements = requires("napari-dcr") or []
    except PackageNotFoundError:  # run from a checkout that was not installed
        return {}
    found: dict[str, list[str]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)""", requirement)
        if name is None or (extra and extra[1] == "all"):  # lists other extras
            continue
        found.setdefault(extra[1] if extra else "always", []).append(name[0])
    return found


def _described(packages: list[str] | tuple[str, ...], missing: bool = True) -> Iterator[str]:
    """Each package with its version; absent ones are named as missing, or left out."""
    for name in packages:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            if missing:
                yield f"{name} is missing"
