"""Axes, intensities, tone and thumbnails: arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import Histogram, Scale, find_scale
from napari_dcr.image.thumbnail import SIZE, Thumbnail
from napari_dcr.image.tone import expose, linear_to_srgb, srgb_to_linear


@pytest.mark.parametrize(
    ("shape", "arguments", "axes", "planes"),
    [
        ((5, 6), {}, "yx", 1),
        ((5, 6, 3), {}, "yxs", 1),
        ((5, 6, 4), {}, "yxs", 1),
        ((5, 6, 3), {"rgb": False}, "zyx", 5),
        ((7, 5, 6), {}, "zyx", 7),
        ((2, 7, 5, 6), {}, "tzyx", 14),
        ((2, 7, 5, 6), {"channel_axis": 0}, "czyx", 14),
        ((2, 7, 5, 6), {"channel_axis": -3}, "zcyx", 14),
        ((2, 5, 6, 3), {"rgb": True}, "zyxs", 2),
        ((5, 6, 2), {"axes": "yxc"}, "yxc", 2),
        ((3, 5, 6), {"axes": "SYX"}, "syx", 1),
    ],
)
def test_axes_are_found(
    shape: tuple[int, ...], arguments: dict[str, Any], axes: str, planes: int
) -> None:
    layout = Layout.resolve(shape, **arguments)
    assert (layout.axes, layout.planes) == (axes, planes)


@pytest.mark.parametrize(
    ("shape", "arguments", "argument", "allowed"),
    [
        ((5,), {}, "image", "two are needed"),
        ((0, 5), {}, "image", "1 or more"),
        ((5, 6, 2), {"rgb": True}, "rgb", "3 or 4"),
        ((5, 6), {"channel_axis": 2}, "channel_axis", "-2..1"),
        ((2, 5, 6), {"channel_axis": 0, "rgb": True}, "channel_axis", "not channels"),
        ((5, 6), {"axes": "yxz"}, "axes", "2 different letters"),
        ((5, 6), {"axes": "yy"}, "axes", "different letters"),
        ((5, 6), {"axes": "zy"}, "axes", "y and x"),
        ((3, 2, 5, 6), {"axes": "scyx"}, "axes", "not both"),
        ((2, 5, 6), {"axes": "syx"}, "axes", "3 .RGB. or 4"),
        ((2, 5, 6), {"axes": "cyx", "rgb": True}, "rgb", "one of the two"),
        ((2, 5, 6), {"axes": "cyx", "channel_axis": 1}, "channel_axis", "one of the two"),
    ],
)
def test_axes_that_do_not_fit_are_refused(
    shape: tuple[int, ...], arguments: dict[str, Any], argument: str, allowed: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: got .*{allowed}"):
        Layout.resolve(shape, **arguments)


@given(st.permutations("tzyxs"), st.integers(0, 1), st.integers(0, 2))
def test_planar_windows_go_back_where_they_came_from(order: list[str], t: int, z: int) -> None:
    lengths = {"t": 2, "z": 3, "y": 4, "x": 5, "s": 3}
    shape = tuple(lengths[a] for a in order)
    layout = Layout.resolve(shape, axes="".join(order))
    image = np.arange(np.prod(shape)).reshape(shape)
    copy = np.zeros_like(image)
    for frame in layout.frames():
        index = layout.index(frame, 0, slice(1, 4), slice(0, 5), slice(None))
        planar = layout.to_planar(image[index])
        assert planar.shape == (3, 3, 5)
        copy[index] = layout.from_planar(planar)
    expected = image.copy()
    expected[tuple(slice(0, 1) if a == "y" else slice(None) for a in order)] = 0
    assert (copy == expected).all()


@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=150), elements=st.floats(0, 1)
    ),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_thumbnail_is_the_area_mean_whatever_the_tiling(
    plane: NDArray[np.float64], block_height: int, block_width: int
) -> None:
    height, width = plane.shape
    whole, tiled = Thumbnail(1, height, width), Thumbnail(1, height, width)
    whole.add(plane[None], 0, 0)
    for y in range(0, height, block_height):
        for x in range(0, width, block_width):
            tiled.add(plane[None, y : y + block_height, x : x + block_width], y, x)
    assert np.abs(whole.mean - tiled.mean).max() < 1e-12
    # Repeating pixels until bins hold whole ones gives the same by plain averaging.
    fine = plane.repeat(SIZE, 0).repeat(SIZE, 1).reshape(SIZE, height, SIZE, width).mean((1, 3))
    assert np.abs(whole.mean[0] - fine).max() < 1e-9


def test_thumbnail_leaves_out_what_is_not_finite() -> None:
    plane = np.full((1, 200, 200), 0.25)
    plane[0, 50:150, 60:160] = np.nan
    plane[0, 3, 3] = np.inf
    thumbnail = Thumbnail(1, 200, 200)
    thumbnail.add(plane, 0, 0)
    values = thumbnail.mean
    assert np.isfinite(values).all()
    assert values[0, 0, 0] == pytest.approx(0.25)
    assert values[0, 30, 30] == 0


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64]),
        st.integers(1, 300),
    ),
    st.floats(0, 1),
)
def test_histogram_quantiles_are_close_to_exact_ones(values: NDArray[Any], share: float) -> None:
    histogram = Histogram(values.dtype)
    histogram.add(values[: len(values) // 2])
    histogram.add(values[len(values) // 2 :])
    finite = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not finite.size:
        assert histogram.quantile(share) == 0
        return
    exact = finite[max(0, int(np.ceil(share * finite.size)) - 1)]
    found = histogram.quantile(share)
    limit = np.finfo(np.float32).max
    exact, found = np.clip([exact, found], -limit, limit)
    tolerance = 0 if values.dtype.kind != "f" else 2**-7 * abs(exact) + 1e-38
    assert abs(found - exact) <= tolerance


@pytest.mark.parametrize(
    ("values", "scientific", "scale"),
    [
        (np.array([0, 90], np.uint8), False, Scale(0, 255)),
        (np.arange(4000, dtype=np.uint16), False, Scale(0, 65535)),
        (np.arange(100, 4000, dtype=np.uint16), True, Scale(103, 4095)),
        (np.arange(30000, dtype=np.uint16), True, Scale(29, 2**15 - 1)),
        (np.arange(65536, dtype=np.uint16), True, Scale(65, 65535)),
        (np.linspace(0, 0.1, 50, dtype=np.float32), False, Scale(0, 1)),
        (np.full(9, 5.0), False, Scale(0, 5)),
        (np.linspace(-0.001, 0.7, 50), False, Scale(0, 1)),
        (np.linspace(20, 300, 50), True, Scale(20, 300)),
        (np.full(9, np.nan), False, Scale(0, 1)),
    ],
)
def test_black_and_white_point(values: NDArray[Any], scientific: bool, scale: Scale) -> None:
    histogram = Histogram(values.dtype)
    histogram.add(values)
    found = find_scale("auto", values.dtype, histogram, scientific)
    assert found.black == pytest.approx(scale.black, rel=0.02)
    assert found.white == pytest.approx(scale.white, rel=0.02)


def test_one_hot_pixel_does_not_set_the_white_point() -> None:
    values = np.full(100_000, 200, np.uint16)
    values[0] = 65535
    histogram = Histogram(values.dtype)
    histogram.add(values)
    assert find_scale("auto", values.dtype, histogram, True).white == 255


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_exposure_rises_with_light_and_with_stops(one: float, other: float) -> None:
    ramp = np.linspace(0, 1, 200, dtype=np.float32)[None, None].repeat(3, 0)
    low, high = sorted((one, other))
    dark, bright = expose(ramp, low), expose(ramp, high)
    assert (np.diff(dark[0, 0]) >= -1e-6).all()
    assert (bright - dark >= -2e-5).all()
    assert bright.max() <= 1


def test_srgb_is_inverted() -> None:
    v = np.linspace(0, 1, 999, dtype=np.float32)
    assert np.abs(linear_to_srgb(srgb_to_linear(v)) - v).max() < 1e-5
