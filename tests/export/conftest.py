"""The packages of the extra `export`, which take seconds to import, so that only a process that needs them does."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package", autouse=True)
def _packages() -> None:
    for name in ("onnxruntime", "onnxscript", "bioimageio.spec"):
        pytest.importorskip(name)
