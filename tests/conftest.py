"""Shared fixtures: small images and a network whose every branch does something."""

from __future__ import annotations

import gc
import os

# Workers of pytest-xdist share the cores: each uses one thread, and so do the processes that its
# tests start.  NumPy and PyTorch read this variable when they are imported.
if WORKER := "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaozarrs
from hypothesis import settings
from numpy.typing import NDArray

from napari_dcr.io.ome_metadata import is_allowed
from napari_dcr.io.ome_zarr import ZarrSink
from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig

# Tests must not fail because two cores are busy.
settings.register_profile("default", deadline=None, print_blob=True)
# The same examples in every run of a continuous integration; new ones everywhere else.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_finish() -> None:
    """Exempt modules from the collections of garbage that napari's fixture makes around every viewer."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(1 if WORKER else 2)


@pytest.fixture(scope="session", autouse=True)
def _valid_ome_zarr() -> Iterator[None]:
    """Check every OME-Zarr image that any test writes with the validator of yaozarrs.

    The exception are images whose order of axes the standard does not allow, because this order is kept.
    """
    finish = ZarrSink.finish

    def checked(self: ZarrSink, record: dict[str, Any]) -> Iterator[str]:
        yield from finish(self, record)
        written = self._group is not None and isinstance(self._out, Path)
        if written and is_allowed(self._layout.axes):
            yaozarrs.validate_zarr_store(str(self._out))

    patch = pytest.MonkeyPatch()
    patch.setattr(ZarrSink, "finish", checked)
    yield
    patch.undo()


LIVELY = ("head", "global_net.tone_head", "neighbours.head")
"""Beginnings of the names of zero-initialised layers."""


def lively_cascade(seed: int = 0, config: CascadeConfig | None = None) -> Cascade:
    """Random weights that leave no branch silent: zero-initialised layers would hide errors."""
    torch.manual_seed(seed)
    network = Cascade(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(LIVELY) or ".guide." in name:
                parameter.normal_(std=0.05)
    return network.eval()


@pytest.fixture(scope="session")
def lively_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file with a lively network."""
    path = tmp_path_factory.mktemp("weights") / "lively.safetensors"
    weights.save(lively_cascade(), path, {})
    return path


COUNTS = CascadeConfig(channels=1, base="counts")


@pytest.fixture(scope="session")
def lively_counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file with a lively network that works in counts."""
    path = tmp_path_factory.mktemp("weights") / "counts.safetensors"
    weights.save(lively_cascade(config=COUNTS), path, {})
    return path


@pytest.fixture
def dim_rgb() -> NDArray[np.uint8]:
    """A dim colour picture of 75 x 102 pixels, which are not multiples of tiles or strides."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:75, :102]
    light = 20 + 15 * np.sin(x / 9) + 10 * np.cos(y / 7)
    picture = light[..., None] * [1.0, 0.8, 0.6] + rng.normal(0, 2, (75, 102, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stack() -> NDArray[np.uint16]:
    """Two frames of 300 x 420."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :420]
    light = 300 + 200 * np.sin(x / 50) * np.cos(y / 40)
    return (light + rng.normal(0, 20, (2, 300, 420))).clip(0).astype(np.uint16)
