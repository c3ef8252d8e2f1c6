"""Weights files of another kind raise an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(ValueError, match=r"^model: .*is not a weights file"):
        weights.load(path)


def test_weights_with_another_meaning_of_the_maps_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "earlier.safetensors"
    with monkeypatch.context() as earlier:
        earlier.setattr(weights, "FORMAT", "napari-dcr 1")
        weights.save(Cascade(), path, {})
    with pytest.raises(ValueError, match="'napari-dcr 1'; allowed is 'napari-dcr 2'"):
        weights.load(path)
