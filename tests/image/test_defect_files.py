"""Tests that saved defects are read back exactly, and that other files raise an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_dcr.image.defects import Defects


def test_saved_defects_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    defects = Defects(
        60, 70, 2,
        columns=rng.normal(0, 3, (2, 2, 1, 70)),
        row_gain=rng.uniform(0.9, 1.1, (2, 60)),
        hot=np.array([[1, 5, 6], [0, 7, 8]]),
        excess=np.array([90.0, -30]),
    )  # fmt: skip
    defects.save(tmp_path / "camera.npz")
    loaded = Defects.load(tmp_path / "camera.npz")
    assert loaded.sha256 == defects.sha256
    assert loaded.describe() == defects.describe()
    image = np.random.default_rng(0).integers(0, 99, (1, 60, 70), np.uint16)
    assert np.array_equal(loaded.correct(image, 0, 0, 1, 1), defects.correct(image, 0, 0, 1, 1))
    with np.load(tmp_path / "camera.npz", allow_pickle=False) as file:
        assert {"format", "size", "columns", "hot"} <= set(file.files)
    with pytest.raises(ValueError, match=r"defects: got .*camera.txt'.*\.npz"):
        defects.save(tmp_path / "camera.txt")


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, values=np.zeros(3))
    with pytest.raises(ValueError, match=r"defects: .*other\.npz was not written by Defects.save"):
        Defects.load(other)
    for name, value in (("format", 2), ("size", 3), ("black", "a")):
        np.savez(other, **{"format": 1, "size": [4, 4, 1], "black": 0, name: value})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="was not written by Defects.save: it"):
            Defects.load(other)


def test_no_message_advises_to_use_pickle(tmp_path: Path) -> None:
    other, array = tmp_path / "other.npz", tmp_path / "array.npy"
    always = {"format": np.array(1), "size": np.array([4, 4, 1]), "black": np.array(0)}
    np.save(array, np.zeros(3))
    np.savez(other, **always, hot=np.array([[{}, 1, 2]]))  # type: ignore[arg-type]
    objects = other.read_bytes()
    np.savez_compressed(other, **always, rows=np.arange(1000.0))  # type: ignore[arg-type]
    whole = other.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(40) + whole[middle + 40 :]
    for content in (b"no zip at all", b"", array.read_bytes(), objects, whole[:middle], damaged):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=r"defects: .*other\.npz was not written by") as raised:
            Defects.load(other)
        assert "pickle" not in str(raised.value)
    with pytest.raises(FileNotFoundError):
        Defects.load(tmp_path / "missing.npz")
