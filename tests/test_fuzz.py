"""Arbitrary arrays give the right kind of result, or an error that names an argument."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.intensity import DTYPES

ARGUMENTS = tuple(inspect.signature(napari_dcr.enhance).parameters)

REFUSED = ("bool", "int8", "complex64")
COUNTS = ("int32", "uint32", "int64")


class Interface:
    """An array of a library that napari-dcr does not know."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._pixels if dtype is None else self._pixels.astype(dtype)


@st.composite
def images(draw: st.DrawFn) -> tuple[Any, NDArray[Any], NDArray[np.bool_], dict[str, Any]]:
    """An image of some kind, its pixels, which of them hold no data, and the options."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES * 3 + REFUSED + COUNTS)))
    axes = draw(st.integers(1, 6))
    sides = st.integers(1, 3)
    shape = [draw(sides) for _ in range(max(0, axes - 2))]
    shape += [draw(st.integers(1, 40)) for _ in range(min(axes, 2))]
    options: dict[str, Any] = {
        "model": draw(st.sampled_from(("photo", "microscopy"))),
        "depth": draw(st.integers(0, 1)),
        "link_frames": draw(st.booleans()),
        "device": "cpu",
    }
    colours = draw(st.sampled_from((0, 0, 3, 4))) if axes > 2 else 0
    if colours:
        shape[-1] = colours
        options["rgb"] = True
    elif axes > 2:
        options["rgb"] = False
        if draw(st.booleans()):
            options["channel_axis"] = draw(st.integers(-axes, -3))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    pixels = _pixels(draw, rng, tuple(shape), dtype)
    gone = np.zeros(shape, bool)
    if dtype.kind == "f" and draw(st.booleans()):
        lost = rng.random(shape) < draw(st.sampled_from((0.01, 0.3, 1.0)))
        pixels[lost] = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
        gone |= lost
    if colours == 4:
        pixels[..., 3] = np.where(rng.random(shape[:-1]) < 0.4, 0, pixels[..., 3])
        hidden = np.zeros(shape, bool)
        hidden[..., :3] = pixels[..., 3:] == 0
        gone |= hidden
    if not colours and draw(st.integers(0, 3)) == 0:
        options["nodata"] = float(pixels.flat[0].real)
        gone |= pixels == pixels.flat[0]
    return _as_kind(draw, pixels, gone, rng), pixels, gone, options


def _pixels(
    draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    mean = draw(st.sampled_from((0.0, 0.5, 20.0, 110.0)))
    fill = draw(st.sampled_from(("counts", "constant", "padded")))
    values = np.full(shape, mean) if fill == "constant" else rng.poisson(mean, shape) * 1.0
    if fill == "padded":
        values[..., : shape[-1] // 3] = draw(st.sampled_from((0.0, 50.0, 127.0)))
    if dtype.kind != "f":
        return values.astype(dtype)
    limits = np.finfo(dtype)
    unit = 10.0 ** draw(st.integers(-30, 30))
    unit = float(np.clip(unit, 4 * float(limits.smallest_normal), float(limits.max) / 1000))
    return (values * unit).astype(dtype)


def _as_kind(
    draw: st.DrawFn, pixels: NDArray[Any], gone: NDArray[np.bool_], rng: np.random.Generator
) -> Any:
    kind = draw(st.sampled_from(("plain", "fortran", "reversed", "wide", "swapped", "frozen",
                                 "masked", "dask", "masked dask", "zarr", "tensor", "xarray", "interface")))  # fmt: skip
    if kind == "fortran":
        return np.asfortranarray(pixels)
    if kind == "reversed":
        return pixels[::-1].copy()[::-1]
    if kind == "wide":
        return np.repeat(pixels, 2, axis=-1)[..., ::2]
    if kind == "swapped":
        return pixels.astype(pixels.dtype.newbyteorder())
    if kind == "frozen":
        frozen = pixels.copy()
        frozen.flags.writeable = False
        return frozen
    if kind in ("masked", "masked dask"):
        mask = rng.random(pixels.shape) < 0.2
        gone |= mask
        pixels = np.ma.MaskedArray(pixels.copy(), mask)
    if kind in ("dask", "masked dask"):
        chunks = tuple(draw(st.integers(1, n)) if n < 4 else n // 2 for n in pixels.shape)
        return da.from_array(pixels, chunks=chunks)
    if kind == "tensor":
        return torch.from_numpy(pixels)
    if kind == "xarray":
        return xarray.DataArray(pixels)
    if kind == "interface":
        return Interface(pixels)
    if kind == "zarr":
        store = zarr.create_array({}, shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.shape)
        store[...] = pixels
        return store
    return pixels.copy() if kind == "plain" else pixels


# The same images in every run: what a later change breaks is found, and nothing else fails.
@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck))
@given(images())
def test_arrays_of_all_kinds_give_a_correct_result_or_an_error(
    drawn: tuple[Any, NDArray[Any], NDArray[np.bool_], dict[str, Any]],
) -> None:
    image, pixels, gone, options = drawn
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        if pixels.dtype == np.float16:  # to copy a masked array: NumPy's own fill value is 1e20
            warnings.filterwarnings("ignore", "overflow encountered in cast")
        try:
            result = napari_dcr.enhance(image, **options)
        except (TypeError, ValueError) as error:
            message = str(error)
    if message:
        argument = re.match(r"\w+", message)
        assert argument, message
        assert argument[0] in ARGUMENTS, message
        few = pixels.ndim - options.get("rgb", False) - ("channel_axis" in options) < 2
        refused = pixels.dtype.name in REFUSED
        if pixels.dtype.name in COUNTS:
            refused = options["model"] == "photo"
        assert few or refused, message
        return
    expected = pixels.dtype
    if pixels.dtype.name in COUNTS:
        is_lazy = isinstance(image, (da.Array, zarr.Array))
        expected = np.dtype(np.float64 if is_lazy else np.float32)
    else:
        assert pixels.dtype.name in DTYPES
    if isinstance(image, (torch.Tensor, xarray.DataArray)):
        assert type(result) is type(image)
        result = np.asarray(result)
    if isinstance(image, da.Array):
        assert isinstance(result, da.Array)
        result = result.compute()
    if isinstance(image, np.ma.MaskedArray):
        assert isinstance(result, np.ma.MaskedArray)
        assert (np.ma.getmaskarray(result) == image.mask).all()
    assert type(np.ma.getdata(result)) is np.ndarray
    assert result.shape == pixels.shape
    assert result.dtype == expected
    got = np.ma.getdata(result)
    assert np.array_equal(got[gone], pixels[gone], equal_nan=pixels.dtype.kind == "f")
    if pixels.shape[-1] == 4 and options.get("rgb"):
        assert np.array_equal(got[..., 3], pixels[..., 3], equal_nan=pixels.dtype.kind == "f")
    assert np.isfinite(got[~gone & np.isfinite(pixels)]).all()


WAVES = np.add.outer(np.sin(np.arange(150) / 7), np.cos(np.arange(150) / 11))
"""A scene in [-2, 2]."""


@st.composite
def scenes(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]]:
    """A noisy scene of grey or colour, the same without noise, and the options."""
    options: dict[str, Any] = {
        "model": draw(st.sampled_from(("photo", "microscopy"))), "depth": 1, "device": "cpu",
        "precision": "fp32", "defects": "off",
    }  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    height, width = draw(st.integers(90, 150)), draw(st.integers(90, 150))
    level = draw(st.sampled_from((20.0, 200.0)))
    light = level * (1.2 + 0.5 * WAVES[:height, :width])
    if options["model"] == "photo" and draw(st.booleans()):
        options["rgb"] = True
        light = light[..., None] * (1.0, 0.8, 0.6)
    dtype = draw(st.sampled_from(("uint8", "uint16", "float32")))
    gain = 0.1 if dtype == "uint8" and level > 100 else 1.0
    counts = (gain * (100 + rng.poisson(light))).astype(dtype)
    return counts, gain * (100 + light), options


def _shape(draw: st.DrawFn, height: int, width: int) -> NDArray[np.bool_]:
    """An area that covers part of a scene."""
    y, x = np.mgrid[:height, :width]
    kind = draw(st.sampled_from(("circle", "corner", "seam", "strips")))
    if kind == "circle":
        return np.hypot(y - height / 2, x - width / 2) > draw(st.integers(45, 60))
    if kind == "corner":
        return y + draw(st.floats(0.2, 3)) * x < draw(st.integers(30, 70))
    thickness = draw(st.integers(1, 12))
    along = draw(st.sampled_from((y, x)))
    if kind == "seam":
        return (along >= 40) & (along < 40 + thickness)
    return along % 61 < thickness


def _change(
    result: NDArray[Any], reference: NDArray[Any], truth: NDArray[Any] | None,
    near: NDArray[np.bool_] | None = None,
) -> float:  # fmt: skip
    """How much a result differs from a reference, in decibels, apart from some pixels.

    That is by how much its error grows, where the truth is known, else how large the difference
    is beside the picture.
    """
    inner = np.zeros(result.shape[:2], bool)
    inner[12:-12, 12:-12] = True
    for axis in (0, 1) if near is not None else ():
        for shift in range(-12, 13):
            inner &= ~np.roll(near, shift, axis)
    new, old = result.astype(np.float64)[inner], reference.astype(np.float64)[inner]
    if truth is None:
        return float(20 * np.log10(1 + np.sqrt(np.mean((new - old) ** 2) / np.mean(old**2))))
    squares = (np.mean((values - truth[inner]) ** 2) for values in (new, old))
    return float(10 * np.log10(np.divide(*squares)))


# Padding of any width and value, also within the scene's range, is recognised by its shape.
@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenes(), st.data())
def test_padding_with_a_constant_changes_nothing(
    drawn: tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]], data: st.DataObject
) -> None:
    scene, _, options = drawn
    value = scene.dtype.type(data.draw(st.sampled_from((0, 50, 100, 120, 200)), "value"))
    sides = data.draw(st.tuples(*[st.integers(0, 40)] * 4).filter(any), "sides")
    top, bottom, left, right = sides
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference = napari_dcr.enhance(scene, **options)
        around = [(top, bottom), (left, right), (0, 0)][: scene.ndim]
        padded = np.pad(scene, around, constant_values=value)
        result = napari_dcr.enhance(padded, **options)
    inside = (slice(top, top + scene.shape[0]), slice(left, left + scene.shape[1]))
    # Equal but for the order of sums and rounding to integers.
    new, old = result[inside].astype(np.float64), reference.astype(np.float64)
    assert np.abs(new - old).max() <= (1 if scene.dtype.kind == "u" else 1e-5 * old.max())
    assert np.mean(new != old) < 0.01
    outside = np.ones(padded.shape[:2], bool)
    outside[inside] = False
    assert (result[outside] == value).all()
    assert any("in solid areas" in str(warning.message) for warning in caught)


@settings(max_examples=30, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenes(), st.data())
def test_constant_areas_are_treated_like_areas_without_data(
    drawn: tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]], data: st.DataObject
) -> None:
    scene, light, options = drawn
    truth = light if options["model"] == "microscopy" else None
    scene = scene.astype(np.float32)
    area = data.draw(st.composite(_shape)(*scene.shape[:2]), "area")
    value = data.draw(st.sampled_from((0, 50, 100, 120, 5000)), "value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", napari_dcr.InputWarning)
        scene[area] = np.nan
        reference = napari_dcr.enhance(scene, **options)
        scene[area] = value
        result = napari_dcr.enhance(scene, **options)
    change = _change(result, reference, truth, area)
    assert change < 0.3, change
    assert (result[area] == value).mean() > 0.98
