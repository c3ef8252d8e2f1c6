"""Axes that are found, given, or raise an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.image.axes import Layout


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
        ((5,), {}, "image", "2 are needed"),
        ((0, 5), {}, "image", "1 or more"),
        ((5, 6, 2), {"rgb": True}, "rgb", "3 or 4"),
        ((5, 6), {"channel_axis": 2}, "channel_axis", "-2..1"),
        ((2, 5, 6), {"channel_axis": 0, "rgb": True}, "channel_axis", "not channels"),
        ((5, 6), {"axes": "yxz"}, "axes", "2 different letters"),
        ((5, 6), {"axes": "yy"}, "axes", "different letters"),
        ((5, 6), {"axes": "zy"}, "axes", "y and x"),
        ((3, 2, 5, 6), {"axes": "scyx"}, "axes", "not both"),
        ((2, 5, 6), {"axes": "syx"}, "axes", "3 .RGB. or 4"),
        ((2, 5, 6), {"axes": "cyx", "rgb": True}, "rgb", "only one of them"),
        ((2, 5, 6), {"axes": "cyx", "channel_axis": 1}, "channel_axis", "only one of them"),
    ],
)
def test_axes_that_do_not_fit_are_refused(
    shape: tuple[int, ...], arguments: dict[str, Any], argument: str, allowed: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: got .*{allowed}"):
        Layout.resolve(shape, **arguments)


@given(st.permutations("tzyxs"), st.integers(0, 1), st.integers(0, 2))
def test_planar_windows_are_converted_back(order: list[str], t: int, z: int) -> None:
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
