"""Result layers keep the properties of their sources, without a window."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import run_to_completion
from napari_dcr.io.opening import open_image
from napari_dcr.plugin.axes import layer_axes
from napari_dcr.plugin.layers import (
    matching_limits,
    result_layer,
    side_layers,
    stages_layer,
)
from napari_dcr.plugin.pixels import layer_pixels
from napari_dcr.plugin.run import Job, Product, work
from napari_dcr.plugin.shown import shown_region


def layer_kinds() -> dict[str, Image]:
    """Layers of every kind, with all settings different from their defaults."""
    rng = np.random.default_rng(1)

    def dim(*shape: int) -> NDArray[np.uint8]:
        return rng.integers(0, 50, shape, np.uint8)

    def spatial(ndim: int) -> dict[str, Any]:
        affine = np.eye(ndim + 1)
        affine[:-1, :-1] = np.diag(range(3, 3 + ndim))
        affine[-3, -2] = 0.5
        affine[:-1, -1] = 7
        turned = np.eye(ndim)
        turned[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]
        return {
            "scale": tuple(range(2, 2 + ndim)),
            "translate": tuple(range(5, 5 + ndim)),
            "rotate": turned,
            "shear": [0.1] * (ndim * (ndim - 1) // 2),
            "affine": affine,
            "units": ("um",) * ndim,
            "axis_labels": ("t", "z", "y", "x")[-ndim:],
            "blending": "additive",
            "opacity": 0.7,
            "gamma": 0.8,
            "interpolation2d": "cubic",
            "interpolation3d": "nearest",
            "depiction": "plane",
            "rendering": "average",
            "projection_mode": "mean",
        }

    channels = spatial(3) | {"axis_labels": ("c", "y", "x")}
    return {
        "grey": Image(dim(40, 50), colormap="magma", **spatial(2)),
        "stack": Image(dim(3, 40, 50), colormap="green", **spatial(3)),
        "time and z": Image(dim(2, 3, 40, 50).astype(np.uint16) * 9, colormap="red", **spatial(4)),
        "channels": Image(dim(2, 40, 50), colormap="blue", **channels),
        "float": Image(dim(40, 50) / 900, colormap="cyan", **spatial(2)),
        "colour": Image(dim(40, 50, 3), rgb=True, **spatial(2)),
        "colour stack": Image(dim(3, 40, 50, 3), rgb=True, **spatial(3)),
        "alpha": Image(dim(40, 50, 4), rgb=True, **spatial(2)),
        "multiscale": Image([dim(64, 64), dim(32, 32)], multiscale=True, **spatial(2)),
        "dask": Image(
            da.from_array(dim(3, 40, 50), chunks=(1, 40, 50)), contrast_limits=(0, 60), **spatial(3)
        ),
    }


def middle(layer: Image) -> tuple[slice, ...]:
    """A region that is not at the origin."""
    pixels = layer_pixels(layer)
    region = [slice(n // 3, n // 3 + max(1, n // 2)) for n in pixels.shape]
    if layer.rgb:
        region[-1] = slice(0, pixels.shape[-1])
    return tuple(region)


def check_same(result: Image, layer: Image, names: tuple[str, ...]) -> None:
    for name in names:
        theirs, own = getattr(result, name), getattr(layer, name)
        same = np.allclose(theirs, own) if isinstance(own, np.ndarray) else theirs == own
        assert same, name


@pytest.mark.parametrize("part", [False, True], ids=["all", "region"])
@pytest.mark.parametrize("kind", layer_kinds())
def test_results_keep_where_and_how_their_source_is_shown(kind: str, part: bool) -> None:
    layer = layer_kinds()[kind]
    pixels = layer_pixels(layer)
    options = napari_dcr.Options(model="photo", depth=0, axes=layer_axes(layer), device="cpu")
    region = middle(layer) if part else None
    if region is None:
        enhancement = run_to_completion(napari_dcr.enhance_steps(np.asarray(pixels), options))
    else:
        enhancement = run_to_completion(RegionEnhancer(open_image(pixels)).steps(options, region))  # type: ignore[arg-type]
    data, arguments, layer_type = result_layer(layer, enhancement, region)
    result = Image(data, **arguments)
    expected = pixels if region is None else pixels[region]
    assert layer_type == "image"
    assert result.data.shape == expected.shape
    assert result.data.dtype == expected.dtype
    check_same(
        result,
        layer,
        (
            "scale", "rotate", "shear", "units", "axis_labels", "blending", "opacity", "gamma",
            "interpolation2d", "interpolation3d", "depiction", "rendering", "projection_mode", "rgb",
        ),
    )  # fmt: skip
    assert np.allclose(result.affine.affine_matrix, layer.affine.affine_matrix)
    origin = [0] * layer.ndim if region is None else [s.start for s in region[: layer.ndim]]
    for step in (0, 4):
        here = result.data_to_world([step] * layer.ndim)
        there = layer.data_to_world([i + step for i in origin])
        assert np.allclose(here, there)
    if not layer.rgb:
        assert result.colormap.name == layer.colormap.name
        black, white = result.contrast_limits
        assert black < np.median(data) < white
    record = result.metadata["napari_dcr"]
    assert record["options"]["depth"] == 0
    assert record["source"]["layer"] == layer.name
    assert record["source"]["multiscale"] == layer.multiscale
    assert layer.metadata == {}


@pytest.mark.parametrize("kind", layer_kinds())
def test_stages_lie_where_their_source_does(kind: str) -> None:
    layer = layer_kinds()[kind]
    options = napari_dcr.Options(model="photo", depth=1, axes=layer_axes(layer), device="cpu")
    region = middle(layer)
    steps = RegionEnhancer(open_image(layer_pixels(layer))).steps(options, region, stages=True)
    data, arguments, _ = stages_layer(layer, run_to_completion(steps), region)  # type: ignore[arg-type]
    stages = Image(data, **arguments)
    assert stages.ndim == layer.ndim + 1
    assert stages.axis_labels == ("stage", *layer.axis_labels)
    assert stages.metadata["napari_dcr"]["stages"] == ["tone curve", "sub-U-Net 1"]
    start = [s.start for s in region[: layer.ndim]]
    world = stages.data_to_world([1, *[2] * layer.ndim])
    assert world[0] == 1
    assert np.allclose(world[1:], layer.data_to_world([i + 2 for i in start]))


@pytest.mark.parametrize("kind", ["dask", "zarr"])
def test_lazy_layers_give_lazy_results(kind: str, tmp_path: Path) -> None:
    # No value of the result lies at the border of two integers, where the order of sums would decide.
    pixels = np.random.default_rng(5).integers(0, 900, (2, 64, 80), np.uint16)
    if kind == "zarr":
        stored = zarr.create_array(
            tmp_path / "a.zarr", shape=pixels.shape, chunks=(1, 64, 80), dtype="uint16"
        )
        stored[:] = pixels
        data: Any = stored
    else:
        data = da.from_array(pixels, chunks=(1, 64, 80))
    layer = Image(data, contrast_limits=(0, 900), scale=(3, 2, 2))
    options = napari_dcr.Options(depth=1, axes="zyx", device="cpu", precision="fp32")
    products = [event for event in work([Job(layer, options)]) if isinstance(event, Product)]
    lazy, state, _ = result_layer(layer, products[0].enhancement)
    result = Image(lazy, **state)
    assert isinstance(result.data, da.Array)
    expected = napari_dcr.enhance(pixels, depth=1, axes="zyx", device="cpu", precision="fp32")
    assert (np.asarray(result.data) == expected).all()
    assert np.allclose(result.scale, layer.scale)


def pyramid(pixels: NDArray[Any], levels: int) -> list[Any]:
    """Levels of a multiscale image, each the 2 x 2 mean of the one before."""
    made = [pixels]
    for _ in range(levels - 1):
        fine = made[-1].astype(float)
        mean = sum(fine[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        made.append((mean if pixels.dtype.kind == "f" else np.rint(mean)).astype(pixels.dtype))
    return [da.from_array(level, chunks=(*(1,) * (pixels.ndim - 2), 64, 64)) for level in made]


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize(("dtype", "offset"), [("uint16", 100), ("uint16", 900), ("float32", 0.0)])
def test_all_levels_of_a_photo_are_equally_bright(dtype: str, offset: float, link: bool) -> None:
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:256, :320]
    light = 40 + 30 * np.sin(x / 40) * np.cos(y / 30)
    frames = rng.poisson(np.stack([light, 2 * light])) * 4 + rng.normal(offset, 12, (2, 256, 320))
    levels = pyramid((frames if dtype == "uint16" else frames / 900).astype(dtype), 3)
    layer = Image(levels, multiscale=True, contrast_limits=(0, 1000))
    options = napari_dcr.Options(depth=1, axes="tyx", device="cpu", link_frames=link)
    (product,) = (x for x in work([Job(layer, options)]) if isinstance(x, Product))
    data, state, _ = result_layer(layer, product.enhancement)
    result = Image(data, **state)
    assert result.multiscale
    alone = napari_dcr.enhance(
        np.asarray(levels[0]), depth=1, axes="tyx", device="cpu", link_frames=link
    )
    np.testing.assert_array_equal(np.asarray(result.data[0]), alone)
    black = min(black for black, _ in result.metadata["napari_dcr"]["ranges"])
    for frame in range(2):
        means = [np.asarray(level)[frame].mean() - black for level in result.data]
        assert max(means) < 1.03 * min(means), means


def test_each_level_has_its_own_noise_with_microscopy() -> None:
    image = np.random.default_rng(0).poisson(60, (256, 256)).astype(np.uint16)
    levels = pyramid(image, 2)
    layer = Image(levels, multiscale=True, contrast_limits=(0, 100))
    options = napari_dcr.Options(model="microscopy", axes="yx", device="cpu")
    (product,) = (x for x in work([Job(layer, options)]) if isinstance(x, Product))
    for made, level in zip(product.enhancement.image, levels, strict=True):
        expected = napari_dcr.enhance(np.asarray(level), model="microscopy", device="cpu")
        np.testing.assert_array_equal(np.asarray(made), expected)


@pytest.mark.parametrize("kind", ["stack", "colour", "multiscale", "dask"])
def test_results_are_written_to_a_zarr_and_read_from_it(kind: str, tmp_path: Path) -> None:
    layer = layer_kinds()[kind]
    layer.name = "cells: a/b"
    options = napari_dcr.Options(depth=1, axes=layer_axes(layer), device="cpu", precision="fp32")
    folder = tmp_path / "results"
    expected = napari_dcr.enhance(
        np.asarray(layer_pixels(layer)), depth=1, axes=options.axes, device="cpu", precision="fp32"
    )
    for name in ("cells_ a_b DCR.ome.zarr", "cells_ a_b DCR 2.ome.zarr"):
        (product,) = (
            x for x in work([Job(layer, options, folder=folder)]) if isinstance(x, Product)
        )
        data, state, _ = result_layer(layer, product.enhancement)
        result = Image(data, **state)
        assert result.metadata["napari_dcr"]["path"] == str(folder / name)
        pixels = layer_pixels(result)
        assert isinstance(pixels, da.Array)
        # Small frames are computed in batches, whose sizes differ between memory and zarr.
        change = np.abs(np.asarray(pixels).astype(float) - expected)
        assert change.max() <= 1
        assert np.mean(change > 1e-4) < 1e-3
        assert np.allclose(result.scale, layer.scale)


def test_large_results_are_read_from_a_zarr_level_by_level(tmp_path: Path) -> None:
    layer = Image(np.random.default_rng(0).integers(0, 60, (600, 1100), np.uint8), name="wide")
    options = napari_dcr.Options(depth=0, device="cpu")
    (product,) = (x for x in work([Job(layer, options, folder=tmp_path)]) if isinstance(x, Product))
    data, state, _ = result_layer(layer, product.enhancement)
    assert [level.shape for level in data] == [(600, 1100), (300, 550), (150, 275)]
    assert Image(data, **state).multiscale


def test_another_dtype_is_shown_over_its_full_range() -> None:
    layer = Image(np.full((20, 20), 9, np.uint16))
    for output, limits in (("uint8", (0, 255)), ("float32", (0, 1))):
        options = napari_dcr.Options(depth=0, output=output, device="cpu")
        enhancement = run_to_completion(napari_dcr.enhance_steps(layer.data, options))
        _, arguments, _ = result_layer(layer, enhancement)
        assert arguments["contrast_limits"] == limits


def test_the_region_shown_is_the_slice_or_what_is_on_screen() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((5, 40, 50), np.uint8), scale=(3, 1, 1), translate=(6, 0, 0))
    viewer.add_image(np.zeros((2, 9, 40, 50), np.uint8), visible=False)
    viewer.dims.set_point(1, 12)  # the third plane of the first layer
    layer.corner_pixels = np.array([[0, 10, 5], [0, 19, 30]])
    rows, columns = slice(10, 20), slice(5, 31)
    assert shown_region(layer, viewer.dims, visible=True) == (slice(2, 3), rows, columns)
    whole = slice(2, 3), slice(0, 40), slice(0, 50)
    assert shown_region(layer, viewer.dims, visible=False) == whole
    viewer.dims.set_point(1, 0)  # before its first plane
    assert shown_region(layer, viewer.dims, visible=False) is None
    viewer.dims.set_point(1, 12)
    layer.corner_pixels = np.array([[0, 39, 5], [0, 39, 30]])  # off the screen
    assert shown_region(layer, viewer.dims, visible=True) is None


def test_the_region_shown_in_a_rotated_view_runs_along_its_axes() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((5, 40, 50), np.uint8))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 7)
    assert shown_region(layer, viewer.dims, visible=False) == (
        slice(0, 5), slice(7, 8), slice(0, 50),
    )  # fmt: skip


def test_corners_of_a_coarse_level_are_those_of_the_finest() -> None:
    levels = [np.zeros((64, 80), np.uint8), np.zeros((32, 40), np.uint8)]
    viewer = ViewerModel()
    layer = viewer.add_image(levels, multiscale=True)
    layer._data_level = 1
    layer.corner_pixels = np.array([[4, 5], [9, 39]])
    assert shown_region(layer, viewer.dims, visible=True) == (slice(8, 20), slice(10, 80))


@pytest.mark.parametrize("part", [False, True], ids=["all", "region"])
def test_the_3d_rendering_of_a_layer_is_kept(part: bool) -> None:
    clipping = {"position": (3, 9, 8), "normal": (0, 1, 0), "enabled": True}
    layer = Image(
        np.random.default_rng(0).integers(0, 60, (8, 40, 50), np.uint8), depiction="plane",
        plane={"position": (4, 20, 25), "normal": (1, 0, 0), "thickness": 3}, rendering="iso",
        attenuation=0.3, iso_threshold=17, experimental_clipping_planes=[clipping],
        interpolation2d="custom", custom_interpolation_kernel_2d=np.array([[0.5, 0.5]], np.float32),
    )  # fmt: skip
    region = (slice(2, 7), slice(10, 40), slice(0, 30)) if part else None
    origin = np.array([2, 10, 0]) * part
    options = napari_dcr.Options(depth=0, axes="zyx", device="cpu")
    if region is None:
        enhancement = run_to_completion(napari_dcr.enhance_steps(layer.data, options))
    else:
        enhancement = run_to_completion(
            RegionEnhancer(open_image(layer.data)).steps(options, region)
        )  # type: ignore[arg-type]
    data, arguments, _ = result_layer(layer, enhancement, region)
    result = Image(data, **arguments)
    names = ("depiction", "rendering", "attenuation", "iso_threshold", "interpolation2d")
    check_same(result, layer, names)
    assert result.plane.thickness == 3
    assert result.plane.normal == layer.plane.normal
    np.testing.assert_allclose(result.plane.position, layer.plane.position - origin)
    (plane,) = result.experimental_clipping_planes
    np.testing.assert_allclose(plane.position, np.array([3, 9, 8]) - origin)
    np.testing.assert_array_equal(result.custom_interpolation_kernel_2d, [[0.5, 0.5]])
    assert tuple(layer.plane.position) == (4, 20, 25)


@pytest.mark.parametrize("output", ["same", "uint8", "float32"])
@pytest.mark.parametrize(
    ("dtype", "full"), [("uint16", 65535), ("float32", 1), ("int16", 32767), ("float64", 1)]
)
def test_colours_of_any_dtype_have_the_limits_of_their_dtype(
    dtype: str, full: float, output: str
) -> None:
    light = np.random.default_rng(0).random((40, 50, 3)) * 0.05
    layer = Image((light * full).astype(dtype), rgb=True)
    options = napari_dcr.Options(depth=0, output=output, device="cpu")
    record = run_to_completion(napari_dcr.enhance_steps(layer.data, options)).record
    enhancement = run_to_completion(napari_dcr.enhance_steps(layer.data, options))
    data, arguments, _ = result_layer(layer, enhancement)
    result = Image(data, **arguments)
    if output == "uint8":  # napari draws these as they are
        assert "contrast_limits" not in arguments
    else:
        assert tuple(result.contrast_limits) == (0, full if output == "same" else 1)
    top = {"same": full, "uint8": 255, "float32": 1}[output]
    np.testing.assert_allclose(matching_limits(record, (0, top)), (0, full))
    np.testing.assert_allclose(matching_limits(record, (0, top / 4)), (0, full / 4))


MISSING: dict[str, tuple[Any, float | None]] = {
    "nan": (np.nan, None),
    "inf": (np.inf, None),
    "-inf": (-np.inf, None),
    "fill": (1e20, 1e20),
    "dark fill": (-3.4e38, -3.4e38),
    "mask": (1e9, None),
}


@pytest.mark.parametrize("share", [0.02, 1.0])
@pytest.mark.parametrize("kind", MISSING)
def test_limits_come_from_pixels_with_data(kind: str, share: float) -> None:
    value, nodata = MISSING[kind]
    light = np.random.default_rng(0).poisson(300, (60, 80)).astype(np.float32)
    pixels: NDArray[Any] = light.copy()
    gone = np.zeros(light.shape, bool)
    gone[: round(60 * share)] = True
    pixels[gone] = value
    layer = Image(light)
    layer.data = np.ma.MaskedArray(pixels, gone) if kind == "mask" else pixels
    extras = {"return_residual": True, "return_uncertainty": True}
    options = napari_dcr.Options(depth=1, axes="yx", device="cpu", nodata=nodata)
    whole, part = replace(options, **extras), (slice(0, 55), slice(10, 70))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        jobs = [Job(layer, whole), Job(layer, options, part), Job(layer, options, stages=True)]
        products = [event for event in work(jobs) if isinstance(event, Product)]
        assert len(products) == 3
        for product in products:
            job = product.job
            make = stages_layer if job.stages else result_layer
            data, arguments, _ = make(layer, product.enhancement, job.region)
            sides = side_layers(layer, product.enhancement)
            for _, shown, _ in (*sides, (data, arguments, "image")):
                low, high = shown["contrast_limits"]
                assert np.isfinite([low, high]).all()
                assert low < high
            if share < 0.6:
                assert 200 < arguments["contrast_limits"][1] < 400
    assert len(side_layers(layer, products[0].enhancement)) == 2
