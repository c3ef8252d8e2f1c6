"""The survey is independent of chunks and blocks, and made once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr import Options
from napari_dcr.engine import group_survey, survey, survey_blocks
from napari_dcr.engine.survey import Surveyor
from napari_dcr.engine.survey_blocks import SurveyRequest
from napari_dcr.enhancement import enhance_steps
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


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("lazy", [False, True])
def test_noise_that_would_be_dropped_is_not_measured(
    dtype: str, lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of long stacks few statistics are kept, and measuring them takes most of the time."""
    rng = np.random.default_rng(0)
    stack = rng.poisson(50 * (1 + rng.random((60, 1, 1))), (60, 40, 48)).astype(dtype)
    image = da.from_array(stack, chunks=(1, 40, 48)) if lazy else stack
    measured = []
    measure = survey_blocks.block_statistics
    monkeypatch.setattr(
        survey_blocks, "block_statistics", lambda pixels: measured.append(0) or measure(pixels)
    )
    monkeypatch.setattr(survey, "NOISE_ROWS", 100)
    monkeypatch.setattr(survey, "TASK_PIXELS", 1)
    monkeypatch.setattr(group_survey, "BLOCKS_AT_ONCE", 4)

    def surveyed() -> survey.Survey:
        measured.clear()
        opened, layout = open_array(image), Layout.resolve(stack.shape)
        request = SurveyRequest(1, 40, 48, stack.dtype, False, noise=True, frames=60)
        surveyor = Surveyor(request)
        frames = list(layout.frames())
        if lazy:
            planes = zip(frames, [()] * 60, strict=True)
            steps = group_survey.survey_lazily(opened, layout, surveyor, planes, 0)
        else:
            source = opened.source(layout)
            steps = surveyor.add_planes(
                group_survey.reader_of(source, layout, frame, 0) for frame in frames
            )
        list(steps)
        return surveyor.finish()

    found = surveyed()
    assert len(measured) < 30
    monkeypatch.setattr(Surveyor, "keeps_noise_of", lambda self, number: True)
    every = surveyed()
    assert len(measured) == 60
    assert found.noise is not None
    assert len(found.noise) <= 100
    assert found.noise.tobytes() == every.noise.tobytes()
    assert found.noise_windows == every.noise_windows
    assert (found.unit, found.digest) == (every.unit, every.digest)


@pytest.mark.filterwarnings("ignore::napari_dcr.InputWarning")
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("array", "microscopy"), ("dask", "microscopy"), ("zarr", "photo"), ("tif", "microscopy"),
        ("video", "photo"),
    ],
)  # fmt: skip
def test_progress_tells_how_far_the_survey_is(kind: str, model: str, tmp_path: Path) -> None:
    """Surveys of long recordings take minutes."""
    shape = (40, 32, 34) if model == "microscopy" else (40, 32, 34, 3)
    stack = np.random.default_rng(0).poisson(40, shape).astype(np.uint8)
    image: Any = stack
    if kind == "dask":
        image = da.from_array(stack, chunks=(1, *shape[1:]))
    elif kind == "zarr":
        image = zarr.array(stack, chunks=(1, *shape[1:]))
    elif kind == "tif":
        image = tmp_path / "a.tif"
        tifffile.imwrite(image, stack, photometric="minisblack" if len(shape) == 3 else "rgb")
    elif kind == "video":
        image = tmp_path / "a.mkv"
        napari_dcr.enhance(stack, out=image, strength=0, axes="tyxs", **FAST)
    axes = None if kind == "video" else "tyx" + "s" * (len(shape) - 3)
    options = Options(model=model, axes=axes, neighbours=1, depth=1, device="cpu")
    messages = []
    for step in enhance_steps(image, options):
        messages.append(step.message)
        if step.done:
            break
    found = [re.search(r"frame (\d+) of (\d+)", text) for text in messages if "Analysing" in text]
    numbers = [(int(each[1]), int(each[2])) for each in found if each]
    assert numbers[0][0] <= 32
    assert (40, 40) in numbers
    assert len(numbers) == len(found)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_run_can_be_cancelled_during_the_survey(
    lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.random.default_rng(0).poisson(40, (500, 64, 64)).astype(np.uint16)
    image = da.from_array(stack, chunks=(1, 64, 64)) if lazy else stack
    measured = []
    measure = SurveyRequest.measure

    def counted(self: SurveyRequest, *arguments: Any) -> Any:
        measured.append(0)
        return measure(self, *arguments)

    monkeypatch.setattr(SurveyRequest, "measure", counted)
    options = Options(model="microscopy", axes="tyx", neighbours=2, depth=1, device="cpu")
    steps = enhance_steps(image, options)
    for step in steps:
        if "Analysing" in step.message:
            break
    steps.close()
    assert len(measured) <= 64
