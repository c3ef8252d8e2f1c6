"""Arrays of other libraries are enhanced, and results are arrays of the same library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import xarray
import zarr
from numpy.typing import NDArray
from PIL import Image

import napari_dcr
from napari_dcr.io.array_likes import AXES, array_like

FAST: dict[str, Any] = {"depth": 1, "device": "cpu"}


def recording(shape: tuple[int, ...] = (3, 40, 50), dtype: str = "uint16") -> NDArray[Any]:
    return np.random.default_rng(0).poisson(20, shape).astype(dtype)


@pytest.mark.parametrize("lazy", [False, True])
def test_data_arrays_keep_coordinates_and_their_dimensions_are_the_axes(
    lively_counts: Path, lazy: bool
) -> None:
    pixels = recording()
    image = xarray.DataArray(
        pixels, dims=("Time", "y", "x"), name="cells",
        coords={"Time": [0.0, 1.5, 2.5], "y": np.arange(40) * 0.2}, attrs={"unit": "ADU"},
    )  # fmt: skip
    options = {**FAST, "model": lively_counts}
    if lazy:
        result = napari_dcr.enhance(image.chunk({"y": 20}), **options)
        assert isinstance(result.data, da.Array)
    else:
        result, report, residual, error = napari_dcr.enhance(
            image, **options, return_report=True, return_residual=True, return_uncertainty=True
        )
        assert report is not None
        np.testing.assert_allclose(residual.values, pixels - result.values.astype(float))
        assert error.dims == image.dims
    assert result.dims == image.dims
    assert result.name == "cells"
    assert result.attrs == image.attrs
    xarray.testing.assert_equal(result.coords.to_dataset(), image.coords.to_dataset())
    expected = napari_dcr.enhance(pixels, axes="tyx", **options)
    np.testing.assert_array_equal(result.values, expected)
    np.testing.assert_array_equal(image.values, recording())


def test_dimensions_without_known_names_are_guessed_with_a_warning(lively_counts: Path) -> None:
    image = xarray.DataArray(recording(), dims=("sweep", "across", "down"))
    with pytest.warns(napari_dcr.InputWarning, match="sweep, across, down .* pass axes="):
        result = napari_dcr.enhance(image, model=lively_counts, **FAST)
    expected = napari_dcr.enhance(recording(), model=lively_counts, **FAST)
    np.testing.assert_array_equal(result.values, expected)
    assert array_like(xarray.DataArray(recording(), dims=tuple("tyx"))).axes == "tyx"
    assert set(AXES.values()) <= set("tzcyxs")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_tensors_give_tensors(lively_counts: Path, dtype: str) -> None:
    pixels = recording((40, 50), dtype)
    tensor = torch.from_numpy(pixels.copy())
    if tensor.is_floating_point():
        tensor.requires_grad_()
    result = napari_dcr.enhance(tensor, model=lively_counts, **FAST)
    assert isinstance(result, torch.Tensor)
    assert not result.requires_grad
    expected = napari_dcr.enhance(pixels, model=lively_counts, **FAST)
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_counts_of_many_bits_become_floats_with_a_warning(
    lively_counts: Path, dtype: str, kind: str
) -> None:
    pixels = recording((40, 50), dtype)
    wide = "float32" if kind == "numpy" else "float64"
    image = pixels if kind == "numpy" else da.from_array(pixels, chunks=20)
    with pytest.warns(napari_dcr.InputWarning, match=f"{dtype} counts .* {wide}"):
        result = napari_dcr.enhance(image, model=lively_counts, **FAST)
    expected = napari_dcr.enhance(pixels.astype(wide), model=lively_counts, **FAST)
    np.testing.assert_array_equal(np.asarray(result), expected)
    assert result.dtype == wide
    with pytest.raises(TypeError, match=f"image: got dtype {dtype} with the .*model='microscopy'"):
        napari_dcr.enhance(image, model="photo", **FAST)


def write_counts(path: Path, pixels: Any) -> None:
    """Write an image as a TIFF, in one strip or in tiles, or as a zarr."""
    if path.suffix == ".tif":
        how: dict[str, Any] = {"tile": (16, 16)} if path.stem == "tiled" else {}
        tifffile.imwrite(path, pixels, photometric="minisblack", **how)
    else:
        zarr.save_array(path, pixels)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("name", ["a.tif", "tiled.tif", "a.zarr"])
def test_counts_of_many_bits_in_files_become_float64_with_a_warning(
    lively_counts: Path, dtype: str, name: str, tmp_path: Path
) -> None:
    path, pixels = tmp_path / name, recording((40, 50), dtype)
    write_counts(path, pixels)
    with pytest.warns(napari_dcr.InputWarning, match=f"{dtype} counts .* float64"):
        result = napari_dcr.enhance(path, model=lively_counts, **FAST)
    expected = napari_dcr.enhance(pixels.astype("f8"), model=lively_counts, **FAST)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == "f8"
    with pytest.raises(TypeError, match=f"image: got dtype {dtype} with the .*model='microscopy'"):
        napari_dcr.enhance(path, model="photo", **FAST)
    if dtype.endswith("64"):
        write_counts(tmp_path / f"b{path.suffix}", pixels * 0 + np.array(2**53 + 1, dtype))
        with pytest.raises(ValueError, match=f"got a value of {2**53 + 1} in dtype {dtype}"):
            napari_dcr.enhance(tmp_path / f"b{path.suffix}", model=lively_counts, **FAST)


def test_masked_counts_keep_their_mask(lively_counts: Path) -> None:
    pixels = recording((40, 50), "int32")
    for mask in (pixels > 22, np.ones(pixels.shape, bool)):
        image = np.ma.MaskedArray(pixels, mask)
        with pytest.warns(napari_dcr.InputWarning, match="int32 counts"):
            result = napari_dcr.enhance(image, model=lively_counts, **FAST)
        assert isinstance(result, np.ma.MaskedArray)
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_array_equal(result.data[mask], pixels[mask])


def test_large_counts_are_exact() -> None:
    pixels = np.full((30, 30), 2**24 + 1, np.uint32)
    with pytest.warns(napari_dcr.InputWarning, match="float64"):
        result = napari_dcr.enhance(pixels, model="microscopy", strength=0, **FAST)
    assert (result == pixels).all()
    for value, dtype in ((2**53 + 1, "uint64"), (2**64 - 1, "uint64"), (2**63 - 1, "int64")):
        with pytest.raises(ValueError, match=f"image: got a value of {value} in dtype.*2.53"):
            napari_dcr.enhance(pixels.astype(dtype) * 0 + np.array(value, dtype), **FAST)


@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", 2**53 + 1), ("int64", -(2**62) - 1), ("uint64", 2**64 - 1)]
)
@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
def test_large_counts_of_dask_arrays_are_exact_or_an_error(
    dtype: str, value: int, lively_counts: Path
) -> None:
    pixels = recording((60, 70), "int64").astype(dtype)
    pixels[50, 60] = value
    image = da.from_array(pixels, chunks=35)
    options = {**FAST, "model": lively_counts}
    with pytest.raises(ValueError, match=f"image: got a value of {value} in dtype {dtype}"):
        napari_dcr.enhance(image, **options).compute()
    # Masked values do not count.
    hidden = da.ma.masked_array(image, da.from_array(pixels == pixels[50, 60], chunks=35))
    assert napari_dcr.enhance(hidden, **options).compute().mask.sum() == 1
    pixels[50, 60] = 2**53 if dtype == "int64" else 2**63
    kept = napari_dcr.enhance(
        da.from_array(pixels, chunks=35), nodata=int(pixels[50, 60]), **options
    )
    assert int(kept.compute()[50, 60]) == pixels[50, 60]


@pytest.mark.parametrize(
    ("dtype", "fill"), [("int64", -(2**62)), ("int64", -(2**63)), ("uint64", 2**63)]
)
def test_exact_fill_values_of_64_bits(dtype: str, fill: int, lively_counts: Path) -> None:
    pixels = recording((40, 50), "int64").astype(dtype)
    filled = pixels.copy()
    filled[5:15, 10:20] = np.array(fill, dtype)
    options = {**FAST, "model": lively_counts}
    with pytest.warns(napari_dcr.InputWarning, match=f"{dtype} counts"):
        result = napari_dcr.enhance(filled, nodata=fill, **options)
    missing = filled.astype(np.float64)
    missing[5:15, 10:20] = np.nan
    expected = napari_dcr.enhance(missing, **options)
    assert (result[5:15, 10:20] == float(fill)).all()
    np.testing.assert_allclose(result[:5], expected[:5])


def test_nested_lists_and_objects_with_an_array_interface(lively_counts: Path) -> None:
    pixels = recording((40, 50), "float64")
    options = {**FAST, "model": lively_counts}
    expected = napari_dcr.enhance(pixels, **options)
    np.testing.assert_array_equal(napari_dcr.enhance(pixels.tolist(), **options), expected)
    np.testing.assert_array_equal(napari_dcr.enhance(memoryview(pixels), **options), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1, 2], [3]], "image: got list, which numpy.asarray cannot convert"),
        ([["a"]], "image: got list; allowed are"),
        ({}, "image: got dict; allowed are"),
        (None, "image: got NoneType; allowed are"),
        (5, "image: got int; allowed are"),
        (torch.zeros(9, 9, dtype=torch.bfloat16), "image: got a tensor of torch.bfloat16"),
        (torch.zeros(9, 9, device="meta"), "image: got a tensor on the device meta"),
        (torch.zeros(9, 9).to_sparse(), "image: got a tensor that is sparse"),
        (np.array([[object()]]), "image: got dtype object; allowed are"),
    ],
)  # fmt: skip
def test_other_objects_are_errors_that_name_the_kind(image: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        napari_dcr.enhance(image, **FAST)


@pytest.mark.parametrize("hidden", [-(2**63), 2**62 + 1])
def test_counts_under_a_mask_may_be_of_any_size(lively_counts: Path, hidden: int) -> None:
    image = np.random.default_rng(0).poisson(100, (40, 50)).astype(np.int64)
    mask = image > 115
    expected = napari_dcr.enhance(
        np.ma.MaskedArray(image, mask), model=lively_counts, depth=1, device="cpu"
    )
    image[mask] = hidden
    result = napari_dcr.enhance(
        np.ma.MaskedArray(image, mask), model=lively_counts, depth=1, device="cpu"
    )
    assert result.dtype == expected.dtype == np.float32
    assert np.array_equal(result.compressed(), expected.compressed())


@pytest.mark.parametrize("mode", ["CMYK", "LA", "P", "YCbCr"])
def test_numbers_of_pillow_images_that_are_not_light_are_refused(mode: str) -> None:
    picture = Image.new("RGB", (40, 40), (10, 20, 30)).convert(mode)
    with pytest.raises(ValueError, match=rf"^image: got .*'{mode}'; allowed .*convert"):
        napari_dcr.enhance(picture, **FAST)


def test_pillow_images_of_light_are_arrays() -> None:
    for mode in ("L", "RGB", "RGBA"):
        picture = Image.new("RGB", (40, 40), (10, 20, 30)).convert(mode)
        assert np.array_equal(array_like(picture).array, np.asarray(picture))
