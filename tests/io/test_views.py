"""Lazy views of files are indexed like NumPy arrays."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

import napari_dcr
from napari_dcr.io.views import Guarded, Incomplete, Upright


class SlicesOnly:
    """Array that accepts one slice of step 1 per axis, as the readers of files do."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, index):
        assert isinstance(index, tuple)
        assert len(index) == len(self.shape)
        assert all(part.step in (None, 1) and part.start >= 0 for part in index)
        return self.array[index]


SHAPE = (4, 5, 6)


@given(basic_indices(SHAPE, allow_newaxis=False) | st.just(()))
def test_basic_indices_read_what_numpy_reads(index):
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    view = Guarded(SlicesOnly(array), contextlib.nullcontext)
    assert np.array_equal(view[index], array[index])


@pytest.mark.parametrize("index", [4, (0, 0, 0, 0), "y", (0, None), (0, [1, 2])])
def test_other_indices_are_refused(index):
    view = Guarded(SlicesOnly(np.zeros(SHAPE)), contextlib.nullcontext)
    with pytest.raises(IndexError, match=r"index|out of range"):
        view[index]


def test_a_frame_of_an_opened_file_is_read_by_its_number(tmp_path):
    stack = np.random.default_rng(0).integers(0, 999, (3, 20, 24)).astype(np.uint16)
    napari_dcr.enhance(stack, strength=0, model="microscopy", axes="tyx", out=tmp_path / "a.tif")
    opened = napari_dcr.open_image(tmp_path / "a.tif")
    assert np.array_equal(opened.array[1], stack[1])
    assert np.array_equal(opened.array[-1, ::-2], stack[-1, ::-2])


def test_missing_planes_stay_missing_when_they_are_turned():
    view = Upright(Incomplete(np.ones((2, 3, 4)), np.array([False, True])), "zyx", 6)
    turned = view[:, :4, :3]
    assert turned.shape == (2, 4, 3)
    assert turned.mask[:, 0, 0].tolist() == [False, True]
