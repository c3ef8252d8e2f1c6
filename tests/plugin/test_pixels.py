"""Tests of layers that hold arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tensorstore
import torch
import xarray
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.plugin.axes import layer_axes
from napari_dcr.plugin.layers import result_layer
from napari_dcr.plugin.pixels import is_lazy, layer_levels, layer_pixels, layer_shape, to_enhance
from napari_dcr.plugin.run import Job, Product, work
from napari_dcr.plugin.widget import EnhanceWidget
from tests.plugin.conftest import finish


def store(pixels: NDArray[Any], folder: Path) -> Any:
    """A tensorstore with the pixels."""
    written = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "store.zarr")}},
        create=True, dtype=tensorstore.dtype(pixels.dtype.name), shape=pixels.shape,
        chunk_layout=tensorstore.ChunkLayout(chunk_shape=(1, *(16,) * (pixels.ndim - 1))),
    ).result()  # fmt: skip
    written[...] = pixels
    return written


def labelled(pixels: NDArray[Any], _: Path) -> Any:
    return xarray.DataArray(pixels, dims=tuple("tzyx"[-pixels.ndim :]))


def chunked(pixels: NDArray[Any], folder: Path) -> Any:
    return labelled(pixels, folder).chunk(dict.fromkeys("yx", 20))


def on_disk(pixels: NDArray[Any], folder: Path) -> Any:
    """DataArray without dask whose pixels are read when they are accessed."""
    labelled(pixels, folder).to_dataset(name="v").to_zarr(folder / "x.zarr", consolidated=False)
    return xarray.open_zarr(folder / "x.zarr", chunks=None, consolidated=False)["v"]


def tensor(pixels: NDArray[Any], _: Path) -> Any:
    return torch.from_numpy(pixels)


KINDS: dict[str, tuple[Callable[[NDArray[Any], Path], Any], bool]] = {
    "tensorstore": (store, True),
    "xarray": (labelled, False),
    "xarray of dask": (chunked, True),
    "xarray on disk": (on_disk, True),
    "torch": (tensor, False),
}
"""Function that creates each array, and whether the array is lazy."""


def dim(dtype: str, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 90, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_is_enhanced(kind: str, dtype: str, tmp_path: Path) -> None:
    make, lazy = KINDS[kind]
    pixels = dim(dtype, 3, 40, 50)
    layer = Image(make(pixels, tmp_path))
    assert layer_shape(layer) == pixels.shape
    assert is_lazy(layer_pixels(layer)) == lazy
    options = napari_dcr.Options(depth=1, axes="zyx", device="cpu", precision="fp32")
    expected = napari_dcr.enhance(pixels, depth=1, axes="zyx", device="cpu", precision="fp32")
    region = (slice(1, 2), slice(5, 30), slice(10, 45))
    for job in (Job(layer, options), Job(layer, options, region)):
        (product,) = (x for x in work([job]) if isinstance(x, Product))
        found = product.enhancement.image
        assert isinstance(found, da.Array) == (lazy and job.region is None)
        assert found.dtype == pixels.dtype
        whole = expected if job.region is None else expected[region]
        # Batches of small frames change the last bits of floats.
        np.testing.assert_allclose(np.asarray(found), whole, rtol=2e-6)


def test_a_store_of_levels_is_enhanced_level_by_level(tmp_path: Path) -> None:
    pixels = dim("uint16", 40, 50)
    for name in "ab":
        (tmp_path / name).mkdir()
    levels = [store(pixels, tmp_path / "a"), store(pixels[::2, ::2], tmp_path / "b")]
    layer = Image(levels, multiscale=True)
    assert [level.shape for level in layer_levels(layer)] == [(40, 50), (20, 25)]
    options = napari_dcr.Options(depth=0, axes=layer_axes(layer), device="cpu")
    (product,) = (x for x in work([Job(layer, options)]) if isinstance(x, Product))
    data, state, _ = result_layer(layer, product.enhancement)
    assert [np.asarray(level).shape for level in data] == [(40, 50), (20, 25)]
    assert state["multiscale"]


def test_position_and_labels_of_a_data_array_are_kept() -> None:
    array = xarray.DataArray(
        dim("uint16", 4, 20, 30),
        dims=("time", "y", "x"),
        coords={"y": 5 + 0.5 * np.arange(20), "x": 0.25 * np.arange(30)},
    )
    layer = ViewerModel().add_image(array)
    assert layer_axes(layer) == "tyx"
    options = napari_dcr.Options(depth=0, axes="tyx", device="cpu")
    (product,) = (x for x in work([Job(layer, options)]) if isinstance(x, Product))
    data, state, _ = result_layer(layer, product.enhancement)
    result = Image(data, **state)
    assert tuple(result.axis_labels) == ("time", "y", "x")
    np.testing.assert_allclose(result.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))


def test_a_zarr_that_has_changed_becomes_a_dask_array_of_another_name(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(40, 50), chunks=(40, 50), dtype="uint16")
    names = []
    for level in (10, 900):
        array[:] = level
        names.append(to_enhance(array).name)
    assert names[0] != names[1]
    assert to_enhance(array).name == names[1]


@pytest.mark.gui
@pytest.mark.parametrize("kind", ["tensorstore", "xarray", "xarray on disk"])
def test_view_preview_stages_and_compare_in_the_window(
    viewer: Any, widget: EnhanceWidget, qtbot: Any, tmp_path: Path, kind: str
) -> None:
    pixels = dim("uint16", 3, 60, 80)
    layer = viewer.add_image(KINDS[kind][0](pixels, tmp_path), name="cells")
    controls = widget.controls
    controls.depth.value = 1
    viewer.dims.set_point(0, 1)
    viewer.scene.camera.zoom /= 2  # the whole layer is in view
    qtbot.wait(200)
    expected = napari_dcr.enhance(pixels, depth=1, axes="zyx", device="cpu")
    widget.preview.value = True
    qtbot.waitUntil(lambda: not widget.view_panel.updater.busy, timeout=60_000)
    assert widget.view_panel.updater.layer is not None, widget.status.value
    np.testing.assert_allclose(widget.view_panel.updater.layer.data, expected[1:2], atol=1)
    widget.compare.value = True
    before = viewer.layers["cells [before]"]
    np.testing.assert_array_equal(np.asarray(before.data), pixels[1:2, :, :40])
    for extent, part in (("view", slice(1, 2)), ("slice", slice(1, 2)), ("all", slice(0, 3))):
        controls.image.value = layer
        controls.extent.value = extent
        widget.start()
        finish(widget, qtbot)
        assert viewer.layers[-1] is not layer, widget.status.value
        result = widget.results.pairs[-1][1]
        np.testing.assert_allclose(np.asarray(result.data), expected[part], atol=1)
    controls.extent.value = "slice"
    widget.show_stages()
    finish(widget, qtbot)
    stages = viewer.layers["cells [DCR stages]"]
    np.testing.assert_allclose(stages.data[-1], expected[1:2], atol=1)
