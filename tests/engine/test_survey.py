"""The survey is independent of chunks and blocks, and made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import survey, survey_blocks
from napari_dcr.engine.survey import Surveyor
from napari_dcr.engine.survey_blocks import SurveyRequest
from napari_dcr.image.axes import Layout
from napari_dcr.io.arrays import open_array

FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


@settings(max_examples=20)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    chunks=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    block=st.integers(5, 100),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]),
    seed=st.integers(0, 9),
)
def test_survey_is_independent_of_chunking(
    height: int, width: int, chunks: tuple[int, int], block: int, dtype: str, seed: int
) -> None:
    """Results are identical to the last bit; for integers, also for other blocks."""
    values = np.random.default_rng(seed).random((height, width)) * 200
    image = values.astype(dtype)

    def surveyed(array: Any, block: int) -> survey.Survey:
        opened = open_array(array)
        layout = Layout.resolve(array.shape)
        source = opened.source(layout)
        surveyor = Surveyor(SurveyRequest(1, height, width, image.dtype, True))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(survey_blocks, "BLOCK", block)
            list(surveyor.add_planes([lambda rows, columns: source[rows, columns][None]]))
        return surveyor.finish()

    whole = surveyed(image, 40)
    chunked = surveyed(da.from_array(image, chunks=chunks), 40)
    assert whole.histogram is not None
    assert chunked.histogram is not None
    assert (whole.thumbnail == chunked.thumbnail).all()
    assert (whole.histogram.counts == chunked.histogram.counts).all()
    assert whole.digest == chunked.digest
    if image.dtype.kind != "f":
        assert (surveyed(image, block).thumbnail == whole.thumbnail).all()


def test_a_second_run_needs_no_survey(
    tmp_path: Path, stack: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    measure = SurveyRequest.measure

    def counted(self: SurveyRequest, *arguments: Any) -> Any:
        looked.append(arguments)
        return measure(self, *arguments)

    monkeypatch.setattr(SurveyRequest, "measure", counted)
    image = stack.copy() + np.uint16(1)
    on_disk = zarr.create_array(tmp_path / "in.zarr", data=image, chunks=(1, 64, 64))
    for source in (image, on_disk):
        looked.clear()
        first = napari_dcr.enhance(source, axes="tyx", **FAST)
        assert looked
        looked.clear()
        napari_dcr.enhance(source, axes="tyx", **FAST, strength=0.5)
        assert not looked
        # The array was changed in place, so the earlier survey is no longer valid.
        source[0, :50] = 9
        changed = napari_dcr.enhance(source, axes="tyx", **FAST)
        assert looked
        assert (first != changed)[1].any()


@pytest.mark.parametrize("without_bar", [(), (1,), (0, 3)])
def test_padding_of_a_video_is_searched_for_only_while_all_frames_have_it(
    without_bar: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    frames = rng.poisson(300, (40, 1, 100, 120)).astype(np.uint16)
    frames[..., :12] = 5
    frames[2] = 0  # a blank frame does not count
    for number in without_bar:
        frames[number, ..., :12] += rng.poisson(300, (1, 100, 12)).astype(np.uint16)
    searched = []
    search = survey_blocks.find_solid_areas

    def counted(pixels: NDArray[Any]) -> Any:
        searched.append(pixels)
        return search(pixels)

    monkeypatch.setattr(survey_blocks, "find_solid_areas", counted)
    monkeypatch.setattr(survey, "TASK_PIXELS", 1)

    def surveyed(**how: Any) -> survey.Survey:
        searched.clear()
        request = SurveyRequest(1, 100, 120, frames.dtype, True, frames=40, solid=True, **how)
        surveyor = Surveyor(request)
        list(surveyor.add_planes([lambda y, x, f=f: f[:, y, x] for f in frames]))
        return surveyor.finish()

    every, steady = surveyed(), surveyed(steady=True)
    assert steady.blank == every.blank == {2: "every pixel has the value 0"}
    count = len(searched)
    if without_bar:
        assert steady.padding == {}
        assert count < 15
    else:
        assert steady.padding == every.padding
        assert len(every.padding) == count - 1 == 39
