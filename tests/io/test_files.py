"""Files are replaced once they are complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile

from napari_dcr.io import formats
from napari_dcr.io.files import Picture
from tests.io.conftest import random


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    formats.write(path, Picture(random((9, 9)), "yx"))
    before = path.read_bytes()

    def half(name: Path, *_: Any, **__: Any) -> None:
        Path(name).write_bytes(b"II*")
        raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(OSError, match="disk full"):
        formats.write(path, Picture(random((5, 5)), "yx"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
