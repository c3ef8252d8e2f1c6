"""Sources: any window of any chunks, each chunk decoded about once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine import sources
from napari_dcr.engine.sources import ChunkedSource
from napari_dcr.engine.survey_cache import SurveyCache

FAST: dict[str, Any] = {"model": "photo", "depth": 0, "device": "cpu", "precision": "fp32"}


def test_each_chunk_is_decoded_once(
    tmp_path: Path, stack: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The survey and the tiles, whose windows overlap, decode each chunk once."""
    monkeypatch.setattr(sources, "UNIT_PIXELS", 1)
    decoded: Counter[tuple[int, ...]] = Counter()
    fetch = sources.Opened.read

    def counted(self: Any, index: tuple[slice, ...]) -> Any:
        decoded[tuple(i.start for i in index)] += 1
        return fetch(self, index)

    monkeypatch.setattr(sources.Opened, "read", counted)
    image = zarr.create_array(tmp_path / "in.zarr", data=stack[0], chunks=(64, 70))
    monkeypatch.setattr("napari_dcr.engine.image_survey.SURVEYS", SurveyCache())
    napari_dcr.enhance(image, **{**FAST, "depth": 1}, tile=96)
    assert len(decoded) == 5 * 6
    assert set(decoded.values()) <= {1, 2}
    # Without a cache, the result is the same.
    monkeypatch.setattr(sources, "CACHE_BYTES", 1)
    small = napari_dcr.enhance(image, **{**FAST, "depth": 1}, tile=96)
    assert (small == napari_dcr.enhance(stack[0], **{**FAST, "depth": 1}, tile=96)).all()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    chunks=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    data=st.data(),
)
def test_windows_of_chunked_arrays_equal_those_of_the_array(
    shape: tuple[int, ...], chunks: tuple[int, ...], data: st.DataObject
) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    source = ChunkedSource(values, lambda index: values[index], chunks)
    index: list[int | slice] = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        index.append(data.draw(st.sampled_from([start, slice(start, stop), slice(None)])))
    assert (source[tuple(index)] == values[tuple(index)]).all()


def test_a_failed_read_can_be_repeated() -> None:
    values = np.arange(12).reshape(3, 4)
    errors = [MemoryError()]

    def fetch(index: tuple[slice, ...]) -> NDArray[Any]:
        if errors:
            raise errors.pop()
        return values[index]

    source = ChunkedSource(values, fetch, (3, 4))
    with pytest.raises(MemoryError):
        source[0, slice(0, 2)]
    assert source[0, slice(0, 2)].tolist() == [0, 1]
