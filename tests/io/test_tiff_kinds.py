"""TIFF of instruments: LSM, STK, FluoView and ScanImage, their axes, sizes, channels and bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.cli import main
from tests.io.instruments import write_fluoview, write_lsm, write_scanimage, write_stk


def counts(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)


KINDS: dict[str, tuple[Callable[[Path, Any], Path], str, NDArray[Any], str, dict[str, float]]] = {
    "lsm": (write_lsm, "a.lsm", counts(4, 3, 40, 56), "tcyx", {"t": 1.0, "y": 0.3, "x": 0.2}),
    "stk": (write_stk, "a.stk", counts(3, 40, 56), "tyx", {"t": 0.5, "y": 0.25, "x": 0.25}),
    "fluoview": (write_fluoview, "a.tif", counts(3, 2, 40, 56), "tzyx", {"t": 2.0, "z": 1.5, "y": 0.2, "x": 0.2}),
    "scanimage": (write_scanimage, "a.tif", counts(2, 3, 2, 40, 56), "ztcyx", {"z": 2.5}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_axes_pixels_and_sizes(kind: str, tmp_path: Path) -> None:
    write, name, pixels, axes, sizes = KINDS[kind]
    path = write(tmp_path / name, pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = napari_dcr.open_image(path)
    assert opened.axes == axes
    assert opened.measured
    assert np.array_equal(opened.array[(slice(None),) * pixels.ndim], pixels)
    calibration = opened.metadata.calibration
    assert calibration.sizes == pytest.approx(sizes)
    assert calibration.units == {a: "second" if a == "t" else "micrometer" for a in sizes}


def test_channels_and_bits_of_lsm(tmp_path: Path) -> None:
    opened = napari_dcr.open_image(write_lsm(tmp_path / "a.lsm", counts(2, 3, 40, 56)))
    channels = opened.metadata.calibration.channels
    assert [(c.name, c.colour) for c in channels] == [
        ("Ch0", "00FF00"),
        ("Ch1", "FF0000"),
        ("Ch2", "0000FF"),
    ]
    assert opened.bits == 12


def test_planes_of_stk_at_steps_of_z(tmp_path: Path) -> None:
    opened = napari_dcr.open_image(write_stk(tmp_path / "a.stk", counts(3, 40, 56), z_step=2))
    assert opened.axes == "zyx"
    assert opened.metadata.calibration.sizes == {"z": 2.0, "y": 0.25, "x": 0.25}


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_a_folder_keep_axes_and_sizes(kind: str, tmp_path: Path) -> None:
    write, name, pixels, axes, sizes = KINDS[kind]
    source = tmp_path / "in"
    source.mkdir()
    write(source / name, pixels)
    command = [
        "enhance",
        str(source),
        "-o",
        str(tmp_path / "out"),
        "--depth",
        "0",
        "--strength",
        "0",
    ]
    assert main([*command, "--device", "cpu", "-q"]) == 0
    (out,) = (tmp_path / "out").iterdir()
    assert out.name == ("a.tif" if name == "a.tif" else "a.ome.tif")
    assert np.array_equal(tifffile.imread(out), pixels)
    again = napari_dcr.open_image(out)
    assert again.axes == axes
    found = {a: n for a, n in again.metadata.calibration.sizes.items() if a in sizes}
    assert found == pytest.approx(sizes)


@pytest.mark.parametrize("kind", ["lsm", "stk"])
@pytest.mark.parametrize("damage", ["empty", "half", "another kind"])
def test_damage_gives_an_error_of_one_line(
    kind: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, name, pixels, _, _ = KINDS[kind]
    path = write(tmp_path / name, pixels)
    data = path.read_bytes()
    if (
        kind == "stk" and damage == "half"
    ):  # the tags are at the end: keep them and shorten the pixels
        data = data[:8] + data[8 + pixels.nbytes // 2 :]
    path.write_bytes(
        {"empty": b"", "half": data[: len(data) // 2], "another kind": b"PK" + data}[damage]
    )
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.tif"), "-q"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("napari-dcr: ")]) == 1, lines
    assert [p.name for p in tmp_path.iterdir()] == [name]
