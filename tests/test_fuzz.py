"""Any array at all: the right kind of result, or an error that names an argument."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import dask.array as da
import numpy as np
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.intensity import DTYPES

ARGUMENTS = tuple(inspect.signature(napari_dcr.enhance).parameters)

REFUSED = ("bool", "int8", "int32", "uint32", "int64", "complex64")


@st.composite
def images(draw: st.DrawFn) -> tuple[Any, NDArray[Any], NDArray[np.bool_], dict[str, Any]]:
    """An image of some kind, its pixels, which of them hold no data, and the options."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES * 3 + REFUSED)))
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
                                 "masked", "dask", "masked dask", "zarr")))  # fmt: skip
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
    if kind == "zarr":
        store = zarr.create_array({}, shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.shape)
        store[...] = pixels
        return store
    return pixels.copy() if kind == "plain" else pixels


# The same images in every run: what a later change breaks is found, and nothing else fails.
@settings(max_examples=120, derandomize=True, suppress_health_check=list(HealthCheck))
@given(images())
def test_any_array(drawn: tuple[Any, NDArray[Any], NDArray[np.bool_], dict[str, Any]]) -> None:
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
        assert few or pixels.dtype.name in REFUSED, message
        return
    assert pixels.dtype.name in DTYPES
    if isinstance(image, da.Array):
        assert isinstance(result, da.Array)
        result = result.compute()
    if isinstance(image, np.ma.MaskedArray):
        assert isinstance(result, np.ma.MaskedArray)
        assert (np.ma.getmaskarray(result) == image.mask).all()
    assert type(np.ma.getdata(result)) is np.ndarray
    assert result.shape == pixels.shape
    assert result.dtype == pixels.dtype
    got = np.ma.getdata(result)
    assert np.array_equal(got[gone], pixels[gone], equal_nan=pixels.dtype.kind == "f")
    if pixels.shape[-1] == 4 and options.get("rgb"):
        assert np.array_equal(got[..., 3], pixels[..., 3], equal_nan=pixels.dtype.kind == "f")
    assert np.isfinite(got[~gone & np.isfinite(pixels)]).all()
