"""The reader: which files it accepts, and the lazy layers and metadata that it returns."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from npe2 import PluginManifest
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps
from qtpy.QtWidgets import QApplication

import napari_dcr
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import formats
from napari_dcr.plugin.layers import FILE
from napari_dcr.plugin.reader import OF_NAPARI, get_reader, read
from napari_dcr.plugin.script import as_python
from napari_dcr.plugin.widget import EnhanceWidget
from tests.io.instruments import write_dcimg, write_lif
from tests.io.test_microscopes import NAMES, SIZES, STACK, WRITERS, write_czi
from tests.io.videos import moving, of_rgb, write
from tests.plugin.conftest import NAME, finish


def test_the_manifest_names_every_format_that_napari_does_not_open() -> None:
    (reader,) = PluginManifest.from_distribution(NAME).contributions.readers or []
    assert {p.removeprefix("*") for p in reader.filename_patterns} == set(formats.SUFFIXES) - set(
        OF_NAPARI
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_channels_become_lazy_layers_with_the_files_metadata(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / f"a.{kind}")
    assert get_reader(str(path)) is read
    layers = read(str(path))
    assert [layer[1]["name"] for layer in layers] == [f"{name} - a.{kind}" for name in NAMES[kind]]
    for number, (pixels, arguments, layer_type) in enumerate(layers):
        assert layer_type == "image"
        assert isinstance(pixels, dask.array.Array)
        assert pixels.chunks == ((1, 1), (1, 1, 1), (20,), (24,))
        assert np.array_equal(pixels.compute(), STACK[:, number])
        assert arguments["axis_labels"] == ("t", "z", "y", "x")
        factors = {"nanometer": 1e-3, "millisecond": 1e-3}
        units = dict(zip("tzyx", arguments["units"], strict=True))
        scale = dict(zip("tzyx", arguments["scale"], strict=True))
        scale = {a: value * factors.get(units[a], 1) for a, value in scale.items()}
        assert {a: scale[a] for a in SIZES[kind]} == pytest.approx(SIZES[kind])
        assert arguments["units"][2:] == ("micrometer",) * 2
        assert not arguments["rgb"]


def test_layers_in_a_viewer(make_napari_viewer: Any, tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", [
        {"name": n, "pixels": STACK[:, 0], "dims": "TZYX", "steps": {"Z": 1e-6, "Y": 2e-7, "X": 2e-7}}
        for n in ("left", "right")
    ])  # fmt: skip
    viewer = make_napari_viewer()
    for data, arguments, _ in read(str(path)):
        viewer.add_image(data, **arguments)
    assert [layer.name for layer in viewer.layers] == [
        "Green - a.lif [left]",
        "Green - a.lif [right]",
    ]
    (first, _) = viewer.layers
    assert [str(unit) for unit in first.units] == [
        "second",
        "micrometer",
        "micrometer",
        "micrometer",
    ]
    assert first.axis_labels == ("t", "z", "y", "x")


def test_a_single_channel_has_its_name_and_colour(tmp_path: Path) -> None:
    image = {"name": "a", "pixels": STACK[0, :1], "dims": "CZYX", "steps": {}, "bits": 12}
    ((_, arguments, _),) = read(str(write_lif(tmp_path / "a.lif", [image])))
    assert arguments["name"] == "Green - a.lif"
    assert arguments["colormap"] == "#00FF00"


def test_gaps_are_zero_and_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((40, 50, 3), np.uint8)
    red[..., 0] = 200
    path = write_czi(tmp_path / "a.czi", {(0, 0, 0): red[..., ::-1]})
    ((pixels, arguments, _),) = read(str(path))
    assert isinstance(pixels, np.ndarray)  # one small plane
    assert arguments["rgb"]
    assert np.array_equal(pixels, red)


def test_several_files_are_stacked_as_one_recording(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(1, 99, (5, 30, 40)).astype(np.uint16)
    paths = [str(write_dcimg(tmp_path / f"{n}.dcimg", frames[a:b])) for n, (a, b) in enumerate([(0, 2), (2, 5)])]  # fmt: skip
    ((pixels, arguments, _),) = read(paths)
    assert np.array_equal(pixels.compute(), frames)
    assert arguments["axis_labels"] == ("t", "y", "x")
    assert arguments["scale"] == pytest.approx((0.05, 1, 1))


@pytest.mark.parametrize("orientation", [2, 6])
def test_pictures_are_upright(orientation: int, tmp_path: Path) -> None:
    path, exif = tmp_path / "a.avif", PILImage.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 99, (24, 40, 3)).astype(np.uint8)
    PILImage.fromarray(pixels).save(path, exif=exif, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        ((shown, _, _),) = read(str(path))
    assert np.array_equal(shown, ImageOps.exif_transpose(PILImage.open(path)))


def test_videos_are_upright_and_their_copied_python_too(tmp_path: Path) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(3, 32, 64)]
    path = write(tmp_path / "a.mp4", frames, "libx264", turn=90, aspect=Fraction(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        ((shown, arguments, _),) = read(str(path))
        again = napari_dcr.open_image(path, upright=True)
    assert isinstance(shown, dask.array.Array)
    with pytest.warns(InputWarning, match="pass upright=True"):
        stored = np.asarray(napari_dcr.open_image(path).array)
    assert np.array_equal(shown.compute(), np.rot90(stored, axes=(1, 2)))
    assert shown.shape == (3, 64, 32, 3)
    assert arguments["scale"] == pytest.approx((0.1, 2, 1))  # pixels are high after the turn
    assert np.array_equal(np.asarray(again.array), shown.compute())
    assert np.array_equal(again.array[1, -5:], shown[1, -5:].compute())
    code = as_python({
        "source": {"file": arguments["metadata"][FILE], "path": None, "layer": "a"},
        "options": {}, "model": "photo", "depth": 0, "axes": "tyxs",
    })  # fmt: skip
    assert f"napari_dcr.open_image({str(path)!r}, upright=True).array)" in code


def test_files_of_other_formats_are_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / "a.ser").write_bytes(b"\xac\xed a serialised object")
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.sif").mkdir()
    for name in ("a.ser", "a.txt", "b.sif", "nowhere.czi"):
        assert get_reader(str(tmp_path / name)) is None
    (tmp_path / "c.czi").write_bytes(b"damaged")
    reader = get_reader(str(tmp_path / "c.czi"))
    assert reader is not None
    with pytest.raises(ValueError, match=r"c\.czi: cannot be read as an image"):
        reader(str(tmp_path / "c.czi"))


@pytest.mark.gui
def test_the_copied_python_opens_the_file(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, tmp_path: Path
) -> None:
    path = WRITERS["nd2"](tmp_path / "a.nd2")
    _, second = viewer.open(str(path), plugin=NAME)
    widget.controls.image.value = second
    widget.controls.depth.value = 0
    widget.controls.extent.value = "slice"
    widget.start()
    finish(widget, qtbot)
    widget.copy.native.click()
    code = QApplication.clipboard().text()
    assert "napari_dcr.open_image(" in code
    names: dict[str, Any] = {}
    exec(code, names)
    assert np.array_equal(names["result"], np.asarray(viewer.layers[-1].data))


def test_a_tiff_of_napari_stays_napari_s(tmp_path: Path, dim_rgb: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", dim_rgb)
    patterns = (PluginManifest.from_distribution(NAME).contributions.readers or [])[
        0
    ].filename_patterns
    assert "*.tif" not in patterns
